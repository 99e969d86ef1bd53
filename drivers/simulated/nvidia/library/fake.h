/* What the parts of the fake library share. Numbers and shapes are those of NVIDIA's documented interface (nvml.h);
   state.h is made from layout.py when the library is built. */
#ifndef FAKE_NVML_H
#define FAKE_NVML_H
#include <stddef.h>
#include "state.h"

#define API __attribute__((visibility("default")))

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, ARGUMENT_VERSION = 25, NO_DATA = 21, UNKNOWN = 999
};
#define NONE 0xffffffffu

typedef int ret_t;
/* A handle points to one of these: a GPU, or one of its MIG devices. */
struct handle { uint32_t gpu; uint32_t mig; };
typedef struct handle *device_t;

extern struct state *shared;              /* NULL until started */
struct gpu *gpu_of(device_t device);       /* the GPU in the shared state */
/* A copy of the GPU that no writer has torn, or an error: not started, no such handle, MIG where `whole`, lost, or what
   the feature gives. */
ret_t look(device_t device, enum feature feature, struct gpu *seen);
ret_t look_whole(device_t device, enum feature feature, struct gpu *seen);
ret_t failing(struct gpu *gpu, enum feature feature);
ret_t give(char *to, unsigned length, const char *text);
uint32_t clock_now(const struct gpu *gpu, unsigned domain);
ret_t feature_of_field(unsigned field, unsigned scope, const struct gpu *gpu, enum feature *feature, uint64_t *value);
#endif
