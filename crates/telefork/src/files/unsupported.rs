//! What cannot travel: told by the name that the kernel gives it, with the reason and what to do.

use sys::Pid;
use sys::descriptors::Listed;
use wire::image::descriptor::{DescriptorKind, Opened};
use wire::image::text::Text;

/// Names of the kernel begin so, and what they are of has which reason.
const NAMED: [(&str, DescriptorKind, &str); 20] = [
    (
        "anon_inode:[io_uring]",
        DescriptorKind::Ring,
        "an io_uring, whose requests are the kernel's own state and can never travel; start the program without io_uring",
    ),
    (
        "anon_inode:[eventpoll]",
        DescriptorKind::Epoll,
        "an epoll instance, which does not travel yet; let the program close it",
    ),
    (
        "anon_inode:[eventfd]",
        DescriptorKind::Event,
        "an eventfd, which does not travel yet; let the program close it",
    ),
    (
        "anon_inode:[timerfd]",
        DescriptorKind::Timer,
        "a timerfd, which does not travel yet; let the program close it",
    ),
    (
        "anon_inode:[signalfd]",
        DescriptorKind::Signal,
        "a signalfd, which does not travel yet; let the program close it",
    ),
    (
        "anon_inode:inotify",
        DescriptorKind::Watch,
        "an inotify instance, which does not travel yet; let the program close it",
    ),
    (
        "anon_inode:[fanotify]",
        DescriptorKind::Watch,
        "a fanotify instance, which watches this host alone; let the program close it",
    ),
    (
        "anon_inode:[pidfd]",
        DescriptorKind::Process,
        "a pidfd, and the process that it names stays here; let the program close it",
    ),
    (
        "pidfd:",
        DescriptorKind::Process,
        "a pidfd, and the process that it names stays here; let the program close it",
    ),
    (
        "anon_inode:[perf_event]",
        DescriptorKind::Ring,
        "a performance counter of this host's processor; end the profiler",
    ),
    (
        "anon_inode:[userfaultfd]",
        DescriptorKind::Other,
        "a userfaultfd: somebody answers page faults of this process; let the program close it",
    ),
    (
        "anon_inode:bpf",
        DescriptorKind::Other,
        "an object of BPF in this host's kernel; let the program close it",
    ),
    (
        "anon_inode:[bpf",
        DescriptorKind::Other,
        "an object of BPF in this host's kernel; let the program close it",
    ),
    (
        "anon_inode:kvm",
        DescriptorKind::Device,
        "a virtual machine of this host's kernel, which can never travel; move what runs in it",
    ),
    (
        "anon_inode:",
        DescriptorKind::Other,
        "an object of this host's kernel; let the program close it",
    ),
    (
        "/memfd:",
        DescriptorKind::Memory,
        "a file in memory (memfd), which does not travel yet; let the program close it",
    ),
    (
        "socket:",
        DescriptorKind::Socket,
        "a socket, whose other end stays; let the program close it",
    ),
    ("pipe:", DescriptorKind::Pipe, "a pipe, whose other end stays; let the program close it"),
    (
        "/dev/mqueue/",
        DescriptorKind::Other,
        "a message queue of this host's kernel; let the program close it",
    ),
    ("mnt:", DescriptorKind::Other, "a namespace of this host's kernel; let the program close it"),
];

/// File systems (linux/magic.h) whose files the kernel makes up as they are read.
const MADE_UP: [(u64, &str); 9] = [
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x27_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0xcafe_4a11, "bpf"),
    (0x6e73_6673, "nsfs"),
];
const HUGETLBFS: u64 = 0x9584_58f6;
const MQUEUE: u64 = 0x1980_0202;

/// By which a process has the kernel remember what it writes.
pub(super) fn is_tracker(pid: Pid, listed: &Listed) -> bool {
    listed.name == b"anon_inode:[userfaultfd]" && sys::tracking::is_tracker(pid, listed.number)
}

/// The same, and what it then asks about itself.
pub(super) fn is_for_tracking(pid: Pid, listed: &Listed) -> bool {
    let own = ["pagemap", "maps"].map(|name| format!("/proc/{pid}/{name}").into_bytes());
    own.contains(&listed.name) || is_tracker(pid, listed)
}

/// A finding by name or file system; `None` where the kind of file decides. Standard streams that are
/// pipes or sockets are not asked for here.
pub(super) fn by_name(listed: &Listed) -> Option<Opened> {
    if matches!(listed.node.kind(), libc::S_IFIFO | libc::S_IFSOCK) {
        return None;
    }
    let named = NAMED.iter().find(|(name, ..)| listed.name.starts_with(name.as_bytes()));
    if let Some((_, kind, why)) = named {
        return Some(unsupported(*kind, *why));
    }
    if let Some((_, name)) = MADE_UP.iter().find(|(magic, _)| *magic == listed.file_system) {
        let why = format!(
            "a file of this host's kernel ({name}), whose content is made as it is read; \
             leave it out with --fd {}=drop, or let the program close it",
            listed.number
        );
        return Some(unsupported(DescriptorKind::Other, why));
    }
    match listed.file_system {
        HUGETLBFS => Some(unsupported(
            DescriptorKind::Memory,
            "a file of huge pages (hugetlbfs), which does not travel yet; start the program without them",
        )),
        MQUEUE => Some(unsupported(
            DescriptorKind::Other,
            "a message queue of this host's kernel; let the program close it",
        )),
        _ if !listed.name.starts_with(b"/") => Some(unsupported(
            DescriptorKind::Other,
            "an object of this host's kernel; let the program close it",
        )),
        _ => None,
    }
}

/// Of the types that `stat` tells.
pub(super) fn by_kind(kind: u32, listed: &Listed) -> Opened {
    let number = listed.number;
    match kind {
        libc::S_IFIFO => unsupported(
            DescriptorKind::Pipe,
            format!(
                "a pipe, whose other end stays; let the program close it, or leave it out with --fd {number}=drop"
            ),
        ),
        libc::S_IFSOCK => unsupported(
            DescriptorKind::Socket,
            format!(
                "a socket, whose other end stays; let the program close it, or leave it out with --fd {number}=drop"
            ),
        ),
        libc::S_IFBLK | libc::S_IFCHR => device(listed),
        _ => unsupported(
            DescriptorKind::Other,
            format!("of a kind that is not known here; leave it out with --fd {number}=drop"),
        ),
    }
}

pub(super) fn device(listed: &Listed) -> Opened {
    let number = listed.number;
    let why = format!(
        "a device of this host, whose state can never travel; let the program close it, or leave it out \
         with --fd {number}=drop"
    );
    unsupported(DescriptorKind::Device, why)
}

pub(super) fn asynchronous() -> Opened {
    let why = "it sends signals when it is ready (O_ASYNC), which does not travel yet; \
               let the program use poll";
    unsupported(DescriptorKind::Other, why)
}

pub(super) fn unsupported(kind: DescriptorKind, why: impl Into<String>) -> Opened {
    Opened::Unsupported { kind, why: why.into() }
}

/// A name as people may see it.
pub(crate) fn shown(name: &[u8]) -> String {
    Text(name.to_vec()).to_string()
}
