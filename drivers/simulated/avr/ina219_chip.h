/* A TI INA219 as its I2C master sees it (datasheet SBOS448), measuring a power trace. */
#ifndef INA219_CHIP_H
#define INA219_CHIP_H

#include <stdbool.h>
#include <stdint.h>

#include "power_trace.h"

typedef struct {
    /* what it is */
    const power_trace *trace;
    uint8_t address;
    double shunt_ohm;       /* the resistor that is really there */
    double clock_error;     /* conversions take (1 + clock_error) times the typical time: up to 0.1 */
    double shunt_gain_error, shunt_offset_v, bus_gain_error;
    double noise_v;         /* rms of one 12 bit shunt conversion; averaging divides it */
    /* registers */
    uint16_t config, calibration, power;
    int16_t shunt, current;
    uint16_t bus; /* without its flags, not shifted */
    bool ready, overflow;
    /* the conversion under way */
    bool running, on_bus;
    double begun_s;
    /* the bus */
    uint8_t pointer, at_byte;
    uint16_t latched, incoming;
    bool reading;
    double silent_until_s; /* does not answer before: a NACK, or no supply */
    double off_until_s;    /* without supply before */
    /* counts */
    uint64_t conversions;  /* complete cycles */
    uint64_t unread;       /* cycles that ended while the one before was still marked ready */
    uint64_t nacks, writes;
    uint64_t seed;
} ina219_chip;

void ina219_power_up(ina219_chip *chip, double t_s); /* reset values, conversions begin */

/* The supply fails at t_s and is back after for_s. */
void ina219_brown_out(ina219_chip *chip, double t_s, double for_s);

void ina219_do_not_answer(ina219_chip *chip, double t_s, double for_s);

/* I2C, in the order of the wire; times do not go back. Both return the acknowledge. */
bool ina219_addressed(ina219_chip *chip, double t_s, uint8_t address, bool reading);
bool ina219_written(ina219_chip *chip, double t_s, uint8_t byte);
uint8_t ina219_read(ina219_chip *chip);

void ina219_advance(ina219_chip *chip, double t_s); /* finish the conversions that end until then */

#endif
