/* Tests of the core on the machine that builds it. Every vector is one of docs/meters/inas-1.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/ina219.h"
#include "../core/ring.h"
#include "../core/streamer.h"
#include "hal_host.h"

static const char *running;
static unsigned checks;
static streamer s;

#define CHECK(true_)                                                                             \
    do {                                                                                         \
        checks++;                                                                                \
        if (!(true_)) {                                                                          \
            fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, running, #true_);     \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

/* What was said since the last call, as text. */
static const char *said(void)
{
    static char text[sizeof world.sent + 1];
    memcpy(text, world.sent, world.sent_count);
    text[world.sent_count] = 0;
    world.sent_count = 0;
    return text;
}

static void turns(unsigned count)
{
    while (count--)
        streamer_poll(&s);
}

static void sample_until(uint16_t sequence)
{
    for (unsigned limit = 0; s.sequence < sequence; limit++) {
        CHECK(limit < 100000);
        turns(1);
    }
}

static void begin(void)
{
    world_begin();
    streamer_boot(&s);
    said();
}

static const char *answer(const char *command)
{
    world_types(command);
    turns(1);
    return said();
}

static unsigned occurrences(const char *text, const char *what)
{
    unsigned count = 0;
    while ((text = strstr(text, what))) {
        count++;
        text += strlen(what);
    }
    return count;
}

static void checksum(void)
{
    uint16_t crc = 0xFFFF;
    for (uint8_t c = '1'; c <= '9'; c++)
        crc = crc16(crc, c);
    CHECK(crc == 0x29B1);
}

static void numbers(void)
{
    body made;
    body_clear(&made);
    body_u32(&made, 0);
    body_char(&made, ' ');
    body_u32(&made, 4294967295u);
    body_char(&made, ' ');
    body_i16(&made, -32768);
    body_char(&made, ' ');
    body_hex(&made, 0x3f9a01, 6, 'a');
    CHECK(made.length == strlen("0 4294967295 -32768 3f9a01"));
    CHECK(!memcmp(made.text, "$0 4294967295 -32768 3f9a01", made.length + 1u));
    uint32_t value = 7;
    CHECK(parse_u32("4294967295", &value) && value == 4294967295u);
    CHECK(!parse_u32("4294967296", &value) && !parse_u32("", &value) && !parse_u32("01", &value));
    CHECK(!parse_u32("-1", &value) && value == 4294967295u);
}

static void a_body_never_overruns(void)
{
    body made;
    uint8_t out[BODY_MAX + 8];
    body_clear(&made);
    for (int i = 0; i < 300; i++)
        body_char(&made, 'x');
    CHECK(made.length == BODY_MAX && line_of(&made, out) == BODY_MAX + 8);
}

static void binary_vectors(void)
{
    static const uint8_t samples[] = {0x01, 0x01, 0, 0, 0xf0, 0x43, 0x0f, 0, 3, 0x28, 4,
                                      0xb0, 4, 0x12, 0x27, 0xfd, 0xff, 0x12, 0x27, 0, 0, 0x10, 0x27};
    static const uint8_t wanted[] = {0x03, 1, 1, 1, 4, 0xf0, 0x43, 0x0f, 0x0c, 3, 0x28, 4, 0xb0, 4, 0x12, 0x27, 0xfd,
                                     0xff, 0x12, 0x27, 1, 5, 0x10, 0x27, 0x37, 0xba, 0};
    uint8_t out[64];
    CHECK(cobs_frame(samples, sizeof samples, out) == sizeof wanted && !memcmp(out, wanted, sizeof wanted));
    cobs_encoder encoder;
    uint8_t length;
    memset(out, 0, sizeof out);
    cobs_begin(&encoder, samples, sizeof samples, out);
    while (!(length = cobs_go_on(&encoder, 1))) {
    }
    CHECK(length == sizeof wanted && !memcmp(out, wanted, sizeof wanted));
}

static void ring_drops_the_newest(void)
{
    uint8_t bytes[8], got;
    ring r = {bytes, sizeof bytes, 0, 0};
    for (int turn = 0; turn < 5; turn++) {
        for (uint8_t i = 0; i < 7; i++)
            CHECK(ring_put(&r, i));
        CHECK(!ring_put(&r, 99) && ring_room(&r) == 0);
        for (uint8_t i = 0; i < 7; i++)
            CHECK(ring_get(&r, &got) && got == i);
        CHECK(!ring_get(&r, &got) && ring_used(&r) == 0);
    }
}

