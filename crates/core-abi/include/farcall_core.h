/*
 * The compute core API, version 1: how a shared library (.so) becomes a program that
 * Farcall runs on every host of a cluster.
 *
 * A compute core exports the three functions below, unmangled. For C and C++:
 *
 *     #include "farcall_core.h"
 *
 *     cc  -O2 -shared -fPIC -I crates/core-abi/include -o libmine.so mine.c
 *     c++ -O2 -shared -fPIC -I crates/core-abi/include -o libmine.so mine.cpp
 *
 *     farcall core run ./libmine.so INPUT...
 *
 * Including this file is enough to get C linkage and visibility right, in C++ and with
 * -fvisibility=hidden too. In Rust, use the crate farcall-core-abi instead.
 *
 * The order of the calls, all from one and the same thread:
 *
 *     worker_init(1)                       once, after the library is loaded
 *     worker_run_job, worker_free_outdata  for each job, always in pairs
 *     (the library is unloaded)            static destructors run; there is no other goodbye
 *
 * Nothing is called after worker_init returned an error. Several jobs run at the same time
 * by loading the core in several processes, never by calling it from several threads. A core
 * may start threads of its own.
 *
 * A core runs in a process of its own, apart from the daemon. If it crashes, exits or runs
 * out of time, that job fails with the reason and the core is loaded afresh for the next one.
 * So keep nothing between jobs that a later job cannot do without. What is written to
 * standard error goes to the log of the job.
 */
#ifndef FARCALL_CORE_H
#define FARCALL_CORE_H

#include <stdint.h>

/* What worker_init is given. */
#define FARCALL_CORE_API_VERSION 1

#if defined(__GNUC__)
#define FARCALL_CORE_EXPORT __attribute__((visibility("default")))
#else
#define FARCALL_CORE_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Called once, before the first job, with the version of this API that the host speaks.
 * A core should check that it is FARCALL_CORE_API_VERSION.
 *
 * Returns 0 if the core is ready. Any other value refuses to work; it is shown to the user.
 */
FARCALL_CORE_EXPORT int32_t worker_init(int32_t version);

/*
 * Runs one job.
 *
 * size, data         The input. `data` belongs to the host, which frees or reuses it as soon as
 *                    this function returns: do not keep it, free it or give it back as output.
 *                    Until then the core may write to all `size` bytes of it, as to a buffer of
 *                    its own. It is aligned to 16 bytes and is never NULL, even if size is 0.
 * outsize, outdata   Where the core stores the size and the address of its output. On entry
 *                    they hold 0 and NULL, which mean "no output": a core that has none leaves
 *                    them alone. NULL with a size other than 0 is an error of the core. An
 *                    address with size 0 is an empty output. The output belongs to the core and
 *                    must stay as it is until worker_free_outdata is called.
 *
 * Returns 0 if the job succeeded. Any other value is the job's exit code: it reaches the
 * caller, together with the output if there is one.
 */
FARCALL_CORE_EXPORT int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize,
                                           void **outdata);

/*
 * Tells the core that its last output has been copied and is no longer needed. Called exactly
 * once after every worker_run_job, with the size and the address that it stored: also if that
 * was 0 and NULL, and also if it returned an exit code other than 0. It is always called
 * before the next job and before the library is unloaded.
 */
FARCALL_CORE_EXPORT void worker_free_outdata(uint64_t size, void *outdata);

#ifdef __cplusplus
}
#endif

#endif /* FARCALL_CORE_H */
