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

#ifndef FARCALL_H
#define FARCALL_H

#include <stddef.h>
#include <stdint.h>

/*
 Bytes of a name with its zero.
 */
#define FARCALL_NAME_SIZE 65

/*
 How a call went. 0 and above: as it should, one way or the other. Below 0: it failed, and
 farcall_last_error says why.
 */
typedef enum {
    /*
     Done.
     */
    FARCALL_OK = 0,
    /*
     The page still has the version that was known; no bytes were copied.
     */
    FARCALL_UNCHANGED = 1,
    /*
     Somebody else wrote first. Nothing was changed: read again, and decide again.
     */
    FARCALL_CONFLICT = 2,
    /*
     Not within the time that was given: a lock was not granted, or nothing came.
     */
    FARCALL_TIMEOUT = 3,
    /*
     The function of a transaction did not want it to be committed.
     */
    FARCALL_ROLLED_BACK = 4,
    /*
     An argument that cannot be: null where something must be, a text that is no name.
     */
    FARCALL_WRONG_ARGUMENT = -1,
    /*
     No node can be reached.
     */
    FARCALL_UNREACHABLE = -2,
    /*
     No node has such a region, or it is there no more.
     */
    FARCALL_NO_SUCH_REGION = -3,
    /*
     There is a region of this name.
     */
    FARCALL_EXISTS = -4,
    /*
     Several nodes have a region of this name; write NAME@NODE.
     */
    FARCALL_AMBIGUOUS = -5,
    /*
     The region is its owner's alone.
     */
    FARCALL_NOT_YOURS = -6,
    /*
     The region has no such page.
     */
    FARCALL_NO_SUCH_PAGE = -7,
    /*
     Bytes that go beyond the page.
     */
    FARCALL_WRONG_LENGTH = -8,
    /*
     The lock was lost, and with it what was not committed; the page is as others left it.
     */
    FARCALL_LOST_LOCK = -9,
    /*
     That is not done in a region of this style (coherent, or not), or with pages of this size.
     */
    FARCALL_WRONG_STYLE = -10,
    /*
     A number is more than there may be.
     */
    FARCALL_OUT_OF_BOUNDS = -11,
    /*
     The node cannot keep the region as it should be kept.
     */
    FARCALL_UNKEPT = -12,
    /*
     It is not known whether the change was made, or the copy runs. It was not sent again.
     */
    FARCALL_UNKNOWN = -13,
    /*
     The node is away. Nothing was changed; the same may work again later.
     */
    FARCALL_AWAY = -14,
    /*
     The kernel refused something.
     */
    FARCALL_KERNEL = -15,
    /*
     A bug of this library: please report it, with what farcall_last_error says.
     */
    FARCALL_BUG = -16,
    /*
     Anything else.
     */
    FARCALL_OTHER = -17,
    /*
     What comes is no image of a process, or not a whole and undamaged one.
     */
    FARCALL_NO_IMAGE = -18,
    /*
     The process cannot be captured as it is, or not be restored on this host.
     */
    FARCALL_IMMOVABLE = -19,
    /*
     A signal has ended the process.
     */
    FARCALL_KILLED = -20,
    /*
     The node was lost, or the way to it, and what ran there with it.
     */
    FARCALL_LOST = -21,
    /*
     It did not go, or what it came to did not come back; here all is as it was.
     */
    FARCALL_STAYED = -22,
    /*
     A call has ended its process instead of returning.
     */
    FARCALL_UNANSWERED = -23,
} farcall_status;

/*
 What is left of a region's commits when its node dies.
 */
typedef enum {
    /*
     Nothing: the region ends with its node.
     */
    FARCALL_DURABILITY_NONE = 0,
    /*
     All but those of the last moments.
     */
    FARCALL_DURABILITY_ASYNC = 1,
    /*
     All: each is on the disk before it is answered.
     */
    FARCALL_DURABILITY_SYNC = 2,
    /*
     All, whatever node dies: each is in etcd before it is answered.
     */
    FARCALL_DURABILITY_REPLICATED = 3,
} farcall_durability;

/*
 A call that runs on a node. It ends when this process does; freeing the handle does not end it.
 */
typedef struct farcall_call farcall_call;