static void conversion_times(void)
{
    CHECK(ina219_conversion_us(0x399F) == 1064);
    CHECK(ina219_conversion_us(0x199D) == 532);
    CHECK(ina219_conversion_us(0x19FD) == 68100);
    CHECK(ina219_conversion_us(0x1C77 | 0x0780) == 68100 + 34050);
    CHECK(ina219_conversion_us(0x1807) == 168);
}

static void hello_at_boot_and_on_request(void)
{
    static const char hello[] =
        "$H,inas/1,fw=0.1.0,mcu=host,chip=ina219,addr=40,uid=3f9a01,tick=us32,baud=115200*";
    world_begin();
    streamer_boot(&s);
    const char *first = said();
    CHECK(!strncmp(first, "\r\n", 2) && !strncmp(first + 2, hello, sizeof hello - 1));
    CHECK(!strncmp(answer("HELLO"), hello, sizeof hello - 1));
}

static void bad_lines_do_nothing(void)
{
    begin();
    world_types_raw("noise\r\n>HELLO*0000\n");
    turns(1);
    CHECK(!strncmp(said(), "$E,refused,cmd=-,why=crc*", 25));
    world_types_raw(">HEL>HELLO*49D6\r\n");
    turns(1);
    CHECK(!strncmp(said(), "$H,", 3));
    for (int i = 0; i < 100; i++)
        world_types_raw(i ? "x" : ">");
    world_types_raw("\n");
    turns(1);
    CHECK(!strncmp(said(), "$E,refused,cmd=-,why=long*", 26));
    CHECK(!strncmp(answer("FOO"), "$E,refused,cmd=FOO,why=unknown*", 31));
    CHECK(!strncmp(answer("PING"), "$E,refused,cmd=PING,why=field*", 30));
    CHECK(!strncmp(answer("PING 123456789"), "$E,refused,cmd=PING,why=field*", 30));
    CHECK(!strncmp(answer("CFG cfg=399F cal=1000"), "$E,refused,cmd=CFG,why=field*", 29));
    CHECK(!strncmp(answer("CFG cfg=399F cal=1000 per=99999999"), "$E,refused,cmd=CFG,why=field*", 29));
    CHECK(!strncmp(answer("START"), "$E,refused,cmd=START,why=unconfigured*4CBC\r\n", 45));
    CHECK(world.registers[INA219_CALIBRATION] == 0 && world.registers[INA219_CONFIG] == 0x399F);
}

static void configuration_is_read_back(void)
{
    begin();
    CHECK(!strcmp(answer("CFG cfg=399F cal=1000 per=4000"),
                  "$C,1,cfg=399F,cal=1000,rs_uohm=100000,per_us=4000,fmt=a*513E\r\n"));
    CHECK(!strncmp(answer("CFG cfg=399F cal=7FFF per=4000 later=1"), "$C,2,cfg=399F,cal=7FFE,", 23));
    CHECK(!strncmp(answer("CFG cfg=19E5 cal=1000 per=0 fmt=b"), "$C,3,cfg=19E5,cal=1000,rs_uohm=100000,per_us=0,fmt=b*", 53));
    CHECK(!strcmp(answer("CFG cfg=399E cal=1000 per=4000"), "$E,cfg,why=mode*9001\r\n"));
    CHECK(!strncmp(answer("CFG cfg=B99F cal=1000 per=4000"), "$E,cfg,why=reset*", 17));
    CHECK(!strncmp(answer("CFG cfg=399F cal=0001 per=4000"), "$E,cfg,why=cal*", 15));
    CHECK(!strncmp(answer("CFG cfg=399F cal=1000 per=4000 fmt=c"), "$E,cfg,why=fmt*", 15));
    CHECK(!strcmp(answer("CFG cfg=399F cal=1000 per=0"), "$E,rate,per=1064,min=3400*CB9C\r\n"));
    CHECK(!strncmp(answer("CFG cfg=1985 cal=1000 per=0 fmt=b"), "$E,rate,per=84,min=480*", 23));
    world.silent = true;
    CHECK(!strncmp(answer("CFG cfg=399F cal=1000 per=4000"), "$E,i2c_nack,n=", 14));
    world.silent = false;
    CHECK(s.epoch == 3 && s.in_force.period_us == 0); /* refused: all as it was */
}

