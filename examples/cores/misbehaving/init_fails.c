/* A core that refuses to start: worker_init returns 42. */
#include "farcall_core.h"

int32_t worker_init(int32_t version)
{
    (void)version;
    return 42;
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
