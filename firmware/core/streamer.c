/* One conversion, one sample: CNVR says when it is complete, the power register re-arms it, and whatever fails is said
 * and never filled in. */
#include "streamer.h"

#include <string.h>

#include "../hal.h"
#include "ina219.h"
#include "talk.h"

#define CHECK_EVERY_US 10000u   /* the calibration register: a chip that was reset has 0 there */
#define CHECK_AT_LEAST_US 40000u
#define TELL_EVERY_US 1000000u  /* the configuration in force */
#define NACKS_EVERY_US 100000u
#define RETRY_AFTER_US 2000u
#define ASK_AGAIN 4u
/* The least time between samples that leaves no conversion unread: three registers at 400 kHz, a check now and then, what
 * interrupts take (a fast line sends its bytes in bursts that hold up the bus), and in ASCII the making of a line.
 * Measured on an ATmega328P at 16 MHz: docs/firmware.md. */
#ifndef LEAST_READ_US
#define LEAST_READ_US (binary && hal_baud() <= 250000u ? 480u : 900u)
#endif

static bool passed(uint32_t now_us, uint32_t due_us) { return (int32_t)(now_us - due_us) >= 0; }

uint32_t streamer_least_period_us(bool binary)
{
    /* ten bits a byte; at most 39 bytes a line, 79 bytes for 16 samples */
    uint32_t line_us = binary ? (790u * 100000u / 16u / (hal_baud() / 10u) + 9u) / 10u * 10u
                              : (390u * 100000u / (hal_baud() / 10u) + 99u) / 100u * 100u;
    return line_us > LEAST_READ_US ? line_us : LEAST_READ_US;
}

/* --- the chip ---------------------------------------------------------------------------------- */

static void failed(streamer *s)
{
    uint32_t now_us = hal_micros();
    s->count.i2c_failures++;
    s->suspect = true;
    s->timed = false;
    s->retry_us = now_us + RETRY_AFTER_US;
    if (s->running && (s->nacks_said == 0 || now_us - s->said_nack_us >= NACKS_EVERY_US)) {
        s->nacks_said++;
        s->said_nack_us = now_us;
        say_event(s, "i2c_nack", s->count.i2c_failures, now_us);
    }
}

static bool chip_read(streamer *s, uint8_t pointer, uint16_t *value)
{
    if (hal_register_read(INA219_ADDRESS, pointer, value))
        return true;
    failed(s);
    return false;
}

static bool read_back(streamer *s, uint16_t *config, uint16_t *calibration)
{
    return chip_read(s, INA219_CONFIG, config) && chip_read(s, INA219_CALIBRATION, calibration);
}

/* The configuration last: writing it begins a conversion and clears CNVR. */
static bool configure(streamer *s, const settings *wanted, uint16_t *config, uint16_t *calibration)
{
    if (!hal_register_write(INA219_ADDRESS, INA219_CALIBRATION, wanted->calibration) ||
        !hal_register_write(INA219_ADDRESS, INA219_CONFIG, wanted->config)) {
        failed(s);
        return false;
    }
    return read_back(s, config, calibration);
}

static void next_epoch(streamer *s) { s->epoch = s->epoch == 255 ? 1 : (uint8_t)(s->epoch + 1); }

/* The chip was reset behind our back. Samples before this belong to what it was; the next ones to a new epoch. */
static void recover(streamer *s)
{
    s->count.brownouts++;
    say_event(s, "brownout", s->count.brownouts, hal_micros());
    s->timed = false;
    s->suspect = true; /* until it has been written and read back */
    uint16_t config, calibration;
    if (!configure(s, &s->in_force, &config, &calibration))
        return;
    s->config_read = config;
    s->calibration_read = calibration;
    s->suspect = false;
    next_epoch(s);
    say_configuration(s);
    s->told_us = s->checked_us = hal_micros();
}

/* True if the chip still is what was configured. */
static bool checked(streamer *s)
{
    uint16_t config = s->config_read, calibration;
    if (s->suspect ? !read_back(s, &config, &calibration) : !chip_read(s, INA219_CALIBRATION, &calibration))
        return false;
    s->checked_us = hal_micros();
    if (calibration == s->calibration_read && config == s->config_read) {
        s->suspect = false;
        return true;
    }
    recover(s);
    return false;
}

/* --- samples ----------------------------------------------------------------------------------- */

static bool rearm(streamer *s) /* only reading the power register clears CNVR */
{
    uint16_t power;
    return chip_read(s, INA219_POWER, &power);
}

static bool grid_reached(streamer *s, uint32_t now_us)
{
    if (!passed(now_us, s->due_us))
        return false;
    s->due_us += s->in_force.period_us;
    while (passed(now_us, s->due_us)) {
        s->due_us += s->in_force.period_us;
        s->count.late++;
    }
    return true;
}

static void count_late(streamer *s, uint32_t t_us)
{
    if (s->in_force.period_us == 0 && s->timed && t_us - s->last_sample_us > s->conversion_us * 13u / 8u) /* the chip may be 10 % slow */
        s->count.late++;
    s->timed = true;
    s->last_sample_us = t_us;
}

/* Asks for CNVR some times. Asking again leaves out the pointer, which is twice as fast; should the chip have been reset
 * in between, it points at its configuration, and that cannot be taken for a bus voltage. */
static bool complete(streamer *s, uint16_t *bus)
{
    if (!chip_read(s, INA219_BUS, bus))
        return false;
    for (uint8_t tries = 0; !(*bus & INA219_READY) && tries < ASK_AGAIN; tries++) {
        s->ahead = true;
        if (!hal_register_again(INA219_ADDRESS, bus)) {
            failed(s);
            return false;
        }
    }
    if (*bus & INA219_NEVER) {
        s->suspect = true;
        s->timed = false;
        s->retry_us = hal_micros();
        return false;
    }
    return *bus & INA219_READY;
}