static void sampling_one_by_one(void)
{
    begin();
    answer("CFG cfg=39FF cal=1000 per=4000");
    world.registers[INA219_SHUNT] = (uint16_t)-3;
    world.registers[INA219_BUS] = 1250 << 3;
    answer("START");
    CHECK(!strncmp(answer("CFG cfg=399F cal=1000 per=4000"), "$E,refused,cmd=CFG,why=running*", 31));
    sample_until(5);
    const char *text = said();
    CHECK(occurrences(text, "$S,") == 5 && occurrences(text, ",-3,10002*") == 5 && strstr(text, "$S,4,"));
    CHECK(!strncmp(answer("STOP"), "$Q,sent=5,ovr=0,i2c=0,late=", 27));
    CHECK(!s.running);
    turns(3);
    CHECK(!world.sent_count);
}

static void a_full_line_drops_the_newest_and_counts(void)
{
    begin();
    answer("CFG cfg=39FF cal=1000 per=4000");
    answer("START");
    sample_until(2);
    world.room = 150;
    said();
    sample_until(9);
    CHECK(!occurrences(said(), "$S,"));
    world.room = 511;
    sample_until(10);
    CHECK(strstr(said(), "$S,9,"));
    CHECK(!strncmp(answer("STAT"), "$Q,sent=3,ovr=7,", 16));
}

static void no_answer_is_no_sample(void)
{
    begin();
    answer("CFG cfg=39FF cal=1000 per=4000");
    answer("START");
    sample_until(2);
    said();
    world.silent = true;
    world.transfer_us = 30;
    uint32_t until = world.now_us + 250000;
    while (world.now_us < until) {
        turns(1);
        world.now_us += 10;
    }
    const char *text = said();
    CHECK(!occurrences(text, "$S,") && occurrences(text, "$E,i2c_nack,n=") == 3 && strstr(text, "$E,i2c_nack,n=1,t="));
    CHECK(s.sequence == 2);
    world.silent = false;
    sample_until(3);
    text = said();
    CHECK(strstr(text, "$S,2,") && !strstr(text, "brownout") && !strstr(text, "$C,"));
}

static void a_chip_that_was_reset_begins_an_epoch(void)
{
    begin();
    answer("CFG cfg=39FF cal=1000 per=4000");
    answer("START");
    sample_until(3);
    said();
    world.registers[INA219_CONFIG] = 0x399F;
    world.registers[INA219_CALIBRATION] = 0;
    world.registers[INA219_SHUNT] = 77;
    sample_until(6);
    const char *text = said(), *event = strstr(text, "$E,brownout,n=1,t=");
    CHECK(event && strstr(event, "$C,2,cfg=39FF,cal=1000,"));
    CHECK(strstr(event, "$S,")); /* and on it goes */
    CHECK(world.registers[INA219_CONFIG] == 0x39FF && world.registers[INA219_CALIBRATION] == 0x1000);
    CHECK(!strncmp(answer("STOP"), "$Q,sent=6,", 10));
}

static void a_reset_chip_is_not_read_as_a_voltage(void)
{
    begin();
    answer("CFG cfg=39FF cal=1000 per=0");
    answer("START");
    sample_until(2);
    said();
    world.registers[INA219_BUS] = 0x399F; /* what a read without a pointer finds */
    world.registers[INA219_CONFIG] = 0x399F;
    world.registers[INA219_CALIBRATION] = 0;
    turns(2);
    world.registers[INA219_BUS] = 1250 << 3;
    sample_until(3);
    const char *text = said();
    CHECK(!strstr(text, ",14751*") && strstr(text, "$E,brownout,n=1,"));
}

