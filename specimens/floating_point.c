/* The x87 stack with its control word, and how SSE rounds (MXCSR). */
#include "specimen.h"
#include <fenv.h>

static double out[4];
static uint16_t control;
static uint32_t rounding;

/* Four numbers wait on the x87 stack. */
static void spin(void) {
    static const double in[4] = {1.0 / 3, -2.5e300, 3e-310, 4};
    __asm__ volatile("fldl 0(%0)\nfldl 8(%0)\nfldl 16(%0)\nfldl 24(%0)\n"
                     "mov $300000, %%eax\n0: pause\ndec %%eax\njnz 0b\n"
                     "fstpl 24(%1)\nfstpl 16(%1)\nfstpl 8(%1)\nfstpl 0(%1)\nfnstcw %2\nstmxcsr %3\n"
                     : : "r"(in), "r"(out), "m"(control), "m"(rounding)
                     : "eax", "memory", "cc", "st", "st(1)", "st(2)", "st(3)");
    MUST(memcmp(in, out, sizeof in) == 0);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    /* Rounds downwards, computes in 53 bits, takes what is too small for zero. */
    MUST(fesetround(FE_DOWNWARD) == 0);
    uint32_t wanted;
    uint16_t wanted_control;
    __asm__ volatile("fnstcw %0" : "=m"(wanted_control));
    wanted_control = (wanted_control & ~0x300) | 0x200;
    __asm__ volatile("fldcw %0" : : "m"(wanted_control));
    __asm__ volatile("stmxcsr %0" : "=m"(wanted));
    wanted |= 0x8040;
    __asm__ volatile("ldmxcsr %0" : : "m"(wanted));
    ready();
    do {
        spin();
        MUST(control == wanted_control && (rounding & ~0x3f) == (wanted & ~0x3f));
    } while (!told_at_work());
    if (spoil) {
        MUST(fesetround(FE_TONEAREST) == 0);
    }
    spin();
    MUST(control == wanted_control && (rounding & ~0x3f) == (wanted & ~0x3f));
    volatile double one = 1, three = 3, tiny = 1e-300;
    MUST(-one / three != -(one / three) && tiny * tiny * tiny == 0 && fegetround() == FE_DOWNWARD);
    return well();
}
