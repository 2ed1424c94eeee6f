//! What a jail shows, allows and refuses: tables, with a reason for each line.
//!
//! Nothing here acts. `strict` builds the view, `calls` turns the system calls into a program for
//! the kernel, `jail` itself says where files are written. Whatever is not named is not there.

use libc::c_long;

/// Where a worker of level `strict` finds its scratch folder.
pub const SCRATCH: &str = "/scratch";
/// What a worker of level `strict` is called where user and host have names or numbers.
pub(super) const INSIDE_USER: u32 = 1000;
pub(super) const HOST_NAME: &str = "farcall";

/// Processes and threads of one worker: as many as the largest hosts have processors, for cores
/// that start a thread for each.
pub const PROCESSES_MAX_USER: u64 = 512;
/// The same for `strict`, which has one processor's time to share among them.
pub const PROCESSES_MAX_STRICT: u64 = 128;
/// Hundredths of one processor's time that a `strict` worker gets: what its slot stands for.
pub const CPU_PERCENT_STRICT: u64 = 100;

/// Bytes in the scratch folder of a `strict` worker. It lies in memory, and counts as the worker's.
pub(super) const SCRATCH_BYTES: u64 = 256 << 20;
/// Files and folders there: each costs the kernel a kilobyte that is nobody's file.
pub(super) const SCRATCH_FILES: u64 = 16 * 1024;
/// The root folder holds nothing but places for what is shown in it.
pub(super) const ROOT_BYTES: u64 = 1 << 20;
pub(super) const ROOT_FILES: u64 = 256;

/// Devices that take everything and keep nothing: written to at every level.
pub(super) const SINKS: [(&str, &str); 3] = [
    ("/dev/null", "programs throw their output away there"),
    ("/dev/zero", "is mapped for fresh memory by old allocators"),
    ("/dev/full", "programs are tested with a full disk there"),
];

/// What of the host's files a `strict` worker sees, read-only. Names that do not exist, or are links,
/// are left out, or are links.
pub(super) const VIEW: [(&str, &str); 8] = [
    ("/usr", "shared libraries, the tables of languages and time zones, and programs"),
    ("/lib", "the loader's own path, where it is not a link into /usr"),
    ("/lib64", "the loader's own path, where it is not a link into /usr"),
    ("/bin", "programs that a core starts by their usual path"),
    ("/sbin", "the same"),
    ("/etc/ld.so.cache", "where the loader finds libraries that are not in its own folders"),
    ("/etc/alternatives", "which of several libraries is meant: BLAS, LAPACK, MPI"),
    ("/etc/localtime", "the time zone of the host"),
];

/// Devices of a `strict` worker.
pub(super) const DEVICES: [(&str, &str); 5] = [
    SINKS[0],
    SINKS[1],
    SINKS[2],
    ("/dev/random", "keys and seeds, for programs older than getrandom"),
    ("/dev/urandom", "keys and seeds, for programs older than getrandom"),
];

/// Links of a `strict` worker's root folder.
pub(super) const LINKS: [(&str, &str, &str); 6] = [
    ("/tmp", SCRATCH, "programs that do not look at TMPDIR"),
    ("/dev/shm", SCRATCH, "shared memory with a name, of this worker alone"),
    ("/dev/fd", "/proc/self/fd", "programs that name their descriptors"),
    ("/dev/stdin", "/proc/self/fd/0", "the same"),
    ("/dev/stdout", "/proc/self/fd/1", "the same"),
    ("/dev/stderr", "/proc/self/fd/2", "the same"),
];

