/* The auxiliary vector: what the program was told at its start, in its memory and in /proc. */
#include "specimen.h"
#include <link.h>
#include <sys/auxv.h>

static char before[4096], after[4096];

static ssize_t look(char *into) {
    int file = open("/proc/self/auxv", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(file, into, sizeof before);
    MUST(length > 0 && close(file) == 0);
    return length;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    ssize_t length = look(before);
    unsigned char random[16];
    memcpy(random, (void *)getauxval(AT_RANDOM), 16);
    unsigned long phdr = getauxval(AT_PHDR), entry = getauxval(AT_ENTRY);
    ready();
    while (!told()) {
        MUST(getauxval(AT_PAGESZ) == 4096);
    }
    if (spoil) {
        ((char *)getauxval(AT_RANDOM))[3]++;
    }
    MUST(look(after) == length && memcmp(before, after, length) == 0);
    MUST(memcmp(random, (void *)getauxval(AT_RANDOM), 16) == 0);
    MUST(getauxval(AT_PHDR) == phdr && getauxval(AT_ENTRY) == entry);
    const ElfW(auxv_t) *told_at_start = (const void *)after;
    for (; told_at_start->a_type != AT_NULL; told_at_start++) {
        /* The C library has changed two of them for itself. */
        bool is_changed = told_at_start->a_type == AT_HWCAP || told_at_start->a_type == AT_HWCAP2;
        MUST(is_changed || getauxval(told_at_start->a_type) == told_at_start->a_un.a_val);
    }
    MUST(memcmp((void *)getauxval(AT_SYSINFO_EHDR), ELFMAG, SELFMAG) == 0);
    return well();
}
