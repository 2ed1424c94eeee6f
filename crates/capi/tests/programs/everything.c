/* Every function once as it is meant, in one process, against the nodes of FARCALL_NODES. */
#include "check.h"

static int attempts;

/* Moves 1 from page 2 to page 3. The first time, somebody else writes in between. */
static int move_one(const farcall_transaction *transaction, void *context)
{
    uint64_t from, to;
    DONE(farcall_transaction_read(transaction, 2, 0, &from, sizeof from));
    DONE(farcall_transaction_read(transaction, 3, 0, &to, sizeof to));
    if (attempts++ == 0) {
        uint64_t other = 50;
        DONE(farcall_update((farcall_region *)context, 2, 0, &other, sizeof other, NULL));
    }
    from--;
    to++;
    DONE(farcall_transaction_write(transaction, 2, 0, &from, sizeof from));
    DONE(farcall_transaction_write(transaction, 3, 0, &to, sizeof to));
    return 0;
}

static int think_better_of_it(const farcall_transaction *transaction, void *context)
{
    uint64_t lost = 99;
    (void)context;
    DONE(farcall_transaction_write(transaction, 2, 0, &lost, sizeof lost));
    return 1;
}

static int refusals;

/* Refuses while page 2 holds 49. The first time, it holds something else before that is told. */
static int refuse_49(const farcall_transaction *transaction, void *context)
{
    uint64_t seen, other = 50;
    DONE(farcall_transaction_read(transaction, 2, 0, &seen, sizeof seen));
    if (refusals++ == 0)
        DONE(farcall_update((farcall_region *)context, 2, 0, &other, sizeof other, NULL));
    DONE(farcall_transaction_write(transaction, 3, 0, &seen, sizeof seen));
    return seen == 49;
}

