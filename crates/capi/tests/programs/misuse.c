/* Nulls and nonsense: each is a status, and what stands behind still works afterwards. */
#include <limits.h>

#include "check.h"

#define WRONG(call)                                                                              \
    do {                                                                                         \
        GIVES(FARCALL_WRONG_ARGUMENT, call);                                                     \
        CHECK(farcall_last_error()[0] != 0);                                                     \
    } while (0)

static size_t nothing(void *context, void *result, size_t room)
{
    (void)context, (void)result, (void)room;
    return 0;
}

static void nowhere(void *context)
{
    (void)context;
}

int main(void)
{
    farcall_cluster *cluster = NULL;
    farcall_region *region = NULL;
    farcall_lock *lock = NULL;
    farcall_transaction *transaction = NULL;
    farcall_watch *watch = NULL;
    farcall_mutex_guard *held = NULL;
    farcall_mapping *mapping = NULL;
    farcall_location location;
    farcall_copy *copy = NULL, *copies[2] = {NULL, NULL};
    farcall_call *call = NULL;
    const char *nodes[2] = {"one", NULL};
    int32_t pid = 0;
    farcall_region_options options = {.pages = 4};
    uint64_t version = 0;
    char byte = 0;
    CHECK(farcall_last_error()[0] == 0);

    /* Without a handle. */
    WRONG(farcall_connect(NULL, &cluster));
    WRONG(farcall_connect("127.0.0.1", NULL));
    WRONG(farcall_connect("no host of this name", &cluster));
    WRONG(farcall_from_env(NULL));
    WRONG(farcall_local(NULL));
    WRONG(farcall_region_open(NULL, "x", &region));
    WRONG(farcall_region_create(NULL, "x", &options, &region));
    WRONG(farcall_region_open_or_create(NULL, "x", &options, &region));
    WRONG(farcall_region_drop(NULL, "x"));
    WRONG(farcall_regions(NULL, 0, NULL, 0, NULL));
    WRONG(farcall_region_grow(NULL, 1, NULL));
    WRONG(farcall_region_stat(NULL, NULL));
    WRONG(farcall_read(NULL, 0, 0, &byte, 1, NULL));
    WRONG(farcall_read_cached(NULL, 0, 1, 0, &byte, 1, NULL));
    WRONG(farcall_update(NULL, 0, 0, &byte, 1, NULL));
    WRONG(farcall_compare_and_update(NULL, 0, &version, 0, &byte, 1));
    WRONG(farcall_lock_page(NULL, 0, 0, &lock));
    WRONG(farcall_lock_commit(NULL, NULL));
    WRONG(farcall_lock_rollback(NULL));
    WRONG(farcall_transaction_begin(NULL, &transaction));
    WRONG(farcall_transaction_read(NULL, 0, 0, &byte, 1));
    WRONG(farcall_transaction_write(NULL, 0, 0, &byte, 1));
    WRONG(farcall_transaction_commit(NULL));
    WRONG(farcall_transact(NULL, NULL, NULL));
    WRONG(farcall_watch_open(NULL, 0, 0, &watch));
    WRONG(farcall_watch_next(NULL, 0, NULL));
    WRONG(farcall_counter_add(NULL, 0, 1, NULL));
    WRONG(farcall_counter_get(NULL, 0, NULL));
    WRONG(farcall_mutex_lock(NULL, 0, 0, &held));
    WRONG(farcall_mutex_unlock(NULL));
    WRONG(farcall_barrier_wait(NULL, 0, 1, NULL));
    WRONG(farcall_map(NULL, 0, 1, &mapping));
    WRONG(farcall_map_coherent(NULL, &mapping));
    WRONG(farcall_unmap(NULL));
    WRONG(farcall_telefork_to(1, NULL));
    WRONG(farcall_telefork_to(-1, &location));
    WRONG(farcall_telefork_to(INT_MAX, &location));
    WRONG(farcall_telepad(0, 1, NULL));
    WRONG(farcall_telepad(-1, 1, &pid));
    WRONG(farcall_telepad(INT_MIN, 1, &pid));
    WRONG(farcall_wait_for_exit(0, NULL));
    WRONG(farcall_wait_for_exit(-1, NULL));
    GIVES(FARCALL_KERNEL, farcall_wait_for_exit(1, NULL)); /* No child of ours. */
    WRONG(farcall_telefork(NULL, "one", &location, &copy));
    WRONG(farcall_telefork_all(NULL, nodes, 1, &location, copies));
    WRONG(farcall_copy_wait(NULL, NULL));
    WRONG(farcall_fork_call(NULL, "one", nothing, NULL, 0, &call));
    WRONG(farcall_call_wait(NULL, NULL, NULL));
    WRONG(farcall_yoyo(NULL, "one", nowhere, NULL));
    CHECK(farcall_call_is_done(NULL) == 0);
    farcall_copy_free(NULL);
    farcall_call_free(NULL);
    CHECK(farcall_mapping_address(NULL) == NULL && farcall_mapping_length(NULL) == 0);
    CHECK(farcall_lock_bytes(NULL) == NULL && farcall_lock_token(NULL) == 0);
    CHECK(farcall_lock_version(NULL) == 0 && farcall_mutex_token(NULL) == 0);
    CHECK(farcall_region_pages(NULL) == 0 && farcall_region_page_size(NULL) == 0);
    farcall_cluster_free(NULL);
    farcall_region_free(NULL);
    farcall_lock_free(NULL);
    farcall_transaction_free(NULL);
    farcall_watch_free(NULL);

    /* With handles, and nonsense beside them. */
    DONE(farcall_from_env(&cluster));
    WRONG(farcall_region_open(cluster, NULL, &region));
    WRONG(farcall_region_open(cluster, "x", NULL));
    WRONG(farcall_region_open(cluster, "", &region));
    WRONG(farcall_region_open(cluster, "../../etc", &region));
    WRONG(farcall_region_open(cluster, "\xff\xfe", &region));
    WRONG(farcall_region_create(cluster, "misuse", NULL, &region));
    options.durability = 77;
    WRONG(farcall_region_create(cluster, "misuse", &options, &region));
    options.durability = 0;
    options.page_size = 100;
    GIVES(FARCALL_OUT_OF_BOUNDS, farcall_region_create(cluster, "misuse", &options, &region));
    options.page_size = 64;
    options.pages = UINT64_MAX;
    GIVES(FARCALL_OUT_OF_BOUNDS, farcall_region_create(cluster, "misuse", &options, &region));
    CHECK(region == NULL);
    options.pages = 4;
    DONE(farcall_region_create(cluster, "misuse", &options, &region));
    WRONG(farcall_regions(cluster, 10, NULL, 3, NULL));
    WRONG(farcall_regions(cluster, -1, NULL, 0, NULL));

    copy = copies[0] = (void *)&byte;
    WRONG(farcall_telefork(cluster, NULL, &location, &copy));
    CHECK(copy == NULL);
    WRONG(farcall_telefork(cluster, "\xff", &location, &copy));
    WRONG(farcall_telefork(cluster, "one", NULL, &copy));
    WRONG(farcall_telefork(cluster, "one", &location, NULL));
    WRONG(farcall_telefork_all(cluster, NULL, 1, &location, copies));
    WRONG(farcall_telefork_all(cluster, nodes, 2, &location, copies)); /* One has no name. */
    CHECK(copies[0] == NULL && copies[1] == NULL);
    WRONG(farcall_telefork_all(cluster, nodes, 0, &location, copies));
    WRONG(farcall_telefork_all(cluster, nodes, SIZE_MAX, &location, copies));
    WRONG(farcall_telefork_all(cluster, nodes, 1, NULL, copies));
    WRONG(farcall_telefork_all(cluster, nodes, 1, &location, NULL));
    WRONG(farcall_fork_call(cluster, "one", NULL, NULL, 0, &call));
    WRONG(farcall_fork_call(cluster, "one", nothing, NULL, SIZE_MAX, &call));
    WRONG(farcall_fork_call(cluster, "\xff", nothing, NULL, 0, &call));
    WRONG(farcall_fork_call(cluster, "one", nothing, NULL, 0, NULL));
    WRONG(farcall_yoyo(cluster, NULL, nowhere, NULL));
    WRONG(farcall_yoyo(cluster, "one", NULL, NULL));

    GIVES(FARCALL_NO_SUCH_PAGE, farcall_read(region, 4, 0, &byte, 1, NULL));
    GIVES(FARCALL_NO_SUCH_PAGE, farcall_read(region, UINT64_MAX, 0, &byte, 1, NULL));
    GIVES(FARCALL_WRONG_LENGTH, farcall_read(region, 0, 64, &byte, 1, NULL));
    GIVES(FARCALL_WRONG_LENGTH, farcall_read(region, 0, UINT32_MAX, &byte, 1, NULL));
    WRONG(farcall_read(region, 0, 0, NULL, 1, NULL));
    WRONG(farcall_read(region, 0, 0, &byte, SIZE_MAX, NULL));
    GIVES(FARCALL_NO_SUCH_PAGE, farcall_update(region, 4, 0, &byte, 1, NULL));
    GIVES(FARCALL_WRONG_LENGTH, farcall_update(region, 0, 64, &byte, 1, NULL));
    GIVES(FARCALL_WRONG_LENGTH, farcall_update(region, 0, UINT32_MAX, &byte, 1, NULL));
    WRONG(farcall_update(region, 0, 0, NULL, 1, NULL));
    WRONG(farcall_update(region, 0, 0, &byte, SIZE_MAX, NULL));
    WRONG(farcall_compare_and_update(region, 0, NULL, 0, &byte, 1));
    WRONG(farcall_lock_page(region, 0, 0, NULL));
    GIVES(FARCALL_NO_SUCH_PAGE, farcall_lock_page(region, 4, 0, &lock));
    WRONG(farcall_transaction_begin(region, NULL));
    WRONG(farcall_transact(region, NULL, NULL));
    WRONG(farcall_watch_open(region, 0, 0, NULL));
    GIVES(FARCALL_NO_SUCH_PAGE, farcall_counter_add(region, UINT64_MAX, 1, NULL));
    WRONG(farcall_mutex_lock(region, 0, 0, NULL));
    WRONG(farcall_map(region, 0, 1, NULL));
    GIVES(FARCALL_WRONG_STYLE, farcall_map(region, 0, 1, &mapping));
    GIVES(FARCALL_WRONG_STYLE, farcall_map_coherent(region, &mapping));
    CHECK(mapping == NULL);
    CHECK(farcall_region_grow(region, UINT64_MAX, NULL) == FARCALL_OUT_OF_BOUNDS);
    DONE(farcall_transaction_begin(region, &transaction));
    WRONG(farcall_transaction_read(transaction, 0, 0, NULL, 1));
    WRONG(farcall_transaction_write(transaction, 0, 0, NULL, 1));
    GIVES(FARCALL_WRONG_LENGTH, farcall_transaction_write(transaction, 0, 60, "12345", 5));
    GIVES(FARCALL_NO_SUCH_PAGE, farcall_transaction_read(transaction, 4, 0, &byte, 1));
    farcall_transaction_free(transaction);

    /* Nothing of all that has harmed anything. */
    DONE(farcall_update(region, 3, 63, "z", 1, NULL));
    DONE(farcall_read(region, 3, 63, &byte, 1, NULL));
    CHECK(byte == 'z');
    DONE(farcall_read(region, 3, 0, NULL, 0, NULL));
    farcall_region_free(region);
    DONE(farcall_region_drop(cluster, "misuse"));
    farcall_cluster_free(cluster);
    puts("nothing crashed");
    return 0;
}
