/* The newest sample is dropped when the line cannot keep up; a reply or an event never is. */
#include "talk.h"

#include "../hal.h"
#include "ina219.h"

#define FRAME_ROOM (FRAME_HEAD + 4u * FRAME_SAMPLES + 4u)

static uint8_t out[BODY_MAX + 8u]; /* a line, or the frame under way: no line is made before that is gone */

static void send_surely(const uint8_t *bytes, uint8_t count)
{
    while (hal_send_room() < count) {
    }
    hal_send(bytes, count);
}

/* While the bus is busy with a register, a frame is encoded and sent piece by piece: this costs no conversion. */
static struct {
    cobs_encoder encoder;
    bool under_way, encoding;
    uint8_t length, sent;
} outgoing;

void hal_meanwhile(void)
{
    if (!outgoing.under_way)
        return;
    if (outgoing.encoding) {
        outgoing.length = cobs_go_on(&outgoing.encoder, 2);
        outgoing.encoding = !outgoing.length;
        return;
    }
    uint8_t piece = (uint8_t)(outgoing.length - outgoing.sent);
    piece = piece > 8 ? 8 : piece;
    if (hal_send_room() < piece)
        return;
    hal_send(out + outgoing.sent, piece);
    outgoing.sent = (uint8_t)(outgoing.sent + piece);
    outgoing.under_way = outgoing.sent < outgoing.length;
}

bool is_talking(void) { return outgoing.under_way; }

static void finish_frame(void)
{
    while (outgoing.under_way)
        hal_meanwhile();
}

static void begin_frame(const uint8_t *bytes, uint8_t count)
{
    finish_frame(); /* the one before */
    cobs_begin(&outgoing.encoder, bytes, count, out);
    outgoing.under_way = outgoing.encoding = true;
    outgoing.sent = 0;
}

void say(streamer *s, const body *said)
{
    if (s->running && s->in_force.binary) {
        say_frame(s);
        begin_frame((const uint8_t *)said->text, (uint8_t)(said->length + 1u));
        finish_frame();
    } else {
        send_surely(out, line_of(said, out));
    }
}

static body made;

static void begin(const char *text)
{
    finish_frame(); /* it may be `made` that is being encoded */
    body_clear(&made);
    body_text(&made, text);
}

static void number(const char *key, uint32_t value)
{
    body_text(&made, key);
    body_u32(&made, value);
}

void say_hello(streamer *s)
{
    begin("H,inas/1,fw=" HAL_FIRMWARE_VERSION ",mcu=" HAL_MCU ",chip=ina219,addr=");
    body_hex(&made, INA219_ADDRESS, 2, 'a');
    body_text(&made, ",uid=");
    body_hex(&made, hal_uid(), 6, 'a');
    number(",tick=us32,baud=", hal_baud());
    say(s, &made);
}

/* Kept, because making it again takes as long as half a conversion. */
static body configuration;

void say_configuration(streamer *s)
{
    begin("C,");
    body_u32(&made, s->epoch);
    body_text(&made, ",cfg=");
    body_hex(&made, s->config_read, 4, 'A');
    body_text(&made, ",cal=");
    body_hex(&made, s->calibration_read, 4, 'A');
    number(",rs_uohm=", s->in_force.shunt_uohm);
    number(",per_us=", s->in_force.period_us);
    body_text(&made, s->in_force.binary ? ",fmt=b" : ",fmt=a");
    configuration = made;
    say(s, &configuration);
}

bool remind_of_configuration(streamer *s)
{
    if (hal_send_room() < ROOM_FOR_REPLIES || outgoing.under_way)
        return false;
    if (s->in_force.binary)
        begin_frame((const uint8_t *)configuration.text, (uint8_t)(configuration.length + 1u));
    else
        say(s, &configuration);
    return true;
}

void say_counts(streamer *s)
{
    if (s->running && s->in_force.binary)
        say_frame(s); /* so that `sent` counts them */
    begin("Q");
    number(",sent=", s->count.sent);
    number(",ovr=", s->count.dropped);
    number(",i2c=", s->count.i2c_failures);
    number(",late=", s->count.late);
    number(",bo=", s->count.brownouts);
    say(s, &made);
}

static void begin_time(const char *nonce, uint32_t t_us)
{
    begin("T,");
    body_text(&made, nonce);
    number(",", t_us);
}

void say_time(streamer *s, const char *nonce, uint32_t now_us)
{
    if (!s->running || !s->in_force.binary) {
        begin_time(nonce, now_us);
        say(s, &made);
        return;
    }
    while (s->owes_time) { /* the one before: now, whatever it costs */
        finish_frame();
        say_time_owed(s);
    }
    uint8_t length = 0;
    for (; nonce[length] && length < sizeof s->nonce - 1u; length++)
        s->nonce[length] = nonce[length];
    s->nonce[length] = 0;
    s->pinged_us = now_us;
    s->owes_time = true;
}

