/* Sleeps for an hour: its tasks stay queued. */
#include <stdint.h>
#include <unistd.h>

int32_t worker_init(int32_t version) { return version == 1 ? 0 : 1; }

int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize, void **outdata) {
    (void)size; (void)data; (void)outsize; (void)outdata;
    sleep(3600);
    return 0;
}

void worker_free_outdata(uint64_t size, void *outdata) { (void)size; (void)outdata; }
