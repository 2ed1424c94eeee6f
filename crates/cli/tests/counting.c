/* Counts into a file and to its output until a file appears, and ends with 7. A second thread stands by.
   With a third word it has so many MiB of memory, and ends with 6 where that is not as it was. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *stand_by(void *nothing) {
    for (;;) pause();
    return nothing;
}

static unsigned long *memory, size;

static unsigned long word(unsigned long at) { return (at + 1) * 0x9e3779b97f4a7c15; }

static int is_as_it_was(unsigned long step) {
    for (unsigned long at = 0; at < size; at += step)
        if (memory[at] != word(at)) return 0;
    return 1;
}

int main(int count, char **words) {
    if (count < 3) return 2;
    if (count > 3) {
        size = strtoul(words[3], NULL, 10) * (1 << 17);
        memory = malloc(size * 8);
        for (unsigned long at = 0; at < size; at++) memory[at] = word(at);
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, stand_by, NULL)) return 3;
    int file = open(words[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file < 0) return 4;
    for (int number = 1;; number++) {
        char text[16];
        int length = sprintf(text, "%d\n", number);
        if (write(file, text, length) != length || write(1, text, length) != length) return 5;
        usleep(2000);
        if (size && memory[number * 7919 % size] != word(number * 7919 % size)) return 6;
        if (access(words[2], F_OK) == 0) return is_as_it_was(1) ? 7 : 6;
    }
}
