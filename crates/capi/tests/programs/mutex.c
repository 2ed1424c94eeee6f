/* mutex ROUNDS: adds to a number in page 1 under the mutex 0, with a plain read and a plain update, so that
 * nothing but the mutex keeps two processes from losing each other's. */
#include "check.h"

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 1;
    farcall_cluster *cluster;
    farcall_region *region;
    farcall_region_options options = {.pages = 2};
    DONE(farcall_from_env(&cluster));
    DONE(farcall_region_open_or_create(cluster, "mutex", &options, &region));
    /* Both begin together. */
    DONE(farcall_barrier_wait(region, 0, 2, NULL));
    uint64_t token = 0;
    for (long round = 0; round < rounds; round++) {
        farcall_mutex_guard *held;
        uint64_t number;
        DONE(farcall_mutex_lock(region, 0, -1, &held));
        CHECK(farcall_mutex_token(held) > token);
        token = farcall_mutex_token(held);
        DONE(farcall_read(region, 1, 0, &number, sizeof number, NULL));
        number++;
        DONE(farcall_update(region, 1, 0, &number, sizeof number, NULL));
        DONE(farcall_mutex_unlock(held));
    }
    DONE(farcall_barrier_wait(region, 1, 2, NULL));
    uint64_t sum;
    DONE(farcall_read(region, 1, 0, &sum, sizeof sum, NULL));
    printf("%llu\n", (unsigned long long)sum);
    farcall_region_free(region);
    farcall_cluster_free(cluster);
    return 0;
}
