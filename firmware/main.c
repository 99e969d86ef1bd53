#include "core/streamer.h"
#include "hal.h"

void hal_begin(void);

static streamer the_streamer;

int main(void)
{
    hal_begin();
    streamer_boot(&the_streamer);
    for (;;)
        streamer_poll(&the_streamer);
}