/*
 Links to the nodes of a cluster. It may be used by several threads at once, and must outlive
 nothing: what was made with it keeps the links for as long as it needs them.
 */
typedef struct farcall_cluster farcall_cluster;

/*
 A copy of this process on a node. It ends when this process does; freeing the handle does not end it.
 */
typedef struct farcall_copy farcall_copy;

/*
 The lock of a page, with the page's bytes. One thread at a time may change the bytes.
 */
typedef struct farcall_lock farcall_lock;

/*
 A region, or a part of one, as memory.
 */
typedef struct farcall_mapping farcall_mapping;

/*
 A mutex that is held.
 */
typedef struct farcall_mutex_guard farcall_mutex_guard;

/*
 An opened region: one connection, one cache. It may be used by several threads at once.
 */
typedef struct farcall_region farcall_region;

/*
 Reads and writes that are carried out together, or not at all.
 */
typedef struct farcall_transaction farcall_transaction;

/*
 Tells of commits to some pages. Threads that ask at once get one change each.
 */
typedef struct farcall_watch farcall_watch;

/*
 What a region is to be. All zero but `pages` is a good beginning.
 */
typedef struct {
    /*
     How many pages it has; it can grow.
     */
    uint64_t pages;
    /*
     Bytes of a page: a power of two from 64 to 1048576; 0 stands for 4096.
     */
    uint32_t page_size;
    /*
     One of farcall_durability.
     */
    uint32_t durability;
    /*
     Not 0: for memory that is mapped coherently (farcall_map_coherent), and nothing else.
     */
    int coherent;
    /*
     Not 0: for its owner and admins alone.
     */
    int is_private;
    /*
     The node that has it; null: the first that is up.
     */
    const char *node;
} farcall_region_options;

/*
 What a region is, and who uses it.
 */
typedef struct {
    char name[FARCALL_NAME_SIZE];
    /*
     The node that has it.
     */
    char node[FARCALL_NAME_SIZE];
    /*
     Who made it.
     */
    char owner[FARCALL_NAME_SIZE];
    uint32_t page_size;
    uint64_t pages;
    /*
     One of farcall_durability.
     */
    uint32_t durability;
    /*
     1 if it is coherent.
     */
    int coherent;
    /*
     1 if it is its owner's alone.
     */
    int is_private;
    /*
     Pages that were ever written: only they take memory.
     */
    uint64_t written;
    /*
     Commits so far.
     */
    uint64_t commits;
    uint32_t sessions;
    uint32_t watches;
    /*
     Locks that are held, and requests that wait for one.
     */
    uint32_t locks;
    uint32_t waiting;
    /*
     Coherent pages that went from one session to another.
     */
    uint64_t moves;
} farcall_region_info;

/*
 What a watch tells.
 */
typedef struct {
    /*
     Not 0: more was committed than could be kept, so any page may have changed; `page` and `version` are
     0 then.
     */
    int resync;
    uint64_t page;
    /*
     Its latest version: commits that come fast are told as one.
     */
    uint64_t version;
} farcall_change;

/*
 Where farcall_telefork_to has returned.
 */
typedef struct {
    /*
     0 in the process that called, 1 in a copy that has just woken.
     */
    int32_t is_copy;
    /*
     In a copy: the value that it was woken with. Else 0.
     */
    int32_t value;
} farcall_location;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Why the latest call of this thread that failed did so, with the next step. Empty if none has. It is
 valid until the next call on this thread.
 */
const char *farcall_last_error(void);

/*
 Links to nodes: HOST, HOST:PORT or the path of a Unix socket, with commas between them. One is enough,
 it knows the others. The certificate is this user's: see `farcall auth join`.
 */
farcall_status farcall_connect(const char *nodes,
                               farcall_cluster **cluster);

/*
 Links to the nodes that FARCALL_NODES names; where it names none, starts one on this machine.
 */
farcall_status farcall_from_env(farcall_cluster **cluster);

/*
 Starts a node on this machine, which ends with this program. Needs the program `farcall` in PATH, or
 its path in FARCALL_BIN.
 */
farcall_status farcall_local(farcall_cluster **cluster);

/*
 Frees a cluster; null is nothing.
 */
void farcall_cluster_free(farcall_cluster *cluster);

/*
 Opens a region, NAME or NAME@NODE.
 */
