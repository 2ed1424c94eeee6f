/* Counts into a file and to its output until a file appears, and ends with 7. A second thread stands by. With a
   third word it has so many MiB of memory, an eighth of which it changes all the time; in the end they are as it
   remembers them, or it ends with 9. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

static unsigned long pages;
static char *memory;
static int *remembered;

static void fill(unsigned long page, int with) {
    int *words = (int *)(memory + page * PAGE);
    for (int at = 0; at < PAGE / 4; at++) words[at] = with ? with + at : 0;
    remembered[page] = with;
}

static int is_right(unsigned long page) {
    int *words = (int *)(memory + page * PAGE), with = remembered[page];
    for (int at = 0; at < PAGE / 4; at++)
        if (words[at] != (with ? with + at : 0)) return 0;
    return 1;
}

static void change(int number) {
    for (int times = 0; pages && times < 8; times++) fill(random() % (pages / 8), number);
    unsigned long page = pages ? random() % (pages / 8) : 0;
    if (pages && number % 4 == 0) {
        madvise(memory + page * PAGE, PAGE, MADV_DONTNEED);
        remembered[page] = 0;
    } else if (pages && number % 64 == 1) {
        mmap(memory + page * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        remembered[page] = 0;
    }
}

static void *stand_by(void *nothing) {
    for (;;) pause();
    return nothing;
}

int main(int count, char **words) {
    if (count != 3 && count != 4) return 2;
    if (count == 4) {
        pages = atol(words[3]) << 8;
        memory = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        remembered = calloc(pages, sizeof *remembered);
        for (unsigned long page = 0; page < pages; page++) fill(page, page + 1);
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, stand_by, NULL)) return 3;
    int file = open(words[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file < 0) return 4;
    for (int number = 1;; number++) {
        char text[16];
        int length = sprintf(text, "%d\n", number);
        if (write(file, text, length) != length || write(1, text, length) != length) return 5;
        change(number);
        usleep(2000);
        if (access(words[2], F_OK) == 0) {
            for (unsigned long page = 0; page < pages; page++)
                if (!is_right(page)) return 9;
            return 7;
        }
    }
}
