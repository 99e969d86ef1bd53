/* The ATmega328P's TWI as an I2C master, in true time: simavr's own takes no account of the bit rate. */
#ifndef TWI_MASTER_H
#define TWI_MASTER_H

#include <simavr/sim_avr.h>

#include "ina219_chip.h"

typedef struct {
    avr_t *avr;
    avr_int_vector_t *interrupt;
    ina219_chip *chip;
    double (*true_s)(const avr_t *avr); /* cycle counter -> true time */
    enum { TWI_FREE, TWI_STARTED, TWI_TO_WRITE, TWI_TO_READ, TWI_REFUSED } state;
    uint8_t next_status;
    uint64_t held_until; /* cycle; somebody else holds the bus low */
} twi_master;

void twi_master_attach(twi_master *twi); /* takes the registers over from simavr's model */
void twi_master_reset(twi_master *twi);

#endif