farcall_status farcall_region_open(const farcall_cluster *cluster,
                                   const char *name,
                                   farcall_region **region);

/*
 Makes a region and opens it.
 */
farcall_status farcall_region_create(const farcall_cluster *cluster,
                                     const char *name,
                                     const farcall_region_options *options,
                                     farcall_region **region);

/*
 Opens a region, and makes it first if there is none of this name. Several programs may do so at once:
 all of them get the same region.
 */
farcall_status farcall_region_open_or_create(const farcall_cluster *cluster,
                                             const char *name,
                                             const farcall_region_options *options,
                                             farcall_region **region);

/*
 Frees a region; null is nothing. The region stays where it is, as do locks and watches that were made
 with it.
 */
void farcall_region_free(farcall_region *region);

/*
 Drops a region with all that it holds, NAME or NAME@NODE.
 */
farcall_status farcall_region_drop(const farcall_cluster *cluster, const char *name);

/*
 Lets a region grow to so many pages; it never shrinks. How many it has then goes to `now`, unless that
 is null.
 */
farcall_status farcall_region_grow(const farcall_region *region,
                                   uint64_t pages,
                                   uint64_t *now);

/*
 What a region is, and who uses it.
 */
farcall_status farcall_region_stat(const farcall_region *region, farcall_region_info *info);

/*
 Bytes of a page; 0 for null.
 */
uint32_t farcall_region_page_size(const farcall_region *region);

/*
 Pages of a region, as far as is known here; 0 for null.
 */
uint64_t farcall_region_pages(const farcall_region *region);

/*
 Writes the first `capacity` regions of the cluster to `infos`, and how many there are to `count`.
 Nodes may take `wait_ms` to answer. `infos` may be null if `capacity` is 0.
 */
farcall_status farcall_regions(const farcall_cluster *cluster,
                               int64_t wait_ms,
                               farcall_region_info *infos,
                               size_t capacity,
                               size_t *count);

/*
 Copies `length` bytes of a page, from `offset` on, to `buffer`: those of its last commit, all of one
 version. Never waits for a lock. `version` may be null; otherwise it brings the version that is known (0:
 none) and takes the one that the page has. If they are the same, nothing is copied, and the answer is
 FARCALL_UNCHANGED.
 */
farcall_status farcall_read(const farcall_region *region,
                            uint64_t page,
                            uint32_t offset,
                            void *buffer,
                            size_t length,
                            uint64_t *version);

/*
 The same, and what was read at most `max_age_ms` milliseconds ago is good enough: then nobody is asked.
 */
farcall_status farcall_read_cached(const farcall_region *region,
                                   uint64_t page,
                                   uint64_t max_age_ms,
                                   uint32_t offset,
                                   void *buffer,
                                   size_t length,
                                   uint64_t *version);

/*
 Writes `length` bytes into a page, from `offset` on, all at once; waits while somebody else has its
 lock. The new version goes to `version`, unless that is null.
 */
farcall_status farcall_update(const farcall_region *region,
                              uint64_t page,
                              uint32_t offset,
                              const void *data,
                              size_t length,
                              uint64_t *version);

/*
 The same if the page has the version that `version` brings. Otherwise nothing is changed, the answer is
 FARCALL_CONFLICT, and `version` takes the one that it has.
 */
farcall_status farcall_compare_and_update(const farcall_region *region,
                                          uint64_t page,
                                          uint64_t *version,
                                          uint32_t offset,
                                          const void *data,
                                          size_t length);

/*
 Locks a page, in the order of asking: for `wait_ms` milliseconds at most, 0 not to wait, below 0 however
 long. FARCALL_TIMEOUT if somebody else still has it. Whoever dies, or is not heard of for three seconds,
 loses it, and nothing of what it had not committed lands.
 */
farcall_status farcall_lock_page(const farcall_region *region,
                                 uint64_t page,
                                 int64_t wait_ms,
                                 farcall_lock **lock);

/*
 The page's bytes, as many as a page has, to be read and changed until the handle is freed. They reach
 the page by farcall_lock_commit. Null for null. In a coherent region the lock has no bytes, and none may
 be touched here: its pages are memory, see farcall_map_coherent.
 */
void *farcall_lock_bytes(const farcall_lock *lock);

