/* What a GPU shows: power and energy by their several ways, and the rest that programs ask for. */
#include <string.h>
#include <unistd.h>
#include "fake.h"

#define LOOK(device, feature, out)                         \
    struct gpu seen;                                       \
    do {                                                   \
        ret_t looked = look_whole(device, feature, &seen); \
        if (looked != SUCCESS)                             \
            return looked;                                 \
        if ((out) == NULL)                                 \
            return INVALID_ARGUMENT;                       \
    } while (0)

/* Power and energy of a MIG device: what the feature mig_power gives. Of its GPU if that works. */
#define LOOK_POWER(device, feature, out)                               \
    struct gpu seen;                                                   \
    do {                                                               \
        ret_t looked = look(device, feature, &seen);                   \
        if (looked == SUCCESS && device->mig != NONE)                  \
            looked = failing(gpu_of(device), F_MIG_POWER);             \
        if (looked != SUCCESS)                                         \
            return looked;                                             \
        if ((out) == NULL)                                             \
            return INVALID_ARGUMENT;                                   \
    } while (0)

API ret_t nvmlDeviceGetPowerUsage(device_t device, unsigned *power_mw)
{
    LOOK_POWER(device, F_POWER, power_mw);
    *power_mw = seen.power_mw;
    return SUCCESS;
}

API ret_t nvmlDeviceGetTotalEnergyConsumption(device_t device, unsigned long long *energy_mj)
{
    LOOK_POWER(device, F_ENERGY, energy_mj);
    *energy_mj = seen.energy_mj;
    return SUCCESS;
}

union value { double d; int si; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; unsigned short us; };
enum { DOUBLE, UINT, ULONG, ULL, SLL };
struct field_value { unsigned field, scope; int64_t timestamp, latency_us; int type; ret_t ret; union value value; };

/* Which feature a field is, and what it shows; NOT_SUPPORTED for a field or scope that this machine lacks. */
ret_t feature_of_field(unsigned field, unsigned scope, const struct gpu *gpu, enum feature *feature, uint64_t *value)
{
    static const enum feature powers[2][3] = {
        {F_AVERAGE, F_MODULE_AVERAGE, F_MEMORY_AVERAGE}, {F_INSTANT, F_MODULE_INSTANT, F_MEMORY_INSTANT}};
    const uint32_t shown[2][3] = {{gpu->average_mw, gpu->module_average_mw, gpu->memory_average_mw},
                                  {gpu->instant_mw, gpu->module_instant_mw, gpu->memory_instant_mw}};
    *feature = F_LIMITS;
    switch (field) {
    case 82: *feature = F_TEMPERATURE, *value = gpu->memory_temperature_c; return SUCCESS;
    case 83: *feature = F_ENERGY, *value = gpu->energy_mj; return scope == 0 ? SUCCESS : NOT_SUPPORTED;
    case 185:
    case 186:
        if (scope > 2)
            return INVALID_ARGUMENT;
        *feature = powers[field - 185][scope], *value = shown[field - 185][scope];
        return SUCCESS;
    case 187: *value = gpu->limit_min_mw; return SUCCESS;
    case 188: *value = gpu->limit_max_mw; return SUCCESS;
    case 189: *value = gpu->limit_default_mw; return SUCCESS;
    case 190:
    case 192: *value = gpu->settings.limit_mw; return SUCCESS;
    default: return NOT_SUPPORTED;
    }
}

API ret_t nvmlDeviceGetFieldValues(device_t device, int count, struct field_value *values)
{
    struct gpu seen;
    ret_t ret = look(device, F_ALL, &seen);
    if (ret != SUCCESS)
        return ret;
    if (count < 1 || values == NULL)
        return INVALID_ARGUMENT;
    for (int k = 0; k < count; k++) {
        struct field_value *value = &values[k];
        enum feature feature = F_ALL;
        uint64_t shown = 0;
        value->ret = feature_of_field(value->field, value->scope, &seen, &feature, &shown);
        if (value->ret == SUCCESS && device->mig != NONE)
            value->ret = failing(gpu_of(device), F_MIG_POWER);
        if (value->ret == SUCCESS)
            value->ret = failing(gpu_of(device), feature);
        value->timestamp = seen.stamp_us;
        value->latency_us = 0;
        value->type = value->field == 83 ? ULL : UINT;
        value->value.ull = 0;
        if (value->ret == SUCCESS)
            value->value.ull = shown;
    }
    return SUCCESS;
}

