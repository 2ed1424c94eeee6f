/* Random bytes from the kernel's code in the process (vDSO), whose state lies in the process's memory. */
#include "specimen.h"
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>

struct parameters {
    uint32_t state_size, protection, flags, reserved[13];
};
typedef ssize_t (*get_random)(void *, size_t, unsigned, void *, size_t);

static get_random found;
static void *state;
static struct parameters asked;

/* The symbols of the vDSO are few, and their count stands in its hash table. */
static void *symbol(const char *name) {
    const char *base = (const char *)getauxval(AT_SYSINFO_EHDR), *strings = NULL;
    const ElfW(Ehdr) *header = (const void *)base;
    const ElfW(Phdr) *parts = (const void *)(base + header->e_phoff);
    const ElfW(Sym) *symbols = NULL;
    const ElfW(Dyn) *entry = NULL;
    for (int i = 0; i < header->e_phnum; i++) {
        if (parts[i].p_type == PT_DYNAMIC) {
            entry = (const void *)(base + parts[i].p_offset);
        }
    }
    for (; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_STRTAB) {
            strings = base + entry->d_un.d_ptr;
        } else if (entry->d_tag == DT_SYMTAB) {
            symbols = (const void *)(base + entry->d_un.d_ptr);
        }
    }
    /* The strings follow the symbols. */
    for (const ElfW(Sym) *at = symbols; (const char *)at < strings; at++) {
        if (strcmp(strings + at->st_name, name) == 0) {
            return (void *)(base + at->st_value);
        }
    }
    return NULL;
}

static void draw(unsigned char *into) {
    static unsigned char last[32];
    MUST(found(into, 32, 0, state, asked.state_size) == 32);
    MUST(memcmp(into, last, 32) != 0);
    memcpy(last, into, 32);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    found = (get_random)(uintptr_t)symbol("__vdso_getrandom");
    if (found == NULL) {
        dprintf(1, "skipped: this kernel has no getrandom in its vDSO\n");
        ready();
        return 0;
    }
    MUST(found(NULL, 0, 0, &asked, ~0ul) == 0 && asked.state_size <= 4096);
    state = mmap(NULL, 4096, asked.protection, asked.flags, -1, 0);
    MUST(state != MAP_FAILED);
    unsigned char first[32], now[32], kept[4096];
    draw(first);
    memcpy(kept, state, asked.state_size);
    draw(first);
    ready();
    while (!told()) {
        draw(now);
        MUST(memcmp(first, now, 32) != 0);
    }
    if (spoil) {
        /* As if it had woken from an older image. */
        memcpy(state, kept, asked.state_size);
    }
    for (int i = 0; i < 1000; i++) {
        draw(now);
        MUST(memcmp(first, now, 32) != 0);
    }
    return well();
}
