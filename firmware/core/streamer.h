/* The streamer: answers commands, keeps the chip configured, takes each conversion once and puts it on the line. */
#ifndef STREAMER_H
#define STREAMER_H

#include <stdbool.h>
#include <stdint.h>

#include "command.h"
#include "frame.h"

#define FRAME_SAMPLES 16u
#define FRAME_HEAD 11u

typedef struct {
    uint32_t sent, dropped, i2c_failures, late, brownouts;
} counts;

typedef struct {
    uint8_t bytes[2][FRAME_HEAD + 4u * FRAME_SAMPLES]; /* one is filled while the other is encoded */
    uint8_t filling, samples;
    uint32_t first_us, last_us, spacing_us;
} sample_frame;

typedef struct {
    command_reader reader;
    settings in_force;
    uint16_t config_read, calibration_read; /* what the chip said last */
    uint8_t epoch;
    bool configured, running;
    counts count;
    sample_frame frame;
    uint16_t sequence;
    /* sampling */
    bool suspect;   /* a transfer failed: look at the chip before the next sample */
    bool waiting;   /* for the next point of the grid */
    bool ahead;     /* this conversion had to be waited for: there is time to look at the chip */
    bool timed;     /* last_sample_us is that of the conversion before, with nothing failed between */
    uint32_t conversion_us, last_sample_us, due_us, checked_us, told_us, said_nack_us, retry_us;
    uint32_t nacks_said;
    uint16_t last_shunt;
    bool owes_time; /* a ping of binary samples, answered when the frame under way is out */
    char nonce[9];
    uint32_t pinged_us;
} streamer;

void streamer_boot(streamer *s); /* says hello */
void streamer_poll(streamer *s); /* one turn: take what was received, then at most one sample. Never returns late by more
                                    than a line's worth of waiting for room */

/* The least period, us, at which samples can be read and carried. */
uint32_t streamer_least_period_us(bool binary);

#endif
