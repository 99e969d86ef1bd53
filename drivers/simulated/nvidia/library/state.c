/* Starting and ending the library, and looking at the state that the simulated machine shows. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <pthread.h>
#include <unistd.h>
#include "fake.h"

#define TRIES 10000

struct state *shared;
static unsigned started;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

/* JOULEBENCH_NVML_STATE, or the file `nvml-state` beside the library. */
static int state_path(char *path, size_t size)
{
    const char *given = getenv("JOULEBENCH_NVML_STATE");
    if (given != NULL && *given != 0)
        return snprintf(path, size, "%s", given) < (int)size;
    Dl_info self;
    if (!dladdr((void *)&state_path, &self) || self.dli_fname == NULL)
        return 0;
    char real[PATH_MAX];
    if (realpath(self.dli_fname, real) == NULL)
        return 0;
    char *end = strrchr(real, '/');
    if (end == NULL)
        return 0;
    *end = 0;
    return snprintf(path, size, "%s/nvml-state", real) < (int)size;
}

static ret_t map_state(void)
{
    char path[PATH_MAX];
    if (!state_path(path, sizeof path))
        return DRIVER_NOT_LOADED;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return DRIVER_NOT_LOADED;
    struct stat size;
    void *map = MAP_FAILED;
    if (fstat(fd, &size) == 0 && size.st_size >= (off_t)sizeof(struct state))
        map = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return DRIVER_NOT_LOADED;
    struct state *found = map;
    ret_t ret = found->init_ret;
    if (found->magic != MAGIC || found->version != STATE_VERSION)
        ret = UNKNOWN;
    if (ret != SUCCESS) {
        munmap(map, sizeof(struct state));
        return ret;
    }
    shared = found;
    return SUCCESS;
}

API ret_t nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    pthread_mutex_lock(&guard);
    ret_t ret = shared == NULL ? map_state() : SUCCESS;
    if (ret == SUCCESS)
        started++;
    pthread_mutex_unlock(&guard);
    return ret;
}

API ret_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API ret_t nvmlInit(void) { return nvmlInitWithFlags(0); }

API ret_t nvmlShutdown(void)
{
    pthread_mutex_lock(&guard);
    ret_t ret = started > 0 ? SUCCESS : UNINITIALIZED;
    if (started > 0 && --started == 0) {
        munmap(shared, sizeof *shared);
        shared = NULL;
    }
    pthread_mutex_unlock(&guard);
    return ret;
}

struct gpu *gpu_of(device_t device)
{
    return &shared->gpus[device->gpu];
}

/* What a feature gives this time: its code, always or every so many calls. */
ret_t failing(struct gpu *gpu, enum feature feature)
{
    ret_t ret = __atomic_load_n(&gpu->ret[F_ALL], __ATOMIC_RELAXED);
    if (ret != SUCCESS && gpu->every[F_ALL] <= 1)
        return ret;
    if (ret != SUCCESS && __atomic_fetch_add(&gpu->calls[F_ALL], 1, __ATOMIC_RELAXED) % gpu->every[F_ALL] == 0)
        return ret;
    uint32_t calls = __atomic_fetch_add(&gpu->calls[feature], 1, __ATOMIC_RELAXED);
    ret = __atomic_load_n(&gpu->ret[feature], __ATOMIC_RELAXED);
    if (feature == F_ALL || ret == SUCCESS)
        return SUCCESS;
    return gpu->every[feature] <= 1 || calls % gpu->every[feature] == 0 ? ret : SUCCESS;
}

ret_t look(device_t device, enum feature feature, struct gpu *seen)
{
    if (shared == NULL)
        return UNINITIALIZED;
    if (device == NULL || device->gpu >= shared->gpu_count)
        return INVALID_ARGUMENT;
    struct gpu *gpu = gpu_of(device);
    if (gpu->delay_us)
        usleep(gpu->delay_us);
    for (int k = 0; k < TRIES; k++) { /* a writer that died in the middle is not waited for */
        uint32_t before = __atomic_load_n(&shared->sequence, __ATOMIC_ACQUIRE);
        memcpy(seen, gpu, offsetof(struct gpu, samples));
        seen->settings = gpu->settings;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(before & 1) && before == __atomic_load_n(&shared->sequence, __ATOMIC_RELAXED))
            break;
    }
    if (!seen->listed)
        return GPU_IS_LOST;
    return failing(gpu, feature);
}

ret_t look_whole(device_t device, enum feature feature, struct gpu *seen)
{
    ret_t ret = look(device, feature, seen);
    return ret == SUCCESS && device->mig != NONE ? NOT_SUPPORTED : ret;
}

ret_t give(char *to, unsigned length, const char *text)
{
    if (to == NULL)
        return INVALID_ARGUMENT;
    if (strlen(text) >= length)
        return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return SUCCESS;
}

static const struct { ret_t ret; const char *words; } WORDS[] = {
    {0, "Success"}, {1, "Uninitialized"}, {2, "Invalid Argument"}, {3, "Not Supported"},
    {4, "Insufficient Permissions"}, {5, "Already Initialized"}, {6, "Not Found"}, {7, "Insufficient Size"},
    {8, "Insufficient External Power"}, {9, "Driver Not Loaded"}, {10, "Timeout"}, {12, "NVML Shared Library Not Found"},
    {13, "Function Not Found"}, {14, "Corrupted infoROM"}, {15, "GPU is lost"}, {16, "GPU requires restart"},
    {17, "The operating system has blocked the request."}, {18, "RM has detected an NVML/RM version mismatch."},
    {19, "GPU is currently in use"}, {20, "Insufficient Memory"}, {21, "No data"}, {25, "Argument version mismatch"},
    {28, "GPU not found"},
};

API const char *nvmlErrorString(ret_t ret)
{
    for (size_t k = 0; k < sizeof WORDS / sizeof WORDS[0]; k++)
        if (WORDS[k].ret == ret)
            return WORDS[k].words;
    return "Unknown Error";
}

API ret_t nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    return shared == NULL ? UNINITIALIZED : give(version, length, shared->driver_version);
}

API ret_t nvmlSystemGetNVMLVersion(char *version, unsigned length)
{
    return shared == NULL ? UNINITIALIZED : give(version, length, shared->nvml_version);
}

API ret_t nvmlSystemGetCudaDriverVersion(int *version)
{
    if (shared == NULL)
        return UNINITIALIZED;
    if (version == NULL)
        return INVALID_ARGUMENT;
    *version = (int)shared->cuda_version;
    return SUCCESS;
}

API ret_t nvmlSystemGetCudaDriverVersion_v2(int *version) { return nvmlSystemGetCudaDriverVersion(version); }

API ret_t nvmlSystemGetProcessName(unsigned pid, char *name, unsigned length)
{
    if (shared == NULL)
        return UNINITIALIZED;
    for (uint32_t g = 0; g < shared->gpu_count; g++)
        for (uint32_t k = 0; k < MAX_PROCESSES; k++)
            if (shared->gpus[g].processes[k].pid == pid && pid != 0)
                return give(name, length, shared->gpus[g].processes[k].name);
    return NOT_FOUND;
}
