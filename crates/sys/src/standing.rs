//! How a process stands: whose it is, who traces it, what its threads do, which namespaces it is in.
//!
//! All of it is read while the process runs, so it is as of now; nothing is stopped.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::{Error, Pid, Untraceable, limits};

/// A process as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Real, effective, saved, and of the file system.
    pub users: [u32; 4],
    pub groups: [u32; 4],
    /// Its process group, and how many others are in it that are not its children.
    pub group: Pid,
    pub group_others: usize,
    pub threads: Vec<Thread>,
    pub executable: Executable,
    /// Its root folder and working folder, as the kernel calls them.
    pub root: Vec<u8>,
    pub folder: Vec<u8>,
    /// Those of its namespaces that are not the caller's.
    pub foreign: Vec<&'static str>,
}

/// One thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    pub tid: Pid,
    /// As `ps` shows it: `R`, `S`, `D`, `T`, `Z` …
    pub state: char,
    /// The system call that it waits in, by its number, if it waits in one.
    pub call: Option<u64>,
    /// 0 none, 1 strict, 2 a filter.
    pub seccomp: u32,
    pub has_shadow_stack: bool,
}

/// The file that it was started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    pub path: Vec<u8>,
    pub is_deleted: bool,
    pub mode: u32,
    /// It is a program of 32 bits.
    pub is_narrow: bool,
}

const NAMESPACES: [&str; 5] = ["mnt", "pid", "net", "ipc", "user"];

/// What can be seen to forbid tracing it. `None` is no promise: who tries learns for certain.
pub fn refusal(of: Pid) -> Result<Option<Untraceable>, Error> {
    if of == Pid::own() {
        return Ok(Some(Untraceable::Own));
    }
    let status = match Status::of(&format!("/proc/{of}/status")) {
        Err(error) if error.is_gone() => return Ok(Some(Untraceable::Gone)),
        status => status?,
    };
    if matches!(status.field("State:"), Some("Z" | "X")) {
        return Ok(Some(Untraceable::Gone));
    }
    if status.field("Kthread:") == Some("1") {
        return Ok(Some(Untraceable::Kernels));
    }
    if let Some(tracer) = status.number("TracerPid:").filter(|&tracer| tracer != 0) {
        return Ok(Some(Untraceable::Traced(Pid(tracer as i32))));
    }
    if limits::is_root() {
        return Ok(None);
    }
    let real = status.number("Uid:").unwrap_or(u32::MAX);
    if real != limits::own_user() {
        return Ok(Some(Untraceable::OtherUser(real)));
    }
    if fs::read_dir(format!("/proc/{of}/fd")).is_err() {
        return Ok(Some(Untraceable::Forbidden));
    }
    let scope = yama();
    Ok((scope >= 2 || scope == 1 && !descends(of)).then_some(Untraceable::Yama(scope)))
}