API ret_t nvmlDeviceClearFieldValues(device_t device, int count, struct field_value *values)
{
    LOOK(device, F_ALL, values);
    return count < 1 ? INVALID_ARGUMENT : SUCCESS;
}

struct given { unsigned long long t_us; union value value; };

API ret_t nvmlDeviceGetSamples(device_t device, int type, unsigned long long last_us, int *value_type, unsigned *count,
                               struct given *samples)
{
    LOOK_POWER(device, F_SAMPLES, count);
    if (value_type == NULL)
        return INVALID_ARGUMENT;
    if (type != 0)
        return NOT_SUPPORTED;
    *value_type = UINT;
    const struct gpu *gpu = gpu_of(device);
    uint64_t end = gpu->sample_count, begin = end > RING ? end - RING : 0;
    unsigned fitting = 0;
    if (samples == NULL) {
        *count = end - begin > 120 ? 120 : (unsigned)(end - begin);
        return SUCCESS;
    }
    if (end - begin > 120)
        begin = end - 120;
    for (uint64_t k = begin; k < end; k++) {
        if (gpu->samples[k % RING].t_us <= last_us)
            continue;
        if (fitting >= *count)
            return INSUFFICIENT_SIZE;
        samples[fitting].t_us = gpu->samples[k % RING].t_us;
        samples[fitting].value.ull = 0;
        samples[fitting++].value.ui = gpu->samples[k % RING].power_mw;
    }
    *count = fitting;
    return fitting ? SUCCESS : NOT_FOUND;
}

struct utilization { unsigned gpu, memory; };

API ret_t nvmlDeviceGetUtilizationRates(device_t device, struct utilization *rates)
{
    LOOK(device, F_UTILIZATION, rates);
    if (seen.settings.mig_mode)
        return NOT_SUPPORTED;
    rates->gpu = seen.utilization_gpu, rates->memory = seen.utilization_memory;
    return SUCCESS;
}

struct memory { uint64_t total, free, used; };
struct memory_v2 { unsigned version; uint64_t total, reserved, free, used; };

static void memory_of(device_t device, const struct gpu *seen, struct memory *memory)
{
    memory->total = device->mig == NONE ? seen->memory_total : seen->mig[device->mig].memory_bytes;
    memory->used = device->mig == NONE ? seen->memory_used : 0;
    memory->free = memory->total - memory->used;
}

API ret_t nvmlDeviceGetMemoryInfo(device_t device, struct memory *memory)
{
    struct gpu seen;
    ret_t ret = look(device, F_MEMORY, &seen);
    if (ret == SUCCESS && memory == NULL)
        ret = INVALID_ARGUMENT;
    if (ret == SUCCESS)
        memory_of(device, &seen, memory);
    return ret;
}

API ret_t nvmlDeviceGetMemoryInfo_v2(device_t device, struct memory_v2 *memory)
{
    struct gpu seen;
    ret_t ret = look(device, F_MEMORY, &seen);
    if (ret == SUCCESS && memory == NULL)
        ret = INVALID_ARGUMENT;
    if (ret != SUCCESS)
        return ret;
    struct memory plain;
    memory_of(device, &seen, &plain);
    memory->total = plain.total, memory->used = plain.used, memory->reserved = seen.memory_reserved;
    memory->free = plain.total - plain.used - seen.memory_reserved;
    return SUCCESS;
}

API ret_t nvmlDeviceGetTemperature(device_t device, int sensor, unsigned *temperature_c)
{
    LOOK(device, F_TEMPERATURE, temperature_c);
    if (sensor != 0)
        return INVALID_ARGUMENT;
    *temperature_c = seen.temperature_c;
    return SUCCESS;
}

struct temperature { unsigned version, sensor; int temperature_c; };

