/* It becomes another program after it woke, with its environment, its descriptors and its pid. */
#include "specimen.h"

int main(int argc, char **argv) {
    begin(argc, argv);
    if (argc == 4) {
        char text[6] = {0};
        int file = atoi(argv[2]);
        MUST(atoi(argv[3]) == getpid() && strcmp(getenv("MARK"), "carried") == 0);
        MUST(lseek(file, 0, SEEK_CUR) == 3 && read(file, text, 5) == 5 && strcmp(text, "after") == 0);
        return well();
    }
    setenv("MARK", "carried", 1);
    int file = open(own("file"), O_CREAT | O_RDWR, 0600);
    MUST(write(file, "...after", 8) == 8 && lseek(file, 3, SEEK_SET) == 3);
    ready();
    while (!told()) {
    }
    if (spoil) {
        setenv("MARK", "lost", 1);
    }
    char number[16], pid[16];
    sprintf(number, "%d", file);
    sprintf(pid, "%d", getpid());
    execl("/proc/self/exe", argv[0], argv[1], number, pid, NULL);
    MUST(!"it became another program");
}
