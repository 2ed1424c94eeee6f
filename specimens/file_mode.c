/* How a file was opened, its rights, and what happens to its descriptor at exec. */
#include "specimen.h"

static const int flags[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_APPEND, O_RDONLY | O_NONBLOCK, O_RDWR | O_SYNC};

int main(int argc, char **argv) {
    begin(argc, argv);
    umask(0);
    int files[6], before[6], made = open(own("file"), O_CREAT | O_RDWR, 0640);
    MUST(write(made, "content", 7) == 7 && close(made) == 0);
    for (int i = 0; i < 6; i++) {
        files[i] = open(own("file"), flags[i] | (i % 2 == 0 ? O_CLOEXEC : 0));
        MUST(files[i] >= 0);
        before[i] = fcntl(files[i], F_GETFL);
    }
    /* A high number, and a hole below it. */
    MUST(dup3(files[1], 200, 0) == 200 && close(files[1]) == 0);
    files[1] = 200;
    ready();
    while (!told()) {
    }
    if (spoil) {
        MUST(fcntl(files[2], F_SETFD, 0) == 0);
    }
    for (int i = 0; i < 6; i++) {
        char byte = 'c';
        struct stat about;
        MUST(fcntl(files[i], F_GETFL) == before[i]);
        MUST(fcntl(files[i], F_GETFD) == (i % 2 == 0 ? FD_CLOEXEC : 0));
        MUST(fstat(files[i], &about) == 0 && about.st_mode == (S_IFREG | 0640) && about.st_size == 7);
        MUST((pread(files[i], &byte, 1, 0) == 1) == ((flags[i] & O_ACCMODE) != O_WRONLY));
        MUST((flags[i] & O_APPEND) || (pwrite(files[i], &byte, 1, 0) == 1) == ((flags[i] & O_ACCMODE) != O_RDONLY));
    }
    return well();
}
