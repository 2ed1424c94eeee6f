/* The working folder. */
#include "specimen.h"
#include <limits.h>

int main(int argc, char **argv) {
    begin(argc, argv);
    MUST(mkdir(own("inner"), 0700) == 0 && chdir(own("inner")) == 0);
    char before[PATH_MAX], after[PATH_MAX];
    MUST(getcwd(before, sizeof before) != NULL);
    int made = open("here", O_CREAT | O_WRONLY, 0600);
    MUST(made >= 0 && close(made) == 0);
    ready();
    while (!told()) {
        MUST(access("here", F_OK) == 0);
    }
    if (spoil) {
        MUST(chdir("..") == 0);
    }
    MUST(getcwd(after, sizeof after) != NULL && strcmp(before, after) == 0);
    MUST(access("here", F_OK) == 0 && access("../inner/here", F_OK) == 0);
    return well();
}