static void no_moment_of_a_reset_makes_a_wrong_sample(void)
{
    unsigned found = 0;
    for (uint32_t after_us = 20000; after_us < 26000; after_us += 23) {
        begin();
        world.measured[0] = 1200;
        world.measured[1] = 1250 << 3;
        answer("CFG cfg=39DF cal=1000 per=0");
        answer("START");
        world.loses_supply_at_us = world.now_us + after_us;
        sample_until(25);
        const char *text = said();
        CHECK(occurrences(text, "$S,") == 25 && occurrences(text, ",1200,10002*") == 25);
        found += occurrences(text, "$E,brownout,n=1,");
    }
    CHECK(found == 261);
}

static void the_clock_wraps_between_samples(void)
{
    begin();
    world.now_us = 0xFFFFFFFFu - 50000u;
    answer("CFG cfg=39FF cal=1000 per=10000");
    answer("START");
    sample_until(20);
    CHECK(world.now_us < 300000u);
    const char *text = said();
    CHECK(occurrences(text, "$S,") == 20 && occurrences(text, "$S,19,") == 1);
    CHECK(strstr(text, "$S,19,1")); /* about 150 ms after the wrap */
    CHECK(!strncmp(answer("STOP"), "$Q,sent=20,ovr=0,i2c=0,late=0,bo=0*", 35));
}

static void sequence_wraps_at_sixteen_bits(void)
{
    begin();
    answer("CFG cfg=39FF cal=1000 per=0");
    answer("START");
    s.sequence = 65535;
    turns(200);
    const char *text = said();
    CHECK(strstr(text, "$S,65535,") && strstr(text, "$S,0,") && strstr(text, "$S,1,"));
}

static void binary_goes_and_ends(void)
{
    begin();
    answer("CFG cfg=39FF cal=1000 per=0 fmt=b");
    world_types("START");
    turns(1);
    sample_until(20);
    world_types("PING 7f31");
    turns(1);
    world_types("STOP");
    turns(1);
    size_t end = world.sent_count;
    const uint8_t *sent = world.sent;
    const uint8_t *mark = memchr(sent, 0, end);
    CHECK(mark && mark[-1] == '\n' && sent[0] == '$');
    unsigned samples = 0, pings = 0;
    for (const uint8_t *at = mark + 1, *next; (next = memchr(at, 0, end - (size_t)(at - sent))); at = next + 1) {
        if (next == at) { /* the empty frame; then lines */
            CHECK(!strncmp((const char *)next + 1, "$Q,sent=20,ovr=0,", 17));
            break;
        }
        uint8_t plain[128];
        size_t length = 0;
        for (const uint8_t *code = at; code < next; code += *code) {
            memcpy(plain + length, code + 1, *code - 1u);
            length += *code - 1u;
            plain[length++] = 0;
        }
        length--; /* the zero that stands for the end */
        uint16_t crc = 0xFFFF;
        for (size_t i = 0; i < length - 2; i++)
            crc = crc16(crc, plain[i]);
        CHECK(plain[length - 2] == (crc & 255) && plain[length - 1] == crc >> 8);
        if (plain[0] == 1) {
            CHECK(plain[1] == 1 && length == 13u + 4u * plain[8]);
            samples += plain[8];
        } else {
            CHECK(plain[0] == '$');
            pings += !strncmp((char *)plain + 1, "T,7f31,", 7);
        }
    }
    CHECK(samples == 20 && pings == 1);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
#define TEST(name) {#name, name}
        TEST(checksum), TEST(numbers), TEST(a_body_never_overruns), TEST(binary_vectors), TEST(ring_drops_the_newest),
        TEST(conversion_times), TEST(hello_at_boot_and_on_request), TEST(bad_lines_do_nothing),
        TEST(configuration_is_read_back), TEST(sampling_one_by_one), TEST(a_full_line_drops_the_newest_and_counts),
        TEST(no_answer_is_no_sample), TEST(a_chip_that_was_reset_begins_an_epoch),
        TEST(a_reset_chip_is_not_read_as_a_voltage), TEST(no_moment_of_a_reset_makes_a_wrong_sample), TEST(the_clock_wraps_between_samples),
        TEST(sequence_wraps_at_sixteen_bits), TEST(binary_goes_and_ends),
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        running = tests[i].name;
        tests[i].run();
    }
    printf("%u tests of the core, %u checks: good\n", (unsigned)(sizeof tests / sizeof *tests), checks);
    return 0;
}