/// System calls that a `strict` worker may make, whatever their arguments. All others are answered
/// as by a kernel that does not have them, so that programs use what they used before.
///
/// Left out on purpose, among others: mount and its kin, unshare, setns, clone3 (its flags lie in
/// memory, where no filter sees them); ptrace, process_vm_readv, process_vm_writev, kcmp,
/// pidfd_getfd; bpf, perf_event_open, userfaultfd, io_uring_setup; keyctl and its kin; modules,
/// kexec, reboot, swapon, quotactl, acct, syslog; clocks' settings; open_by_handle_at, fanotify_init;
/// iopl, ioperm, modify_ldt, personality; setuid and its kin.
pub(super) const CALLS: &[(&str, &[c_long])] = &[
    (
        "memory: allocators, mapped files, generated code",
        &[
            libc::SYS_brk,
            libc::SYS_mmap,
            libc::SYS_munmap,
            libc::SYS_mremap,
            libc::SYS_mprotect,
            libc::SYS_madvise,
            libc::SYS_mincore,
            libc::SYS_msync,
            libc::SYS_mlock,
            libc::SYS_mlock2,
            libc::SYS_munlock,
            libc::SYS_mlockall,
            libc::SYS_munlockall,
            libc::SYS_memfd_create,
            libc::SYS_membarrier,
            libc::SYS_pkey_alloc,
            libc::SYS_pkey_free,
            libc::SYS_pkey_mprotect,
            libc::SYS_get_mempolicy,
            libc::SYS_mbind,
            libc::SYS_set_mempolicy,
        ],
    ),
    (
        "files, of which the view has few",
        &[
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_close,
            libc::SYS_close_range,
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_readv,
            libc::SYS_writev,
            libc::SYS_pread64,
            libc::SYS_pwrite64,
            libc::SYS_preadv,
            libc::SYS_pwritev,
            libc::SYS_preadv2,
            libc::SYS_pwritev2,
            libc::SYS_lseek,
            libc::SYS_fstat,
            libc::SYS_newfstatat,
            libc::SYS_statx,
            libc::SYS_statfs,
            libc::SYS_fstatfs,
            libc::SYS_getdents64,
            libc::SYS_getcwd,
            libc::SYS_chdir,
            libc::SYS_fchdir,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
            libc::SYS_readlinkat,
            libc::SYS_mkdirat,
            libc::SYS_unlinkat,
            libc::SYS_renameat2,
            libc::SYS_linkat,
            libc::SYS_symlinkat,
            libc::SYS_ftruncate,
            libc::SYS_truncate,
            libc::SYS_fallocate,
            libc::SYS_fadvise64,
            libc::SYS_readahead,
            libc::SYS_fsync,
            libc::SYS_fdatasync,
            libc::SYS_sync_file_range,
            libc::SYS_fchmod,
            libc::SYS_fchmodat,
            libc::SYS_fchown,
            libc::SYS_fchownat,
            libc::SYS_utimensat,
            libc::SYS_umask,
            libc::SYS_flock,
            libc::SYS_fcntl,
            libc::SYS_dup,
            libc::SYS_dup3,
            libc::SYS_pipe2,
            libc::SYS_copy_file_range,
            libc::SYS_sendfile,
            libc::SYS_splice,
            libc::SYS_tee,
            libc::SYS_getxattr,
            libc::SYS_lgetxattr,
            libc::SYS_fgetxattr,
            libc::SYS_listxattr,
            libc::SYS_llistxattr,
            libc::SYS_flistxattr,
        ],
    ),
    (
        "waiting for descriptors, timers and each other",
        &[
            libc::SYS_ppoll,
            libc::SYS_pselect6,
            libc::SYS_epoll_create1,
            libc::SYS_epoll_ctl,
            libc::SYS_epoll_pwait,
            libc::SYS_epoll_pwait2,
            libc::SYS_eventfd2,
            libc::SYS_signalfd4,
            libc::SYS_timerfd_create,
            libc::SYS_timerfd_settime,
            libc::SYS_timerfd_gettime,
            libc::SYS_inotify_init1,
            libc::SYS_inotify_add_watch,
            libc::SYS_inotify_rm_watch,
            libc::SYS_futex,
            libc::SYS_futex_waitv,
            libc::SYS_set_robust_list,
            libc::SYS_get_robust_list,
            libc::SYS_nanosleep,
            libc::SYS_clock_nanosleep,
        ],
    ),
    (
        "sockets that this worker itself has: what may be made is in ARGUMENTS",
        &[
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_accept,
            libc::SYS_accept4,
            libc::SYS_connect,
            libc::SYS_getsockname,
            libc::SYS_getpeername,
            libc::SYS_sendto,
            libc::SYS_recvfrom,
            libc::SYS_sendmsg,
            libc::SYS_recvmsg,
            libc::SYS_sendmmsg,
            libc::SYS_recvmmsg,
            libc::SYS_setsockopt,
            libc::SYS_getsockopt,
            libc::SYS_shutdown,
        ],
    ),
    (
        "threads, and programs started by a core; all of them end with the worker",
        &[
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_wait4,
            libc::SYS_waitid,
            libc::SYS_set_tid_address,
            libc::SYS_rseq,
            libc::SYS_getpid,
            libc::SYS_getppid,
            libc::SYS_gettid,
            libc::SYS_getpgid,
            libc::SYS_setpgid,
            libc::SYS_getsid,
            libc::SYS_setsid,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_send_signal,
            libc::SYS_sched_yield,
            libc::SYS_sched_getaffinity,
            libc::SYS_sched_setaffinity,
            libc::SYS_sched_getparam,
            libc::SYS_sched_setparam,
            libc::SYS_sched_getscheduler,
            libc::SYS_sched_setscheduler,
            libc::SYS_sched_getattr,
            libc::SYS_sched_setattr,
            libc::SYS_sched_get_priority_max,
            libc::SYS_sched_get_priority_min,
            libc::SYS_sched_rr_get_interval,
            libc::SYS_getpriority,
            libc::SYS_setpriority,
            libc::SYS_getcpu,
        ],
    ),
    (
        "signals: to itself, since the pid namespace has nobody else",
        &[
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_tgkill,
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_rt_sigpending,
            libc::SYS_rt_sigsuspend,
            libc::SYS_rt_sigtimedwait,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
            libc::SYS_sigaltstack,
            libc::SYS_restart_syscall,
        ],
    ),
    (
        "what time it is, and timers",
        &[
            libc::SYS_clock_gettime,
            libc::SYS_clock_getres,
            libc::SYS_gettimeofday,
            libc::SYS_times,
            libc::SYS_getitimer,
            libc::SYS_setitimer,
            libc::SYS_timer_create,
            libc::SYS_timer_settime,
            libc::SYS_timer_gettime,
            libc::SYS_timer_getoverrun,
            libc::SYS_timer_delete,
        ],
    ),
    (
        "who and where it is, and what it may use",
        &[
            libc::SYS_getuid,
            libc::SYS_geteuid,
            libc::SYS_getgid,
            libc::SYS_getegid,
            libc::SYS_getresuid,
            libc::SYS_getresgid,
            libc::SYS_getgroups,
            libc::SYS_capget,
            libc::SYS_uname,
            libc::SYS_sysinfo,
            libc::SYS_getrusage,
            libc::SYS_prlimit64,
            libc::SYS_getrandom,
        ],
    ),
    (
        "shared memory and semaphores with a number: they vanish with the ipc namespace",
        &[
            libc::SYS_shmget,
            libc::SYS_shmat,
            libc::SYS_shmdt,
            libc::SYS_shmctl,
            libc::SYS_semget,
            libc::SYS_semop,
            libc::SYS_semtimedop,
            libc::SYS_semctl,
            libc::SYS_msgget,
            libc::SYS_msgsnd,
            libc::SYS_msgrcv,
            libc::SYS_msgctl,
        ],
    ),
];

