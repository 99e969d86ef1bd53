/* Runs the real firmware: an ATmega328P (simavr) with an INA219 on its I2C bus and its USART on a pseudo-terminal.
 *
 *   streamer_host ELF TRACE [--option VALUE]...
 *
 * Prints `pty PATH` and `origin NANOSECONDS` (CLOCK_MONOTONIC at second 0 of the trace), then answers commands on standard
 * input: `status` (a line of JSON), `reset`, `brownout SECONDS`, `nack SECONDS`, `hold SECONDS`, `quit`. It ends with its input. True time is the
 * real time; the MCU's crystal and the chip's converter run off it by what the options say. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

#include "ina219_chip.h"
#include "twi_master.h"
#include "usart.h"

#define NOMINAL_HZ 16000000.0
#define TURN_S 0.001

typedef struct {
    double at_s, for_s;
    char kind[16];
} event;

static struct {
    avr_t *avr;
    ina219_chip chip;
    power_trace trace;
    twi_master twi;
    usart port;
    double crystal_hz, speed, boot_s, usb_latency_s;
    int reset_on_open;
    event events[64];
    size_t event_count;
    uint64_t origin_ns;
    double booted_s;       /* true time of the last reset's end */
    double worst_lag_s;
    uint64_t resets, unheard;
    int master, slave, watch, clients;
} sim;

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double true_s(const avr_t *avr) { return (double)avr->cycle / sim.crystal_hz; }

static void quiet(avr_t *avr, const int level, const char *format, va_list arguments)
{
    (void)avr;
    if (level <= LOG_ERROR)
        vfprintf(stderr, format, arguments);
}

static void no_real_sleep(avr_t *avr, avr_cycle_count_t how_long)
{
    (void)avr;
    (void)how_long; /* the core advances its cycles; the turn below paces them */
}

/* --- what happens to the device ---------------------------------------------------------------- */

static void reset_mcu(void)
{
    avr_reset(sim.avr);
    usart_reset(&sim.port);
    twi_master_reset(&sim.twi);
    sim.avr->cycle += (avr_cycle_count_t)(sim.boot_s * sim.crystal_hz); /* a boot loader listens to somebody else */
    sim.booted_s = true_s(sim.avr);
    sim.resets++;
}

static void happen(const char *kind, double for_s)
{
    double now_s = true_s(sim.avr);
    if (!strcmp(kind, "reset"))
        reset_mcu();
    else if (!strcmp(kind, "brownout"))
        ina219_brown_out(&sim.chip, now_s, for_s);
    else if (!strcmp(kind, "nack"))
        ina219_do_not_answer(&sim.chip, now_s, for_s);
    else if (!strcmp(kind, "hold"))
        sim.twi.held_until = sim.avr->cycle + (uint64_t)(for_s * sim.crystal_hz);
    else
        fprintf(stderr, "no such event: %s\n", kind);
}

static void print_status(void)
{
    ina219_advance(&sim.chip, true_s(sim.avr));
    printf("{\"true_s\": %.6f, \"worst_lag_s\": %.4f, \"booted_s\": %.6f, \"resets\": %llu, \"clients\": %d, "
           "\"baud\": %.0f, \"sent\": %llu, \"sent_lost\": %llu, \"unheard\": %llu, \"received\": %llu, "
           "\"overrun\": %llu, \"conversions\": %llu, \"unread\": %llu, \"nacks\": %llu, \"writes\": %llu, "
           "\"config\": %u, \"calibration\": %u}\n",
           true_s(sim.avr), sim.worst_lag_s, sim.booted_s, (unsigned long long)sim.resets, sim.clients,
           usart_baud(&sim.port, sim.crystal_hz), (unsigned long long)sim.port.sent_total,
           (unsigned long long)sim.port.sent_lost, (unsigned long long)sim.unheard,
           (unsigned long long)sim.port.received_total, (unsigned long long)sim.port.overrun,
           (unsigned long long)sim.chip.conversions, (unsigned long long)sim.chip.unread,
           (unsigned long long)sim.chip.nacks, (unsigned long long)sim.chip.writes, sim.chip.config,
           sim.chip.calibration);
    fflush(stdout);
}