/// How far the host restricts tracing: 0 where it does not.
pub fn yama() -> u32 {
    let text = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Whether the caller started it, or somebody whom it started did.
fn descends(of: Pid) -> bool {
    let mut at = of;
    // Numbers of processes that come and go could form a ring.
    for _ in 0..4096 {
        match crate::proc::kinship(at) {
            Ok(kin) if kin.parent == Pid::own() => return true,
            Ok(kin) if kin.parent.0 > 1 => at = kin.parent,
            _ => return false,
        }
    }
    false
}

/// How a process stands. Needs the right to trace it.
pub fn standing(of: Pid) -> Result<Standing, Error> {
    let status = Status::of(&format!("/proc/{of}/status"))?;
    let four = |name| status.four(name).ok_or_else(|| status.missing(name));
    let group = group(of)?;
    let mut threads = Vec::new();
    let tasks = format!("/proc/{of}/task");
    for task in fs::read_dir(&tasks).map_err(Error::file("list", &tasks))?.flatten() {
        let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match thread(of, Pid(tid)) {
            Err(error) if error.is_gone() => (),
            thread => threads.push(thread?),
        }
    }
    let foreign = NAMESPACES.into_iter().filter(|name| is_foreign(of, name)).collect();
    Ok(Standing {
        users: four("Uid:")?,
        groups: four("Gid:")?,
        group,
        group_others: others(of, group)?,
        threads,
        executable: executable(of)?,
        root: link(of, "root")?,
        folder: link(of, "cwd")?,
        foreign,
    })
}

fn thread(of: Pid, tid: Pid) -> Result<Thread, Error> {
    let status = Status::of(&format!("/proc/{of}/task/{tid}/status"))?;
    let call = fs::read_to_string(format!("/proc/{of}/task/{tid}/syscall"));
    let call = call.ok().and_then(|text| text.split_ascii_whitespace().next()?.parse().ok());
    let features = status.line("x86_Thread_features:").unwrap_or_default();
    Ok(Thread {
        tid,
        state: status.field("State:").and_then(|word| word.chars().next()).unwrap_or('?'),
        call,
        seccomp: status.number("Seccomp:").unwrap_or(0),
        has_shadow_stack: features.split_ascii_whitespace().any(|word| word == "shstk"),
    })
}

fn group(of: Pid) -> Result<Pid, Error> {
    let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(of.0)));
    Ok(Pid(group.map_err(Error::process("ask for the group of", of))?.as_raw()))
}

fn others(of: Pid, group: Pid) -> Result<usize, Error> {
    let all = fs::read_dir("/proc").map_err(Error::file("list", "/proc"))?.flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid));
    let is_other = |pid: &Pid| {
        *pid != of
            && self::group(*pid).is_ok_and(|found| found == group)
            && crate::proc::kinship(*pid).is_ok_and(|kin| !kin.is_dead && kin.parent != of)
    };
    Ok(pids.filter(is_other).count())
}

fn executable(of: Pid) -> Result<Executable, Error> {
    let at = format!("/proc/{of}/exe");
    let found = fs::metadata(&at).map_err(Error::file("look at", &at))?;
    let mut path = link(of, "exe")?;
    let is_deleted = found.nlink() == 0;
    if is_deleted && path.ends_with(b" (deleted)") {
        path.truncate(path.len() - b" (deleted)".len());
    }
    let mut head = [0; 5];
    let read = File::open(&at).and_then(|mut file| file.read_exact(&mut head));
    // The class of an ELF file: 1 is 32 bits.
    let is_narrow = read.is_ok() && head == *b"\x7fELF\x01";
    Ok(Executable { path, is_deleted, mode: found.mode(), is_narrow })
}

fn link(of: Pid, name: &str) -> Result<Vec<u8>, Error> {
    let at = PathBuf::from(format!("/proc/{of}/{name}"));
    let found = fs::read_link(&at).map_err(Error::file("read", at))?;
    Ok(found.into_os_string().into_vec())
}

fn is_foreign(of: Pid, name: &str) -> bool {
    let inode = |whose: String| fs::metadata(format!("/proc/{whose}/ns/{name}")).map(|at| at.ino());
    let (theirs, ours) = (inode(of.to_string()), inode("self".to_owned()));
    // A kernel without this kind has it for nobody.
    theirs.ok() != ours.ok()
}

/// The text of a `status`. Its first line holds a name of the program's choice, in which the kernel
/// escapes line breaks.
struct Status {
    path: String,
    text: String,
}

impl Status {
    fn of(path: &str) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::file("read", path))?;
        Ok(Self { path: path.to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() })
    }

    fn line(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(name))
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.line(name)?.split_ascii_whitespace().next()
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.field(name)?.parse().ok()
    }

    fn four(&self, name: &str) -> Option<[u32; 4]> {
        let mut words = self.line(name)?.split_ascii_whitespace().map(str::parse);
        let mut next = || words.next()?.ok();
        Some([next()?, next()?, next()?, next()?])
    }

    fn missing(&self, field: &'static str) -> Error {
        Error::KernelText { file: self.path.clone(), field }
    }
}
