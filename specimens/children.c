/* It has children after it woke: they run, they end, it is told how. */
#include "specimen.h"
#include <sys/wait.h>

static volatile sig_atomic_t told_of_ends;

static void on_child(int number) {
    (void)number;
    told_of_ends++;
}

static void look(void) {
    int status, before = told_of_ends;
    pid_t child = fork();
    if (child == 0) {
        _exit(getppid() > 0 ? 23 : 1);
    }
    MUST(child > 0 && waitpid(child, &status, 0) == child);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 23 && told_of_ends == before + 1);
    child = fork();
    if (child == 0) {
        abort();
    }
    MUST(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    MUST(waitpid(-1, &status, 0) == -1 && errno == ECHILD);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    MUST(sigaction(SIGCHLD, &action, NULL) == 0);
    look();
    ready();
    while (!told()) {
        int status;
        MUST(waitpid(-1, &status, WNOHANG) == -1 && errno == ECHILD);
    }
    if (spoil) {
        signal(SIGCHLD, SIG_IGN);
    }
    look();
    return well();
}