/* --- the world outside ------------------------------------------------------------------------- */

static void open_terminal(void)
{
    char path[128];
    struct termios raw;
    if (openpty(&sim.master, &sim.slave, path, NULL, NULL)) {
        perror("openpty");
        exit(1);
    }
    tcgetattr(sim.slave, &raw);
    cfmakeraw(&raw);
    tcsetattr(sim.slave, TCSANOW, &raw); /* our slave stays open, so that this stays in force */
    fcntl(sim.master, F_SETFL, O_NONBLOCK);
    sim.watch = inotify_init1(IN_NONBLOCK);
    if (inotify_add_watch(sim.watch, path, IN_OPEN | IN_CLOSE) < 0)
        perror("inotify");
    printf("pty %s\n", path);
}

static void see_clients(void)
{
    char buffer[4096] __attribute__((aligned(8)));
    ssize_t got;
    while ((got = read(sim.watch, buffer, sizeof buffer)) > 0)
        for (char *at = buffer; at < buffer + got;) {
            struct inotify_event *seen = (struct inotify_event *)at;
            sim.clients += seen->mask & IN_OPEN ? 1 : seen->mask & IN_CLOSE ? -1 : 0;
            if (seen->mask & IN_OPEN && sim.reset_on_open)
                reset_mcu();
            at += sizeof *seen + seen->len;
        }
}

static void serve_terminal(void)
{
    static double next_flush_s;
    uint8_t bytes[1024];
    ssize_t got = read(sim.master, bytes, sizeof bytes);
    if (got > 0)
        usart_host_writes(&sim.port, bytes, (size_t)got);
    if (!sim.port.sent_count || true_s(sim.avr) < next_flush_s)
        return;
    next_flush_s = true_s(sim.avr) + sim.usb_latency_s;
    ssize_t gone = 0;
    if (sim.clients > 0) {
        gone = write(sim.master, sim.port.sent, sim.port.sent_count);
        if (gone < 0)
            gone = 0;
    }
    sim.unheard += sim.port.sent_count - (size_t)gone; /* a serial line waits for nobody */
    sim.port.sent_count = 0;
}

/* False at the end of the input. */
static int serve_commands(void)
{
    static char line[256];
    static size_t length;
    char byte;
    ssize_t got;
    while ((got = read(STDIN_FILENO, &byte, 1)) == 1) {
        if (byte != '\n') {
            if (length < sizeof line - 1)
                line[length++] = byte;
            continue;
        }
        line[length] = 0;
        length = 0;
        char word[16] = "";
        double for_s = 0;
        if (sscanf(line, "%15s %lf", word, &for_s) < 1)
            continue;
        if (!strcmp(word, "quit"))
            return 0;
        if (!strcmp(word, "status"))
            print_status();
        else
            happen(word, for_s);
    }
    return got != 0;
}

static void run_until(double end_s)
{
    uint64_t end = (uint64_t)(end_s * sim.crystal_hz);
    while (sim.avr->cycle < end) {
        int state = avr_run(sim.avr);
        if (state == cpu_Done || state == cpu_Crashed) {
            fprintf(stderr, "the firmware stopped (state %d)\n", state);
            exit(1);
        }
    }
}

static void happen_if_due(void)
{
    double now_s = true_s(sim.avr);
    for (size_t i = 0; i < sim.event_count; i++)
        if (sim.events[i].at_s >= 0 && sim.events[i].at_s <= now_s) {
            sim.events[i].at_s = -1;
            happen(sim.events[i].kind, sim.events[i].for_s);
        }
}

