/* A log: every line goes to the end of the file. */
#include "specimen.h"

int main(int argc, char **argv) {
    begin(argc, argv);
    int log = open(own("log"), O_CREAT | O_APPEND | O_WRONLY, 0600);
    MUST(log >= 0);
    int lines = 0;
    for (; lines < 100; lines++) {
        MUST(dprintf(log, "line %d\n", lines) > 0);
    }
    ready();
    while (!told()) {
        MUST(dprintf(log, "line %d\n", lines++) > 0);
    }
    if (spoil) {
        MUST(fcntl(log, F_SETFL, 0) == 0);
    }
    MUST(lseek(log, 0, SEEK_SET) == 0);
    MUST(dprintf(log, "line %d\n", lines++) > 0);
    MUST(fcntl(log, F_GETFL) & O_APPEND);
    FILE *kept = fopen(own("log"), "r");
    int number = 0, counted = 0;
    while (fscanf(kept, "line %d\n", &number) == 1) {
        MUST(number == counted++);
    }
    MUST(counted == lines && feof(kept));
    return well();
}
