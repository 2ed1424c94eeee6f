//! Control groups, version 1 and 2, and both at once.
//!
//! A host has one tree of groups (version 2), or one for each controller (version 1), or a mixture:
//! memory and pids in old trees of their own, and a new tree beside them that counts nothing but can
//! kill a whole group. [`Group`] is one place in all of them, by one name.
//!
//! Nothing is decided here: which groups there are, what they are called and how large they may
//! grow comes from above.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::process::pidfd;
use crate::{Error, Pid, clock};

/// Looks at a group before giving up on one that is not empty after all its processes were killed.
const PASSES_MAX: usize = 64;
/// Processes held at once while they are killed; each costs a descriptor.
const HELD_MAX: usize = 64;
/// For what was killed to be gone, where the kernel kills a group at once and tells when it is empty.
const DEATH_WAIT_MILLISECONDS: u64 = 250;
/// The span of time in which a share of a processor is counted.
const CPU_PERIOD_MICROSECONDS: u64 = 100_000;

/// What a group can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Pids,
    Cpu,
}

pub const CONTROLLERS: [Controller; 3] = [Controller::Memory, Controller::Pids, Controller::Cpu];

impl Controller {
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

/// A folder in the tree that has a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    version: Version,
    folder: PathBuf,
}

/// One group, wherever it is: a folder for each controller that the host has, of which several may
/// be the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    memory: Option<Place>,
    pids: Option<Place>,
    cpu: Option<Place>,
    /// In the tree of version 2, whether it counts anything or not.
    unified: Option<PathBuf>,
}

/// What the kernel did to a group's processes for want of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Processes that it killed, for whatever limit: the group's, one above it, or the host's.
    pub kills: u64,
    /// The most that the group has had, in bytes; 0 where the kernel does not keep it.
    pub peak: u64,
}

impl Group {
    /// The calling process's own group.
    pub fn own() -> Result<Self, Error> {
        let read = |path| fs::read_to_string(path).map_err(Error::file("read", path));
        let mut group = Self::parse(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?);
        // What the tree of version 2 counts stands in each of its groups.
        let controllers = group.unified.as_ref();
        let controllers = controllers.map(|at| fs::read_to_string(at.join("cgroup.controllers")));
        let controllers = controllers.and_then(Result::ok).unwrap_or_default();
        for controller in CONTROLLERS {
            let counted = controllers.split_whitespace().any(|name| name == controller.name());
            if counted && let Some(folder) = group.unified.clone() {
                *group.place_mut(controller) = Some(Place { version: Version::Two, folder });
            }
        }
        // A tree that counts nothing could only kill, and entering it costs 10 ms where nobody moved
        // lately. Where no process can be forked any more, killing one by one is as good.
        let counts = |place: &Place| place.version == Version::Two;
        let counts = CONTROLLERS.into_iter().any(|one| group.place(one).is_some_and(counts));
        if !counts && group.pids.is_some() {
            group.unified = None;
        }
        Ok(group)
    }

