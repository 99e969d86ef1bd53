/* Which devices there are, and what they are. */
#include <stdio.h>
#include <string.h>
#include "fake.h"

static struct handle handles[MAX_GPUS][MAX_MIG + 1];

/* The handle of a GPU, or of its MIG device. A GPU that has fallen off the bus gives none. */
static ret_t hand_out(uint32_t gpu, uint32_t mig, device_t *device)
{
    struct gpu *found = &shared->gpus[gpu];
    ret_t ret = failing(found, F_HANDLE);
    if (ret != SUCCESS)
        return ret;
    struct handle *handle = &handles[gpu][mig == NONE ? MAX_MIG : mig];
    handle->gpu = gpu;
    handle->mig = mig;
    *device = handle;
    return SUCCESS;
}

#define BEGIN(out)                       \
    do {                                 \
        if (shared == NULL)              \
            return UNINITIALIZED;        \
        if ((out) == NULL)               \
            return INVALID_ARGUMENT;     \
    } while (0)

API ret_t nvmlDeviceGetCount_v2(unsigned *count)
{
    BEGIN(count);
    *count = 0;
    for (uint32_t k = 0; k < shared->gpu_count; k++)
        *count += shared->gpus[k].listed != 0;
    return SUCCESS;
}

API ret_t nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }

API ret_t nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device)
{
    BEGIN(device);
    for (uint32_t k = 0; k < shared->gpu_count; k++)
        if (shared->gpus[k].listed && index-- == 0)
            return hand_out(k, NONE, device);
    return INVALID_ARGUMENT;
}

API ret_t nvmlDeviceGetHandleByIndex(unsigned index, device_t *device)
{
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

API ret_t nvmlDeviceGetHandleByUUID(const char *uuid, device_t *device)
{
    BEGIN(device);
    if (uuid == NULL)
        return INVALID_ARGUMENT;
    for (uint32_t k = 0; k < shared->gpu_count; k++) {
        struct gpu *gpu = &shared->gpus[k];
        if (gpu->listed && strcmp(uuid, gpu->uuid) == 0)
            return hand_out(k, NONE, device);
        for (uint32_t m = 0; gpu->listed && m < MAX_MIG; m++)
            if (gpu->mig[m].present && strcmp(uuid, gpu->mig[m].uuid) == 0)
                return hand_out(k, m, device);
    }
    return NOT_FOUND;
}

API ret_t nvmlDeviceGetHandleBySerial(const char *serial, device_t *device)
{
    BEGIN(device);
    for (uint32_t k = 0; serial != NULL && k < shared->gpu_count; k++)
        if (shared->gpus[k].listed && strcmp(serial, shared->gpus[k].serial) == 0)
            return hand_out(k, NONE, device);
    return NOT_FOUND;
}

API ret_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, device_t *device)
{
    BEGIN(device);
    unsigned domain = 0, bus, slot, function = 0;
    if (bus_id == NULL)
        return INVALID_ARGUMENT;
    if (sscanf(bus_id, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3) {
        domain = 0;
        if (sscanf(bus_id, "%x:%x.%x", &bus, &slot, &function) < 2)
            return INVALID_ARGUMENT;
    }
    for (uint32_t k = 0; k < shared->gpu_count; k++) {
        struct gpu *gpu = &shared->gpus[k];
        if (gpu->listed && gpu->domain == domain && gpu->bus == bus && gpu->device == slot)
            return hand_out(k, NONE, device);
    }
    return NOT_FOUND;
}

API ret_t nvmlDeviceGetHandleByPciBusId(const char *bus_id, device_t *device)
{
    return nvmlDeviceGetHandleByPciBusId_v2(bus_id, device);
}

#define LOOK(device, feature, out)                   \
    struct gpu seen;                                 \
    do {                                             \
        ret_t looked = look(device, feature, &seen); \
        if (looked != SUCCESS)                       \
            return looked;                           \
        if ((out) == NULL)                           \
            return INVALID_ARGUMENT;                 \
    } while (0)

API ret_t nvmlDeviceGetName(device_t device, char *name, unsigned length)
{
    LOOK(device, F_ALL, name);
    if (device->mig == NONE)
        return give(name, length, seen.name);
    char whole[160];
    snprintf(whole, sizeof whole, "%s MIG %s", seen.name, seen.mig[device->mig].profile);
    return give(name, length, whole);
}

API ret_t nvmlDeviceGetUUID(device_t device, char *uuid, unsigned length)
{
    LOOK(device, F_ALL, uuid);
    return give(uuid, length, device->mig == NONE ? seen.uuid : seen.mig[device->mig].uuid);
}

API ret_t nvmlDeviceGetIndex(device_t device, unsigned *index)
{
    LOOK(device, F_ALL, index);
    *index = device->mig;
    if (device->mig == NONE) {
        *index = 0;
        for (uint32_t k = 0; k < device->gpu; k++)
            *index += shared->gpus[k].listed != 0;
    }
    return SUCCESS;
}

#define STRING(function, field)                                                \
    API ret_t function(device_t device, char *text, unsigned length)            \
    {                                                                          \
        LOOK(device, F_ALL, text);                                             \
        return seen.field[0] ? give(text, length, seen.field) : NOT_SUPPORTED; \
    }
STRING(nvmlDeviceGetSerial, serial)
STRING(nvmlDeviceGetVbiosVersion, vbios)

#define NUMBER(function, field)                        \
    API ret_t function(device_t device, unsigned *out) \
    {                                                  \
        LOOK(device, F_ALL, out);                      \
        *out = seen.field;                             \
        return SUCCESS;                                \
    }
NUMBER(nvmlDeviceGetMinorNumber, minor)
NUMBER(nvmlDeviceGetArchitecture, architecture)
NUMBER(nvmlDeviceGetBrand, brand)
NUMBER(nvmlDeviceGetNumGpuCores, cores)

API ret_t nvmlDeviceGetCudaComputeCapability(device_t device, int *major, int *minor)
{
    LOOK(device, F_ALL, major);
    *major = (int)seen.cc_major;
    if (minor != NULL)
        *minor = (int)seen.cc_minor;
    return SUCCESS;
}

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
struct pci_v2 { char bus_id[16]; unsigned domain, bus, device, id, subsystem, reserved[4]; };

API ret_t nvmlDeviceGetPciInfo_v3(device_t device, struct pci *pci)
{
    LOOK(device, F_ALL, pci);
    memset(pci, 0, sizeof *pci);
    snprintf(pci->legacy, sizeof pci->legacy, "%04X:%02X:%02X.0", seen.domain & 0xffff, seen.bus & 0xff, seen.device & 0xff);
    pci->domain = seen.domain, pci->bus = seen.bus, pci->device = seen.device;
    pci->id = seen.pci_device_id, pci->subsystem = seen.pci_subsystem_id;
    memcpy(pci->bus_id, seen.bus_id, sizeof pci->bus_id);
    return SUCCESS;
}

API ret_t nvmlDeviceGetPciInfo_v2(device_t device, struct pci_v2 *pci)
{
    LOOK(device, F_ALL, pci);
    memset(pci, 0, sizeof *pci);
    snprintf(pci->bus_id, sizeof pci->bus_id, "%04X:%02X:%02X.0", seen.domain & 0xffff, seen.bus & 0xff, seen.device & 0xff);
    pci->domain = seen.domain, pci->bus = seen.bus, pci->device = seen.device;
    pci->id = seen.pci_device_id, pci->subsystem = seen.pci_subsystem_id;
    return SUCCESS;
}

API ret_t nvmlDeviceGetPciInfo(device_t device, struct pci_v2 *pci) { return nvmlDeviceGetPciInfo_v2(device, pci); }

/* --- MIG --------------------------------------------------------------------------------------------- */

API ret_t nvmlDeviceGetMigMode(device_t device, unsigned *current, unsigned *pending)
{
    LOOK(device, F_MIG, current);
    if (device->mig != NONE)
        return INVALID_ARGUMENT;
    *current = seen.settings.mig_mode;
    if (pending != NULL)
        *pending = seen.settings.mig_pending;
    return SUCCESS;
}

API ret_t nvmlDeviceGetMaxMigDeviceCount(device_t device, unsigned *count)
{
    LOOK(device, F_ALL, count);
    *count = seen.ret[F_MIG] == SUCCESS ? 7 : 0;
    return SUCCESS;
}

API ret_t nvmlDeviceGetMigDeviceHandleByIndex(device_t device, unsigned index, device_t *mig)
{
    LOOK(device, F_MIG, mig);
    if (index >= MAX_MIG || !seen.settings.mig_mode || !seen.mig[index].present)
        return NOT_FOUND;
    return hand_out(device->gpu, index, mig);
}

API ret_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device_t mig, device_t *device)
{
    LOOK(mig, F_ALL, device);
    return mig->mig == NONE ? INVALID_ARGUMENT : hand_out(mig->gpu, NONE, device);
}

