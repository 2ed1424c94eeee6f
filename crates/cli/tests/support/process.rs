//! What the kernel says of a process.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// What comes after the program's name in `/proc/PID/stat`, which may itself hold blanks.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// It is there, and no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X")
}

/// Processor time so far, in hundredths of a second.
pub(crate) fn ticks(pid: u32) -> u64 {
    let Some(fields) = stat(pid) else { return 0 };
    fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

/// Its children that live.
pub(crate) fn children(pid: u32) -> BTreeSet<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return BTreeSet::new() };
    let of_thread = |thread: fs::DirEntry| {
        fs::read_to_string(thread.path().join("children")).unwrap_or_default()
    };
    let all: String = threads.flatten().map(of_thread).collect();
    all.split_whitespace().map(|pid| pid.parse().unwrap()).filter(|&pid| is_alive(pid)).collect()
}

/// Open descriptors.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Resident memory in KiB, shared buffers included.
pub(crate) fn memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Ends a process that this test has started, by itself or through a node; it may have ended already.
pub(crate) fn kill(pid: u32) {
    Command::new("kill").args(["-s", "KILL", &pid.to_string()]).output().unwrap();
}
