/* A library that is no compute core: worker_free_outdata is missing. */
#include "farcall_core.h"

int32_t worker_init(int32_t version)
{
    return version == FARCALL_CORE_API_VERSION ? 0 : 1;
}

int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize, void **outdata)
{
    (void)size, (void)data, (void)outsize, (void)outdata;
    return 0;
}
