/* An open folder that is read on from where it was. */
#include "specimen.h"
#include <dirent.h>

int main(int argc, char **argv) {
    begin(argc, argv);
    MUST(mkdir(own("inner"), 0700) == 0);
    int inner = open(own("inner"), O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 300; i++) {
        char name[32];
        sprintf(name, "entry-%d", i);
        int made = openat(inner, name, O_CREAT | O_WRONLY, 0600);
        MUST(made >= 0 && close(made) == 0);
    }
    DIR *listing = fdopendir(dup(inner));
    bool seen[300] = {false};
    int number, entries = 0;
    for (struct dirent *entry; entries < 100 && (entry = readdir(listing)) != NULL;) {
        if (sscanf(entry->d_name, "entry-%d", &number) == 1) {
            MUST(!seen[number]);
            seen[number] = true;
            entries++;
        }
    }
    ready();
    while (!told()) {
        MUST(faccessat(inner, "entry-7", F_OK, 0) == 0);
    }
    if (spoil) {
        rewinddir(listing);
    }
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        if (sscanf(entry->d_name, "entry-%d", &number) == 1) {
            MUST(!seen[number]);
            seen[number] = true;
            entries++;
        }
    }
    MUST(entries == 300);
    return well();
}
