/* Descriptors made by dup share one offset; a file opened twice has two. */
#include "specimen.h"

int main(int argc, char **argv) {
    begin(argc, argv);
    static char text[4096];
    fill(text, sizeof text, 1);
    int made = open(own("file"), O_CREAT | O_WRONLY, 0600);
    MUST(write(made, text, sizeof text) == sizeof text && close(made) == 0);
    int first = open(own("file"), O_RDONLY), same = dup(first), other = open(own("file"), O_RDONLY);
    MUST(lseek(first, 100, SEEK_SET) == 100 && lseek(other, 100, SEEK_SET) == 100);
    ready();
    off_t at = 100;
    while (!told()) {
        at = (at + 1) % 1000;
        MUST(lseek(first, at, SEEK_SET) == at && lseek(same, 0, SEEK_CUR) == at);
        MUST(lseek(other, 0, SEEK_CUR) == 100);
    }
    if (spoil) {
        MUST(dup2(other, same) == same);
    }
    MUST(lseek(first, 500, SEEK_SET) == 500 && lseek(same, 0, SEEK_CUR) == 500);
    MUST(lseek(same, 600, SEEK_SET) == 600 && lseek(first, 0, SEEK_CUR) == 600);
    MUST(lseek(other, 0, SEEK_CUR) == 100);
    return well();
}
