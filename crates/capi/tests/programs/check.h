/* What the test programs have in common: a check that names its line and what the library said. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "farcall.h"

#define CHECK(that)                                                                              \
    do {                                                                                         \
        if (!(that)) {                                                                           \
            fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #that,               \
                    farcall_last_error());                                                       \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

/* A call that must return this. */
#define GIVES(status, call)                                                                      \
    do {                                                                                         \
        int got = (int)(call);                                                                   \
        if (got != (int)(status)) {                                                              \
            fprintf(stderr, "%s:%d: %s gives %d: %s\n", __FILE__, __LINE__, #call, got,          \
                    farcall_last_error());                                                       \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

#define DONE(call) GIVES(FARCALL_OK, call)

#endif
