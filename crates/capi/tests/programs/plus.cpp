// The header in C++: handles in smart pointers, threads that share one region.
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"

struct Free {
    void operator()(farcall_cluster *cluster) const { farcall_cluster_free(cluster); }
    void operator()(farcall_region *region) const { farcall_region_free(region); }
};

int main()
{
    farcall_cluster *made;
    DONE(farcall_from_env(&made));
    std::unique_ptr<farcall_cluster, Free> cluster(made);
    farcall_region_options options{};
    options.pages = 2;
    farcall_region *opened;
    DONE(farcall_region_open_or_create(cluster.get(), "plus", &options, &opened));
    std::unique_ptr<farcall_region, Free> region(opened);

    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; thread++)
        threads.emplace_back([&region] {
            for (int i = 0; i < 100; i++)
                DONE(farcall_counter_add(region.get(), 0, 1, nullptr));
            // What goes wrong on one thread is told there.
            CHECK(farcall_last_error()[0] == 0);
            GIVES(FARCALL_NO_SUCH_PAGE, farcall_counter_add(region.get(), 2, 1, nullptr));
            CHECK(farcall_last_error()[0] != 0);
        });
    for (std::thread &thread : threads)
        thread.join();
    CHECK(farcall_last_error()[0] == 0);
    int64_t sum;
    DONE(farcall_counter_get(region.get(), 0, &sum));
    CHECK(sum == 400);
    puts("400");
}
