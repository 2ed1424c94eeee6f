/* Counts into a file and to its output until a file appears, and ends with 7. A second thread stands by. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void *stand_by(void *nothing) {
    for (;;) pause();
    return nothing;
}

int main(int count, char **words) {
    if (count != 3) return 2;
    pthread_t thread;
    if (pthread_create(&thread, NULL, stand_by, NULL)) return 3;
    int file = open(words[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file < 0) return 4;
    for (int number = 1;; number++) {
        char text[16];
        int length = sprintf(text, "%d\n", number);
        if (write(file, text, length) != length || write(1, text, length) != length) return 5;
        usleep(2000);
        if (access(words[2], F_OK) == 0) return 7;
    }
}
