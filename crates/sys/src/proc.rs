//! What `/proc` tells about processes.
//!
//! Its text comes from the kernel, yet a name inside it is chosen by the process: parsing never
//! panics and looks for what it needs from a side that the process cannot write.

use std::fs;
use std::path::PathBuf;

use crate::{Error, Pid};

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// In RAM now (VmRSS). Pages that several processes share count in each.
    pub resident: u64,
    /// The most that was ever in RAM since the program was started (VmHWM).
    pub peak_resident: u64,
}

/// Memory of a process; `None` once it has none, being dead and not waited for.
pub fn memory(of: Pid) -> Result<Option<Memory>, Error> {
    let text = read(of, "status")?;
    Ok(parse_memory(&text))
}

fn parse_memory(status: &str) -> Option<Memory> {
    let resident = kibibytes(status, "VmRSS:")?;
    let peak_resident = kibibytes(status, "VmHWM:")?;
    Some(Memory { resident, peak_resident })
}

/// The part of RAM that is there because of this process (Pss): shared pages count as the share
/// of each of their users. In bytes. Takes the kernel long (it visits every page).
pub fn own_proportional_memory() -> Result<u64, Error> {
    let text = read(Pid::own(), "smaps_rollup")?;
    let missing = || Error::KernelText { file: "smaps_rollup".to_owned(), field: "Pss" };
    kibibytes(&text, "Pss:").ok_or_else(missing)
}

/// Bytes of memory that the host has.
pub fn host_memory() -> Result<u64, Error> {
    let path = "/proc/meminfo";
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    let missing = || Error::KernelText { file: "meminfo".to_owned(), field: "MemTotal" };
    kibibytes(&text, "MemTotal:").ok_or_else(missing)
}

/// The bytes that a line `Field:   123 kB` tells.
fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(field))?;
    let number: u64 = rest.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    number.checked_mul(1024)
}

/// How many descriptors a process has open. Of others only with the right to trace them.
pub fn descriptors(of: Pid) -> Result<usize, Error> {
    let listed = entries(of, "fd")?;
    // Counting opened one more, if it is our own folder that is counted.
    Ok(if of == Pid::own() { listed.saturating_sub(1) } else { listed })
}

/// How many threads a process has.
pub fn threads(of: Pid) -> Result<usize, Error> {
    entries(of, "task")
}

/// How many threads the calling process has. Unlike its number, this is true even where `/proc` is
/// still that of another pid namespace.
pub fn own_threads() -> Result<usize, Error> {
    let path = "/proc/self/task";
    let listing = fs::read_dir(path).map_err(Error::file("list", path))?;
    Ok(listing.flatten().count())
}

/// What a process is and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinship {
    pub parent: Pid,
    pub session: Pid,
    /// It has ended, and only its status is left to be waited for.
    pub is_dead: bool,
}

/// Parent and session of a process.
pub fn kinship(of: Pid) -> Result<Kinship, Error> {
    let text = read(of, "stat")?;
    let missing = || Error::KernelText { file: format!("{of}/stat"), field: "parent" };
    parse_kinship(&text).ok_or_else(missing)
}

/// `PID (NAME) STATE PPID PGRP SESSION … 13 more … THREADS …`, where NAME may hold anything, `) R 1` included.
fn parse_kinship(stat: &str) -> Option<Kinship> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = Pid(fields.next()?.parse().ok()?);
    let _group = fields.next()?;
    let session = Pid(fields.next()?.parse().ok()?);
    // A main thread that has ended looks like a dead process while its other threads go on.
    let threads: u32 = fields.nth(13)?.parse().ok()?;
    let is_dead = matches!(state, "Z" | "X" | "x") && threads <= 1;
    Some(Kinship { parent, session, is_dead })
}

/// When a process was started, in ticks since the host was: with its number, a name for ever.
pub fn started(of: Pid) -> Result<u64, Error> {
    let text = read(of, "stat")?;
    let after_name = text.rsplit_once(')').map(|(_, after)| after);
    let field = after_name.and_then(|after| after.split_ascii_whitespace().nth(19)?.parse().ok());
    field.ok_or_else(|| Error::KernelText { file: format!("{of}/stat"), field: "start" })
}

/// The device number of the terminal that controls a process, as `stat` tells those of files.
pub fn terminal(of: Pid) -> Result<Option<u64>, Error> {
    let text = read(of, "stat")?;
    let after_name = text.rsplit_once(')').map(|(_, after)| after);
    let field = after_name.and_then(|after| after.split_ascii_whitespace().nth(4)?.parse().ok());
    let number: i32 =
        field.ok_or_else(|| Error::KernelText { file: format!("{of}/stat"), field: "terminal" })?;
    Ok((number != 0).then(|| u64::from(number.cast_unsigned())))
}

/// The number of the own pid namespace.
pub fn pid_namespace() -> Result<u64, Error> {
    let path = "/proc/self/ns/pid";
    let found = fs::metadata(path).map_err(Error::file("look at", path))?;
    Ok(std::os::unix::fs::MetadataExt::ino(&found))
}

/// Processes that a process started, or adopted as their subreaper, and that were not waited for
/// yet. A list made while they come and go can miss some: the kernel promises it only for a
/// stopped process.
pub fn children(of: Pid) -> Result<Vec<Pid>, Error> {
    let tasks = folder(of, "task");
    let mut found = Vec::new();
    for task in fs::read_dir(&tasks).map_err(Error::file("list", &tasks))?.flatten() {
        let path = task.path().join("children");
        match fs::read_to_string(&path) {
            Ok(text) => found.extend(text.split_ascii_whitespace().filter_map(parse_pid)),
            Err(error) => match Error::file("read", path)(error) {
                // The kernel was built without this file (CONFIG_PROC_CHILDREN), or the thread
                // just ended: either way this list would not be whole.
                error if error.is_gone() => return children_by_scan(of),
                error => return Err(error),
            },
        }
    }
    Ok(found)
}

/// The same for any kernel, by looking at every process of the host.
fn children_by_scan(of: Pid) -> Result<Vec<Pid>, Error> {
    let listing = fs::read_dir("/proc").map_err(Error::file("list", "/proc"))?;
    let all = listing.flatten().filter_map(|entry| parse_pid(entry.file_name().to_str()?));
    // Those that ended meanwhile are nobody's children any more.
    Ok(all.filter(|&pid| kinship(pid).is_ok_and(|kin| kin.parent == of)).collect())
}

fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().map(Pid)
}

fn entries(of: Pid, name: &str) -> Result<usize, Error> {
    let path = folder(of, name);
    let listing = fs::read_dir(&path).map_err(Error::file("list", &path))?;
    Ok(listing.flatten().count())
}

fn read(of: Pid, name: &str) -> Result<String, Error> {
    let path = folder(of, name);
    // A process can give itself a name that is not UTF-8.
    let bytes = fs::read(&path).map_err(Error::file("read", &path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn folder(of: Pid, name: &str) -> PathBuf {
    format!("/proc/{of}/{name}").into()
}

#[cfg(test)]
mod tests;
