/* An open folder: files are found from it, and it is read from the beginning. */
#include "specimen.h"
#include <dirent.h>

static int entries(int at) {
    int count = 0;
    DIR *listing = fdopendir(openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    while (readdir(listing) != NULL) {
        count++;
    }
    MUST(closedir(listing) == 0);
    return count;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    MUST(mkdir(own("inner"), 0700) == 0);
    int inner = open(own("inner"), O_RDONLY | O_DIRECTORY);
    int place = open(own("inner"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    MUST(inner >= 0 && place >= 0);
    for (int i = 0; i < 30; i++) {
        char name[32];
        sprintf(name, "entry-%d", i);
        int made = openat(inner, name, O_CREAT | O_WRONLY, 0600);
        MUST(made >= 0 && close(made) == 0);
    }
    ready();
    while (!told()) {
        MUST(faccessat(inner, "entry-7", F_OK, 0) == 0);
    }
    if (spoil) {
        MUST(unlinkat(inner, "entry-7", 0) == 0);
    }
    MUST(faccessat(place, "entry-7", F_OK, 0) == 0 && entries(inner) == 32);
    MUST(fcntl(place, F_GETFD) == FD_CLOEXEC && fcntl(inner, F_GETFD) == 0);
    MUST(fcntl(place, F_GETFL) & O_PATH);
    return well();
}
