//! What of a process can travel and what cannot, found before anything is stopped.
//!
//! ```text
//!   Facts::gather (reads /proc) ──▶ judge (pure) ──▶ Report: findings with reason and remedy, and what travels
//! ```
//!
//! A finding is named for what stands in the way, not for what failed. What is seen is as of now: a process
//! that runs can come by anything after, so capturing looks again.

use std::collections::BTreeSet;
use std::time::Duration;

use sys::standing::{Standing, Thread};
use sys::{Pid, Untraceable, maps};
use wire::image::descriptor::{Descriptor, Opened};

use crate::capture::mappings::{leave_tracking, objections};
use crate::files::{self, Overrides};
use crate::{Description, Error, Objection};

/// What is known of a process without stopping it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub pid: Pid,
    /// Nothing more is known of who cannot be traced.
    pub known: Result<Known, Untraceable>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Of whoever asks: the copy will be this user's.
    pub asker: u32,
    pub standing: Standing,
    /// Threads that could not be interrupted, both times that they were looked at.
    pub stuck: Vec<Thread>,
    pub children: Vec<Pid>,
    pub objections: Vec<(u64, Objection)>,
    /// Bytes of addresses that are mapped, and of memory in use.
    pub mapped: u64,
    pub resident: u64,
    pub descriptors: Vec<Descriptor>,
}

/// Whether something stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The process cannot move.
    Blocks,
    /// It can, and something will be other than before.
    Note,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub weight: Weight,
    /// What it is about.
    pub object: String,
    pub reason: String,
    pub remedy: String,
}

/// Something that goes along, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Travelling {
    pub object: String,
    pub how: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub pid: Pid,
    pub findings: Vec<Finding>,
    pub travels: Vec<Travelling>,
}

impl Report {
    pub fn is_movable(&self) -> bool {
        self.findings.iter().all(|finding| finding.weight == Weight::Note)
    }
}

/// How often a thread is looked at that waits in the kernel, within a second; ever more seldom.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// Looks at a process and says what it finds.
pub fn preflight(pid: Pid, overrides: &Overrides) -> Result<Report, Error> {
    Ok(judge(&Facts::gather(pid, overrides)?))
}

impl Facts {
    pub fn gather(pid: Pid, overrides: &Overrides) -> Result<Self, Error> {
        if let Some(refusal) = sys::standing::refusal(pid)? {
            return Ok(Self { pid, known: Err(refusal) });
        }
        let standing = sys::standing::standing(pid)?;
        let mut mappings = maps::detailed(pid)?;
        leave_tracking(pid, &mut mappings)?;
        let descriptors = files::describe(pid, overrides)?;
        let children = sys::proc::children(pid)?;
        // Whoever waits for a disk is seldom found waiting again and again; who waits for a child is.
        let mut stuck = standing.threads.clone();
        for look in 0..LOOKS {
            let again = sys::standing::standing(pid)?.threads;
            stuck.retain(|before| before.state == 'D' && again.contains(before));
            if stuck.is_empty() {
                break;
            }
            std::thread::park_timeout(PAUSE * look);
        }
        Ok(Self {
            pid,
            known: Ok(Known {
                asker: sys::limits::own_user(),
                standing,
                stuck,
                children,
                objections: objections(&mappings).collect(),
                mapped: mappings.iter().map(|one| one.range.end - one.range.start).sum(),
                resident: sys::proc::memory(pid)?.map_or(0, |memory| memory.resident),
                descriptors,
            }),
        })
    }
}

/// What has come to stand in the way of a process since, which stands still and was described.
pub fn recheck(pid: Pid, description: &Description) -> Result<Report, Error> {
    let mut findings: Vec<Finding> = of_children(&sys::proc::children(pid)?).into_iter().collect();
    findings.extend(of_descriptors(&description.descriptors));
    Ok(Report { pid, findings, travels: Vec::new() })
}

/// What follows from the facts.
pub fn judge(facts: &Facts) -> Report {
    let pid = facts.pid;
    match &facts.known {
        Err(refusal) => {
            let findings = vec![blocks(format!("process {pid}"), refusal.to_string())];
            Report { pid, findings, travels: Vec::new() }
        }
        Ok(known) => {
            let mut findings = of_process(pid, known);
            findings.extend(of_threads(known));
            findings.extend(of_memory(known));
            findings.extend(of_descriptors(&known.descriptors));
            Report { pid, findings, travels: travelling(known) }
        }
    }
}

/// `words` are `reason; remedy`.
fn finding(weight: Weight, object: impl Into<String>, words: impl Into<String>) -> Finding {
    let words = words.into();
    let (reason, remedy) = words.split_once("; ").unwrap_or((&words, ""));
    let (reason, remedy) = (reason.to_owned(), remedy.to_owned());
    Finding { weight, object: object.into(), reason, remedy }
}

fn blocks(object: impl Into<String>, words: impl Into<String>) -> Finding {
    finding(Weight::Blocks, object, words)
}

fn note(object: impl Into<String>, words: impl Into<String>) -> Finding {
    finding(Weight::Note, object, words)
}