static void sample(streamer *s)
{
    uint32_t now_us = hal_micros();
    if (s->suspect) {
        if (!passed(now_us, s->retry_us) || !checked(s))
            return;
        rearm(s); /* what completed meanwhile has no known time */
        return;
    }
    if (s->in_force.period_us && s->waiting) {
        if (!grid_reached(s, now_us) || !rearm(s))
            return;
        s->waiting = false;
    }
    uint16_t bus, shunt;
    if (!complete(s, &bus))
        return;
    uint32_t t_us = hal_micros();
    if (!chip_read(s, INA219_SHUNT, &shunt) || !rearm(s))
        return;
    bool in_time = s->ahead && !is_talking();
    /* what a chip says that was reset since it was asked for CNVR, or while it was asked for the shunt */
    bool doubtful = (shunt == 0 && s->last_shunt != 0) || shunt == INA219_RESET_CONFIG;
    bool due = t_us - s->checked_us >= (in_time ? CHECK_EVERY_US : CHECK_AT_LEAST_US);
    s->last_shunt = shunt;
    if ((due || doubtful) && !checked(s))
        return; /* the sample of a chip that was reset is not said */
    s->ahead = false;
    count_late(s, t_us);
    say_sample(s, t_us, (int16_t)shunt, bus);
    s->waiting = true;
}

static void keep_house(streamer *s)
{
    uint32_t now_us = hal_micros();
    if (!s->suspect && now_us - s->checked_us >= CHECK_AT_LEAST_US && !checked(s)) /* samples are rare */
        return;
    if (now_us - s->told_us >= TELL_EVERY_US && remind_of_configuration(s))
        s->told_us = now_us;
    say_frame_if_old(s, now_us);
    say_time_owed(s);
}

/* --- commands ---------------------------------------------------------------------------------- */

static void do_configure(streamer *s)
{
    const settings *asked = &s->reader.asked;
    uint16_t mode = asked->config & INA219_MODE;
    if (s->running) {
        say_refused(s, "CFG", "running");
        return;
    }
    if (mode != INA219_SHUNT_CONTINUOUS && mode != INA219_SHUNT_AND_BUS_CONTINUOUS) {
        say_bad_configuration(s, "mode");
        return;
    }
    if (asked->config & INA219_RESET) {
        say_bad_configuration(s, "reset");
        return;
    }
    if (!(asked->calibration & 0xFFFEu)) {
        say_bad_configuration(s, "cal");
        return;
    }
    uint32_t conversion_us = ina219_conversion_us(asked->config);
    uint32_t period_us = asked->period_us > conversion_us ? asked->period_us : conversion_us;
    uint32_t least_us = streamer_least_period_us(asked->binary);
    if (period_us < least_us) {
        say_rate(s, period_us, least_us);
        return;
    }
    uint16_t config, calibration;
    if (!configure(s, asked, &config, &calibration)) {
        say_event(s, "i2c_nack", s->count.i2c_failures, hal_micros());
        return;
    }
    s->in_force = *asked;
    s->config_read = config;
    s->calibration_read = calibration;
    s->conversion_us = conversion_us;
    s->configured = true;
    next_epoch(s);
    say_configuration(s);
}

static void do_start(streamer *s)
{
    if (s->running || !s->configured) {
        say_refused(s, "START", s->running ? "running" : "unconfigured");
        return;
    }
    uint16_t config, calibration;
    if (!configure(s, &s->in_force, &config, &calibration) || !rearm(s)) {
        say_event(s, "i2c_nack", s->count.i2c_failures, hal_micros());
        return;
    }
    if (config != s->config_read || calibration != s->calibration_read)
        next_epoch(s);
    s->config_read = config;
    s->calibration_read = calibration;
    memset(&s->count, 0, sizeof s->count);
    s->sequence = 0;
    s->suspect = s->timed = false;
    s->nacks_said = 0;
    say_configuration(s);
    if (s->in_force.binary)
        begin_binary(s);
    s->waiting = true;
    s->due_us = s->checked_us = s->told_us = hal_micros();
    s->running = true;
}

static void do_stop(streamer *s)
{
    if (s->running && s->in_force.binary)
        end_binary(s);
    s->running = false;
    say_counts(s);
}

static void obey(streamer *s, command_kind kind)
{
    switch (kind) {
    case COMMAND_HELLO: say_hello(s); break;
    case COMMAND_CFG: do_configure(s); break;
    case COMMAND_FORMAT: say_bad_configuration(s, "fmt"); break;
    case COMMAND_START: do_start(s); break;
    case COMMAND_STOP: do_stop(s); break;
    case COMMAND_PING: say_time(s, s->reader.nonce, hal_micros()); break;
    case COMMAND_STAT: say_counts(s); break;
    case COMMAND_LONG: say_refused(s, "-", "long"); break;
    case COMMAND_CRC: say_refused(s, "-", "crc"); break;
    case COMMAND_FIELD: say_refused(s, s->reader.name, "field"); break;
    case COMMAND_UNKNOWN: say_refused(s, s->reader.name, "unknown"); break;
    case COMMAND_NONE: break;
    }
}

void streamer_boot(streamer *s)
{
    static const uint8_t line_end[] = {'\r', '\n'};
    memset(s, 0, sizeof *s);
    hal_send(line_end, sizeof line_end);
    say_hello(s);
}

void streamer_poll(streamer *s)
{
    uint8_t byte;
    while (hal_receive(&byte))
        obey(s, command_byte(&s->reader, byte));
    if (s->running) {
        keep_house(s);
        if (s->running)
            sample(s);
    } else {
        hal_wait();
    }
}
