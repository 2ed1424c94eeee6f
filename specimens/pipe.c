/* A pipe both of whose ends are in this process, with bytes in it. */
#include "specimen.h"
#include <pthread.h>

static int there[2], back[2];

static void *echo(void *nothing) {
    char byte;
    while (read(there[0], &byte, 1) == 1) {
        MUST(write(back[1], &byte, 1) == 1);
    }
    return nothing;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    int full[2];
    static char text[8192], got[8192];
    fill(text, sizeof text, 1);
    MUST(pipe(there) == 0 && pipe2(back, O_CLOEXEC) == 0 && pipe2(full, O_NONBLOCK) == 0);
    MUST(write(full[1], text, sizeof text) == sizeof text);
    pthread_t other;
    MUST(pthread_create(&other, NULL, echo, NULL) == 0);
    ready();
    while (!told()) {
        char byte = 'x';
        MUST(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1 && byte == 'x');
    }
    if (spoil) {
        MUST(read(full[0], got, 1) == 1);
    }
    MUST(read(full[0], got, sizeof got) == sizeof got && memcmp(text, got, sizeof got) == 0);
    MUST(read(full[0], got, 1) == -1 && errno == EAGAIN);
    MUST(fcntl(back[0], F_GETFD) == FD_CLOEXEC && fcntl(there[0], F_GETFD) == 0);
    MUST(close(there[1]) == 0 && pthread_join(other, NULL) == 0);
    MUST(close(full[1]) == 0 && read(full[0], got, 1) == 0);
    return well();
}