void say_time_owed(streamer *s)
{
    if (!s->owes_time || outgoing.under_way || hal_send_room() < ROOM_FOR_REPLIES)
        return;
    s->owes_time = false;
    begin_time(s->nonce, s->pinged_us);
    begin_frame((const uint8_t *)made.text, (uint8_t)(made.length + 1u));
}

void say_event(streamer *s, const char *kind, uint32_t n, uint32_t now_us)
{
    begin("E,");
    body_text(&made, kind);
    number(",n=", n);
    number(",t=", now_us);
    say(s, &made);
}

void say_refused(streamer *s, const char *name, const char *why)
{
    begin("E,refused,cmd=");
    body_text(&made, name);
    body_text(&made, ",why=");
    body_text(&made, why);
    say(s, &made);
}

void say_bad_configuration(streamer *s, const char *why)
{
    begin("E,cfg,why=");
    body_text(&made, why);
    say(s, &made);
}

void say_rate(streamer *s, uint32_t period_us, uint32_t least_us)
{
    begin("E,rate");
    number(",per=", period_us);
    number(",min=", least_us);
    say(s, &made);
}

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

/* Hands the samples collected so far to the encoder. */
static void close_frame(streamer *s)
{
    sample_frame *frame = &s->frame;
    uint8_t *bytes = frame->bytes[frame->filling];
    if (!frame->samples)
        return;
    uint32_t intervals = frame->samples - 1u;
    uint32_t spacing = intervals ? (frame->last_us - frame->first_us + intervals / 2u) / intervals : 0u;
    bytes[8] = frame->samples;
    put16(bytes + 9, (uint16_t)spacing);
    begin_frame(bytes, (uint8_t)(FRAME_HEAD + 4u * frame->samples));
    s->count.sent += frame->samples;
    frame->samples = 0;
    frame->filling ^= 1u;
}

void say_frame(streamer *s)
{
    close_frame(s);
    finish_frame();
}

void say_frame_if_old(streamer *s, uint32_t now_us)
{
    if (s->frame.samples && now_us - s->frame.first_us >= 100000u)
        close_frame(s);
}

static void collect(streamer *s, uint32_t t_us, int16_t shunt, uint16_t bus)
{
    sample_frame *frame = &s->frame;
    if (frame->samples) {
        uint32_t spacing = t_us - frame->last_us;
        uint32_t change = spacing > frame->spacing_us ? spacing - frame->spacing_us : frame->spacing_us - spacing;
        if (spacing > 65535u || (frame->samples > 1 && change > frame->spacing_us / 2u))
            close_frame(s);
        frame->spacing_us = spacing;
    }
    uint8_t *bytes = frame->bytes[frame->filling];
    if (!frame->samples) {
        if (hal_send_room() < 2u * FRAME_ROOM + ROOM_FOR_REPLIES) {
            s->count.dropped++;
            return;
        }
        bytes[0] = 1;
        bytes[1] = s->epoch;
        put16(bytes + 2, s->sequence);
        put16(bytes + 4, (uint16_t)t_us);
        put16(bytes + 6, (uint16_t)(t_us >> 16));
        frame->first_us = t_us;
    }
    uint8_t *at = bytes + FRAME_HEAD + 4u * frame->samples;
    put16(at, (uint16_t)shunt);
    put16(at + 2, bus);
    frame->last_us = t_us;
    if (++frame->samples == FRAME_SAMPLES)
        close_frame(s);
}

void say_sample(streamer *s, uint32_t t_us, int16_t shunt, uint16_t bus)
{
    if (s->in_force.binary) {
        collect(s, t_us, shunt, bus);
    } else {
        begin("S,");
        body_u32(&made, s->sequence);
        number(",", t_us);
        body_char(&made, ',');
        body_i16(&made, shunt);
        number(",", bus);
        uint8_t count = line_of(&made, out);
        if (hal_send_room() < count + ROOM_FOR_REPLIES) {
            s->count.dropped++;
        } else {
            hal_send(out, count);
            s->count.sent++;
        }
    }
    s->sequence++;
}

void begin_binary(streamer *s)
{
    static const uint8_t mark = 0;
    s->frame.samples = 0;
    send_surely(&mark, 1);
}

void end_binary(streamer *s)
{
    static const uint8_t mark = 0;
    say_frame(s);
    while (s->owes_time) {
        say_time_owed(s);
        finish_frame();
    }
    send_surely(&mark, 1);
}
