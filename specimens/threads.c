/* Four busy threads take turns by a mutex and a condition, each on its own stack. */
#include "specimen.h"
#include <pthread.h>

#define THREADS 4

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static uint64_t turn, turns_of[THREADS];
static bool over;

static void *work(void *number) {
    uint64_t me = (uintptr_t)number, mine = 0, hash = me, again = me;
    pthread_mutex_lock(&lock);
    while (!over) {
        if (turn % THREADS != me) {
            pthread_cond_wait(&turned, &lock);
            continue;
        }
        turn++;
        turns_of[me]++;
        pthread_cond_broadcast(&turned);
        pthread_mutex_unlock(&lock);
        mine++;
        for (int i = 0; i < 1000; i++) {
            hash = hash * 6364136223846793005u + 1;
            again = again * 6364136223846793005u + 1;
        }
        pthread_mutex_lock(&lock);
        MUST(hash == again && turns_of[me] == mine);
    }
    pthread_mutex_unlock(&lock);
    return (void *)(uintptr_t)mine;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        MUST(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    }
    ready();
    while (!told()) {
    }
    pthread_mutex_lock(&lock);
    uint64_t before = turn;
    pthread_mutex_unlock(&lock);
    /* They still work, not only live. */
    for (uint64_t now = before; now < before + 100;) {
        pause_for(1);
        pthread_mutex_lock(&lock);
        now = turn;
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_lock(&lock);
    if (spoil) {
        turn += THREADS;
    }
    over = true;
    pthread_cond_broadcast(&turned);
    pthread_mutex_unlock(&lock);
    uint64_t sum = 0;
    for (int i = 0; i < THREADS; i++) {
        void *mine;
        MUST(pthread_join(threads[i], &mine) == 0 && (uintptr_t)mine == turns_of[i]);
        sum += turns_of[i];
    }
    MUST(sum == turn);
    return well();
}
