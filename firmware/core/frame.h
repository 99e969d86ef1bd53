/* Checksums, numbers and framing of inas/1 (docs/meters/inas-1.md), without any state. */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stdint.h>

#define BODY_MAX 120

uint16_t crc16(uint16_t crc, uint8_t byte); /* CRC-16/CCITT-FALSE; begin with 0xFFFF */

/* A text under construction; what does not fit is left out, and `length` stays within the buffer. */
typedef struct {
    char text[BODY_MAX + 1]; /* the `$` first */
    uint8_t length;          /* without it */
} body;

void body_clear(body *made);
void body_text(body *made, const char *text);
void body_char(body *made, char c);
void body_u32(body *made, uint32_t value);
void body_i16(body *made, int16_t value);
void body_hex(body *made, uint32_t value, uint8_t digits, char ten); /* ten: 'A' or 'a' */

/* `$` body `*` CRC CR LF; returns its length, at most BODY_MAX + 8. `out` must have room for it. */
uint8_t line_of(const body *made, uint8_t *out);

/* COBS of up to 252 bytes with the CRC appended and a closing 0x00, some bytes at a time: a whole frame takes longer than
 * there is between two conversions. `out` must have room for count + 4. */
typedef struct {
    const uint8_t *bytes;
    uint8_t *out;
    uint8_t count, at, code_at, out_at;
    uint16_t crc;
} cobs_encoder;

void cobs_begin(cobs_encoder *encoder, const uint8_t *bytes, uint8_t count, uint8_t *out);
uint8_t cobs_go_on(cobs_encoder *encoder, uint8_t steps); /* 0, or the frame's length when it is complete */
uint8_t cobs_frame(const uint8_t *bytes, uint8_t count, uint8_t *out); /* all at once; the frame's length */

/* Parsing; false leaves the result alone. */
bool parse_u32(const char *text, uint32_t *value);           /* decimal without leading zeros */
bool parse_hex(const char *text, uint8_t digits, uint16_t *value); /* exactly that many digits */

#endif
