/* A byte queue between the program and an interrupt. On a part that does not write 16 bits at once, the hardware layer
 * calls these with interrupts off. */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint8_t *bytes;
    uint16_t size; /* a power of two; holds size - 1 bytes */
    volatile uint16_t head, tail;
} ring;

static inline uint16_t ring_used(const ring *r) { return (uint16_t)((r->head - r->tail) & (r->size - 1u)); }
static inline uint16_t ring_room(const ring *r) { return (uint16_t)(r->size - 1u - ring_used(r)); }

static inline bool ring_put(ring *r, uint8_t byte)
{
    uint16_t next = (uint16_t)((r->head + 1u) & (r->size - 1u));
    if (next == r->tail)
        return false; /* full: the new byte is the one that is lost */
    r->bytes[r->head] = byte;
    r->head = next;
    return true;
}

static inline bool ring_get(ring *r, uint8_t *byte)
{
    if (r->head == r->tail)
        return false;
    *byte = r->bytes[r->tail];
    r->tail = (uint16_t)((r->tail + 1u) & (r->size - 1u));
    return true;
}

#endif