/*
 The lock's token: it rises with every grant in its region, so whatever else is changed under the lock
 can refuse a holder that lost it. 0 for null.
 */
uint64_t farcall_lock_token(const farcall_lock *lock);

/*
 The page's version when it was locked; 0 for null.
 */
uint64_t farcall_lock_version(const farcall_lock *lock);

/*
 1 while the lock is held, as far as is known here without asking; 0 once it was lost or given back.
 */
int farcall_lock_is_held(const farcall_lock *lock);

/*
 Commits the bytes and gives the lock back. The new version goes to `version`, unless that is null.
 FARCALL_LOST_LOCK: the lock was lost before, and the page is as others left it. Either way the handle is
 still to be freed.
 */
farcall_status farcall_lock_commit(const farcall_lock *lock,
                                   uint64_t *version);

/*
 Gives the lock back and leaves the page as it was. The handle is still to be freed.
 */
farcall_status farcall_lock_rollback(const farcall_lock *lock);

/*
 Frees a lock, and gives it back first if nobody has; null is nothing.
 */
void farcall_lock_free(farcall_lock *lock);

/*
 Begins a transaction. The caller reads, writes and commits, and does all of it again after
 FARCALL_CONFLICT, with the same handle.
 */
farcall_status farcall_transaction_begin(const farcall_region *region,
                                         farcall_transaction **transaction);

/*
 Copies `length` bytes of a page, from `offset` on, to `buffer`, with what this transaction has written
 into it. What is read must still be so when it commits.
 */
farcall_status farcall_transaction_read(const farcall_transaction *transaction,
                                        uint64_t page,
                                        uint32_t offset,
                                        void *buffer,
                                        size_t length);

/*
 Writes `length` bytes into a page, from `offset` on, when the transaction commits.
 */
farcall_status farcall_transaction_write(const farcall_transaction *transaction,
                                         uint64_t page,
                                         uint32_t offset,
                                         const void *data,
                                         size_t length);

/*
 Carries out what was written, if all that was read is still so. FARCALL_CONFLICT: nothing was changed, and
 the transaction is as at its beginning, but for the new bytes, which reading again brings without asking
 for them once more. After any other answer it can be used for another transaction, too.
 */
farcall_status farcall_transaction_commit(const farcall_transaction *transaction);

/*
 Frees a transaction; what was not committed is not written. Null is nothing.
 */
void farcall_transaction_free(farcall_transaction *transaction);

/*
 Calls `body` with a transaction and `context`, and commits; after a conflict, again, so `body` must do
 nothing that cannot be done twice. If it returns anything but 0, nothing is written, and the answer is
 FARCALL_ROLLED_BACK, once it is sure that what it read was so at one moment: if not, it is called again.
 It does not free or commit the transaction, nor leave by longjmp or an exception.
 */
farcall_status farcall_transact(const farcall_region *region,
                                int (*body)(const farcall_transaction *transaction,
                                            void *context),
                                void *context);

/*
 Watches `count` pages from `first` on; a count of 0 means all from there on, those too that the region
 grows by later. Nothing is missed from when this returns.
 */
farcall_status farcall_watch_open(const farcall_region *region,
                                  uint64_t first,
                                  uint64_t count,
                                  farcall_watch **watch);

/*
 The next change: waits `wait_ms` milliseconds for it, below 0 however long. FARCALL_TIMEOUT if none came.
 */
farcall_status farcall_watch_next(const farcall_watch *watch,
                                  int64_t wait_ms,
                                  farcall_change *change);

/*
 Ends a watch; null is nothing.
 */
void farcall_watch_free(farcall_watch *watch);

/*
 Adds to the counter in a page, and brings what it has then, unless `value` is null. A counter takes a
 page of its own and begins at 0.
 */
farcall_status farcall_counter_add(const farcall_region *region,
                                   uint64_t page,
                                   int64_t delta,
                                   int64_t *value);

/*
 What the counter in a page has.
 */
farcall_status farcall_counter_get(const farcall_region *region, uint64_t page, int64_t *value);

/*
 Waits until nobody else holds the mutex of this number, in the order of asking: for `wait_ms`
 milliseconds at most, 0 not to wait, below 0 however long. FARCALL_TIMEOUT if somebody still has it.
 The mutex is the lock of the page of that number, whose bytes it leaves alone; in a coherent region,
 mutexes have numbers of their own.
 */
