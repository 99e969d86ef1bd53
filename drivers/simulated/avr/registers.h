/* Replacing simavr's model behind a register of the ATmega328P by our own. */
#ifndef REGISTERS_H
#define REGISTERS_H

#include <stdio.h>
#include <stdlib.h>

#include <simavr/sim_avr.h>
#include <simavr/sim_interrupts.h>

static inline void take_over_write(avr_t *avr, avr_io_addr_t at, avr_io_write_t write, void *param)
{
    avr->io[AVR_DATA_TO_IO(at)].w.c = write;
    avr->io[AVR_DATA_TO_IO(at)].w.param = param;
}

static inline void take_over_read(avr_t *avr, avr_io_addr_t at, avr_io_read_t read, void *param)
{
    avr->io[AVR_DATA_TO_IO(at)].r.c = read;
    avr->io[AVR_DATA_TO_IO(at)].r.param = param;
}

static inline avr_int_vector_t *vector_of(avr_t *avr, uint8_t number)
{
    for (int i = 0; i < avr->interrupts.vector_count; i++)
        if (avr->interrupts.vector[i]->vector == number)
            return avr->interrupts.vector[i];
    fprintf(stderr, "simavr knows no interrupt %d on this part\n", number);
    exit(1);
}

#endif
