/* Everything that the streamer says: lines, or frames while binary samples flow. */
#ifndef TALK_H
#define TALK_H

#include "streamer.h"

#define ROOM_FOR_REPLIES 140u /* what samples leave free, so that a reply or an event always finds room soon */

void say(streamer *s, const body *said);      /* waits for room; in binary mode as a frame, after the samples before it */
void say_hello(streamer *s);
void say_configuration(streamer *s);
bool remind_of_configuration(streamer *s); /* the same without holding up samples; false if it must wait for its turn */
void say_counts(streamer *s);
void say_time(streamer *s, const char *nonce, uint32_t now_us); /* among binary samples: as soon as it is no bother */
void say_time_owed(streamer *s);
void say_event(streamer *s, const char *kind, uint32_t n, uint32_t now_us);
void say_refused(streamer *s, const char *name, const char *why);
void say_bad_configuration(streamer *s, const char *why);
void say_rate(streamer *s, uint32_t period_us, uint32_t least_us);

void say_sample(streamer *s, uint32_t t_us, int16_t shunt, uint16_t bus); /* or counts it as dropped */
void say_frame(streamer *s);          /* puts all samples collected so far on the line */
void say_frame_if_old(streamer *s, uint32_t now_us);
bool is_talking(void);                /* a frame is being encoded */
void begin_binary(streamer *s);
void end_binary(streamer *s);

#endif
