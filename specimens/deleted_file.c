/* A file without a name lives on with its content and its offset. */
#include "specimen.h"

#define LENGTH 100000

int main(int argc, char **argv) {
    begin(argc, argv);
    static char text[LENGTH], got[LENGTH];
    fill(text, LENGTH, 1);
    int file = open(own("deleted"), O_CREAT | O_EXCL | O_RDWR, 0600);
    MUST(write(file, text, LENGTH) == LENGTH && unlink(own("deleted")) == 0);
    MUST(lseek(file, 5000, SEEK_SET) == 5000);
    ready();
    while (!told()) {
        MUST(pread(file, got, 4000, 8000) == 4000 && memcmp(text + 8000, got, 4000) == 0);
    }
    if (spoil) {
        MUST(ftruncate(file, LENGTH - 1) == 0);
    }
    struct stat about;
    MUST(fstat(file, &about) == 0 && about.st_size == LENGTH && about.st_nlink == 0);
    MUST(access(own("deleted"), F_OK) != 0);
    MUST(read(file, got, 1000) == 1000 && memcmp(text + 5000, got, 1000) == 0);
    MUST(pread(file, got, LENGTH, 0) == LENGTH && memcmp(text, got, LENGTH) == 0);
    MUST(write(file, text, 1000) == 1000 && pread(file, got, 1000, 6000) == 1000);
    MUST(memcmp(text, got, 1000) == 0);
    return well();
}
