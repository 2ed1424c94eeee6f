/* Says what it sees of its terminal: whether it has one, its size, each byte that is typed, signals of it.
 * With `raw`, bytes come as they are typed, as editors have it. `q` ends it, with the terminal as it was. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static void say(const char *text) {
    if (write(1, text, strlen(text)) < 0) _exit(9);
}

static void size(const char *word) {
    struct winsize at = {0};
    char text[64];
    ioctl(0, TIOCGWINSZ, &at);
    snprintf(text, sizeof text, "%s %d %d\r\n", word, at.ws_row, at.ws_col);
    say(text);
}

static void heard(int signal) {
    if (signal == SIGWINCH) size("size");
    if (signal == SIGINT) say("int\r\n");
    if (signal == SIGCONT) say("cont\r\n");
}

int main(int count, char **words) {
    struct termios before, now;
    struct sigaction action = {.sa_handler = heard};
    unsigned char key;
    char text[32];
    sigaction(SIGWINCH, &action, 0);
    sigaction(SIGINT, &action, 0);
    sigaction(SIGCONT, &action, 0);
    int has = tcgetattr(0, &before) == 0;
    if (has && count > 1 && !strcmp(words[1], "raw")) {
        now = before;
        cfmakeraw(&now);
        tcsetattr(0, TCSANOW, &now);
    }
    snprintf(text, sizeof text, "terminal %d%d%d\r\n", isatty(0), isatty(1), isatty(2));
    say(text);
    size("begins");
    for (;;) {
        ssize_t got = read(0, &key, 1);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 8;
        snprintf(text, sizeof text, "key %02x\r\n", key);
        say(text);
        if (key == 'q') break;
        if (key == 't') {
            snprintf(text, sizeof text, "now %d%d\r\n", isatty(0), isatty(1));
            say(text);
            size("now");
        }
    }
    if (has) tcsetattr(0, TCSANOW, &before);
    return 7;
}