farcall_status farcall_mutex_lock(const farcall_region *region,
                                  uint64_t number,
                                  int64_t wait_ms,
                                  farcall_mutex_guard **held);

/*
 The token of a mutex that is held: it rises with every grant in its region. 0 for null.
 */
uint64_t farcall_mutex_token(const farcall_mutex_guard *held);

/*
 Gives a mutex back and frees the handle. FARCALL_LOST_LOCK: it was lost before, and somebody else may
 have held it since.
 */
farcall_status farcall_mutex_unlock(farcall_mutex_guard *held);

/*
 Waits until `parties` have arrived at the barrier of this number, and counts the rounds of it, from 1,
 unless `round` is null. All of them must name the same number of parties.
 */
farcall_status farcall_barrier_wait(const farcall_region *region,
                                    uint64_t number,
                                    uint32_t parties,
                                    uint64_t *round);

/*
 Maps `count` pages from `first` on as they are now, all of them of one moment; each is fetched when it is
 first touched. What is written there stays in this process. The pages must have 4096 bytes or more.
 If the region's node stays away, touching a page that is not here yet ends the process by SIGSEGV.
 */
farcall_status farcall_map(const farcall_region *region,
                           uint64_t first,
                           uint64_t count,
                           farcall_mapping **mapping);

/*
 Maps a coherent region: memory that every process that maps it reads and writes, on any host. A page has
 one writer or many readers at a time, and goes over the wire when that changes. Use it as memory that
 threads share: by atomics, or plainly under a mutex that all of them take (farcall_mutex_lock,
 farcall_barrier_wait). Addresses differ between processes. Where the process may not have the full
 userfaultfd, system calls that are given pointers to it may fail with EFAULT.
 */
farcall_status farcall_map_coherent(const farcall_region *region,
                                    farcall_mapping **mapping);

/*
 Where the memory begins, until the mapping is given back; null for null.
 */
void *farcall_mapping_address(const farcall_mapping *mapping);

/*
 Bytes of the memory; 0 for null.
 */
size_t farcall_mapping_length(const farcall_mapping *mapping);

/*
 Gives a mapping back and frees the handle: nobody may touch the memory any more. FARCALL_UNKNOWN: a
 coherent mapping was lost before, and what was written last may be lost with it.
 */
farcall_status farcall_unmap(farcall_mapping *mapping);

/*
 Writes an image of this process to a descriptor, a file or a stream that blocks, and goes on. It returns
 once here, and once in each copy that is woken from the image, as fork() does: `location` tells which.

 Of several threads only the calling one is in a copy; locks that others hold stay locked there. A copy has
 this process's memory, all of it but the private keys that this library has read: give its image only to
 whom you would give the rest. It has standard input, output and error of who wakes it; of other descriptors it has only the numbers: using one
 fails (EBADF) until it is opened again. What the copy finds in the buffers of stdio it writes, too:
 call fflush(NULL) before. Of this library it uses only what it makes itself.

 If this fails, part of an image may have been written, and there is no copy. Who writes into a pipe or a
 file gets the signals of write(); a socket whose reader is gone raises none.
 */
farcall_status farcall_telefork_to(int fd,
                                   farcall_location *location);

/*
 Wakes a copy from the image that comes from a descriptor, a file or a stream that blocks: a child of this
 process, which goes on where farcall_telefork_to was called, with this value. What follows the image stays
 in the stream. An image runs as whatever it says, with all that this process may do: take it only from
 whom you would take a program.
 */
farcall_status farcall_telepad(int fd,
                               int32_t value,
                               int32_t *pid);

/*
 Waits until a child that farcall_telepad has woken ends, and brings its exit status, unless `status` is
 null. FARCALL_KILLED if a signal has ended it.
 */
farcall_status farcall_wait_for_exit(int32_t pid,
                                     int32_t *status);

