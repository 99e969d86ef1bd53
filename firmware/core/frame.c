/* Written for eight bits: no division by ten and no table, or a line would take longer than a conversion. */
#include "frame.h"

uint16_t crc16(uint16_t crc, uint8_t byte)
{
    uint8_t x = (uint8_t)((crc >> 8) ^ byte);
    x ^= (uint8_t)(x >> 4);
    return (uint16_t)((uint16_t)(crc << 8) ^ (uint16_t)((uint16_t)x << 12) ^ (uint16_t)((uint16_t)x << 5) ^ x);
}

void body_clear(body *made)
{
    made->text[0] = '$';
    made->length = 0;
}

void body_char(body *made, char c)
{
    if (made->length < BODY_MAX)
        made->text[++made->length] = c;
}

void body_text(body *made, const char *text)
{
    while (*text)
        body_char(made, *text++);
}

void body_u32(body *made, uint32_t value)
{
    static const uint32_t powers[] = {1000000000u, 100000000u, 10000000u, 1000000u, 100000u, 10000u, 1000u, 100u, 10u};
    bool begun = false;
    for (uint8_t i = 0; i < sizeof powers / sizeof powers[0]; i++) {
        char digit = '0';
        while (value >= powers[i]) {
            value -= powers[i];
            digit++;
        }
        begun |= digit != '0';
        if (begun)
            body_char(made, digit);
    }
    body_char(made, (char)('0' + value));
}

void body_i16(body *made, int16_t value)
{
    if (value < 0)
        body_char(made, '-');
    body_u32(made, value < 0 ? (uint32_t)(-(int32_t)value) : (uint32_t)value);
}

static char digit_of(uint8_t nibble, char ten) { return (char)(nibble < 10 ? '0' + nibble : ten + nibble - 10); }

void body_hex(body *made, uint32_t value, uint8_t digits, char ten)
{
    while (digits--)
        body_char(made, digit_of((uint8_t)(value >> (4 * digits)) & 15u, ten));
}

uint8_t line_of(const body *made, uint8_t *out)
{
    uint16_t crc = 0xFFFF;
    uint8_t at = 0;
    out[at++] = (uint8_t)made->text[0];
    for (uint8_t i = 1; i <= made->length; i++) {
        uint8_t byte = (uint8_t)made->text[i];
        crc = crc16(crc, byte);
        out[at++] = byte;
    }
    out[at++] = '*';
    for (uint8_t shift = 16; shift;) {
        shift = (uint8_t)(shift - 4);
        out[at++] = (uint8_t)digit_of((uint8_t)(crc >> shift) & 15u, 'A');
    }
    out[at++] = '\r';
    out[at++] = '\n';
    return at;
}

void cobs_begin(cobs_encoder *encoder, const uint8_t *bytes, uint8_t count, uint8_t *out)
{
    encoder->bytes = bytes;
    encoder->out = out;
    encoder->count = count;
    encoder->at = encoder->code_at = 0;
    encoder->out_at = 1;
    encoder->crc = 0xFFFF;
}

static void cobs_byte(cobs_encoder *encoder, uint8_t byte)
{
    if (byte) {
        encoder->out[encoder->out_at++] = byte;
    } else {
        encoder->out[encoder->code_at] = (uint8_t)(encoder->out_at - encoder->code_at);
        encoder->code_at = encoder->out_at++;
    }
}

uint8_t cobs_go_on(cobs_encoder *encoder, uint8_t steps)
{
    for (; steps && encoder->at < encoder->count; steps--) {
        uint8_t byte = encoder->bytes[encoder->at++];
        encoder->crc = crc16(encoder->crc, byte);
        cobs_byte(encoder, byte);
    }
    if (encoder->at < encoder->count)
        return 0;
    cobs_byte(encoder, (uint8_t)encoder->crc);
    cobs_byte(encoder, (uint8_t)(encoder->crc >> 8));
    encoder->out[encoder->code_at] = (uint8_t)(encoder->out_at - encoder->code_at);
    encoder->out[encoder->out_at++] = 0;
    return encoder->out_at;
}

uint8_t cobs_frame(const uint8_t *bytes, uint8_t count, uint8_t *out)
{
    cobs_encoder encoder;
    cobs_begin(&encoder, bytes, count, out);
    return cobs_go_on(&encoder, 255);
}

bool parse_u32(const char *text, uint32_t *value)
{
    uint32_t sum = 0;
    if (!*text || (text[0] == '0' && text[1]))
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        uint8_t digit = (uint8_t)(*text - '0');
        if (sum > 429496729u || (sum == 429496729u && digit > 5))
            return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return true;
}

bool parse_hex(const char *text, uint8_t digits, uint16_t *value)
{
    uint16_t sum = 0;
    for (uint8_t i = 0; i < digits; i++) {
        char c = text[i];
        uint8_t nibble;
        if (c >= '0' && c <= '9')
            nibble = (uint8_t)(c - '0');
        else if (c >= 'A' && c <= 'F')
            nibble = (uint8_t)(c - 'A' + 10);
        else if (c >= 'a' && c <= 'f')
            nibble = (uint8_t)(c - 'a' + 10);
        else
            return false;
        sum = (uint16_t)(sum << 4 | nibble);
    }
    if (text[digits])
        return false;
    *value = sum;
    return true;
}
