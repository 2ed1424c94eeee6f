/* The general registers, the flags, and the direction of string instructions. */
#include "specimen.h"

static uint64_t in[14], out[14];

static void spin(void) {
    __asm__ volatile(
        "push %%rbp\npush %0\npush %1\nmov %0, %%rax\n"
        "mov 0(%%rax), %%rbx\nmov 8(%%rax), %%rdx\nmov 16(%%rax), %%rsi\nmov 24(%%rax), %%rdi\n"
        "mov 32(%%rax), %%rbp\nmov 40(%%rax), %%r8\nmov 48(%%rax), %%r9\nmov 56(%%rax), %%r10\n"
        "mov 64(%%rax), %%r11\nmov 72(%%rax), %%r12\nmov 80(%%rax), %%r13\nmov 88(%%rax), %%r14\n"
        "mov 96(%%rax), %%r15\nmov 104(%%rax), %%rax\n"
        /* The carry and the direction stay set in the loop: dec does not touch them. */
        "mov $300000, %%ecx\nstd\nstc\n0: pause\ndec %%ecx\njnz 0b\n"
        "pushfq\npush %%rax\nmov 16(%%rsp), %%rcx\n"
        "mov %%rbx, 0(%%rcx)\nmov %%rdx, 8(%%rcx)\nmov %%rsi, 16(%%rcx)\nmov %%rdi, 24(%%rcx)\n"
        "mov %%rbp, 32(%%rcx)\nmov %%r8, 40(%%rcx)\nmov %%r9, 48(%%rcx)\nmov %%r10, 56(%%rcx)\n"
        "mov %%r11, 64(%%rcx)\nmov %%r12, 72(%%rcx)\nmov %%r13, 80(%%rcx)\nmov %%r14, 88(%%rcx)\n"
        "mov %%r15, 96(%%rcx)\npop %%rax\npop %%rax\ncld\nand $0x401, %%rax\nmov %%rax, 104(%%rcx)\n"
        "pop %1\npop %0\npop %%rbp\n"
        : : "c"(in), "d"(out)
        : "rax", "rbx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}

int main(int argc, char **argv) {
    begin(argc, argv);
    fill(in, sizeof in, 1);
    ready();
    bool end = false;
    while (!end) {
        end = told_at_work();
        memset(out, 0, sizeof out);
        spin();
        if (end && spoil) {
            out[5]++;
        }
        MUST(memcmp(in, out, 13 * 8) == 0);
        MUST(out[13] == 0x401);
    }
    return well();
}
