/* A core that never finishes loading: its constructor does not return. */
#include <unistd.h>

#include "farcall_core.h"

__attribute__((constructor)) static void hang(void)
{
    for (;;)
        pause();
}

int32_t worker_init(int32_t version)
{
    return version == FARCALL_CORE_API_VERSION ? 0 : 1;
}

int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize, void **outdata)
{
    (void)size, (void)data, (void)outsize, (void)outdata;
    return 0;
}

void worker_free_outdata(uint64_t size, void *outdata)
{
    (void)size, (void)outdata;
}
