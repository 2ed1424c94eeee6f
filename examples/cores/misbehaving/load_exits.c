/* A core that ends its process while it is loaded: its constructor calls exit(4). */
#include <stdlib.h>

#include "farcall_core.h"

__attribute__((constructor)) static void leave(void)
{
    exit(4);
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
