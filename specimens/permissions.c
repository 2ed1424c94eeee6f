/* Everything is mapped where it was, with the same permissions, and guard pages still guard. */
#include "specimen.h"
#include <setjmp.h>
#include <sys/mman.h>

#define PAGE 4096
#define TEXT_MAX (1 << 20)

static char before[TEXT_MAX], after[TEXT_MAX];
static sigjmp_buf caught;

static void on_fault(int number) { siglongjmp(caught, number); }

static int fault_at(volatile char *place) {
    int number = sigsetjmp(caught, 1);
    if (number == 0) {
        *place = 1;
    }
    return number;
}

/* Where the kernel's own were at first. */
static unsigned long kernels[8];
static int kernels_count;

static bool is_kernels(const char *line, unsigned long from) {
    if (strstr(line, "[v") != NULL) {
        if (kernels_count < 8) {
            kernels[kernels_count++] = from;
        }
        return true;
    }
    /* Under another kernel its old code may lie there as ordinary memory. */
    for (int i = 0; i < kernels_count; i++) {
        if (kernels[i] == from) {
            return true;
        }
    }
    return false;
}

/* The maps as lines of range and permissions. Neighbours that are alike become one, as a kernel may join
 * them or not, and the kernel's own are left out, as another kernel has others. */
static void look(char *into) {
    static char text[TEXT_MAX];
    size_t length = 0;
    int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (ssize_t got; (got = read(file, text + length, TEXT_MAX - 1 - length)) > 0;) {
        length += got;
    }
    MUST(close(file) == 0);
    text[length] = 0;
    unsigned long from = 0, to = 0, begun = 0, ended = 0;
    char kind[5], last[5] = "";
    char *out = into;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        MUST(sscanf(line, "%lx-%lx %4s", &from, &to, kind) == 3);
        if (is_kernels(line, from)) {
            continue;
        }
        if (from != ended || strcmp(kind, last) != 0) {
            out += sprintf(out, "%lx-%lx %s\n", begun, ended, last);
            begun = from;
        }
        ended = to;
        strcpy(last, kind);
    }
    sprintf(out, "%lx-%lx %s\n", begun, ended, last);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    static const int kinds[] = {PROT_READ, PROT_NONE, PROT_READ | PROT_WRITE, PROT_NONE,
                                PROT_READ | PROT_EXEC, PROT_EXEC, PROT_WRITE};
    char *room = mmap(NULL, 7 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 7; i++) {
        MUST(mprotect(room + i * PAGE, PAGE, kinds[i]) == 0);
    }
    signal(SIGSEGV, on_fault);
    /* The stack and the heap have grown as far as they will. */
    look(before);
    MUST(fault_at(room + PAGE) == SIGSEGV && fault_at(room + 2 * PAGE) == 0);
    look(before);
    ready();
    while (!told()) {
        MUST(fault_at(room + 3 * PAGE) == SIGSEGV);
    }
    if (spoil) {
        MUST(mprotect(room + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
    }
    look(after);
    if (strcmp(before, after) != 0) {
        dprintf(1, "before:\n%safter:\n%s", before, after);
    }
    MUST(strcmp(before, after) == 0);
    MUST(fault_at(room) == SIGSEGV && fault_at(room + PAGE) == SIGSEGV);
    MUST(fault_at(room + 2 * PAGE) == 0 && fault_at(room + 3 * PAGE) == SIGSEGV);
    MUST(fault_at(room + 4 * PAGE) == SIGSEGV && fault_at(room + 6 * PAGE) == 0);
    return well();
}
