/*
 * A core that lives at the edges of what is allowed: a large static memory that is never touched,
 * a constructor that runs at load, threads and signal handlers that it leaves behind.
 *
 *   (empty input)   answers "yes" if the input has an address, at a multiple of 16, to be written
 *   built           answers how many constructors had run before worker_init
 *   threads N       starts N threads that sleep for ever; answers N
 *   handlers        handles or ignores every signal that can be; answers "ok"
 *   wait PATH       waits until there is such a file, answers "there"
 *   crash           SIGSEGV
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "farcall_core.h"

char large[(size_t)1 << 30];

static int built;
static int built_at_init;
static char answer[64];

__attribute__((constructor)) static void construct(void)
{
    built++;
}

static void *sleep_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

int32_t worker_init(int32_t version)
{
    built_at_init = built;
    return version == FARCALL_CORE_API_VERSION ? 0 : 1;
}

int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize, void **outdata)
{
    char text[1024] = {0};

    answer[0] = 0;
    if (size == 0) {
        if (data && (uintptr_t)data % 16 == 0) {
            *(volatile char *)data = 1;
            strcpy(answer, "yes");
        }
    } else if (size < sizeof text) {
        memcpy(text, data, size);
        if (strcmp(text, "built") == 0) {
            sprintf(answer, "%d", built_at_init);
        } else if (strncmp(text, "threads ", 8) == 0) {
            int count = atoi(text + 8), i;
            for (i = 0; i < count; i++) {
                pthread_t thread;
                if (pthread_create(&thread, NULL, sleep_for_ever, NULL))
                    break;
                pthread_detach(thread);
            }
            sprintf(answer, "%d", i);
        } else if (strcmp(text, "handlers") == 0) {
            int number;
            for (number = 1; number < 32; number++)
                signal(number, SIG_IGN);
            strcpy(answer, "ok");
        } else if (strncmp(text, "wait ", 5) == 0) {
            while (access(text + 5, F_OK))
                usleep(1000);
            strcpy(answer, "there");
        } else if (strcmp(text, "crash") == 0) {
            *(volatile int *)16 = 1;
        }
    }
    *outdata = answer;
    *outsize = strlen(answer);
    return answer[0] ? 0 : 99;
}

void worker_free_outdata(uint64_t size, void *outdata)
{
    (void)size, (void)outdata;
}
