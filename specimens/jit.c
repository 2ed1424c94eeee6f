/* Code that the program writes at run time, into memory that may be written and run. */
#include "specimen.h"
#include <sys/mman.h>

/* mov eax, NUMBER; ret */
static void compile(unsigned char *code, uint32_t number) {
    code[0] = 0xb8;
    memcpy(code + 1, &number, 4);
    code[5] = 0xc3;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    int kind = PROT_READ | PROT_WRITE | PROT_EXEC;
    unsigned char *code = mmap(NULL, 4096, kind, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(code != MAP_FAILED);
    int (*run)(void) = (int (*)(void))(uintptr_t)code;
    compile(code, 41);
    MUST(run() == 41);
    compile(code, 42);
    ready();
    while (!told()) {
        MUST(run() == 42);
    }
    if (spoil) {
        code[1]++;
    }
    MUST(run() == 42);
    compile(code, 43);
    MUST(run() == 43);
    return well();
}
