/* Memory at a fixed place: `full` has a pattern in it, `empty` has not touched it. Does then what it is told, one
 * letter at a time, and says a number each time. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define PAGES 8192ul
#define START ((char *)0x200000000000ul)
#define ELSEWHERE ((char *)0x300000000000ul)

/* Of every page one word has its number, and of each fourth nothing is ever written. */
static unsigned long wanted(unsigned long page) { return page % 4 == 3 ? 0 : page * 2654435761ul + 1; }

static unsigned long found(char *at, unsigned long page) {
    return *(volatile unsigned long *)(at + page * PAGE + page % 512 * 8);
}

/* How many pages from one to another are not as they were. */
static unsigned long differing(char *at, unsigned long from, unsigned long to) {
    unsigned long wrong = 0;
    for (unsigned long page = from; page < to; page++)
        wrong += found(at, page) != wanted(page);
    return wrong;
}

static void *anywhere(void *seed) {
    unsigned long at = (unsigned long)seed, wrong = 0;
    for (int i = 0; i < 4000; i++) {
        at = at * 6364136223846793005ul + 1442695040888963407ul;
        wrong += found(START, (at >> 33) % PAGES) != wanted((at >> 33) % PAGES);
    }
    return (void *)wrong;
}

/* Drops pages of its own and touches them again, while others do the same. */
static void *restless(void *own) {
    char *at = START + (unsigned long)own * 64 * PAGE;
    unsigned long wrong = 0;
    for (int i = 0; i < 2000; i++) {
        char *page = at + i % 64 * PAGE;
        madvise(page, PAGE, MADV_DONTNEED);
        wrong += *(volatile unsigned long *)(page + 8) != 0;
    }
    return (void *)wrong;
}

static void say(unsigned long number) {
    printf("%lu\n", number);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (mmap(START, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0) != START)
        return 2;
    if (!strcmp(argv[1], "full"))
        for (unsigned long page = 0; page < PAGES; page++)
            if (wanted(page))
                *(unsigned long *)(START + page * PAGE + page % 512 * 8) = wanted(page);
    say(0);
    char what;
    while (scanf(" %c", &what) == 1) {
        switch (what) {
        case 'a': /* all, in order */
            say(differing(START, 0, PAGES));
            break;
        case 't': { /* all over the place, in four threads */
            pthread_t threads[4];
            unsigned long wrong = 0;
            for (unsigned long i = 0; i < 4; i++)
                pthread_create(&threads[i], 0, anywhere, (void *)(i + 1));
            for (int i = 0; i < 4; i++) {
                void *some;
                pthread_join(threads[i], &some);
                wrong += (unsigned long)some;
            }
            say(wrong);
            break;
        }
        case 'r': { /* four threads that drop and touch */
            pthread_t threads[4];
            unsigned long wrong = 0;
            for (unsigned long i = 0; i < 4; i++)
                pthread_create(&threads[i], 0, restless, (void *)i);
            for (int i = 0; i < 4; i++) {
                void *some;
                pthread_join(threads[i], &some);
                wrong += (unsigned long)some;
            }
            say(wrong);
            break;
        }
        case 'h': /* a hundred, far from each other */
        {
            unsigned long wrong = 0;
            for (unsigned long page = 0; page < 100 * 64; page += 64)
                wrong += found(START, page) != wanted(page);
            say(wrong);
            break;
        }
        case 'f': { /* a child and its parent read all */
            int said[2];
            unsigned long theirs = 1;
            if (pipe(said))
                return 2;
            if (fork() == 0) {
                theirs = differing(START, 0, PAGES);
                _exit(write(said[1], &theirs, sizeof theirs) != sizeof theirs);
            }
            unsigned long ours = differing(START, 0, PAGES);
            if (read(said[0], &theirs, sizeof theirs) != sizeof theirs)
                return 2;
            wait(0);
            say(ours + theirs);
            break;
        }
        case 'm': /* move a quarter of it away, and read that and the rest */
            if (mremap(START + PAGES / 2 * PAGE, PAGES / 4 * PAGE, PAGES / 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ELSEWHERE) != ELSEWHERE)
                return 2;
            say(differing(ELSEWHERE - PAGES / 2 * PAGE, PAGES / 2, PAGES / 4 * 3) + differing(START, 0, PAGES / 2) +
                differing(START, PAGES / 4 * 3, PAGES));
            break;
        case 'd': { /* drop an eighth: it is 0 from then on, whatever was there */
            unsigned long wrong = 0;
            madvise(START, PAGES / 8 * PAGE, MADV_DONTNEED);
            for (unsigned long page = 0; page < PAGES / 8; page++)
                wrong += found(START, page) != 0;
            say(wrong + differing(START, PAGES / 8, PAGES));
            break;
        }
        case 'p': /* divide it into mappings of one, two and three pages, and read all */
            for (unsigned long page = 0; page < PAGES; page += 6) {
                mprotect(START + page * PAGE, PAGE, PROT_READ);
                mprotect(START + (page + 3) * PAGE, 3 * PAGE, PROT_READ);
            }
            say(differing(START, 0, PAGES));
            break;
        case 'u': { /* unmap an eighth, put new memory there */
            unsigned long wrong = 0;
            munmap(START, PAGES / 8 * PAGE);
            if (mmap(START, PAGES / 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != START)
                return 2;
            for (unsigned long page = 0; page < PAGES / 8; page++)
                wrong += found(START, page) != 0;
            say(wrong + differing(START, PAGES / 8, PAGES));
            break;
        }
        }
    }
    return 0;
}