    /// From `/proc/self/cgroup` and `/proc/self/mountinfo`.
    fn parse(memberships: &str, mounts: &str) -> Self {
        let mut group = Self::default();
        for line in memberships.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if names.is_empty() {
                group.unified = folder_of(mounts, "cgroup2", None, path);
                continue;
            }
            for controller in CONTROLLERS {
                if names.split(',').any(|name| name == controller.name()) {
                    let folder = folder_of(mounts, "cgroup", Some(controller.name()), path);
                    let place = folder.map(|folder| Place { version: Version::One, folder });
                    *group.place_mut(controller) = place;
                }
            }
        }
        group
    }

    fn place(&self, controller: Controller) -> Option<&Place> {
        match controller {
            Controller::Memory => self.memory.as_ref(),
            Controller::Pids => self.pids.as_ref(),
            Controller::Cpu => self.cpu.as_ref(),
        }
    }

    fn place_mut(&mut self, controller: Controller) -> &mut Option<Place> {
        match controller {
            Controller::Memory => &mut self.memory,
            Controller::Pids => &mut self.pids,
            Controller::Cpu => &mut self.cpu,
        }
    }

    /// There is no such group anywhere.
    pub fn is_nowhere(&self) -> bool {
        self.folders().is_empty()
    }

    /// Which version counts this, if any does.
    pub fn version(&self, controller: Controller) -> Option<Version> {
        self.place(controller).map(|place| place.version)
    }

    /// Whether the whole group can be killed with one call.
    pub fn kills_at_once(&self) -> bool {
        self.unified.as_ref().is_some_and(|folder| folder.join("cgroup.kill").exists())
    }

    /// Each folder once, with what goes there as a process's number.
    fn folders(&self) -> Vec<(&Path, &'static str)> {
        let mut folders: Vec<(&Path, &'static str)> = Vec::new();
        // Version 1 takes a thread that moves itself without stopping the world for it.
        let old = CONTROLLERS.into_iter().filter_map(|controller| self.place(controller));
        let old = old.filter(|place| place.version == Version::One);
        let old = old.map(|place| (place.folder.as_path(), "tasks"));
        let new = self.unified.iter().map(|folder| (folder.as_path(), "cgroup.procs"));
        for (folder, file) in old.chain(new) {
            if folders.iter().all(|(known, _)| *known != folder) {
                folders.push((folder, file));
            }
        }
        folders
    }

    /// Makes a group beneath this one, wherever the host lets us; elsewhere the new one has no
    /// place. Says why for each that is refused.
    pub fn make_child(&self, name: &str) -> (Self, Vec<Error>) {
        let mut child = self.child(name);
        let mut refused = Vec::new();
        let folders: Vec<PathBuf> =
            child.folders().into_iter().map(|(folder, _)| folder.to_owned()).collect();
        for folder in folders {
            match fs::create_dir(&folder) {
                Ok(()) => (),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
                Err(error) => {
                    child.forget(&folder);
                    refused.push(Error::file("make the group", folder)(error));
                }
            }
        }
        (child, refused)
    }

    /// The group of this name beneath this one, whether it exists or not.
    fn child(&self, name: &str) -> Self {
        let place = |of: &Option<Place>| {
            let of = of.as_ref()?;
            Some(Place { version: of.version, folder: of.folder.join(name) })
        };
        Self {
            memory: place(&self.memory),
            pids: place(&self.pids),
            cpu: place(&self.cpu),
            unified: self.unified.as_ref().map(|folder| folder.join(name)),
        }
    }

    fn forget(&mut self, folder: &Path) {
        for controller in CONTROLLERS {
            self.place_mut(controller).take_if(|place| place.folder == folder);
        }
        self.unified.take_if(|unified| unified == folder);
    }

    /// Has no limit of this kind from now on, as far as this value knows.
    pub fn give_up(&mut self, controller: Controller) {
        *self.place_mut(controller) = None;
    }

    /// Has the groups beneath this one counted as well. Version 2 wants to be told, and refuses
    /// while processes are in this group itself.
    pub fn count_children(&self, controller: Controller) -> Result<(), Error> {
        match self.place(controller) {
            Some(Place { version: Version::Two, folder }) => {
                write(folder, "cgroup.subtree_control", &format!("+{}", controller.name()))
            }
            Some(Place { version: Version::One, .. }) | None => Ok(()),
        }
    }

    /// Has the groups beneath this one counted, from wherever we are. Version 2 refuses that while a process is in this group itself: the calling one, most likely, which then goes
    /// to a group beneath of the name `aside`. Where others are here, too, it was not made for us.
    pub fn count_beneath(
        &self,
        controller: Controller,
        name: &str,
        aside: &mut Option<Self>,
    ) -> Result<(), Error> {
        if self.count_children(controller).is_err() && aside.is_none() {
            let (made, _) = self.make_child(name);
            let moved = made.move_here(Pid::own());
            *aside = Some(made);
            moved?;
        }
        self.count_children(controller)
    }

    /// Whether the groups beneath this one are counted by what version 2 was told.
    fn counts_children(&self, controller: Controller) -> bool {
        let Some(Place { version: Version::Two, folder }) = self.place(controller) else {
            return false;
        };
        let counted = read(folder, "cgroup.subtree_control").unwrap_or_default();
        counted.split_whitespace().any(|name| name == controller.name())
    }

    /// Of these controllers those that count beneath this group now.
    pub fn counted(&self) -> Vec<Controller> {
        CONTROLLERS.into_iter().filter(|&one| self.counts_children(one)).collect()
    }

    /// The calling process comes back from `aside`, and beneath this group only `counted` goes on.
    pub fn come_back(&self, aside: Option<Self>, counted: &[Controller]) {
        for controller in CONTROLLERS.into_iter().filter(|one| !counted.contains(one)) {
            self.count_children_no_more(controller);
        }
        if let Some(aside) = aside {
            let _ = self.move_here(Pid::own());
            aside.remove();
        }
    }

    /// The opposite: afterwards processes may be in this group itself again.
    pub fn count_children_no_more(&self, controller: Controller) {
        if let Some(Place { version: Version::Two, folder }) = self.place(controller) {
            let _ = write(folder, "cgroup.subtree_control", &format!("-{}", controller.name()));
        }
    }

    /// Moves a process of the tree of version 2 here.
    pub fn move_here(&self, process: Pid) -> Result<(), Error> {
        match &self.unified {
            Some(folder) => write(folder, "cgroup.procs", &process.0.to_string()),
            None => Ok(()),
        }
    }

    /// Bytes of memory and swap together.
    pub fn limit_memory(&self, bytes: u64) -> Result<(), Error> {
        let Some(Place { version, folder }) = &self.memory else { return Ok(()) };
        let bytes = bytes.to_string();
        match version {
            Version::One => {
                write(folder, "memory.limit_in_bytes", &bytes)?;
                // Some hosts do not count swap: then at least none of it is wanted.
                if write(folder, "memory.memsw.limit_in_bytes", &bytes).is_err() {
                    write(folder, "memory.swappiness", "0")?;
                }
            }
            Version::Two => {
                write(folder, "memory.max", &bytes)?;
                if folder.join("memory.swap.max").exists() {
                    write(folder, "memory.swap.max", "0")?;
                }
                // One of its processes killed for memory is all of them killed.
                write(folder, "memory.oom.group", "1")?;
            }
        }
        Ok(())
    }

    /// Processes and threads together.
    pub fn limit_pids(&self, count: u64) -> Result<(), Error> {
        let Some(Place { folder, .. }) = &self.pids else { return Ok(()) };
        write(folder, "pids.max", &count.to_string())
    }

    /// Hundredths of one processor's time.
    pub fn limit_cpu(&self, percent: u64) -> Result<(), Error> {
        let Some(Place { version, folder }) = &self.cpu else { return Ok(()) };
        let quota = CPU_PERIOD_MICROSECONDS * percent / 100;
        match version {
            Version::One => {
                write(folder, "cpu.cfs_period_us", &CPU_PERIOD_MICROSECONDS.to_string())?;
                write(folder, "cpu.cfs_quota_us", &quota.to_string())
            }
            Version::Two => write(folder, "cpu.max", &format!("{quota} {CPU_PERIOD_MICROSECONDS}")),
        }
    }

    /// Files of version 1 to which a process of one thread writes `0` to enter the group: at once,
    /// so between `clone` and `exec` is a good moment.
    pub fn entrances(&self) -> Result<Vec<OwnedFd>, Error> {
        let old = self.folders().into_iter().filter(|(_, file)| *file == "tasks");
        old.map(|(folder, file)| open_entrance(folder, file)).collect()
    }

    /// The same of version 2, where it takes 10 ms if nobody moved lately: for the program itself to
    /// do, before anything else, while nobody waits for its start.
    pub fn late_entrance(&self) -> Result<Option<OwnedFd>, Error> {
        let new = self.unified.as_ref();
        new.map(|folder| open_entrance(folder, "cgroup.procs")).transpose()
    }

    /// What was killed here for want of memory; `None` where memory is not counted.
    pub fn out_of_memory(&self) -> Option<OutOfMemory> {
        let Place { version, folder } = self.memory.as_ref()?;
        let (events, peak) = match version {
            Version::One => ("memory.oom_control", "memory.max_usage_in_bytes"),
            Version::Two => ("memory.events", "memory.peak"),
        };
        let text = fs::read_to_string(folder.join(events)).ok()?;
        let kills = counter(&text, "oom_kill")?;
        let peak = number(folder, peak).or_else(|| match version {
            // Before Linux 5.19: but it says whether it was at its own limit.
            Version::Two if counter(&text, "oom")? > 0 => number(folder, "memory.max"),
            Version::One | Version::Two => None,
        });
        Some(OutOfMemory { kills, peak: peak.unwrap_or(0) })
    }

    /// The tightest limit of memory that holds for this group's processes from above it, if any
    /// group above has one.
    pub fn memory_limit_above(&self) -> Option<u64> {
        let Place { version, folder } = self.memory.as_ref()?;
        let file = match version {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        };
        // Version 1 says "none" with a number of nearly 2^63.
        let limits = folder
            .ancestors()
            .skip(1)
            .map_while(|above| above.join("cgroup.procs").exists().then(|| number(above, file)));
        limits.flatten().filter(|&limit| limit < 1 << 62).min()
    }

    /// A descriptor that is readable once a process of this group was short of memory. `None`:
    /// the kernel kills the whole group then (version 2), or nothing is counted.
    pub fn shortage(&self) -> Result<Option<OwnedFd>, Error> {
        let Some(Place { version: Version::One, folder }) = &self.memory else { return Ok(None) };
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(Error::kernel("make an eventfd"))?;
        let path = folder.join("memory.oom_control");
        let control = File::open(&path).map_err(Error::file("open", path))?;
        let words = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
        write(folder, "cgroup.event_control", &words)?;
        Ok(Some(event.into()))
    }

    /// Kills everything in the group, and lets nothing new begin.
    pub fn kill(&self) -> Result<(), Error> {
        // No process, no fork.
        let _ = self.limit_pids(0);
        if let Some(folder) = self.unified.as_ref().filter(|_| self.kills_at_once()) {
            return write(folder, "cgroup.kill", "1");
        }
        let Some((folder, _)) = self.folders().into_iter().next() else { return Ok(()) };
        for _ in 0..PASSES_MAX {
            let listed = read(folder, "cgroup.procs")?;
            let found: Vec<Pid> = pids(&listed).collect();
            if found.is_empty() {
                return Ok(());
            }
            for some in found.chunks(HELD_MAX) {
                kill_listed(folder, some)?;
            }
            std::thread::yield_now();
        }
        // What was killed in the last pass may only be about to end.
        Ok(())
    }

    /// Removes the group, once it is empty. Says whether nothing is left of it.
    pub fn remove(&self) -> bool {
        self.folders().into_iter().all(|(folder, _)| match fs::remove_dir(folder) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        })
    }

    /// The names of the groups beneath this one.
    pub fn children(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (folder, _) in self.folders() {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let folders = entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
            names.extend(folders.filter_map(|entry| entry.file_name().into_string().ok()));
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Kills what is left in a group of this name beneath this one and in those beneath it, and
    /// removes them. Says whether nothing is left.
    pub fn sweep(&self, name: &str) -> bool {
        let group = self.child(name);
        let children: Vec<Self> = group.children().iter().map(|child| group.child(child)).collect();
        for child in &children {
            let _ = child.kill();
        }
        let _ = group.kill();
        group.wait_until_empty();
        children.iter().for_each(|child| _ = child.remove());
        group.remove()
    }

    /// Where the kernel kills a group with one call it returns before the processes are gone. Waits
    /// for that, for a moment.
    fn wait_until_empty(&self) {
        let Some(folder) = self.unified.as_ref().filter(|_| self.kills_at_once()) else { return };
        let Ok(events) = File::open(folder.join("cgroup.events")) else { return };
        let start = clock::monotonic_nanoseconds();
        loop {
            let populated = read(folder, "cgroup.events").ok();
            if populated.and_then(|text| counter(&text, "populated")) != Some(1) {
                return;
            }
            let waited = (clock::monotonic_nanoseconds() - start) / 1_000_000;
            let left = DEATH_WAIT_MILLISECONDS.saturating_sub(waited);
            let mut changed = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            if left == 0 || poll(&mut changed, PollTimeout::from(left as u16)).is_err() {
                return;
            }
        }
    }
}

/// The processes of a `cgroup.procs`. Those of other pid namespaces, which we could not name, are
/// listed as 0.
fn pids(listed: &str) -> impl Iterator<Item = Pid> {
    listed.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 0).map(Pid)
}