static void turn_for_ever(void)
{
    sim.origin_ns = monotonic_ns();
    printf("origin %llu\n", (unsigned long long)sim.origin_ns);
    fflush(stdout);
    for (double next_s = TURN_S;; next_s += TURN_S) {
        run_until(next_s);
        happen_if_due();
        see_clients();
        serve_terminal();
        if (!serve_commands())
            return;
        double real_s = (double)(monotonic_ns() - sim.origin_ns) * 1e-9 * sim.speed;
        if (real_s > next_s) {
            if (real_s - next_s > sim.worst_lag_s)
                sim.worst_lag_s = real_s - next_s;
            continue;
        }
        double pause_s = (next_s - real_s) / sim.speed;
        struct timespec pause = {(time_t)pause_s, (long)((pause_s - (double)(time_t)pause_s) * 1e9)};
        nanosleep(&pause, NULL);
    }
}

/* --- setting up -------------------------------------------------------------------------------- */

static void take_event(const char *text) /* KIND@AT or KIND@AT:FOR, seconds */
{
    event *made = &sim.events[sim.event_count];
    if (sim.event_count >= sizeof sim.events / sizeof *sim.events ||
        sscanf(text, "%15[a-z]@%lf:%lf", made->kind, &made->at_s, &made->for_s) < 2) {
        fprintf(stderr, "not KIND@AT[:FOR]: %s\n", text);
        exit(2);
    }
    sim.event_count++;
}

static void take_option(const char *name, const char *text)
{
    double value = atof(text);
    struct {
        const char *name;
        double *at;
    } numbers[] = {
        {"--speed", &sim.speed},          {"--boot-s", &sim.boot_s},
        {"--usb-latency-s", &sim.usb_latency_s}, {"--shunt-ohm", &sim.chip.shunt_ohm},
        {"--conversion-error", &sim.chip.clock_error}, {"--shunt-gain-error", &sim.chip.shunt_gain_error},
        {"--shunt-offset-v", &sim.chip.shunt_offset_v}, {"--bus-gain-error", &sim.chip.bus_gain_error},
        {"--noise-v", &sim.chip.noise_v},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(name, numbers[i].name)) {
            *numbers[i].at = value;
            return;
        }
    if (!strcmp(name, "--crystal-ppm"))
        sim.crystal_hz = NOMINAL_HZ * (1 + value * 1e-6);
    else if (!strcmp(name, "--reset-on-open"))
        sim.reset_on_open = value != 0;
    else if (!strcmp(name, "--event"))
        take_event(text);
    else {
        fprintf(stderr, "no such option: %s\n", name);
        exit(2);
    }
}

int main(int count, char **arguments)
{
    if (count < 3 || count % 2 == 0) {
        fprintf(stderr, "usage: streamer_host ELF TRACE [--option VALUE]...\n");
        return 2;
    }
    sim.crystal_hz = NOMINAL_HZ;
    sim.speed = 1;
    sim.chip = (ina219_chip){.trace = &sim.trace, .address = 0x40, .shunt_ohm = 0.1, .seed = 88172645463325252u};
    for (int i = 3; i < count; i += 2)
        take_option(arguments[i], arguments[i + 1]);
    if (power_trace_read(&sim.trace, arguments[2]))
        return 1;

    elf_firmware_t firmware;
    memset(&firmware, 0, sizeof firmware);
    avr_global_logger_set(quiet);
    if (elf_read_firmware(arguments[1], &firmware)) {
        fprintf(stderr, "%s: no firmware\n", arguments[1]);
        return 1;
    }
    sim.avr = avr_make_mcu_by_name("atmega328p");
    if (!sim.avr) {
        fprintf(stderr, "simavr knows no atmega328p\n");
        return 1;
    }
    avr_init(sim.avr);
    firmware.frequency = (uint32_t)NOMINAL_HZ;
    avr_load_firmware(sim.avr, &firmware);
    sim.avr->sleep = no_real_sleep;
    sim.port.avr = sim.twi.avr = sim.avr;
    sim.twi.chip = &sim.chip;
    sim.twi.true_s = true_s;
    usart_attach(&sim.port);
    twi_master_attach(&sim.twi);
    ina219_power_up(&sim.chip, 0);
    open_terminal();
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    turn_for_ever();
    print_status();
    return 0;
}
