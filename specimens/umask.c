/* The rights that new files do not get. */
#include "specimen.h"

static void look(const char *name) {
    struct stat about;
    int made = open(own(name), O_CREAT | O_WRONLY, 0777);
    MUST(made >= 0 && fstat(made, &about) == 0 && close(made) == 0);
    MUST((about.st_mode & 0777) == (0777 & ~0137));
    MUST(unlink(own(name)) == 0);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    umask(0137);
    ready();
    while (!told()) {
        look("probe");
    }
    if (spoil) {
        umask(022);
    }
    look("probe");
    MUST(umask(0) == 0137);
    return well();
}
