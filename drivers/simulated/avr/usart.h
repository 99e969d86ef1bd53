/* The ATmega328P's USART0, in true time: a shift register and one byte before it, two bytes behind the receiver.
 * simavr's own counts a parity bit that is not sent, and keeps 64 bytes that the part would lose. */
#ifndef USART_H
#define USART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <simavr/sim_avr.h>

typedef struct {
    avr_t *avr;
    avr_int_vector_t *on_receive, *on_empty, *on_sent;
    /* transmitter */
    bool shifting, loaded;
    uint8_t shifted, waiting;
    uint8_t sent[8192]; /* what left the pin since the host took it */
    size_t sent_count;
    uint64_t sent_total, sent_lost;
    /* receiver */
    uint8_t fifo[2];
    uint8_t fifo_count;
    uint8_t arriving[4096]; /* what the host has written, not yet on the pin */
    size_t arriving_head, arriving_count;
    bool receiving;
    uint64_t received_total, overrun;
} usart;

void usart_attach(usart *port);
void usart_reset(usart *port);
void usart_host_writes(usart *port, const uint8_t *bytes, size_t count);
double usart_baud(const usart *port, double cycles_per_s);

#endif
