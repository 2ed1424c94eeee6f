/* coherent ROUNDS: adds to a number in memory that two processes map, first by atomics, then under a mutex. */
#include <stdatomic.h>

#include "check.h"

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 1;
    farcall_cluster *cluster;
    farcall_region *region;
    farcall_mapping *mapping;
    farcall_region_options options = {.pages = 2, .coherent = 1};
    DONE(farcall_from_env(&cluster));
    DONE(farcall_region_open_or_create(cluster, "coherent", &options, &region));
    farcall_status mapped = farcall_map_coherent(region, &mapping);
    if (mapped == FARCALL_KERNEL) {
        printf("skipped: %s\n", farcall_last_error());
        return 0;
    }
    DONE(mapped);
    CHECK(farcall_mapping_length(mapping) == 2 * 4096);
    char *memory = farcall_mapping_address(mapping);
    _Atomic uint64_t *atomic = (_Atomic uint64_t *)memory;
    uint64_t *plain = (uint64_t *)(memory + 4096);
    char byte;
    GIVES(FARCALL_WRONG_STYLE, farcall_read(region, 0, 0, &byte, 1, NULL));

    DONE(farcall_barrier_wait(region, 0, 2, NULL));
    for (long round = 0; round < rounds; round++) {
        farcall_mutex_guard *held;
        atomic_fetch_add(atomic, 1);
        DONE(farcall_mutex_lock(region, 1, -1, &held));
        ++*plain;
        DONE(farcall_mutex_unlock(held));
    }
    DONE(farcall_barrier_wait(region, 1, 2, NULL));
    printf("%llu %llu\n", (unsigned long long)atomic_load(atomic), (unsigned long long)*plain);
    DONE(farcall_barrier_wait(region, 2, 2, NULL));
    DONE(farcall_unmap(mapping));
    farcall_region_free(region);
    farcall_cluster_free(cluster);
    return 0;
}
