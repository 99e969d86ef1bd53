/* What a user may look up and set: limits, clocks, modes. What is set is kept in the state, for all processes. */
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

/* As LOOK, and whether this user may set anything. */
#define MAY_SET(device)                                         \
    LOOK(device, F_SETTINGS, device);                           \
    if (!shared->any_user && geteuid() != 0)                    \
        return NO_PERMISSION;                                   \
    struct settings *settings = &gpu_of(device)->settings;      \
    (void)settings

API ret_t nvmlDeviceGetPowerManagementMode(device_t device, unsigned *mode)
{
    LOOK(device, F_ALL, mode);
    *mode = seen.ret[F_LIMITS] == SUCCESS;
    return SUCCESS;
}

#define LIMIT(function, field)                         \
    API ret_t function(device_t device, unsigned *out) \
    {                                                  \
        LOOK(device, F_LIMITS, out);                   \
        *out = seen.field;                             \
        return SUCCESS;                                \
    }
LIMIT(nvmlDeviceGetPowerManagementLimit, settings.limit_mw)
LIMIT(nvmlDeviceGetEnforcedPowerLimit, settings.limit_mw)
LIMIT(nvmlDeviceGetPowerManagementDefaultLimit, limit_default_mw)
LIMIT(nvmlDeviceGetPersistenceMode, settings.persistence)
LIMIT(nvmlDeviceGetComputeMode, settings.compute_mode)

API ret_t nvmlDeviceGetPowerManagementLimitConstraints(device_t device, unsigned *least, unsigned *most)
{
    LOOK(device, F_LIMITS, least);
    *least = seen.limit_min_mw;
    if (most != NULL)
        *most = seen.limit_max_mw;
    return SUCCESS;
}

API ret_t nvmlDeviceSetPowerManagementLimit(device_t device, unsigned limit_mw)
{
    MAY_SET(device);
    if (seen.ret[F_LIMITS] != SUCCESS)
        return seen.ret[F_LIMITS];
    if (limit_mw < seen.limit_min_mw || limit_mw > seen.limit_max_mw)
        return INVALID_ARGUMENT;
    settings->limit_mw = limit_mw;
    return SUCCESS;
}

API ret_t nvmlDeviceSetPersistenceMode(device_t device, unsigned mode)
{
    MAY_SET(device);
    if (mode > 1)
        return INVALID_ARGUMENT;
    settings->persistence = mode;
    return SUCCESS;
}

API ret_t nvmlDeviceSetComputeMode(device_t device, unsigned mode)
{
    MAY_SET(device);
    if (mode > 3)
        return INVALID_ARGUMENT;
    settings->compute_mode = mode;
    return SUCCESS;
}

API ret_t nvmlDeviceSetMigMode(device_t device, unsigned mode, ret_t *activation)
{
    MAY_SET(device);
    if (seen.ret[F_MIG] != SUCCESS)
        return seen.ret[F_MIG];
    settings->mig_mode = settings->mig_pending = mode != 0;
    if (activation != NULL)
        *activation = SUCCESS;
    return SUCCESS;
}

API ret_t nvmlDeviceGetEccMode(device_t device, unsigned *current, unsigned *pending)
{
    LOOK(device, F_ALL, current);
    if (seen.settings.ecc > 1)
        return NOT_SUPPORTED;
    *current = seen.settings.ecc;
    if (pending != NULL)
        *pending = seen.settings.ecc;
    return SUCCESS;
}

API ret_t nvmlDeviceGetDisplayMode(device_t device, unsigned *mode)
{
    LOOK(device, F_ALL, mode);
    *mode = 0;
    return SUCCESS;
}

/* Grace's link between chips: no machine here has it. */
API ret_t nvmlDeviceGetC2cModeInfoV(device_t device, void *info)
{
    LOOK(device, F_ALL, info);
    return NOT_SUPPORTED;
}

API ret_t nvmlDeviceGetDisplayActive(device_t device, unsigned *mode) { return nvmlDeviceGetDisplayMode(device, mode); }

/* --- clocks ------------------------------------------------------------------------------------------ */

uint32_t clock_now(const struct gpu *gpu, unsigned domain)
{
    const struct settings *s = &gpu->settings;
    uint32_t now = gpu->clock[domain];
    uint32_t least = domain == 2 ? s->memory_lock_min : s->lock_min, most = domain == 2 ? s->memory_lock_max : s->lock_max;
    if (most == 0 || domain == 3)
        return now;
    return now < least ? least : now > most ? most : now;
}

API ret_t nvmlDeviceGetClockInfo(device_t device, unsigned domain, unsigned *mhz)
{
    LOOK(device, F_CLOCKS, mhz);
    if (domain > 3)
        return INVALID_ARGUMENT;
    *mhz = clock_now(&seen, domain);
    return SUCCESS;
}