API ret_t nvmlDeviceGetTemperatureV(device_t device, struct temperature *temperature)
{
    LOOK(device, F_TEMPERATURE, temperature);
    if (temperature->sensor != 0)
        return INVALID_ARGUMENT;
    temperature->temperature_c = (int)seen.temperature_c;
    return SUCCESS;
}

API ret_t nvmlDeviceGetTemperatureThreshold(device_t device, int threshold, unsigned *temperature_c)
{
    LOOK(device, F_TEMPERATURE, temperature_c);
    static const unsigned degrees[] = {92, 89, 95, 83};
    if (threshold < 0 || threshold > 3)
        return NOT_SUPPORTED;
    *temperature_c = degrees[threshold];
    return SUCCESS;
}

#define NUMBER(function, feature, field)               \
    API ret_t function(device_t device, unsigned *out) \
    {                                                  \
        LOOK(device, feature, out);                    \
        *out = (unsigned)seen.field;                   \
        return SUCCESS;                                \
    }
NUMBER(nvmlDeviceGetFanSpeed, F_FAN, fan)
NUMBER(nvmlDeviceGetPerformanceState, F_PSTATE, pstate)
NUMBER(nvmlDeviceGetPowerState, F_PSTATE, pstate)

API ret_t nvmlDeviceGetCurrentClocksThrottleReasons(device_t device, unsigned long long *reasons)
{
    LOOK(device, F_CLOCKS, reasons);
    *reasons = seen.throttle_reasons;
    return SUCCESS;
}

API ret_t nvmlDeviceGetCurrentClocksEventReasons(device_t device, unsigned long long *reasons)
{
    return nvmlDeviceGetCurrentClocksThrottleReasons(device, reasons);
}

/* --- processes --------------------------------------------------------------------------------------- */

struct process_v1 { unsigned pid; uint64_t memory; };
struct process_v2 { unsigned pid; uint64_t memory; unsigned gi, ci; };

static ret_t processes(device_t device, unsigned kind, unsigned *count, struct process_v1 *old, struct process_v2 *new)
{
    LOOK_POWER(device, F_PROCESSES, count);
    unsigned there = 0, room = *count;
    for (uint32_t k = 0; k < MAX_PROCESSES; k++) {
        const struct process *process = &seen.processes[k];
        if (process->pid == 0 || process->kind != kind)
            continue;
        if (old != NULL && there < room)
            old[there] = (struct process_v1){process->pid, process->memory_bytes};
        if (new != NULL && there < room)
            new[there] = (struct process_v2){process->pid, process->memory_bytes, process->gi, process->ci};
        there++;
    }
    *count = there;
    return there > room || (there && old == NULL && new == NULL) ? INSUFFICIENT_SIZE : SUCCESS;
}

#define PROCESSES(name, kind)                                                                      \
    API ret_t name(device_t d, unsigned *n, struct process_v1 *p) { return processes(d, kind, n, p, NULL); }      \
    API ret_t name##_v2(device_t d, unsigned *n, struct process_v2 *p) { return processes(d, kind, n, NULL, p); } \
    API ret_t name##_v3(device_t d, unsigned *n, struct process_v2 *p) { return processes(d, kind, n, NULL, p); }
PROCESSES(nvmlDeviceGetComputeRunningProcesses, 0)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, 1)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, 2)

struct process_utilization { unsigned pid; unsigned long long t_us; unsigned sm, memory, encoder, decoder; };

API ret_t nvmlDeviceGetProcessUtilization(device_t device, struct process_utilization *out, unsigned *count,
                                          unsigned long long last_us)
{
    LOOK(device, F_UTILIZATION, count);
    unsigned there = 0, room = *count;
    for (uint32_t k = 0; k < MAX_PROCESSES; k++)
        if (seen.processes[k].pid && (unsigned long long)seen.stamp_us > last_us) {
            if (out != NULL && there < room)
                out[there] = (struct process_utilization){
                    seen.processes[k].pid, (unsigned long long)seen.stamp_us, seen.utilization_gpu,
                    seen.utilization_memory, 0, 0};
            there++;
        }
    *count = there;
    return there == 0 ? NOT_FOUND : there > room || out == NULL ? INSUFFICIENT_SIZE : SUCCESS;
}
