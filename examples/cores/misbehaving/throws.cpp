// A core that lets a C++ exception out of worker_run_job, which ends its process.
#include <stdexcept>

#include "farcall_core.h"

int32_t worker_init(int32_t version)
{
    return version == FARCALL_CORE_API_VERSION ? 0 : 1;
}

int32_t worker_run_job(uint64_t, void *, uint64_t *, void **)
{
    throw std::runtime_error("thrown by a core");
}

void worker_free_outdata(uint64_t, void *)
{
}
