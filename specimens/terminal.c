/* A terminal as its standard streams, with its modes, its size, and its group in the foreground.
 *
 * The first process holds the terminal's other end, as a shell's window does, and passes on what is
 * written there; the second one is the subject. */
#include "specimen.h"
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

static int be_the_window(int window, pid_t child) {
    char bytes[512];
    for (ssize_t got; (got = read(window, bytes, sizeof bytes)) > 0;) {
        MUST(write(1, bytes, got) == got);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    int window = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    MUST(window >= 0 && grantpt(window) == 0 && unlockpt(window) == 0);
    char name[64];
    MUST(ptsname_r(window, name, sizeof name) == 0);
    pid_t child = fork();
    if (child > 0) {
        return be_the_window(window, child);
    }
    MUST(close(window) == 0 && setsid() == getpid());
    int terminal = open(name, O_RDWR);
    MUST(ioctl(terminal, TIOCSCTTY, 0) == 0);
    for (int i = 0; i < 3; i++) {
        MUST(dup2(terminal, i) == i);
    }
    MUST(close(terminal) == 0);
    struct termios modes, now;
    struct winsize size = {.ws_row = 33, .ws_col = 77}, size_now;
    MUST(tcgetattr(0, &modes) == 0);
    modes.c_lflag &= ~(ECHO | ICANON);
    MUST(tcsetattr(0, TCSANOW, &modes) == 0 && ioctl(0, TIOCSWINSZ, &size) == 0);
    ready();
    while (!told()) {
        MUST(isatty(0) && isatty(1) && isatty(2));
    }
    if (spoil) {
        size.ws_row++;
        MUST(ioctl(0, TIOCSWINSZ, &size) == 0);
    }
    MUST(tcgetattr(0, &now) == 0 && now.c_lflag == modes.c_lflag);
    MUST(ioctl(1, TIOCGWINSZ, &size_now) == 0 && size_now.ws_row == 33 && size_now.ws_col == 77);
    MUST(tcgetpgrp(0) == getpgrp());
    int again = open("/dev/tty", O_RDWR);
    MUST(again >= 0 && isatty(again) && close(again) == 0);
    return well();
}