API ret_t nvmlDeviceIsMigDeviceHandle(device_t device, unsigned *is_mig)
{
    LOOK(device, F_ALL, is_mig);
    *is_mig = device->mig != NONE;
    return SUCCESS;
}

API ret_t nvmlDeviceGetGpuInstanceId(device_t device, unsigned *id)
{
    LOOK(device, F_ALL, id);
    if (device->mig == NONE)
        return INVALID_ARGUMENT;
    *id = seen.mig[device->mig].gi;
    return SUCCESS;
}

API ret_t nvmlDeviceGetComputeInstanceId(device_t device, unsigned *id)
{
    LOOK(device, F_ALL, id);
    if (device->mig == NONE)
        return INVALID_ARGUMENT;
    *id = seen.mig[device->mig].ci;
    return SUCCESS;
}

struct attributes { unsigned multiprocessors, copy, decoders, encoders, jpeg, ofa, gi_slices, ci_slices; uint64_t memory_mb; };

API ret_t nvmlDeviceGetAttributes_v2(device_t device, struct attributes *attributes)
{
    LOOK(device, F_ALL, attributes);
    if (device->mig == NONE)
        return INVALID_ARGUMENT;
    struct mig *mig = &seen.mig[device->mig];
    *attributes = (struct attributes){mig->multiprocessors, 1, 0, 0, 0, 0, mig->slices, mig->slices, mig->memory_bytes >> 20};
    return SUCCESS;
}

API ret_t nvmlDeviceGetAttributes(device_t device, struct attributes *attributes)
{
    return nvmlDeviceGetAttributes_v2(device, attributes);
}