fn of_process(pid: Pid, known: &Known) -> Vec<Finding> {
    let Known { standing, asker, .. } = known;
    let mut all = Vec::new();
    let [real, effective, saved, _] = standing.users;
    let [real_group, effective_group, saved_group, _] = standing.groups;
    let same = real == effective && effective == saved;
    if !same || real_group != effective_group || effective_group != saved_group {
        let words = "it runs with other rights than those of who started it, as set-user-ID programs do, and \
                     its copy would not; start it as the user that it is to run as";
        all.push(blocks("users", words));
    } else if real != *asker {
        let words = format!(
            "it belongs to user {real}, and its copy would run as user {asker}; run this as user {real}"
        );
        all.push(blocks("users", words));
    }
    let executable = &standing.executable;
    let path = files::shown(&executable.path);
    if executable.mode & (libc::S_ISUID | libc::S_ISGID) != 0 {
        let words = "its file gives whoever starts it other rights (set-user-ID), which a copy must not get; \
                     start it from a copy of the file without that";
        all.push(blocks(format!("executable {path}"), words));
    }
    if executable.is_narrow {
        let words = "it is a program of 32 bits, and only those of 64 bits can be moved; use its 64-bit build";
        all.push(blocks(format!("executable {path}"), words));
    }
    if executable.is_deleted {
        let words = "its file was deleted, so its code travels as memory and /proc/PID/exe will name another \
                     file there; put the file back where others rely on that";
        all.push(note(format!("executable {path}"), words));
    }
    all.extend(of_children(&known.children));
    if standing.group_others > 0 {
        let words = format!(
            "it is not alone in its process group {}, and the others stay: a signal to the group no longer \
             reaches them all; start it in a group of its own (setsid) where that matters",
            standing.group
        );
        all.push(note("process group", words));
    }
    if !standing.foreign.is_empty() || standing.root != b"/" {
        let words = format!(
            "it lives in a container ({}), where paths and numbers mean something else; run farcall inside of it",
            if standing.foreign.is_empty() {
                format!("its root folder is {}", files::shown(&standing.root))
            } else {
                format!("its own namespaces: {}", standing.foreign.join(", "))
            }
        );
        all.push(blocks(format!("process {pid}"), words));
    }
    if standing.folder.ends_with(b" (deleted)") {
        let words = "its working folder was removed, and nobody can enter it again; let the program change \
                     to one that is there";
        all.push(blocks("working folder", words));
    }
    all
}

fn of_children(children: &[Pid]) -> Option<Finding> {
    if children.is_empty() {
        return None;
    }
    let pids: Vec<String> = children.iter().take(5).map(Pid::to_string).collect();
    let words = format!(
        "it has {} of its own ({}{}), and process trees do not travel yet; move the child that \
         computes, or wait until they have ended",
        files::counted(children.len(), "child", "children"),
        pids.join(", "),
        if children.len() > 5 { ", ..." } else { "" }
    );
    Some(blocks("children", words))
}

fn of_threads(known: &Known) -> Vec<Finding> {
    let mut all = Vec::new();
    let threads = &known.standing.threads;
    let named = |threads: Vec<&Thread>| match threads[..] {
        [one] => format!("thread {}", one.tid),
        _ => format!("{} threads", threads.len()),
    };
    let filtered: Vec<_> = threads.iter().filter(|thread| thread.seccomp != 0).collect();
    if !filtered.is_empty() {
        let words = "seccomp filters its system calls, so it cannot be made to describe itself; start the \
                     program without a filter";
        all.push(blocks(named(filtered), words));
    }
    let shadowed: Vec<_> = threads.iter().filter(|thread| thread.has_shadow_stack).collect();
    if !shadowed.is_empty() {
        all.push(blocks(named(shadowed), Objection::ShadowStack.to_string()));
    }
    for thread in &known.stuck {
        let forks = [libc::SYS_vfork, libc::SYS_clone, libc::SYS_clone3];
        let words = if thread.call.is_some_and(|call| forks.contains(&call.cast_signed())) {
            "it waits in vfork until its child starts a program or ends; try again then"
        } else {
            "it waits in the kernel for what cannot be interrupted, as a dead disk or network file system; \
             try again later"
        };
        all.push(blocks(format!("thread {}", thread.tid), words));
    }
    all
}

fn of_memory(known: &Known) -> Vec<Finding> {
    // The same objection holds for many mappings of one file: once is enough.
    let mut told = BTreeSet::new();
    let words = known.objections.iter().map(|(at, why)| (*at, why.to_string()));
    let fresh = words.filter(|(_, why)| told.insert(why.clone())).collect::<Vec<_>>();
    fresh.into_iter().map(|(at, why)| blocks(format!("memory at {at:#x}"), why)).collect()
}

fn of_descriptors(descriptors: &[Descriptor]) -> Vec<Finding> {
    let mut all = Vec::new();
    for Descriptor { number, what, .. } in descriptors {
        match what {
            Opened::Unsupported { why, .. } => {
                let mut found = blocks(format!("descriptor {number}"), why.clone());
                let wish = format!("--fd {number}=drop");
                if !found.remedy.contains("--fd") {
                    found.remedy += &format!(", or leave it out with {wish}");
                }
                all.push(found);
            }
            Opened::File(_)
            | Opened::Folder { .. }
            | Opened::Device { .. }
            | Opened::Terminal { .. }
            | Opened::Stdio { .. } => {}
        }
    }
    all
}

fn travelling(known: &Known) -> Vec<Travelling> {
    let one = |object: String, how: String| Travelling { object, how };
    let memory = format!("{} KiB mapped, {} KiB in use", known.mapped >> 10, known.resident >> 10);
    let threads = files::counted(known.standing.threads.len(), "thread", "threads");
    let mut all = vec![
        one("memory".to_owned(), memory),
        one("threads".to_owned(), format!("{threads}, with registers and signals")),
    ];
    let told = known.descriptors.iter().filter_map(|descriptor| {
        let how = files::travels(&descriptor.what)?;
        Some(one(format!("descriptor {}", descriptor.number), how))
    });
    all.extend(told);
    all
}

#[cfg(test)]
mod tests;
