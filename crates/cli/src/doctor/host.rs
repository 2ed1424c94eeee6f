//! This host: kernel, cores, memory, limits, disks, clock, network.

use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use sys::Pid;
use sys::limits::{Limit, Resource};

use super::findings::{Finding, Good, Mark, Section, found, quoted};
use crate::node::Settings;
use crate::values::{count, spell_size};

/// The processes that have most memory.
const LARGEST: &str = "ps -eo pid,rss,args --sort=-rss | head";
const MIB: u64 = 1 << 20;
/// How long the system's resolver may take: without a name server it waits for half a minute.
const RESOLVING: Duration = Duration::from_secs(3);

pub(super) fn look(settings: Option<&Settings>) -> Section {
    let mut section = Section::new("This host", &[Good::Tasks, Good::Cluster]);
    section.findings.extend([program(), kernel(), cores()]);
    section.findings.extend(memory());
    section.findings.extend(limits());
    if let Some(settings) = settings {
        section.findings.extend(disk("the data folder", &settings.data, Mark::Fail));
    }
    section.findings.extend(disk("the temporary folder", &std::env::temp_dir(), Mark::Warn));
    section.findings.extend([clock(), ipv6(), own_name()]);
    section
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn program() -> Finding {
    let version = env!("CARGO_PKG_VERSION");
    match std::env::current_exe() {
        Ok(path) if !path.to_string_lossy().ends_with(" (deleted)") => {
            found(Mark::Ok, format!("farcall {version}, {}", path.display()))
        }
        _ => found(Mark::Warn, format!("farcall {version}, whose file was replaced or removed"))
            .remedy("start what still runs of it again"),
    }
}

fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease");
    let arch = std::env::consts::ARCH;
    let what = format!("Linux {release} on {arch}");
    match version(&release) {
        Some(found_version) if found_version < (5, 4) => {
            found(Mark::Fail, format!("{what}: a node needs 5.4 or newer"))
                .breaks(Good::Tasks)
                .remedy("install a newer kernel")
        }
        Some(_) => found(Mark::Ok, what),
        None => found(Mark::Warn, format!("{what}: its version cannot be read")),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn cores() -> Finding {
    let usable = sys::cpu::usable().get();
    let slots = count(usable as u64, "core");
    // Counts the quota of control groups, too.
    let quota = std::thread::available_parallelism().map_or(usable, std::num::NonZero::get);
    if quota < usable {
        let what = format!("{slots}, but a control group allows the time of {quota} only");
        return found(Mark::Warn, what).remedy(format!("farcall node --slots {quota}"));
    }
    found(Mark::Ok, format!("{slots}: that many tasks at a time"))
}

fn memory() -> Option<Finding> {
    let text = read("/proc/meminfo");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let number = line.trim_start_matches(':').trim().strip_suffix("kB")?;
        Some(number.trim().parse::<u64>().ok()? * 1024)
    };
    let (free, total) = (field("MemAvailable")?, field("MemTotal")?);
    let what = format!("{} of memory, {} of it free", spell_size(total), spell_size(free));
    Some(match free {
        0..67_108_864 => found(Mark::Fail, what).breaks(Good::Tasks).remedy(LARGEST),
        67_108_864..268_435_456 => found(Mark::Warn, what).remedy(LARGEST),
        _ => found(Mark::Ok, what),
    })
}

fn limits() -> Vec<Finding> {
    let of = |resource| sys::limits::limit(Pid::own(), resource).ok();
    let spell = |value: u64| match value {
        Limit::UNLIMITED => "no limit".to_owned(),
        value => value.to_string(),
    };
    let mut all = Vec::new();
    if let Some(Limit { hard, .. }) = of(Resource::OpenFiles) {
        // A node raises its own to the hard limit; each client and each worker costs a few.
        let what = format!("open files: {} (ulimit -Hn)", spell(hard));
        all.push(match hard {
            0..128 => found(Mark::Fail, format!("{what}; a node needs hundreds"))
                .breaks(Good::Tasks)
                .remedy("ulimit -Hn 65536"),
            128..4096 => found(Mark::Warn, format!("{what}: few clients at a time"))
                .remedy("ulimit -Hn 65536"),
            _ => found(Mark::Ok, what),
        });
    }
    if let Some(Limit { soft, .. }) = of(Resource::Processes) {
        let what = format!("processes of this user: {} (ulimit -u)", spell(soft));
        all.push(match soft {
            _ if sys::limits::is_root() => found(Mark::Ok, "processes: root has no limit"),
            0..64 => found(Mark::Fail, what).breaks(Good::Tasks).remedy("ulimit -u 4096"),
            64..1024 => found(Mark::Warn, what).remedy("ulimit -u 4096"),
            _ => found(Mark::Ok, what),
        });
    }
    if let Some(Limit { soft, .. }) = of(Resource::LockedMemory) {
        let what = match soft {
            Limit::UNLIMITED => "locked memory: no limit".to_owned(),
            bytes => format!("locked memory: {} (ulimit -l)", spell_size(bytes)),
        };
        all.push(found(Mark::Note, format!("{what}; nothing that is built needs it")));
    }
    if let Some(Limit { soft: 1.., .. }) = of(Resource::CoreDump) {
        let what = "a crash of the daemon leaves its memory on disk, keys included (ulimit -c)";
        all.push(found(Mark::Note, what).remedy("ulimit -c 0"));
    }
    all
}

/// The nearest folder above that is there: what is to be made will lie on its file system.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// `severity`: what it means if it cannot be used.
fn disk(what: &str, path: &Path, severity: Mark) -> Vec<Finding> {
    let (shown, there) = (path.display(), existing(path));
    let breaks = |finding: Finding| match severity {
        Mark::Fail => finding.breaks(Good::Tasks),
        _ => finding,
    };
    let room = match sys::files::room(&there) {
        Ok(room) => room,
        Err(error) => {
            let told = format!("{what} {shown}: {error}");
            return vec![
                breaks(found(severity, told)).remedy(format!("ls -ld {}", quoted(&there))),
            ];
        }
    };
    let elsewhere = match severity {
        Mark::Fail => "farcall node --data DIR",
        _ => "TMPDIR=DIR farcall core run LIB INPUT",
    };
    let mut all = Vec::new();
    if room.read_only {
        let told = format!("{what} {shown} is on a file system that is read-only");
        all.push(breaks(found(severity, told)).remedy(elsewhere));
    } else if let Err(error) = try_writing(path, &there) {
        let told = format!("{what} {shown} cannot be written: {error}");
        all.push(breaks(found(severity, told)).remedy(elsewhere));
    }
    if room.no_exec {
        let told = format!(
            "{what} {shown} is on a file system where nothing may be executed (noexec): \
             libraries in it cannot be loaded"
        );
        let mount =
            format!("mount -o remount,exec \"$(findmnt -no TARGET -T {})\"", quoted(&there));
        all.push(breaks(found(severity, told)).remedy(mount));
    }
    let free = spell_size(room.free);
    let few_files = room.files.is_some_and(|files| files < 64);
    if room.free < 16 * MIB || few_files {
        let left = if few_files { "no more files".to_owned() } else { format!("{free} free") };
        let told = format!("{what} {shown} is full: {left}");
        all.push(
            breaks(found(severity, told)).remedy(format!("df -h {0}; df -i {0}", quoted(&there))),
        );
    } else if room.free < 1024 * MIB {
        all.push(found(Mark::Warn, format!("{what} {shown} has {free} free")));
    }
    if all.is_empty() {
        all.push(found(Mark::Ok, format!("{what} {shown} has {free} free")));
    }
    all
}

/// An unnamed file, where the folder is there already; else the right to make it.
fn try_writing(path: &Path, there: &Path) -> Result<(), String> {
    let tried = sys::files::unnamed_in(there);
    let Err(error) = tried else { return Ok(()) };
    let source = std::error::Error::source(&error).map(ToString::to_string);
    // Not every file system has files without names.
    if source.as_ref().is_some_and(|source| source.contains("not supported")) {
        return Ok(());
    }
    let why = source.unwrap_or_else(|| error.to_string());
    Err(if path == there { why } else { format!("{} ({why})", there.display()) })
}

fn clock() -> Finding {
    match sys::clock::is_synchronised() {
        Some(true) => found(Mark::Ok, "the clock is kept in step with others'"),
        Some(false) => {
            let what = "nothing keeps the clock in step with others'; certificates that were just \
                        made are not good yet on a host an hour behind";
            found(Mark::Warn, what).remedy("timedatectl set-ntp true")
        }
        None => found(Mark::Note, "the kernel does not say whether the clock is kept in step"),
    }
}

fn ipv6() -> Finding {
    match TcpListener::bind(("::1", 0)) {
        Ok(_) => found(Mark::Ok, "IPv6 works on loopback"),
        Err(error) => found(Mark::Note, format!("no IPv6 here ({error}); IPv4 is enough")),
    }
}

/// Asked on a thread that is left behind if the resolver does not come back.
fn own_name() -> Finding {
    let name = read("/proc/sys/kernel/hostname");
    let (sender, receiver) = mpsc::channel();
    let asked = name.clone();
    std::thread::spawn(move || {
        let answer = (asked.as_str(), 0).to_socket_addrs();
        let _ = sender.send(answer.map(|mut all| all.next()));
    });
    match receiver.recv_timeout(RESOLVING) {
        Ok(Ok(Some(address))) => {
            found(Mark::Ok, format!("this host's name, {name}, is found ({})", address.ip()))
        }
        Ok(Ok(None) | Err(_)) => {
            let what = format!(
                "this host's name, {name}, is not found by its own resolver; others will hardly \
                 find it either: name nodes by address"
            );
            found(Mark::Warn, what)
                .remedy(format!("echo {} >> /etc/hosts", quoted(format!("ADDRESS {name}"))))
        }
        Err(_) => found(Mark::Warn, "the resolver does not answer: names of hosts take long")
            .breaks(Good::Cluster)
            .remedy("cat /etc/resolv.conf"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_their_numbers() {
        assert_eq!(version("6.18.5-cloud"), Some((6, 18)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert_eq!(version(""), None);
    }
}
