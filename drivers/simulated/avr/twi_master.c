/* Status codes and order of events: ATmega328P datasheet, section 22.7. One bit takes 16 + 2 TWBR 4^TWPS cycles. */
#include "twi_master.h"

#include "registers.h"

#include <simavr/sim_cycle_timers.h>
#include <simavr/sim_io.h>

enum { TWBR = 0xB8, TWSR, TWAR, TWDR, TWCR };
enum { TWINT = 0x80, TWEA = 0x40, TWSTA = 0x20, TWSTO = 0x10, TWWC = 0x08, TWEN = 0x04, TWIE = 0x01 };
enum { TWI_VECTOR = 24, NO_STATUS = 0xF8 };

static avr_cycle_count_t bits(const twi_master *twi, unsigned count)
{
    const uint8_t *data = twi->avr->data;
    return count * (16u + 2u * data[TWBR] * (1u << 2 * (data[TWSR] & 3u)));
}

static void set_status(twi_master *twi, uint8_t status)
{
    twi->avr->data[TWSR] = (uint8_t)(status | (twi->avr->data[TWSR] & 3u));
}

static avr_cycle_count_t step_done(avr_t *avr, avr_cycle_count_t when, void *param)
{
    twi_master *twi = param;
    if (avr->cycle < twi->held_until)
        return when + bits(twi, 1);
    set_status(twi, twi->next_status);
    avr_raise_interrupt(avr, twi->interrupt); /* sets TWINT */
    return 0;
}

static avr_cycle_count_t stop_done(avr_t *avr, avr_cycle_count_t when, void *param)
{
    twi_master *twi = param;
    if (avr->cycle < twi->held_until)
        return when + bits(twi, 1);
    avr->data[TWCR] &= (uint8_t)~TWSTO;
    return 0;
}

static void after(twi_master *twi, unsigned bit_count, uint8_t status)
{
    twi->next_status = status;
    avr_cycle_timer_register(twi->avr, bits(twi, bit_count), step_done, twi);
}

static void address(twi_master *twi)
{
    uint8_t byte = twi->avr->data[TWDR];
    bool reading = byte & 1u;
    bool acknowledged = ina219_addressed(twi->chip, twi->true_s(twi->avr), byte >> 1, reading);
    twi->state = !acknowledged ? TWI_REFUSED : reading ? TWI_TO_READ : TWI_TO_WRITE;
    after(twi, 9, reading ? (acknowledged ? 0x40 : 0x48) : (acknowledged ? 0x18 : 0x20));
}

static void next_byte(twi_master *twi, bool acknowledge)
{
    uint8_t *data = twi->avr->data;
    switch (twi->state) {
    case TWI_STARTED:
        address(twi);
        break;
    case TWI_TO_WRITE:
        after(twi, 9, ina219_written(twi->chip, twi->true_s(twi->avr), data[TWDR]) ? 0x28 : 0x30);
        break;
    case TWI_TO_READ:
        data[TWDR] = ina219_read(twi->chip);
        after(twi, 9, acknowledge ? 0x50 : 0x58);
        break;
    default: /* nobody listens: the bus idles high */
        data[TWDR] = 0xFF;
        after(twi, 9, 0x58);
    }
}

static void control_written(avr_t *avr, avr_io_addr_t addr, uint8_t value, void *param)
{
    twi_master *twi = param;
    uint8_t before = avr->data[addr];
    /* TWINT is cleared by writing a one, and stays as it was otherwise */
    uint8_t flag = value & TWINT ? 0 : before & TWINT;
    avr->data[addr] = (uint8_t)((value & (TWEA | TWSTA | TWSTO | TWEN | TWIE)) | flag);
    if (!(value & TWEN)) {
        twi_master_reset(twi);
        return;
    }
    if (!(value & TWINT))
        return;
    avr_clear_interrupt(avr, twi->interrupt);
    if (value & TWSTO) {
        twi->state = TWI_FREE;
        set_status(twi, NO_STATUS);
        avr_cycle_timer_register(avr, bits(twi, 1), stop_done, twi);
    } else if (value & TWSTA) {
        bool again = twi->state != TWI_FREE;
        twi->state = TWI_STARTED;
        after(twi, 1, again ? 0x10 : 0x08);
        avr->data[addr] &= (uint8_t)~TWSTA; /* the firmware clears it by its next write; nothing else looks at it */
    } else {
        next_byte(twi, value & TWEA);
    }
}

static void status_written(avr_t *avr, avr_io_addr_t addr, uint8_t value, void *param)
{
    (void)param;
    avr->data[addr] = (uint8_t)((avr->data[addr] & 0xF8u) | (value & 3u)); /* only the prescaler */
}

static void data_written(avr_t *avr, avr_io_addr_t addr, uint8_t value, void *param)
{
    (void)param;
    avr->data[addr] = value;
}

static uint8_t data_read(avr_t *avr, avr_io_addr_t addr, void *param)
{
    (void)param;
    return avr->data[addr];
}

void twi_master_reset(twi_master *twi)
{
    avr_cycle_timer_cancel(twi->avr, step_done, twi);
    avr_cycle_timer_cancel(twi->avr, stop_done, twi);
    twi->state = TWI_FREE;
    set_status(twi, NO_STATUS);
}

void twi_master_attach(twi_master *twi)
{
    twi->interrupt = vector_of(twi->avr, TWI_VECTOR);
    take_over_write(twi->avr, TWCR, control_written, twi);
    take_over_write(twi->avr, TWSR, status_written, twi);
    take_over_write(twi->avr, TWDR, data_written, twi);
    take_over_read(twi->avr, TWDR, data_read, twi);
    twi_master_reset(twi);
}
