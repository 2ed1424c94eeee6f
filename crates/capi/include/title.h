/*
 * Farcall from C and C++: shared memory, which is regions of pages that programs on any host of a cluster
 * read, update, lock, watch and change in transactions; and processes that send copies of themselves, over any
 * descriptor or to nodes.
 *
 *     #include <farcall.h>
 *
 *     cc  mine.c   $(pkg-config --cflags --libs farcall)
 *     c++ mine.cpp $(pkg-config --cflags --libs farcall)
 *
 * This file is made of the library's source. What holds for all of it:
 *
 * - A function that can fail returns a farcall_status: 0 and above is an outcome, below 0 a failure, of
 *   which farcall_last_error says more, on the thread on which it happened.
 * - What is made with a call that takes a place for a handle (T **) is given back once with the one function
 *   for that: T_free, farcall_mutex_unlock, or farcall_unmap. If the call does not return FARCALL_OK, the handle is null.
 * - Handles are opaque. Clusters, regions, watches, copies and calls may be used by any number of threads at once. Locks and
 *   transactions too, but who shares one has to agree on what is done with it. Nobody may use a handle
 *   while or after it is freed.
 * - Null where a handle, a text or a buffer must be is FARCALL_WRONG_ARGUMENT, never a crash. Texts are
 *   UTF-8 and end with a zero. A buffer has as many bytes as its length says, and is not used by others
 *   during the call; nothing is kept of it afterwards.
 * - Descriptors stay the caller's: none is closed, and nobody may close one during the call.
 * - A process that forks uses in the child only what the child has made itself. (In a copy on a node, clusters of
 *   before can be used, too.)
 */
