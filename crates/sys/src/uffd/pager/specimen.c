/* Has 16 pages that nobody has touched, and does with them what it is told, one letter at a time. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static void say(unsigned long number) {
    printf("%lx\n", number);
    fflush(stdout);
}

int main(void) {
    char *pages = mmap(0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *spare = mmap(0, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say((unsigned long)pages);
    int sink = open("/dev/null", O_WRONLY);
    char what;
    unsigned page;
    while (scanf(" %c %u", &what, &page) == 2) {
        char *at = pages + page * PAGE;
        switch (what) {
        case 'r': /* read it */
            say(*(volatile unsigned long *)at);
            break;
        case 'k': /* have the kernel read it */
            if (write(sink, at, 8) != 8)
                say(0);
            else
                say(*(volatile unsigned long *)at);
            break;
        case 'd': /* drop it */
            say(madvise(at, PAGE, MADV_DONTNEED) != 0);
            break;
        case 'u': /* unmap it */
            say(munmap(at, PAGE) != 0);
            break;
        case 'm': /* move it to the spare place, and say where that is */
            say((unsigned long)mremap(at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, spare + page * PAGE));
            break;
        case 's': /* read it there */
            say(*(volatile unsigned long *)(spare + page * PAGE));
            break;
        case 'f': { /* have a child read it */
            pid_t child = fork();
            if (child == 0) {
                say(*(volatile unsigned long *)at);
                _exit(0);
            }
            waitpid(child, 0, 0);
            break;
        }
        }
    }
    return 0;
}
