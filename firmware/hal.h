/* All that the streamer needs from a microcontroller. To port it, write these functions; the core stays as it is. */
#ifndef HAL_H
#define HAL_H

#include <stdbool.h>
#include <stdint.h>

/* Microseconds since reset, wrapping at 2^32 without a step. Any interrupt state. */
uint32_t hal_micros(void);

/* The serial line, 8N1. Reception and transmission go on by interrupt while the core does other things. */
bool hal_receive(uint8_t *byte);                       /* the next byte received, if there is one */
uint16_t hal_send_room(void);                          /* bytes that hal_send would take now; at least 256 when idle */
void hal_send(const uint8_t *bytes, uint8_t count);    /* never more than hal_send_room() said */
uint32_t hal_baud(void);

/* One 16 bit register of an I2C device, most significant byte first. False on no acknowledge, lost arbitration, or a
 * transfer that takes more than some milliseconds. `hal_register_again` reads without writing the pointer: whatever register
 * the device points at, which is another one after it was reset. */
bool hal_register_read(uint8_t address, uint8_t pointer, uint16_t *value);
bool hal_register_again(uint8_t address, uint16_t *value);
bool hal_register_write(uint8_t address, uint8_t pointer, uint16_t value);

/* Written by the core: the hardware layer may call it while it waits for a byte of I2C. Takes at most some 15 us on an AVR;
 * a part that is faster than its bus need not call it. */
void hal_meanwhile(void);

uint32_t hal_uid(void); /* 24 bits, the same after every reset; 0 if the part has none */
void hal_wait(void);    /* nothing to do until a byte comes: sleep, or return at once */

#define HAL_FIRMWARE_VERSION "0.1.0"
#ifndef HAL_MCU
#define HAL_MCU "unknown"
#endif

#endif
