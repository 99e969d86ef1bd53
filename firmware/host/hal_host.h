/* A hardware layer that tests play on: a chip of six registers, a line that can be full, a clock that is set. */
#ifndef HAL_HOST_H
#define HAL_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint16_t registers[6];
    bool silent;              /* the chip does not answer */
    uint32_t conversion_us;   /* CNVR is set that long after it was cleared by a power read or a configuration */
    uint32_t ready_at_us;
    uint32_t loses_supply_at_us; /* for a moment; 0: never */
    uint16_t measured[2];     /* shunt and bus of its next conversion after that */
    uint32_t now_us, transfer_us; /* each transfer takes that long */
    uint16_t room;            /* of the line */
    uint8_t sent[16384];
    size_t sent_count;
    char to_receive[1024];
    size_t received, receive_count;
    unsigned waits;
} fake_world;

extern fake_world world;

void world_begin(void);
void world_types(const char *body); /* a command with its checksum */
void world_types_raw(const char *text);

#endif
