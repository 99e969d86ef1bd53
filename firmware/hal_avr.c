/* The hardware layer for an ATmega328P at 16 MHz: TWI at 400 kHz, USART0, Timer1 counting half microseconds. */
#include <avr/eeprom.h>
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <util/atomic.h>

#include "core/ring.h"
#include "hal.h"

#ifndef BAUD
#define BAUD 115200UL
#endif
#ifndef CLOCK_START_US
#define CLOCK_START_US 0UL /* only to try the wrap of the clock without waiting for 71 minutes */
#endif
#ifndef UID
#define UID 0xFFFFFFUL /* blank EEPROM: none */
#endif

/* Double speed: UBRR 16 at 115200 makes 117647 baud (+2.1 %); 250000, 500000 and 1000000 are exact. */
#define UBRR_VALUE ((F_CPU + 4UL * BAUD) / (8UL * BAUD) - 1UL)

static uint8_t sent_bytes[512], received_bytes[128];
static ring to_send = {sent_bytes, sizeof sent_bytes, 0, 0};
static ring received = {received_bytes, sizeof received_bytes, 0, 0};
static volatile uint16_t turns; /* of Timer1, each 32768 us; 2^17 of them are one turn of the clock */
static volatile uint8_t turns_high;
static const uint8_t stored_uid[3] EEMEM = {(uint8_t)(UID >> 16), (uint8_t)(UID >> 8), (uint8_t)UID};
static uint32_t uid;

void hal_begin(void);

/* --- time -------------------------------------------------------------------------------------- */

ISR(TIMER1_OVF_vect)
{
    if (!++turns)
        turns_high++;
}

uint32_t hal_micros(void)
{
    uint16_t ticks, low;
    uint8_t high;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        ticks = TCNT1;
        low = turns;
        high = turns_high;
        if ((TIFR1 & _BV(TOV1)) && ticks < 0x8000u && !++low) /* it turned, and the interrupt has not run yet */
            high++;
    }
    uint32_t since = (((uint32_t)high << 16 | low) << 15) + (ticks >> 1);
    return since + CLOCK_START_US;
}

/* --- the serial line --------------------------------------------------------------------------- */

ISR(USART_RX_vect)
{
    ring_put(&received, UDR0);
}

ISR(USART_UDRE_vect)
{
    uint8_t byte;
    if (ring_get(&to_send, &byte))
        UDR0 = byte;
    else
        UCSR0B &= (uint8_t)~_BV(UDRIE0);
}

bool hal_receive(uint8_t *byte)
{
    bool got;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE) { got = ring_get(&received, byte); }
    return got;
}

uint16_t hal_send_room(void)
{
    uint16_t room;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE) { room = ring_room(&to_send); }
    return room;
}

void hal_send(const uint8_t *bytes, uint8_t count)
{
    uint16_t head = to_send.head; /* only this function moves it */
    while (count--) {
        sent_bytes[head] = *bytes++;
        head = (head + 1u) & (sizeof sent_bytes - 1u);
    }
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        to_send.head = head;
        UCSR0B |= _BV(UDRIE0);
    }
}

uint32_t hal_baud(void) { return BAUD; }

/* --- I2C --------------------------------------------------------------------------------------- */

#define START_SENT 0x08
#define RESTART_SENT 0x10
#define WRITE_ACKNOWLEDGED 0x18
#define BYTE_ACKNOWLEDGED 0x28
#define READ_ACKNOWLEDGED 0x40
#define BYTE_READ 0x50
#define LAST_BYTE_READ 0x58

static void twi_begin(void)
{
    TWSR = 0;
    TWBR = (uint8_t)((F_CPU / 400000UL - 16UL) / 2UL);
    TWCR = _BV(TWEN);
}

