//! Processes that move: what the kernel gives this user for it.

use std::path::Path;

use super::findings::{Finding, Good, Mark, Section, found};

pub(super) fn look() -> Section {
    let mut section = Section::new("Processes that move", &[Good::Moves]);
    section.findings.extend([tracing(), faults(), pages(), writes(), namespaces()]);
    section
}

fn read(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

fn tracing() -> Finding {
    let root = sys::limits::is_root();
    match sys::standing::yama() {
        0 => found(Mark::Ok, "processes of this user can be traced, and so captured"),
        3.. => {
            let what = "the host lets nobody trace processes (Yama's ptrace_scope is 3) until it is started anew: \
                        none can be captured";
            found(Mark::Fail, what)
                .breaks(Good::Moves)
                .remedy("echo kernel.yama.ptrace_scope=0 > /etc/sysctl.d/10-ptrace.conf && reboot")
        }
        _ if root => found(Mark::Ok, "root can trace processes, and so capture them"),
        scope => {
            let what = format!(
                "the host lets this user trace only what farcall has started (Yama's ptrace_scope is {scope}): \
                 others cannot be captured by their number"
            );
            found(Mark::Warn, what)
                .breaks(Good::Moves)
                .remedy("sysctl -w kernel.yama.ptrace_scope=0")
        }
    }
}

/// Lazy paging is all that needs it. Tried as a node tries it for its pads, which become other users if it is root.
fn faults() -> Finding {
    let error = match sys::uffd::can_follow(sys::limits::is_root()) {
        Ok(()) => {
            let what = "a node of this user answers the page faults of visitors: memory can follow its process here";
            return found(Mark::Ok, what);
        }
        Err(error) => error,
    };
    let cause = std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
    let what = format!(
        "a node of this user cannot answer the page faults of visitors ({cause}): their memory travels before they \
         wake, and does not follow them"
    );
    let remedy = match sys::limits::is_root() {
        false => "run the node as root: sudo farcall node",
        true if !Path::new("/dev/userfaultfd").exists() => {
            "use a kernel with /dev/userfaultfd (6.1), or run the node with --jail none"
        }
        true => "give the node CAP_SYS_PTRACE, as `docker run --cap-add SYS_PTRACE` does",
    };
    found(Mark::Note, what).remedy(remedy)
}

fn pages() -> Finding {
    match sys::pagemap::is_quick() {
        Ok(true) => found(Mark::Ok, "the kernel tells which pages are there (PAGEMAP_SCAN)"),
        Ok(false) => {
            let what = "the kernel has no PAGEMAP_SCAN (6.7): finding the pages of a large process takes longer";
            found(Mark::Note, what).remedy("install a newer kernel")
        }
        Err(error) => {
            let what = format!("nobody can tell which pages of a process are there: {error}");
            found(Mark::Fail, what).breaks(Good::Moves).remedy("mount -t proc proc /proc")
        }
    }
}

fn writes() -> Finding {
    match sys::tracking::probe() {
        Ok(()) => {
            let what = "the kernel tells which pages are written since the last look (userfaultfd, PAGEMAP_SCAN)";
            found(Mark::Ok, what)
        }
        Err(error) => {
            let cause = std::error::Error::source(&error);
            let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
            let what = format!(
                "nobody tells which pages are written ({cause}): what has changed is found by comparing all pages"
            );
            found(Mark::Note, what).remedy("install Linux 6.7 or newer, with userfaultfd")
        }
    }
}

/// A plain user keeps the numbers of processes in a namespace of its own.
fn namespaces() -> Finding {
    let is = |path: &str, value: &str| read(path).is_some_and(|text| text == value);
    let closed = [
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    if sys::limits::is_root() {
        return found(
            Mark::Ok,
            "root gives processes the numbers that they had, where these are free",
        );
    }
    match closed.into_iter().find(|(path, value, _)| is(path, value)) {
        None => found(Mark::Ok, "user namespaces are open to this user"),
        Some((.., remedy)) => {
            let what = "user namespaces are closed to this user: processes get new numbers where they wake";
            found(Mark::Note, what).remedy(remedy)
        }
    }
}
