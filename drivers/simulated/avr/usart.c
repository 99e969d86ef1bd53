/* Registers and double buffering: ATmega328P datasheet, section 20. Ten bits a byte (8N1). */
#include "usart.h"

#include "registers.h"

#include <simavr/sim_cycle_timers.h>

enum { UCSRA = 0xC0, UCSRB, UCSRC, UBRRL = 0xC4, UBRRH, UDR };
enum { RXC = 0x80, TXC = 0x40, UDRE = 0x20, DOR = 0x08, U2X = 0x02 };         /* UCSRA */
enum { RXCIE = 0x80, UDRIE = 0x20, RXEN = 0x10, TXEN = 0x08 };                /* UCSRB */
enum { RECEIVE_VECTOR = 18, EMPTY_VECTOR = 19, SENT_VECTOR = 20 };

static avr_cycle_count_t byte_cycles(const usart *port)
{
    const uint8_t *data = port->avr->data;
    unsigned divider = (unsigned)((data[UBRRH] & 15u) << 8 | data[UBRRL]) + 1u;
    return 10u * divider * (data[UCSRA] & U2X ? 8u : 16u);
}

double usart_baud(const usart *port, double cycles_per_s) { return 10.0 * cycles_per_s / (double)byte_cycles(port); }

/* --- transmitter ------------------------------------------------------------------------------- */

static avr_cycle_count_t shifted_out(avr_t *avr, avr_cycle_count_t when, void *param)
{
    usart *port = param;
    port->sent_total++;
    if (port->sent_count < sizeof port->sent)
        port->sent[port->sent_count++] = port->shifted;
    else
        port->sent_lost++;
    if (!port->loaded) {
        port->shifting = false;
        avr_raise_interrupt(avr, port->on_sent);
        return 0;
    }
    port->shifted = port->waiting;
    port->loaded = false;
    avr_raise_interrupt(avr, port->on_empty); /* sets UDRE */
    return when + byte_cycles(port);
}

static void data_written(avr_t *avr, avr_io_addr_t addr, uint8_t value, void *param)
{
    usart *port = param;
    (void)addr;
    if (!(avr->data[UCSRB] & TXEN) || port->loaded)
        return;
    if (port->shifting) {
        port->waiting = value;
        port->loaded = true;
        avr->data[UCSRA] &= (uint8_t)~UDRE;
        avr_clear_interrupt(avr, port->on_empty);
        return;
    }
    port->shifting = true;
    port->shifted = value;
    avr_cycle_timer_register(avr, byte_cycles(port), shifted_out, port);
    avr_raise_interrupt(avr, port->on_empty); /* still empty: the flag is a level, not an edge */
}

static void control_written(avr_t *avr, avr_io_addr_t addr, uint8_t value, void *param)
{
    usart *port = param;
    avr->data[addr] = value;
    if (value & UDRIE && avr->data[UCSRA] & UDRE)
        avr_raise_interrupt(avr, port->on_empty);
    else if (!(value & UDRIE))
        avr_clear_interrupt(avr, port->on_empty);
    if (value & RXCIE && port->fifo_count)
        avr_raise_interrupt(avr, port->on_receive);
}

static void status_written(avr_t *avr, avr_io_addr_t addr, uint8_t value, void *param)
{
    (void)param;
    avr->data[addr] = (uint8_t)((avr->data[addr] & ~3u & (value & TXC ? ~(unsigned)TXC : ~0u)) | (value & 3u));
}

/* --- receiver ---------------------------------------------------------------------------------- */

static avr_cycle_count_t byte_arrived(avr_t *avr, avr_cycle_count_t when, void *param)
{
    usart *port = param;
    uint8_t byte = port->arriving[port->arriving_head];
    port->arriving_head = (port->arriving_head + 1) % sizeof port->arriving;
    port->arriving_count--;
    port->received_total++;
    if (avr->data[UCSRB] & RXEN) {
        if (port->fifo_count < 2) {
            port->fifo[port->fifo_count++] = byte;
            avr_raise_interrupt(avr, port->on_receive);
        } else {
            port->overrun++;
            avr->data[UCSRA] |= DOR;
        }
    }
    port->receiving = port->arriving_count > 0;
    return port->receiving ? when + byte_cycles(port) : 0;
}

static uint8_t data_read(avr_t *avr, avr_io_addr_t addr, void *param)
{
    usart *port = param;
    (void)addr;
    uint8_t byte = port->fifo[0];
    if (port->fifo_count) {
        port->fifo[0] = port->fifo[1];
        port->fifo_count--;
    }
    avr->data[UCSRA] &= (uint8_t)~DOR;
    avr_clear_interrupt(avr, port->on_receive);
    if (port->fifo_count)
        avr_raise_interrupt(avr, port->on_receive);
    else
        avr->data[UCSRA] &= (uint8_t)~RXC;
    return byte;
}

static uint8_t status_read(avr_t *avr, avr_io_addr_t addr, void *param)
{
    (void)param;
    return avr->data[addr];
}

void usart_host_writes(usart *port, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count && port->arriving_count < sizeof port->arriving; i++) {
        port->arriving[(port->arriving_head + port->arriving_count) % sizeof port->arriving] = bytes[i];
        port->arriving_count++;
    }
    if (port->arriving_count && !port->receiving) {
        port->receiving = true;
        avr_cycle_timer_register(port->avr, byte_cycles(port), byte_arrived, port);
    }
}

void usart_reset(usart *port)
{
    avr_cycle_timer_cancel(port->avr, shifted_out, port);
    avr_cycle_timer_cancel(port->avr, byte_arrived, port);
    port->shifting = port->loaded = port->receiving = false;
    port->fifo_count = 0;
    port->arriving_count = 0;
    port->avr->data[UCSRA] = UDRE;
    port->avr->data[UCSRB] = 0;
}

static void ignored(avr_t *avr, avr_io_addr_t addr, uint8_t value, void *param)
{
    (void)param;
    avr->data[addr] = value;
}

void usart_attach(usart *port)
{
    avr_t *avr = port->avr;
    port->on_receive = vector_of(avr, RECEIVE_VECTOR);
    port->on_empty = vector_of(avr, EMPTY_VECTOR);
    port->on_sent = vector_of(avr, SENT_VECTOR);
    take_over_write(avr, UDR, data_written, port);
    take_over_read(avr, UDR, data_read, port);
    take_over_write(avr, UCSRA, status_written, port);
    take_over_read(avr, UCSRA, status_read, port);
    take_over_write(avr, UCSRB, control_written, port);
    take_over_write(avr, UCSRC, ignored, port);
    take_over_write(avr, UBRRL, ignored, port);
    take_over_write(avr, UBRRH, ignored, port);
    usart_reset(port);
}