/// Older forms of calls above, which only this architecture still has.
#[cfg(target_arch = "x86_64")]
pub(super) const OLD_CALLS: &[(&str, &[c_long])] = &[(
    "older forms of calls that are allowed, as old libraries make them",
    &[
        libc::SYS_open,
        libc::SYS_creat,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_access,
        libc::SYS_readlink,
        libc::SYS_mkdir,
        libc::SYS_rmdir,
        libc::SYS_unlink,
        libc::SYS_rename,
        libc::SYS_renameat,
        libc::SYS_link,
        libc::SYS_symlink,
        libc::SYS_chmod,
        libc::SYS_chown,
        libc::SYS_lchown,
        libc::SYS_getdents,
        libc::SYS_utime,
        libc::SYS_utimes,
        libc::SYS_futimesat,
        libc::SYS_dup2,
        libc::SYS_pipe,
        libc::SYS_poll,
        libc::SYS_select,
        libc::SYS_epoll_create,
        libc::SYS_epoll_wait,
        libc::SYS_eventfd,
        libc::SYS_signalfd,
        libc::SYS_inotify_init,
        libc::SYS_fork,
        libc::SYS_vfork,
        libc::SYS_getpgrp,
        libc::SYS_getrlimit,
        libc::SYS_setrlimit,
        libc::SYS_pause,
        libc::SYS_alarm,
        libc::SYS_time,
        libc::SYS_arch_prctl,
    ],
)];
#[cfg(not(target_arch = "x86_64"))]
pub(super) const OLD_CALLS: &[(&str, &[c_long])] = &[];

/// What an argument (the low half of it, which is all that the kernel looks at here) must be.
pub(super) enum Argument {
    OneOf(&'static [u32]),
    NoneOf(&'static [u32]),
    /// Has none of these bits.
    Without(u32),
}

/// New namespaces of any kind. From inside a user namespace they need no rights, and open much of
/// the kernel that nobody else reaches.
const NAMESPACES: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u32;

/// System calls that depend on one argument: the call, which argument, what it must be, why.
pub(super) const ARGUMENTS: [(c_long, u8, Argument, &str); 5] = [
    (
        libc::SYS_clone,
        0,
        Argument::Without(NAMESPACES),
        "threads and processes, but no namespaces, in which a process would be root again",
    ),
    (
        libc::SYS_socket,
        0,
        Argument::OneOf(&[libc::AF_UNIX as u32]),
        "no network: neither its addresses nor the kernel's code for them",
    ),
    (
        libc::SYS_socketpair,
        0,
        Argument::OneOf(&[libc::AF_UNIX as u32]),
        "processes of one worker talk to each other",
    ),
    (
        libc::SYS_ioctl,
        1,
        Argument::OneOf(&[
            libc::TCGETS as u32,
            libc::TIOCGWINSZ as u32,
            libc::FIONREAD as u32,
            libc::FIONBIO as u32,
            libc::FIOCLEX as u32,
            libc::FIONCLEX as u32,
        ]),
        "whether this is a terminal, and how much there is to read; nothing that types into one \
         (TIOCSTI, TIOCLINUX) or speaks to a driver",
    ),
    (
        libc::SYS_prctl,
        0,
        Argument::NoneOf(&[libc::PR_SET_DUMPABLE as u32, libc::PR_SET_PTRACER as u32]),
        "names of threads and the like; a worker stays closed to tracers, and dumps no core",
    ),
];
