/* A core that needs a function which no library has: it links, but cannot be loaded. */
#include "farcall_core.h"

extern int32_t nowhere_to_be_found(int32_t version);

int32_t worker_init(int32_t version)
{
    return nowhere_to_be_found(version);
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
