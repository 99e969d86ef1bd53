/* Registers, conversions in their true windows, and the flags that a driver must get right. */
#include "ina219_chip.h"

#include <math.h>
#include <stdlib.h>

enum { CONFIG, SHUNT, BUS, POWER, CURRENT, CALIBRATION };
#define RESET_CONFIG 0x399Fu
#define CONFIG_RST 0x8000u

/* Typical conversion times of table 5 by the four bits of BADC and SADC. */
static double conversion_s(unsigned code)
{
    static const double by_bits[] = {84e-6, 148e-6, 276e-6, 532e-6};
    static const double by_averages[] = {532e-6, 1.06e-3, 2.13e-3, 4.26e-3, 8.51e-3, 17.02e-3, 34.05e-3, 68.10e-3};
    return code & 8u ? by_averages[code & 7u] : by_bits[code & 3u];
}

static unsigned sadc(const ina219_chip *chip) { return chip->config >> 3 & 15u; }
static unsigned badc(const ina219_chip *chip) { return chip->config >> 7 & 15u; }
static bool with_shunt(const ina219_chip *chip) { return chip->config & 1u; }
static bool with_bus(const ina219_chip *chip) { return chip->config & 2u; }
static bool continuous(const ina219_chip *chip) { return chip->config & 4u; }

/* A resolution of fewer than 12 bits has coarser steps; an averaged result has the finest. */
static double step_of(unsigned code) { return code & 8u ? 1.0 : (double)(1u << (3u - (code & 3u))); }
static double averages_of(unsigned code) { return code & 8u ? (double)(1u << (code & 7u)) : 1.0; }

static double uniform(ina219_chip *chip) /* xorshift64*: the same noise in every run */
{
    chip->seed ^= chip->seed >> 12;
    chip->seed ^= chip->seed << 25;
    chip->seed ^= chip->seed >> 27;
    return (double)((chip->seed * 2685821657736338717u) >> 11) / 9007199254740992.0;
}

static double normal(ina219_chip *chip)
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++)
        sum += uniform(chip);
    return sum;
}

static long clipped(double value, long low, long high)
{
    long rounded = lround(value);
    return rounded < low ? low : rounded > high ? high : rounded;
}

static void finish_shunt(ina219_chip *chip, double from_s, double to_s)
{
    double step = step_of(sadc(chip));
    double drop_v = power_trace_current(chip->trace, from_s, to_s) * chip->shunt_ohm;
    drop_v = drop_v * (1 + chip->shunt_gain_error) + chip->shunt_offset_v;
    drop_v += chip->noise_v / sqrt(averages_of(sadc(chip))) * normal(chip);
    long limit = 4000l << (chip->config >> 11 & 3u); /* PG: +-40, 80, 160, 320 mV, without any flag */
    chip->shunt = (int16_t)clipped(round(drop_v / 10e-6 / step) * step, -limit, limit);
}

static void finish_bus(ina219_chip *chip, double from_s, double to_s)
{
    double step = step_of(badc(chip));
    double volt = power_trace_voltage(chip->trace, from_s, to_s) * (1 + chip->bus_gain_error);
    chip->bus = (uint16_t)clipped(round(volt / 4e-3 / step) * step, 0, chip->config & 0x2000u ? 8000 : 4000);
}

static void finish_cycle(ina219_chip *chip)
{
    long current = (long)chip->shunt * chip->calibration / 4096;
    long power = labs(current) * chip->bus / 5000;
    chip->overflow = current > 32767 || current < -32768 || power > 65535;
    chip->current = (int16_t)clipped((double)current, -32768, 32767);
    chip->power = (uint16_t)clipped((double)power, 0, 65535);
    chip->conversions++;
    chip->unread += chip->ready;
    chip->ready = true;
}

static void begin(ina219_chip *chip, double t_s)
{
    chip->running = with_shunt(chip) || with_bus(chip);
    chip->on_bus = !with_shunt(chip);
    chip->begun_s = t_s;
}

void ina219_advance(ina219_chip *chip, double t_s)
{
    while (chip->running) {
        double takes_s = conversion_s(chip->on_bus ? badc(chip) : sadc(chip)) * (1 + chip->clock_error);
        double end_s = chip->begun_s + takes_s;
        if (end_s > t_s)
            return;
        if (chip->on_bus)
            finish_bus(chip, chip->begun_s, end_s);
        else
            finish_shunt(chip, chip->begun_s, end_s);
        chip->begun_s = end_s;
        if (!chip->on_bus && with_bus(chip)) {
            chip->on_bus = true;
            continue;
        }
        finish_cycle(chip);
        chip->running = continuous(chip);
        chip->on_bus = !with_shunt(chip);
    }
}

void ina219_power_up(ina219_chip *chip, double t_s)
{
    chip->config = RESET_CONFIG;
    chip->calibration = chip->power = chip->bus = 0;
    chip->shunt = chip->current = 0;
    chip->ready = chip->overflow = false;
    chip->pointer = 0;
    begin(chip, t_s);
}

void ina219_brown_out(ina219_chip *chip, double t_s, double for_s)
{
    ina219_advance(chip, t_s);
    ina219_power_up(chip, t_s + for_s);
    chip->off_until_s = t_s + for_s;
}

void ina219_do_not_answer(ina219_chip *chip, double t_s, double for_s) { chip->silent_until_s = t_s + for_s; }

static uint16_t value_of(const ina219_chip *chip)
{
    switch (chip->pointer) {
    case CONFIG: return chip->config;
    case SHUNT: return (uint16_t)chip->shunt;
    case BUS: return (uint16_t)(chip->bus << 3 | chip->ready << 1 | chip->overflow);
    case POWER: return chip->power;
    case CURRENT: return (uint16_t)chip->current;
    case CALIBRATION: return chip->calibration;
    default: return 0xFFFFu;
    }
}

static void store(ina219_chip *chip, double t_s, uint16_t value)
{
    chip->writes++;
    if (chip->pointer == CALIBRATION) {
        chip->calibration = value & 0xFFFEu; /* bit 0 is void */
    } else if (chip->pointer == CONFIG) {
        if (value & CONFIG_RST) {
            ina219_power_up(chip, t_s);
            return;
        }
        chip->config = value;
        if (value & 3u) /* neither power-down nor ADC off: a new conversion, and the old one is no longer ready */
            chip->ready = false;
        begin(chip, t_s);
    }
}

bool ina219_addressed(ina219_chip *chip, double t_s, uint8_t address, bool reading)
{
    if (address != chip->address || t_s < chip->silent_until_s || t_s < chip->off_until_s) {
        chip->nacks++;
        return false;
    }
    ina219_advance(chip, t_s);
    chip->at_byte = 0;
    chip->reading = reading;
    if (reading) {
        chip->latched = value_of(chip);
        if (chip->pointer == POWER)
            chip->ready = false;
    }
    return true;
}

bool ina219_written(ina219_chip *chip, double t_s, uint8_t byte)
{
    if (t_s < chip->silent_until_s || t_s < chip->off_until_s)
        return false;
    ina219_advance(chip, t_s);
    if (chip->at_byte == 0)
        chip->pointer = byte;
    else
        chip->incoming = (uint16_t)(chip->incoming << 8 | byte);
    if (chip->at_byte == 2)
        store(chip, t_s, chip->incoming);
    if (chip->at_byte < 3)
        chip->at_byte++;
    return true;
}

uint8_t ina219_read(ina219_chip *chip)
{
    uint8_t byte = (uint8_t)(chip->latched >> (chip->at_byte == 0 ? 8 : 0));
    chip->at_byte ^= 1u;
    return byte;
}
