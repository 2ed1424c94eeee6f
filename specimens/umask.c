/* The rights that new files do not get. */
#include "specimen.h"

static void look(void) {
    struct stat about;
    int made = open(own("probe"), O_CREAT | O_WRONLY, 0777);
    MUST(made >= 0 && fstat(made, &about) == 0 && close(made) == 0);
    MUST((about.st_mode & 0777) == (0777 & ~0137));
    MUST(unlink(own("probe")) == 0);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    umask(0137);
    look();
    ready();
    while (!told()) {
    }
    if (spoil) {
        umask(022);
    }
    look();
    MUST(umask(0) == 0137);
    return well();
}
