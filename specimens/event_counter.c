/* An eventfd keeps its count and its kind. */
#include "specimen.h"
#include <sys/eventfd.h>

int main(int argc, char **argv) {
    begin(argc, argv);
    int plain = eventfd(41, EFD_NONBLOCK), counting = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
    uint64_t one = 1, got;
    MUST(plain >= 0 && counting >= 0 && write(plain, &one, 8) == 8);
    ready();
    while (!told()) {
    }
    if (spoil) {
        MUST(write(plain, &one, 8) == 8);
    }
    MUST(read(plain, &got, 8) == 8 && got == 42);
    MUST(read(plain, &got, 8) == -1 && errno == EAGAIN);
    for (int i = 0; i < 3; i++) {
        MUST(read(counting, &got, 8) == 8 && got == 1);
    }
    MUST(read(counting, &got, 8) == -1 && errno == EAGAIN);
    return well();
}
