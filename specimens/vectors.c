/* The vector registers of a loop that keeps all its state there: SSE, AVX or AVX-512 with its masks. */
#include "specimen.h"

#define LINES(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define HIGH(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define MASKS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

/* Loads, spins, stores: nothing but the registers keeps the bytes meanwhile. */
#define SPIN "mov $300000, %%eax\n0: pause\ndec %%eax\njnz 0b\n"
#define IN_SSE(n) "movdqu " #n "*64(%0), %%xmm" #n "\n"
#define OUT_SSE(n) "movdqu %%xmm" #n ", " #n "*64(%1)\n"
#define IN_AVX(n) "vmovdqu " #n "*64(%0), %%ymm" #n "\n"
#define OUT_AVX(n) "vmovdqu %%ymm" #n ", " #n "*64(%1)\n"
#define IN_512(n) "vmovdqu64 " #n "*64(%0), %%zmm" #n "\n"
#define OUT_512(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%1)\n"
#define IN_MASK(n) "kmovq 2048+" #n "*8(%0), %%k" #n "\n"
#define OUT_MASK(n) "kmovq %%k" #n ", 2048+" #n "*8(%1)\n"
#define LOW_CLOBBER "eax", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", \
    "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

static char in[2048 + 64], out[2048 + 64];

static void spin_sse(void) {
    __asm__ volatile(LINES(IN_SSE) SPIN LINES(OUT_SSE) : : "r"(in), "r"(out) : LOW_CLOBBER);
}

static void spin_avx(void) {
    __asm__ volatile(LINES(IN_AVX) SPIN LINES(OUT_AVX) "vzeroupper\n" : : "r"(in), "r"(out) : LOW_CLOBBER);
}

__attribute__((target("avx512f,avx512bw"))) static void spin_512(void) {
    __asm__ volatile(LINES(IN_512) HIGH(IN_512) MASKS(IN_MASK) SPIN
                     LINES(OUT_512) HIGH(OUT_512) MASKS(OUT_MASK) "vzeroupper\n"
                     : : "r"(in), "r"(out) : LOW_CLOBBER);
}

static void look(int width, int registers, bool masks) {
    for (int i = 0; i < registers; i++) {
        MUST(memcmp(in + i * 64, out + i * 64, width) == 0);
    }
    MUST(!masks || memcmp(in + 2048 + 8, out + 2048 + 8, 7 * 8) == 0);
    memset(out, 0, sizeof out);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    fill(in, sizeof in, 1);
    bool has_512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    bool has_avx = __builtin_cpu_supports("avx2");
    ready();
    do {
        spin_sse();
        look(16, 16, false);
        if (has_avx) {
            spin_avx();
            look(32, 16, false);
        }
        if (has_512) {
            spin_512();
            look(64, 32, true);
        }
    } while (!told_at_work());
    spin_sse();
    if (spoil) {
        out[9 * 64 + 3] ^= 1;
    }
    look(16, 16, false);
    return well();
}
