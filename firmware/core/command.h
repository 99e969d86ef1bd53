/* Commands of the host, from bytes to what is asked (docs/meters/inas-1.md). */
#ifndef COMMAND_H
#define COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#define COMMAND_MAX 64 /* from '>' to the last digit of the CRC */

typedef enum {
    COMMAND_NONE, /* no line is complete yet */
    COMMAND_HELLO, COMMAND_CFG, COMMAND_START, COMMAND_STOP, COMMAND_PING, COMMAND_STAT,
    COMMAND_UNKNOWN, COMMAND_LONG, COMMAND_CRC, COMMAND_FIELD, COMMAND_FORMAT
} command_kind;

typedef struct {
    uint16_t config, calibration;
    uint32_t period_us, shunt_uohm;
    bool binary;
} settings;

typedef struct {
    char line[COMMAND_MAX + 1];
    uint8_t length;
    bool within, too_long;
    /* what the last line asked */
    const char *name;  /* as written, cut to 8 characters; "-" if unreadable */
    const char *nonce; /* PING */
    settings asked;    /* CFG */
} command_reader;

/* Take one byte; says what a line asked when the byte ends one. The reader's pointers hold until the next byte. */
command_kind command_byte(command_reader *reader, uint8_t byte);

#endif