int main(int argc, char **argv)
{
    /* Valgrind runs one thread at a time, so none can answer the page faults of another. */
    int maps = argc == 1 || strcmp(argv[1], "unmapped") != 0;
    farcall_cluster *cluster;
    DONE(farcall_from_env(&cluster));

    /* Regions. */
    farcall_region_options options = {.pages = 8};
    farcall_region *region, *again;
    GIVES(FARCALL_NO_SUCH_REGION, farcall_region_open(cluster, "everything", &region));
    CHECK(region == NULL);
    CHECK(strstr(farcall_last_error(), "everything") != NULL);
    DONE(farcall_region_create(cluster, "everything", &options, &region));
    GIVES(FARCALL_EXISTS, farcall_region_create(cluster, "everything", &options, &again));
    DONE(farcall_region_open_or_create(cluster, "everything", &options, &again));
    CHECK(farcall_region_page_size(region) == 4096);
    CHECK(farcall_region_pages(region) == 8);
    farcall_region_info info, infos[4];
    DONE(farcall_region_stat(region, &info));
    CHECK(strcmp(info.name, "everything") == 0 && info.node[0] != 0 && info.owner[0] != 0);
    CHECK(info.pages == 8 && info.page_size == 4096 && info.written == 0);
    CHECK(info.durability == FARCALL_DURABILITY_NONE && !info.coherent && !info.is_private);
    size_t count;
    DONE(farcall_regions(cluster, 3000, infos, 4, &count));
    CHECK(count == 1 && strcmp(infos[0].name, "everything") == 0);
    DONE(farcall_regions(cluster, 3000, NULL, 0, &count));
    CHECK(count == 1);

    /* A page is read by the version that is known of it. */
    char buffer[16];
    uint64_t version = 0, newer, old;
    DONE(farcall_read(region, 0, 0, buffer, sizeof buffer, &version));
    CHECK(version == 1 && buffer[0] == 0);
    GIVES(FARCALL_UNCHANGED, farcall_read(region, 0, 0, buffer, sizeof buffer, &version));
    DONE(farcall_update(region, 0, 4, "hello", 5, &newer));
    CHECK(newer > version);
    DONE(farcall_read(again, 0, 4, buffer, 5, &version));
    CHECK(version == newer && memcmp(buffer, "hello", 5) == 0);
    DONE(farcall_read_cached(again, 0, 1000, 4, buffer, 5, NULL));
    CHECK(memcmp(buffer, "hello", 5) == 0);

    /* Compare and update. */
    old = 1;
    GIVES(FARCALL_CONFLICT, farcall_compare_and_update(region, 0, &old, 0, "x", 1));
    CHECK(old == version);
    DONE(farcall_compare_and_update(region, 0, &old, 0, "x", 1));
    CHECK(old > version);

    /* A lock: its bytes are changed in place. */
    farcall_lock *lock, *other;
    DONE(farcall_lock_page(region, 1, -1, &lock));
    CHECK(farcall_lock_token(lock) > 0 && farcall_lock_version(lock) == 1);
    CHECK(farcall_lock_is_held(lock));
    GIVES(FARCALL_TIMEOUT, farcall_lock_page(again, 1, 0, &other));
    GIVES(FARCALL_TIMEOUT, farcall_lock_page(again, 1, 20, &other));
    CHECK(other == NULL);
    strcpy((char *)farcall_lock_bytes(lock), "under the lock");
    DONE(farcall_read(again, 1, 0, buffer, sizeof buffer, NULL));
    CHECK(buffer[0] == 0);
    DONE(farcall_lock_commit(lock, &version));
    CHECK(version > 1);
    CHECK(!farcall_lock_is_held(lock) && !farcall_lock_is_held(NULL));
    GIVES(FARCALL_WRONG_ARGUMENT, farcall_lock_commit(lock, NULL));
    farcall_lock_free(lock);
    DONE(farcall_read(again, 1, 0, buffer, sizeof buffer, NULL));
    CHECK(strcmp(buffer, "under the lock") == 0);
    DONE(farcall_lock_page(again, 1, 0, &lock));
    strcpy((char *)farcall_lock_bytes(lock), "never seen");
    DONE(farcall_lock_rollback(lock));
    farcall_lock_free(lock);
    DONE(farcall_lock_page(again, 1, -1, &lock));
    CHECK(strcmp((char *)farcall_lock_bytes(lock), "under the lock") == 0);
    farcall_lock_free(lock);
    DONE(farcall_lock_page(again, 1, 3000, &lock));
    farcall_lock_free(lock);

    /* A transaction: the caller's loop first, then the one with a function. */
    uint64_t amount = 100, seen;
    DONE(farcall_update(region, 2, 0, &amount, sizeof amount, NULL));
    farcall_transaction *transaction;
    DONE(farcall_transaction_begin(region, &transaction));
    DONE(farcall_transaction_read(transaction, 2, 0, &seen, sizeof seen));
    CHECK(seen == 100);
    amount = 70;
    DONE(farcall_update(again, 2, 0, &amount, sizeof amount, NULL));
    seen++;
    DONE(farcall_transaction_write(transaction, 2, 0, &seen, sizeof seen));
    GIVES(FARCALL_CONFLICT, farcall_transaction_commit(transaction));
    DONE(farcall_transaction_read(transaction, 2, 0, &seen, sizeof seen));
    CHECK(seen == 70);
    seen++;
    DONE(farcall_transaction_write(transaction, 2, 0, &seen, sizeof seen));
    seen = 0;
    DONE(farcall_transaction_read(transaction, 2, 0, &seen, sizeof seen));
    CHECK(seen == 71);
    DONE(farcall_transaction_commit(transaction));
    farcall_transaction_free(transaction);
    DONE(farcall_read(again, 2, 0, &seen, sizeof seen, NULL));
    CHECK(seen == 71);
    DONE(farcall_transact(region, move_one, again));
    CHECK(attempts == 2);
    DONE(farcall_read(again, 2, 0, &seen, sizeof seen, NULL));
    CHECK(seen == 49);
    DONE(farcall_read(again, 3, 0, &seen, sizeof seen, NULL));
    CHECK(seen == 1);
    GIVES(FARCALL_ROLLED_BACK, farcall_transact(region, think_better_of_it, NULL));
    DONE(farcall_read(again, 2, 0, &seen, sizeof seen, NULL));
    CHECK(seen == 49);
    /* What was refused on bytes that were old by then is tried with the new ones. */
    DONE(farcall_transact(region, refuse_49, again));
    CHECK(refusals == 2);
    DONE(farcall_read(again, 3, 0, &seen, sizeof seen, NULL));
    CHECK(seen == 50);

    /* A watch. */
    farcall_watch *watch;
    farcall_change change;
    DONE(farcall_watch_open(region, 4, 2, &watch));
    GIVES(FARCALL_TIMEOUT, farcall_watch_next(watch, 20, &change));
    DONE(farcall_update(again, 3, 0, "x", 1, NULL));
    DONE(farcall_update(again, 5, 0, "x", 1, &version));
    GIVES(FARCALL_WRONG_ARGUMENT, farcall_watch_next(watch, -1, NULL));
    DONE(farcall_watch_next(watch, -1, &change));
    CHECK(!change.resync && change.page == 5 && change.version == version);
    farcall_watch_free(watch);
    DONE(farcall_watch_open(region, 0, 0, &watch));

    /* Counters, mutexes, barriers. */
    int64_t value;
    DONE(farcall_counter_add(region, 6, 5, &value));
    CHECK(value == 5);
    DONE(farcall_counter_add(again, 6, -7, NULL));
    DONE(farcall_counter_get(region, 6, &value));
    CHECK(value == -2);
    farcall_mutex_guard *held, *refused;
    DONE(farcall_mutex_lock(region, 7, -1, &held));
    CHECK(farcall_mutex_token(held) > 0);
    GIVES(FARCALL_TIMEOUT, farcall_mutex_lock(again, 7, 0, &refused));
    DONE(farcall_mutex_unlock(held));
    DONE(farcall_mutex_lock(again, 7, 0, &held));
    DONE(farcall_mutex_unlock(held));
    uint64_t round;
    DONE(farcall_barrier_wait(region, 1, 1, &round));

    /* A snapshot as memory: later commits do not change it. */
    if (maps) {
        farcall_mapping *mapping;
        DONE(farcall_map(region, 1, 2, &mapping));
        CHECK(farcall_mapping_length(mapping) == 2 * 4096);
        DONE(farcall_update(again, 1, 0, "later", 6, NULL));
        CHECK(strcmp((char *)farcall_mapping_address(mapping), "under the lock") == 0);
        DONE(farcall_unmap(mapping));
    }

    /* It grows, and is dropped. */
    uint64_t pages;
    GIVES(FARCALL_NO_SUCH_PAGE, farcall_update(region, 8, 0, "x", 1, NULL));
    DONE(farcall_region_grow(region, 16, &pages));
    CHECK(pages == 16);
    DONE(farcall_update(region, 8, 0, "x", 1, NULL));
    do
        DONE(farcall_watch_next(watch, 3000, &change));
    while (change.page != 8);
    farcall_watch_free(watch);
    farcall_region_free(again);
    farcall_region_free(region);
    DONE(farcall_region_drop(cluster, "everything"));
    DONE(farcall_regions(cluster, 3000, NULL, 0, &count));
    CHECK(count == 0);
    farcall_cluster_free(cluster);
    puts("everything is as it should be");
    return 0;
}
