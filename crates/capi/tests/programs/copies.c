/* Copies on nodes, calls, out and back: with the nodes of FARCALL_NODES, of which one is called `one`. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <unistd.h>

#include "check.h"

static farcall_cluster *cluster;

/* fork whose child wakes elsewhere. */
static void telefork(void)
{
    int foo = 102;
    farcall_location location = {9, 9};
    farcall_copy *copy = NULL;
    fflush(NULL);
    DONE(farcall_telefork(cluster, "one", &location, &copy));
    foo++;
    if (location.is_copy) {
        CHECK(copy == NULL && location.value == 0);
        printf("a copy has foo=%d\n", foo);
        exit(foo);
    }
    CHECK(copy != NULL && location.value == 0);
    int32_t status = 0;
    DONE(farcall_copy_wait(copy, &status));
    CHECK(status == 103);
    DONE(farcall_copy_wait(copy, NULL)); /* As often as it is asked. */
    farcall_copy_free(copy);

    DONE(farcall_telefork(cluster, "one", &location, &copy));
    if (location.is_copy)
        abort();
    status = 77;
    GIVES(FARCALL_KILLED, farcall_copy_wait(copy, &status));
    CHECK(status == 77 && strstr(farcall_last_error(), "signal 6"));
    farcall_copy_free(copy);
}

/* Several of one moment. */
static void telefork_all(void)
{
    const char *nodes[] = {"one", "nowhere", "one"};
    farcall_copy *copies[3];
    farcall_location location;
    fflush(NULL);
    DONE(farcall_telefork_all(cluster, nodes, 3, &location, copies));
    if (location.is_copy) {
        CHECK(copies[0] == NULL && copies[2] == NULL);
        exit(20 + location.value);
    }
    int32_t status = 0;
    DONE(farcall_copy_wait(copies[0], &status));
    CHECK(status == 20);
    GIVES(FARCALL_UNREACHABLE, farcall_copy_wait(copies[1], &status));
    GIVES(FARCALL_UNREACHABLE, farcall_copy_wait(copies[1], &status));
    CHECK(strstr(farcall_last_error(), "nowhere"));
    DONE(farcall_copy_wait(copies[2], &status));
    CHECK(status == 22);
    for (int at = 0; at < 3; at++)
        farcall_copy_free(copies[at]);
}

static size_t sum(void *context, void *result, size_t room)
{
    const uint64_t *numbers = context;
    uint64_t *into = result;
    CHECK(room == 2 * sizeof *into && into[0] == 0 && into[1] == 0);
    for (int at = 0; at < 1000; at++)
        *into += numbers[at];
    printf("a call has %llu\n", (unsigned long long)*into);
    fflush(stdout);
    return sizeof *into;
}

static size_t too_much(void *context, void *result, size_t room)
{
    (void)context, (void)result;
    return room + 1;
}

static size_t ends(void *context, void *result, size_t room)
{
    (void)context, (void)result, (void)room;
    exit(3);
}

static size_t everything(void *context, void *result, size_t room)
{
    memset(result, *(int *)context, room);
    return room;
}

/* Functions that run elsewhere and answer. */
static void calls(void)
{
    enum { CALLS = 4 };
    uint64_t *numbers = calloc(1000, sizeof *numbers);
    farcall_call *all[CALLS];
    for (uint64_t at = 0; at < CALLS; at++) {
        numbers[7] = at; /* Each has what was there when it was made. */
        numbers[8] = 40;
        const char *node = at % 2 ? "one" : NULL;
        DONE(farcall_fork_call(cluster, node, sum, numbers, 16, &all[at]));
    }
    for (uint64_t at = 0; at < CALLS; at++) {
        const void *result = NULL;
        size_t length = 0;
        DONE(farcall_call_wait(all[at], &result, &length));
        CHECK(length == 8 && memcmp(result, &(uint64_t){40 + at}, 8) == 0);
        CHECK(farcall_call_is_done(all[at]));
        const void *again = NULL;
        DONE(farcall_call_wait(all[at], &again, NULL));
        CHECK(again == result);
        farcall_call_free(all[at]);
    }
    free(numbers);

    farcall_call *call = NULL, *never = NULL;
    DONE(farcall_fork_call(cluster, "nowhere", sum, NULL, 16, &never));
    size_t length = 99;
    int byte = 7;
    const void *result = NULL;
    DONE(farcall_fork_call(cluster, NULL, everything, &byte, 1 << 20, &call));
    DONE(farcall_call_wait(call, &result, &length));
    CHECK(length == 1 << 20 && ((const char *)result)[0] == 7 && ((const char *)result)[length - 1] == 7);
    farcall_call_free(call);
    DONE(farcall_fork_call(cluster, NULL, everything, &byte, 0, &call));
    DONE(farcall_call_wait(call, NULL, &length));
    CHECK(length == 0);
    farcall_call_free(call);
    DONE(farcall_fork_call(cluster, "one", too_much, NULL, 4, &call));
    GIVES(FARCALL_WRONG_LENGTH, farcall_call_wait(call, &result, &length));
    CHECK(strstr(farcall_last_error(), "5 bytes"));
    farcall_call_free(call);
    DONE(farcall_fork_call(cluster, "one", ends, NULL, 4, &call));
    GIVES(FARCALL_UNANSWERED, farcall_call_wait(call, NULL, NULL));
    CHECK(strstr(farcall_last_error(), "status 3") && farcall_call_is_done(call));
    farcall_call_free(call);
    GIVES(FARCALL_UNREACHABLE, farcall_call_wait(never, NULL, NULL));
    farcall_call_free(never);
    /* Freed while it runs. */
    DONE(farcall_fork_call(cluster, "one", everything, &byte, 4, &call));
    farcall_call_free(call);
}

struct place {
    int foo;
    char *text;
    pid_t pid;
};

static void there(void *context)
{
    struct place *place = context;
    place->foo = 42;
    place->text = malloc(1 << 20);
    strcpy(place->text, "made elsewhere");
    place->pid = getpid();
    puts("there");
    fflush(stdout);
}

static void ends_there(void *context)
{
    ((struct place *)context)->foo = 1;
    _exit(3);
}

static void *waits(void *pipe)
{
    char byte;
    return read(*(int *)pipe, &byte, 1) == 0 ? NULL : pipe;
}

/* Out, and back with what was changed. */
static void yoyo(void)
{
    struct place place = {0, NULL, 0};
    fflush(NULL);
    DONE(farcall_yoyo(cluster, "one", there, &place));
    CHECK(place.foo == 42 && strcmp(place.text, "made elsewhere") == 0 && place.pid != getpid());
    free(place.text);
    GIVES(FARCALL_STAYED, farcall_yoyo(cluster, "one", ends_there, &place));
    CHECK(place.foo == 42 && strstr(farcall_last_error(), "status 3"));

    int ends[2];
    pthread_t thread;
    CHECK(pipe(ends) == 0 && pthread_create(&thread, NULL, waits, &ends[0]) == 0);
    GIVES(FARCALL_IMMOVABLE, farcall_yoyo(cluster, "one", there, &place));
    CHECK(close(ends[1]) == 0 && pthread_join(thread, NULL) == 0 && close(ends[0]) == 0);
}

int main(void)
{
    DONE(farcall_from_env(&cluster));
    telefork();
    telefork_all();
    calls();
    yoyo();
    farcall_cluster_free(cluster);
    puts("everything is as it should be");
    return 0;
}
