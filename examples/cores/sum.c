/*
 * Adds up the whole numbers in its input, which is text: "1 2 39" gives "42".
 * Everything between the numbers is skipped. Exit code 1 if the sum does not fit.
 */
#include <ctype.h>
#include <stdio.h>

#include "farcall_core.h"

static char answer[32];

int32_t worker_init(int32_t version)
{
    return version == FARCALL_CORE_API_VERSION ? 0 : 1;
}

int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize, void **outdata)
{
    const char *text = data;
    int64_t sum = 0;
    uint64_t i = 0;

    while (i < size) {
        int negative = text[i] == '-';
        int64_t number = 0;

        i += negative;
        if (i == size || !isdigit((unsigned char)text[i])) {
            i += !negative;
            continue;
        }
        for (; i < size && isdigit((unsigned char)text[i]); i++) {
            int digit = text[i] - '0';
            if (__builtin_mul_overflow(number, 10, &number)
                || __builtin_add_overflow(number, negative ? -digit : digit, &number))
                return 1;
        }
        if (__builtin_add_overflow(sum, number, &sum))
            return 1;
    }
    *outsize = (uint64_t)sprintf(answer, "%lld", (long long)sum);
    *outdata = answer;
    return 0;
}

void worker_free_outdata(uint64_t size, void *outdata)
{
    /* The answer is static: nothing to free. */
    (void)size;
    (void)outdata;
}