/*
 Makes a copy of this process that goes on from here on the node of this name. It returns once here, with a
 handle, and once over there, as fork() does: `location` tells which, and the copy's number, 0. In the copy the
 handle is null.

 The parent goes on as soon as the copy is made; where the node's kernel allows it, the copy wakes at once and its
 memory follows it. Of several threads only the calling one is in it; locks that others hold stay
 locked there. It has this process's memory, all of it but the private keys that this library has read. Its
 standard output and error come here, its input is empty, all other descriptors are closed. What the copy finds in
 the buffers of stdio it writes, too: call fflush(NULL) before. It ends with exit(), and when this process does.

 In the copy, clusters can be used, as far as this host may sign for it; regions, locks, watches and handles of
 before fail there, or wait for ever. A node that is lost later, or does not take the copy, is told by
 farcall_copy_wait. FARCALL_IMMOVABLE: this process cannot be copied as it is.
 */
farcall_status farcall_telefork(const farcall_cluster *cluster,
                                const char *node,
                                farcall_location *location,
                                farcall_copy **copy);

/*
 The same onto `count` nodes, each of them named by a text; a node may be named several times. The copies are of one
 moment, and each has a number of its own: the place of its node in the list, from 0. This process sends its memory
 once, and nodes pass it on. `copies` has room for `count` handles, each to be freed; they are null in a
 copy, and if this fails.
 */
farcall_status farcall_telefork_all(const farcall_cluster *cluster,
                                    const char *const *nodes,
                                    size_t count,
                                    farcall_location *location,
                                    farcall_copy **copies);

/*
 Waits until a copy ends, and brings its exit status, unless `status` is null; as often as it is asked. FARCALL_KILLED
 if a signal has ended it. FARCALL_LOST: its node was lost, and the copy with it. FARCALL_UNREACHABLE,
 FARCALL_IMMOVABLE: it never ran, its node cannot be reached or does not take it. FARCALL_UNKNOWN: nobody can be
 asked whether it runs.
 */
farcall_status farcall_copy_wait(const farcall_copy *copy,
                                 int32_t *status);

/*
 Frees the handle of a copy, which runs on; null is nothing.
 */
void farcall_copy_free(farcall_copy *copy);

/*
 Calls `function` in a copy of this process, on the node of this name, or if that is null on one that is up: they
 take turns. It does not wait for it: see farcall_call_wait.

 The function is given `context`, which points there to what it points to here, and `room` bytes for its result, at
 most 1 GiB less 64 bytes, which are zero and aligned as malloc() aligns. It returns how many of them it has written, and
 those bytes come back; whatever else it changes is changed in its copy alone. It does not leave by longjmp or an exception. What
 it prints is printed here, if it calls fflush() for that; what is in the buffers of stdio at its end is lost.

 For the copy holds what farcall_telefork says of one. A node keeps what it got of this process until the
 cluster is freed, so that later calls send only what has changed. Whatever goes wrong is told by farcall_call_wait.
 */
farcall_status farcall_fork_call(const farcall_cluster *cluster,
                                 const char *node,
                                 size_t (*function)(void *context, void *result, size_t room),
                                 void *context,
                                 size_t room,
                                 farcall_call **call);

/*
 1 once the result of a call is there, or it is known why there is none; 0 before, and for null.
 */
int farcall_call_is_done(const farcall_call *call);

/*
 Waits for the result of a call, as often as it is asked: where its bytes are, until the handle is freed, and how many,
 unless `length` is null. FARCALL_WRONG_LENGTH: the function says that it has written more than it was given.
 FARCALL_UNANSWERED: it has ended its process instead of returning. Else as farcall_copy_wait.
 */
farcall_status farcall_call_wait(const farcall_call *call,
                                 const void **result,
                                 size_t *length);

/*
 Frees the handle of a call and its result; the call runs on. Null is nothing.
 */
void farcall_call_free(farcall_call *call);

/*
 Calls `function` with `context` on the node of this name, with all of this process's memory, and comes back with
 what it has changed: as if it had been called here. This process stands still meanwhile.

 Memory comes back and nothing else: descriptors that the function opens are closed, and so ends what it sets in the
 kernel. It has standard streams over there and no other descriptor, and clusters fail by name. What it prints is
 printed here. It does not leave by longjmp or an exception.

 It is to be called from the main thread, with no other thread of one's own: FARCALL_IMMOVABLE names one that is.
 FARCALL_STAYED: the node was lost, the function ended its process, or what came back is damaged; here nothing has
 changed then.
 */
farcall_status farcall_yoyo(const farcall_cluster *cluster,
                            const char *node,
                            void (*function)(void *context),
                            void *context);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FARCALL_H */