/* One step of a transfer; false unless it ends with this status. A bus that is held for 2 ms counts as failed. */
static bool twi_step(uint8_t control, uint8_t status)
{
    uint16_t patience = 4000;
    TWCR = (uint8_t)(_BV(TWINT) | _BV(TWEN) | control);
    if (!(control & _BV(TWSTA)))
        hal_meanwhile(); /* a byte takes 22 us */
    while (!(TWCR & _BV(TWINT)))
        if (!--patience)
            return false;
    return (TWSR & 0xF8) == status;
}

static bool twi_send(uint8_t byte, uint8_t status)
{
    TWDR = byte;
    return twi_step(0, status);
}

/* Ends a transfer, good or bad, so that the next one finds a free bus. */
static bool twi_end(bool good)
{
    uint16_t patience = 4000;
    TWCR = _BV(TWINT) | _BV(TWEN) | _BV(TWSTO);
    while ((TWCR & _BV(TWSTO)) && --patience) {
    }
    if (!patience) { /* somebody holds the bus: let go of it and begin again */
        TWCR = 0;
        twi_begin();
        return false;
    }
    return good;
}

static bool twi_point(uint8_t address, uint8_t pointer)
{
    return twi_step(_BV(TWSTA), START_SENT) && twi_send((uint8_t)(address << 1), WRITE_ACKNOWLEDGED) &&
           twi_send(pointer, BYTE_ACKNOWLEDGED);
}

bool hal_register_write(uint8_t address, uint8_t pointer, uint16_t value)
{
    return twi_end(twi_point(address, pointer) && twi_send((uint8_t)(value >> 8), BYTE_ACKNOWLEDGED) &&
                   twi_send((uint8_t)value, BYTE_ACKNOWLEDGED));
}

static bool twi_receive(uint8_t address, uint16_t *value)
{
    uint8_t high = 0, low = 0;
    bool good = twi_send((uint8_t)(address << 1 | 1u), READ_ACKNOWLEDGED);
    if (good && (good = twi_step(_BV(TWEA), BYTE_READ)))
        high = TWDR;
    if (good && (good = twi_step(0, LAST_BYTE_READ)))
        low = TWDR;
    *value = (uint16_t)((uint16_t)high << 8 | low);
    return twi_end(good);
}

bool hal_register_read(uint8_t address, uint8_t pointer, uint16_t *value)
{
    if (twi_point(address, pointer) && twi_step(_BV(TWSTA), RESTART_SENT))
        return twi_receive(address, value);
    return twi_end(false);
}

bool hal_register_again(uint8_t address, uint16_t *value)
{
    return twi_step(_BV(TWSTA), START_SENT) ? twi_receive(address, value) : twi_end(false);
}

/* --- the rest ---------------------------------------------------------------------------------- */

uint32_t hal_uid(void) { return uid; }

void hal_wait(void)
{
    cli();
    if (received.head == received.tail) {
        sleep_enable();
        sei(); /* the instruction after sei is carried out before any interrupt: none is missed */
        sleep_cpu();
        sleep_disable();
    }
    sei();
}

void hal_begin(void)
{
    uint8_t stored[3];
    eeprom_read_block(stored, stored_uid, sizeof stored);
    uid = (uint32_t)stored[0] << 16 | (uint16_t)((uint16_t)stored[1] << 8) | stored[2];
    if (uid == 0xFFFFFFUL)
        uid = 0;
    UBRR0 = UBRR_VALUE;
    UCSR0A = _BV(U2X0);
    UCSR0C = _BV(UCSZ01) | _BV(UCSZ00);
    UCSR0B = _BV(RXCIE0) | _BV(RXEN0) | _BV(TXEN0);
    TCCR1A = 0;
    TCCR1B = _BV(CS11); /* 16 MHz / 8 */
    TIMSK1 = _BV(TOIE1);
    PORTC |= _BV(PORTC4) | _BV(PORTC5); /* weak pull-ups; the breakout has its own */
    twi_begin();
    set_sleep_mode(SLEEP_MODE_IDLE);
    sei();
}
