/* What all specimens have in common.
 *
 *     PROGRAM FOLDER
 *
 * A specimen sets up its subject, writes its pid into FOLDER/ready, and works and checks itself until
 * FOLDER/end exists. Then it looks at everything, says "well" and exits with 0. Where something is not as it
 * must be, it says what and exits with 1. With SPOIL in the environment it damages its own subject before it
 * looks: one that says "well" even then does not look.
 *
 * It may be moved at any time between the two files. It speaks through files alone, since whatever else it
 * could be told by, a signal or a pipe, is a subject of some specimen.
 */
#ifndef SPECIMEN_H
#define SPECIMEN_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *folder;
/* Whether it is to damage its subject. */
static bool spoil;

#define MUST(what) ((what) ? (void)0 : differs(#what, __FILE__, __LINE__))

__attribute__((noreturn, unused)) static void differs(const char *what, const char *file, int line) {
    dprintf(1, "differs: %s (%s:%d, errno %d)\n", what, file, line, errno);
    _exit(1);
}

__attribute__((unused)) static void begin(int argc, char **argv) {
    MUST(argc >= 2);
    folder = argv[1];
    spoil = getenv("SPOIL") != NULL;
}

/* The path of a file of its own. */
__attribute__((unused)) static char *own(const char *name) {
    static __thread char path[4096];
    MUST(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
    return path;
}

/* From here on it may be moved. The file appears with its content. */
__attribute__((unused)) static void ready(void) {
    char text[16], made[4096];
    strcpy(made, own("ready.new"));
    int file = open(made, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    int length = snprintf(text, sizeof text, "%d", getpid());
    MUST(file >= 0 && write(file, text, length) == length && close(file) == 0);
    MUST(rename(made, own("ready")) == 0);
}

__attribute__((unused)) static void pause_for(long milliseconds) {
    struct timespec span = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&span, &span) != 0) {
        MUST(errno == EINTR);
    }
}

/* Whether it is to end; for one that works meanwhile. */
__attribute__((unused)) static bool told_at_work(void) { return access(own("end"), F_OK) == 0; }

/* The same, after a short rest. */
__attribute__((unused)) static bool told(void) {
    pause_for(1);
    return told_at_work();
}

__attribute__((unused)) static int well(void) {
    MUST(write(1, "well\n", 5) == 5);
    return 0;
}

/* Bytes that no other place has. */
__attribute__((unused)) static void fill(void *memory, size_t length, uint64_t seed) {
    uint64_t *words = (uint64_t *)memory;
    for (size_t i = 0; i < length / 8; i++) {
        words[i] = (seed + i) * 0x9e3779b97f4a7c15u;
    }
}

__attribute__((unused)) static bool holds(const void *memory, size_t length, uint64_t seed) {
    const uint64_t *words = (const uint64_t *)memory;
    for (size_t i = 0; i < length / 8; i++) {
        if (words[i] != (seed + i) * 0x9e3779b97f4a7c15u) {
            return false;
        }
    }
    return true;
}

#endif
