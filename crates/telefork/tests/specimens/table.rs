//! Which specimens there are, what each stands for, and whether it is to travel. Data only.

/// One program of `specimens/`.
#[derive(Debug)]
pub(crate) struct Specimen {
    /// What of a process it stands for, in the words of the support table.
    pub feature: &'static str,
    pub source: &'static str,
    pub kind: Kind,
    pub travels: Travels,
}

/// Who says whether all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The program itself, once it is told to end.
    Checking,
    /// A second run of the script, after the program has come to its own end.
    Checked,
}

/// What becomes of it when its process is to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Travels {
    Yes,
    /// It is refused before it is frozen, and the refusal says this.
    Refused(&'static str),
    /// Where its threads have their old numbers: they stand in its memory.
    Numbered,
    /// Only with somebody who holds the other end of what it has open.
    Attended,
}

use Kind::{Checked, Checking};
use Travels::{Attended, Numbered, Refused, Yes};

const fn one(feature: &'static str, source: &'static str) -> Specimen {
    Specimen { feature, source, kind: Checking, travels: Yes }
}

const fn refused(feature: &'static str, source: &'static str, says: &'static str) -> Specimen {
    Specimen { feature, source, kind: Checking, travels: Refused(says) }
}

const fn numbered(feature: &'static str, source: &'static str) -> Specimen {
    Specimen { feature, source, kind: Checking, travels: Numbered }
}

const fn attended(feature: &'static str, source: &'static str) -> Specimen {
    Specimen { feature, source, kind: Checking, travels: Attended }
}

const fn unaware(feature: &'static str, source: &'static str) -> Specimen {
    Specimen { feature, source, kind: Checked, travels: Yes }
}

/// In the order of the support table.
pub(crate) const SPECIMENS: &[Specimen] = &[
    one("heap by `brk`, which grows afterwards", "brk.c"),
    one("anonymous memory: full, zero, untouched, read-only pages", "anonymous.c"),
    one("private maps of files: clean, written, zeroed pages", "private_file.c"),
    refused("shared maps of files", "shared_file.c", "others see what is written"),
    one("shared anonymous memory", "shared_anonymous.c"),
    one("100 GB reserved, eleven pages used", "sparse.c"),
    one("huge pages by `madvise`", "huge_pages.c"),
    one("permissions and guard pages, exactly", "permissions.c"),
    one("code made at run time in writable memory", "jit.c"),
    one("`MADV_DONTFORK` and `MADV_WIPEONFORK`", "fork_advice.c"),
    one("locked memory", "mlock.c"),
    one("a stack that grows afterwards", "stack_growth.c"),
    one("allocator arenas of threads", "arenas.c"),
    one("auxiliary vector", "auxiliary.c"),
    one("executable, arguments, environment, name in `/proc`", "identity.c"),
    one("four busy threads, a mutex, a condition", "threads.c"),
    one("threads that begin, end and are joined afterwards", "thread_life.c"),
    numbered("error-checking, recursive, robust mutexes held", "mutexes.c"),
    numbered("robust list of a thread that dies", "robust_list.c"),
    one("thread-local variables", "thread_local.c"),
    one("restartable sequences (`sched_getcpu`)", "rseq.c"),
    one("general registers and flags", "registers.c"),
    one("vector registers: SSE, AVX, AVX-512", "vectors.c"),
    one("x87 and MXCSR", "floating_point.c"),
    one("signal handlers", "handlers.c"),
    one("signal masks of threads", "masks.c"),
    one("pending signals, queued with values", "pending.c"),
    one("alternate signal stacks", "alternate_stack.c"),
    one("interval timers", "interval_timer.c"),
    one("POSIX timers", "posix_timer.c"),
    one("waits that are interrupted: `nanosleep`, `poll`, `select`, futex, semaphore", "waits.c"),
    one("clock without system calls (vDSO)", "clock.c"),
    one("random bytes without system calls (vDSO)", "random.c"),
    one("regular files with offsets", "file_offset.c"),
    one("files for appending", "append.c"),
    one("deleted files", "deleted_file.c"),
    one("modes and flags of files and descriptors", "file_mode.c"),
    one("descriptors that share an offset", "shared_offset.c"),
    one("open folders", "folder.c"),
    refused("folders in the midst of being read", "folder_listing.c", "is being read"),
    one("working folder", "working_folder.c"),
    one("umask", "umask.c"),
    one("resource limits", "limits.c"),
    one("leader of a process group", "process_group.c"),
    one("`prctl`: dumpable, no new privileges, subreaper, timer slack", "dumpable.c"),
    one("timer slack and nice value of each thread", "nice.c"),
    one("children that come afterwards", "children.c"),
    one("`exec` afterwards", "exec.c"),
    one("`dlopen` afterwards", "late_library.c"),
    one("`setjmp` and `longjmp`", "jump.c"),
    one("C++ exceptions", "exceptions.cpp"),
    one("coroutines (`swapcontext`)", "contexts.c"),
    attended("a terminal as standard streams", "terminal.c"),
    refused("pipes within the process", "pipe.c", "a pipe"),
    refused("`eventfd`", "event_counter.c", "an eventfd"),
    refused("`timerfd`", "timer_descriptor.c", "a timerfd"),
    refused("`epoll`", "epoll.c", "an epoll"),
    one("Rust: a pool of threads with channels", "thread_pool.rs"),
    one("CPython: threads, `ctypes`, garbage collection", "interpreter.py"),
    one("bash, counting", "counting.sh"),
    unaware("`sort` of a file larger than its memory", "sort.sh"),
    unaware("`gzip` of a file", "gzip.sh"),
    one(
        "Java (`-XX:-UsePerfData -XX:-UseContainerSupport`, no `java.nio`): threads and a collected heap",
        "Collected.java",
    ),
    // The runtime's poller is an epoll with an eventfd, made at the first file that is opened.
    refused("Go: goroutines, channels and a collected heap", "goroutines.go", "an epoll"),
];
