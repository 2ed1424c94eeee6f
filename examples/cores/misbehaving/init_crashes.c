/* A core that crashes while it starts: worker_init ends with SIGSEGV. */
#include "farcall_core.h"

int32_t worker_init(int32_t version)
{
    *(volatile int32_t *)16 = version;
    return 0;
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
