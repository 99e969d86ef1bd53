/* A line is taken whole or not at all: checksum first, then every argument, then the command is given to anybody. */
#include "command.h"

#include <string.h>

#include "frame.h"

#define PERIOD_MAX_US 60000000u /* far below half a turn of the clock */

static bool configuration(char *rest, settings *asked, bool *format_ok)
{
    bool config = false, calibration = false, period = false;
    asked->shunt_uohm = 100000;
    asked->binary = false;
    *format_ok = true;
    while (rest) {
        char *word = rest;
        rest = strchr(word, ' ');
        if (rest)
            *rest++ = 0;
        if (!strncmp(word, "cfg=", 4)) {
            if (!(config = parse_hex(word + 4, 4, &asked->config)))
                return false;
        } else if (!strncmp(word, "cal=", 4)) {
            if (!(calibration = parse_hex(word + 4, 4, &asked->calibration)))
                return false;
        } else if (!strncmp(word, "per=", 4)) {
            if (!(period = parse_u32(word + 4, &asked->period_us)) || asked->period_us > PERIOD_MAX_US)
                return false;
        } else if (!strncmp(word, "rs=", 3)) {
            if (!parse_u32(word + 3, &asked->shunt_uohm))
                return false;
        } else if (!strncmp(word, "fmt=", 4)) {
            asked->binary = word[4] == 'b';
            *format_ok = (word[4] == 'a' || word[4] == 'b') && !word[5];
        }
    }
    return config && calibration && period;
}

static bool is_nonce(const char *text)
{
    uint8_t length = 0;
    for (; *text; text++, length++)
        if (!((*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'f') || (*text >= 'A' && *text <= 'F')))
            return false;
    return length >= 1 && length <= 8;
}

static command_kind understood(command_reader *reader)
{
    static const char *const plain[] = {"HELLO", "START", "STOP", "STAT"};
    static const command_kind kinds[] = {COMMAND_HELLO, COMMAND_START, COMMAND_STOP, COMMAND_STAT};
    char *line = reader->line;
    uint16_t crc = 0xFFFF, said;
    reader->name = "-";
    if (reader->too_long)
        return COMMAND_LONG;
    line[reader->length] = 0;
    if (reader->length < 6 || line[reader->length - 5] != '*' || !parse_hex(line + reader->length - 4, 4, &said))
        return COMMAND_CRC;
    line[reader->length - 5] = 0;
    for (const char *at = line; *at; at++)
        crc = crc16(crc, (uint8_t)*at);
    if (crc != said)
        return COMMAND_CRC;
    char *rest = strchr(line, ' ');
    if (rest)
        *rest++ = 0;
    reader->name = line;
    for (uint8_t i = 0; i < 4; i++)
        if (!strcmp(line, plain[i]))
            return kinds[i];
    if (!strcmp(line, "PING")) {
        reader->nonce = rest;
        return rest && is_nonce(rest) ? COMMAND_PING : COMMAND_FIELD;
    }
    if (!strcmp(line, "CFG")) {
        bool format_ok;
        if (!rest || !configuration(rest, &reader->asked, &format_ok))
            return COMMAND_FIELD;
        return format_ok ? COMMAND_CFG : COMMAND_FORMAT;
    }
    if (strlen(line) > 8)
        line[8] = 0;
    for (char *at = line; *at; at++)
        if (*at < 'A' || *at > 'Z') {
            reader->name = "-";
            break;
        }
    return COMMAND_UNKNOWN;
}

command_kind command_byte(command_reader *reader, uint8_t byte)
{
    if (byte == '>') {
        reader->within = true;
        reader->too_long = false;
        reader->length = 0;
        return COMMAND_NONE;
    }
    if (!reader->within || byte == '\r')
        return COMMAND_NONE;
    if (byte == '\n') {
        reader->within = false;
        return understood(reader);
    }
    if (byte < 0x20 || byte > 0x7E)
        byte = '>'; /* cannot be in a good line: its checksum will fail */
    if (reader->length < COMMAND_MAX - 1)
        reader->line[reader->length++] = (char)byte;
    else
        reader->too_long = true;
    return COMMAND_NONE;
}