/// Kills those of the processes that are in the group still, once they are held: a number that was
/// listed may be a stranger's by now, but one that is held cannot become another's unnoticed.
fn kill_listed(folder: &Path, found: &[Pid]) -> Result<(), Error> {
    let mut held = Vec::with_capacity(found.len());
    for &pid in found {
        match pidfd::open(pid) {
            Ok(opened) => held.extend(opened.map(|opened| (pid, opened))),
            // Out of descriptors: those that are held are killed, the others by the next pass.
            Err(_) if !held.is_empty() => break,
            Err(error) => return Err(Error::process("kill", pid)(error)),
        }
    }
    let listed: HashSet<Pid> = pids(&read(folder, "cgroup.procs")?).collect();
    for (pid, held) in held.iter().filter(|(pid, _)| listed.contains(pid)) {
        pidfd::signal(held, libc::SIGKILL).map_err(Error::process("kill", *pid))?;
    }
    Ok(())
}

/// The folder of the group `path` in a tree that is mounted somewhere.
fn folder_of(mounts: &str, kind: &str, controller: Option<&str>, path: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (found, options) = (right.next()?, right.nth(1)?);
        let fits = controller.is_none_or(|name| options.split(',').any(|option| option == name));
        if found != kind || !fits {
            return None;
        }
        let mut left = left.split(' ').skip(3);
        let (root, at) = (left.next()?, left.next()?);
        // In a container only a part of the tree may be mounted, and we may stand outside of it.
        let beneath = Path::new(path).strip_prefix(root).ok()?;
        let is_plain = beneath.components().all(|c| matches!(c, std::path::Component::Normal(_)));
        // Blanks of a path are written in octal there; nobody mounts groups at such a place.
        (is_plain && !at.contains('\\')).then(|| Path::new(at).join(beneath))
    })
}

fn open_entrance(folder: &Path, file: &str) -> Result<OwnedFd, Error> {
    let path = folder.join(file);
    let opened = OpenOptions::new().write(true).open(&path);
    opened.map(OwnedFd::from).map_err(Error::file("open", path))
}

/// Moves the calling process, which has one thread, into the group that this is the entrance of.
pub fn enter(entrance: OwnedFd) -> Result<(), Error> {
    let entered = io::Write::write_all(&mut File::from(entrance), b"0");
    entered.map_err(Error::kernel("enter the control group"))
}

fn write(folder: &Path, file: &str, value: &str) -> Result<(), Error> {
    let path = folder.join(file);
    let written = OpenOptions::new().write(true).open(&path);
    let written = written.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(Error::file("write to", path))
}

fn read(folder: &Path, file: &str) -> Result<String, Error> {
    let path = folder.join(file);
    fs::read_to_string(&path).map_err(Error::file("read", path))
}

fn number(folder: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

/// The number after `key` in lines of `key number`.
fn counter(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests;
