/* Regular files that are read and written go on at the same place. */
#include "specimen.h"

#define LENGTH 80000

int main(int argc, char **argv) {
    begin(argc, argv);
    static char text[LENGTH], got[LENGTH];
    fill(text, LENGTH, 1);
    int made = open(own("read"), O_CREAT | O_WRONLY, 0600);
    MUST(write(made, text, LENGTH) == LENGTH && close(made) == 0);
    int from = open(own("read"), O_RDONLY), to = open(own("written"), O_CREAT | O_RDWR, 0600);
    MUST(write(to, text, 800) == 800 && read(from, got, 800) == 800);
    ready();
    size_t at = 800;
    while (!told()) {
        if (at < LENGTH / 2) {
            MUST(read(from, got + at, 80) == 80 && write(to, got + at, 80) == 80);
            at += 80;
        }
    }
    if (spoil) {
        MUST(lseek(from, 0, SEEK_SET) == 0);
    }
    while (at < LENGTH) {
        MUST(read(from, got + at, 80) == 80 && write(to, got + at, 80) == 80);
        at += 80;
    }
    MUST(memcmp(text, got, LENGTH) == 0 && read(from, got, 1) == 0);
    memset(got, 0, LENGTH);
    int again = open(own("written"), O_RDONLY);
    MUST(read(again, got, LENGTH) == LENGTH && memcmp(text, got, LENGTH) == 0);
    MUST(read(again, got, 1) == 0 && lseek(to, 0, SEEK_CUR) == LENGTH);
    return well();
}