API ret_t nvmlDeviceGetMaxClockInfo(device_t device, unsigned domain, unsigned *mhz)
{
    LOOK(device, F_CLOCKS, mhz);
    if (domain > 3)
        return INVALID_ARGUMENT;
    *mhz = seen.clock_max[domain];
    return SUCCESS;
}

API ret_t nvmlDeviceGetMaxCustomerBoostClock(device_t device, unsigned domain, unsigned *mhz)
{
    return nvmlDeviceGetMaxClockInfo(device, domain, mhz);
}

API ret_t nvmlDeviceGetDefaultApplicationsClock(device_t device, unsigned domain, unsigned *mhz)
{
    LOOK(device, F_CLOCKS, mhz);
    if (domain > 3)
        return INVALID_ARGUMENT;
    *mhz = seen.clock_default[domain];
    return *mhz ? SUCCESS : NOT_SUPPORTED;
}

API ret_t nvmlDeviceGetApplicationsClock(device_t device, unsigned domain, unsigned *mhz)
{
    ret_t ret = nvmlDeviceGetDefaultApplicationsClock(device, domain, mhz);
    if (ret != SUCCESS)
        return ret;
    const struct settings *settings = &gpu_of(device)->settings;
    uint32_t set = domain == 2 ? settings->app_memory : domain < 2 ? settings->app_sm : 0;
    if (set)
        *mhz = set;
    return SUCCESS;
}

API ret_t nvmlDeviceGetClock(device_t device, unsigned domain, unsigned which, unsigned *mhz)
{
    if (which == 0)
        return nvmlDeviceGetClockInfo(device, domain, mhz);
    if (which == 1)
        return nvmlDeviceGetApplicationsClock(device, domain, mhz);
    return which == 2 ? nvmlDeviceGetDefaultApplicationsClock(device, domain, mhz) : NOT_SUPPORTED;
}

API ret_t nvmlDeviceSetApplicationsClocks(device_t device, unsigned memory_mhz, unsigned sm_mhz)
{
    MAY_SET(device);
    if (seen.clock_default[1] == 0)
        return NOT_SUPPORTED;
    if (memory_mhz > seen.clock_max[2] || sm_mhz > seen.clock_max[1])
        return INVALID_ARGUMENT;
    settings->app_memory = memory_mhz, settings->app_sm = sm_mhz;
    return SUCCESS;
}

API ret_t nvmlDeviceResetApplicationsClocks(device_t device)
{
    MAY_SET(device);
    settings->app_memory = settings->app_sm = 0;
    return SUCCESS;
}

static ret_t lock(device_t device, unsigned least, unsigned most, uint32_t *to_least, uint32_t *to_most)
{
    if (least > most)
        return INVALID_ARGUMENT;
    (void)device;
    *to_least = least, *to_most = most;
    return SUCCESS;
}

API ret_t nvmlDeviceSetGpuLockedClocks(device_t device, unsigned least, unsigned most)
{
    MAY_SET(device);
    return seen.architecture < 5 ? NOT_SUPPORTED : lock(device, least, most, &settings->lock_min, &settings->lock_max);
}

API ret_t nvmlDeviceResetGpuLockedClocks(device_t device)
{
    MAY_SET(device);
    return lock(device, 0, 0, &settings->lock_min, &settings->lock_max);
}

API ret_t nvmlDeviceSetMemoryLockedClocks(device_t device, unsigned least, unsigned most)
{
    MAY_SET(device);
    if (seen.architecture < 7)
        return NOT_SUPPORTED;
    return lock(device, least, most, &settings->memory_lock_min, &settings->memory_lock_max);
}

API ret_t nvmlDeviceResetMemoryLockedClocks(device_t device)
{
    MAY_SET(device);
    return lock(device, 0, 0, &settings->memory_lock_min, &settings->memory_lock_max);
}

API ret_t nvmlDeviceGetSupportedMemoryClocks(device_t device, unsigned *count, unsigned *mhz)
{
    LOOK(device, F_CLOCKS, count);
    unsigned room = *count;
    *count = 1;
    if (room < 1 || mhz == NULL)
        return INSUFFICIENT_SIZE;
    mhz[0] = seen.clock_max[2];
    return SUCCESS;
}

API ret_t nvmlDeviceGetSupportedGraphicsClocks(device_t device, unsigned memory_mhz, unsigned *count, unsigned *mhz)
{
    LOOK(device, F_CLOCKS, count);
    if (memory_mhz != seen.clock_max[2])
        return NOT_FOUND;
    unsigned room = *count, there = 0;
    for (unsigned clock = seen.clock_max[0]; clock >= 210; clock -= 15, there++)
        if (there < room && mhz != NULL)
            mhz[there] = clock;
    *count = there;
    return mhz == NULL || there > room ? INSUFFICIENT_SIZE : SUCCESS;
}
