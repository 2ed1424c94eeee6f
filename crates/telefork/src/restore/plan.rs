//! Decides how an image becomes a process here, and whether it can: all that is refused is refused now,
//! before there is a process.
//!
//! Pure: what this host is and has is told by a `Destination`. Elsewhere: obeying (`execute`), comparing
//! hosts (`compare`), where pages may go (`pages`).

use std::collections::BTreeSet;
use std::ops::Range;

use wire::image::descriptor::Descriptor;
use wire::image::memory::{Mapping, MappingKind, Permissions, Sharing, Trust};
use wire::image::process::{MemoryMarks, Process, ResourceLimit};
use wire::image::thread::Thread;

use super::compare;
use super::nouns::{Destination, Map, PAGE, SIGEV_THREAD_ID, Source, Strangers};
use super::pages::{Place, Places};
use super::vdso::{self, Vdso};
use super::x86_64::{self, ADDRESSES_END, Checked};
use crate::{Description, Refusal};

/// How an image becomes a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub maps: Vec<Map>,
    pub vdso: Vdso,
    pub places: Places,
    /// Descriptors whose numbers are only kept, and whether they are closed by `exec`.
    pub dead: Vec<(u32, bool)>,
    /// In the order of the description's threads.
    pub registers: Vec<Checked>,
}

/// Flags of `smaps` that mean that a mapping cannot be made again, and why.
const UNMADE: [(&[u8; 2], &str); 6] = [
    (b"um", "a userfaultfd of the program watches it; have the program close that first"),
    (b"uw", "a userfaultfd of the program watches it; have the program close that first"),
    (b"io", "it is a device's; have the program close the device first"),
    (b"pf", "it is a device's; have the program close the device first"),
    (b"ss", "it is a shadow stack; start the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off"),
    (b"ht", "it is of huge pages (hugetlbfs); start the program with transparent ones"),
];

/// Flags of `smaps` and the advice that they come from.
const ADVICE: [(&[u8; 2], i32); 8] = [
    (b"rr", 1),
    (b"sr", 2),
    (b"dc", 10),
    (b"mg", 12),
    (b"hg", 14),
    (b"nh", 15),
    (b"dd", 16),
    (b"wf", 18),
];

/// Plans the restoring of a process.
pub fn plan(of: &Description, here: &Destination) -> Result<Plan, Refusal> {
    compare::compare(&of.host, &here.host)?;
    check_process(&of.process)?;
    let dead = descriptors(&of.descriptors, here)?;
    if of.threads.is_empty() || of.threads.len() > here.threads_max {
        return Err(Refusal::Threads { found: of.threads.len(), max: here.threads_max });
    }
    check_addresses(&of.mappings, here)?;
    let vdso = vdso::plan(of, here)?;

    let mut maps = Vec::with_capacity(of.mappings.len());
    let mut places = Places::default();
    for (index, mapping) in of.mappings.iter().enumerate() {
        if let MappingKind::Special { name } = &mapping.kind {
            let is_code = name.0 == b"[vdso]";
            places.add(mapping.start..mapping.end, vdso.place_of(is_code));
            continue;
        }
        let file = here.files.get(index).copied().flatten();
        let map = map(mapping, file)?;
        let place = match map.source {
            _ if map.droppable => Place::Nowhere,
            Source::Anonymous | Source::SharedAnonymous => Place::Empty,
            Source::File { sharing: Sharing::Private, .. } => Place::OverFile,
            Source::File { sharing: Sharing::Shared, .. } => Place::Forbidden,
        };
        places.add(mapping.start..mapping.end, place);
        maps.push(map);
    }
    maps.extend(vdso.maps());

    let mut registers = Vec::with_capacity(of.threads.len());
    let mut tids = BTreeSet::new();
    for thread in &of.threads {
        let checked = x86_64::check(thread, here.value)?;
        compare::states(checked.states, &of.host.processor, &here.host.processor)?;
        check_thread(thread, &checked, &of.mappings)?;
        if !tids.insert(thread.tid) {
            return Err(forged("the number", thread, "another thread has the same"));
        }
        registers.push(checked);
    }
    check_timers(&of.process, &tids)?;
    let plan = Plan { maps, vdso, places, dead, registers };
    // A process of some size is there already: the executable's, with its stack.
    plan.room(&[])?;
    Ok(plan)
}

impl Plan {
    /// The mapping that is made at an address.
    pub fn map_at(&self, address: u64) -> Option<&Map> {
        self.maps.iter().find(|map| map.range.contains(&address))
    }

    /// Where so many bytes can lie for as long as the process is made, beside all that it will have and
    /// what is `taken`: far from both, since stacks grow.
    pub fn room(&self, taken: &[Range<u64>]) -> Result<u64, Refusal> {
        let need = sys::ptrace::REMOTE_LEN + self.vdso.staging();
        let mut used: Vec<Range<u64>> = self.maps.iter().map(|map| map.range.clone()).collect();
        used.extend(self.vdso.moves().map(|(_, to)| to));
        used.extend(taken.iter().cloned());
        used.push(0..LOWEST_ROOM);
        used.push(ADDRESSES_END..u64::MAX);
        used.sort_by_key(|range| range.start);
        let (mut best, mut end) = (0..0, 0);
        for range in used {
            if range.start > end && range.start - end > best.end - best.start {
                best = end..range.start;
            }
            end = end.max(range.end);
        }
        if best.end - best.start < need + 2 * PAGE {
            return Err(Refusal::NoRoom { need });
        }
        Ok((best.start + (best.end - best.start - need) / 2) / PAGE * PAGE)
    }
}

/// Below, kernels let only some programs map.
const LOWEST_ROOM: u64 = 1 << 20;

/// The bound of what `setrlimit` and signals number.
const LIMITS: u32 = 16;
const SIGNALS: u32 = 64;

fn check_process(process: &Process) -> Result<(), Refusal> {
    let forged = |what, why| Err(Refusal::Forged { what, who: "the process".to_owned(), why });
    if process.root.0 != b"/" {
        return Err(Refusal::Root { root: process.root.clone() });
    }
    let is_none = |limit: &ResourceLimit| limit.resource >= LIMITS || limit.soft > limit.hard;
    if process.limits.len() > LIMITS as usize || process.limits.iter().any(is_none) {
        return forged("a limit", "there is none like that");
    }
    if process.actions.iter().any(|action| [0, 9, 19].contains(&action.signal)) {
        return forged("a signal's action", "there can be none for that signal");
    }
    if process.auxiliary.len() > AUXILIARY_MAX {
        return forged("the auxiliary vector", "it is longer than any kernel's");
    }
    check_marks(&process.marks)?;
    if process.attributes.parent_death_signal > SIGNALS || process.attributes.dumpable > 2 {
        return forged("an attribute", "there is no such value");
    }
    check_pending(&process.pending, "the process")
}

/// Entries of the kernel's own (AT_VECTOR_SIZE).
const AUXILIARY_MAX: usize = 32;

/// The kernel wants each of these pairs in order, and all of them among a program's addresses.
fn check_marks(marks: &MemoryMarks) -> Result<(), Refusal> {
    let pairs = [
        (marks.code_start, marks.code_end),
        (marks.data_start, marks.data_end),
        (marks.break_start, marks.break_now),
        (marks.arguments_start, marks.arguments_end),
        (marks.environment_start, marks.environment_end),
        (marks.stack_start, marks.stack_start),
    ];
    let is_bad = |(start, end): &(u64, u64)| start > end || *end >= ADDRESSES_END;
    if pairs.iter().any(is_bad) {
        let (what, who) = ("a boundary of memory", "the process".to_owned());
        return Err(Refusal::Forged {
            what,
            who,
            why: "it is no address, or ends before it begins",
        });
    }
    Ok(())
}

fn check_pending(pending: &[wire::image::process::SignalInfo], who: &str) -> Result<(), Refusal> {
    for info in pending {
        let why = match info.0.get(..4) {
            _ if info.0.len() != 128 => "the kernel's has 128 bytes",
            Some(&[number, 0, 0, 0]) if !(1..=SIGNALS as u8).contains(&number) => "there is none",
            Some(&[9 | 19, 0, 0, 0]) => "nothing can wait for that signal",
            Some(&[5, 0, 0, 0]) => {
                "it is a debugger's; end the debugger, then take the checkpoint again"
            }
            Some(&[_, 0, 0, 0]) => continue,
            _ => "there is none",
        };
        return Err(Refusal::Forged { what: "a waiting signal", who: who.to_owned(), why });
    }
    Ok(())
}

/// Those whose numbers are only kept. What is opened here is seen to when that is done (`files`).
fn descriptors(
    descriptors: &[Descriptor],
    here: &Destination,
) -> Result<Vec<(u32, bool)>, Refusal> {
    let above = || descriptors.iter().filter(|descriptor| descriptor.number > STANDARD_MAX);
    if let Some(descriptor) = descriptors.iter().find(|it| it.number >= NUMBER_MAX) {
        return Err(Refusal::Number { number: descriptor.number });
    }
    match here.strangers {
        Strangers::Opened => Ok(Vec::new()),
        Strangers::Dead => Ok(above().map(|it| (it.number, it.close_on_exec)).collect()),
    }
}

/// Input, output and errors.
const STANDARD_MAX: u32 = 2;

/// No process has a descriptor of this number, and a table of so many would be 32 MiB of the kernel's memory.
const NUMBER_MAX: u32 = 1 << 22;

/// In order, of whole pages, without overlap, among the addresses of programs.
fn check_addresses(mappings: &[Mapping], here: &Destination) -> Result<(), Refusal> {
    let mut before = 0;
    for mapping in mappings {
        let refuse = |why| Err(Refusal::Memory { at: mapping.start, why });
        if is_everywhere(mapping) {
            continue;
        }
        if mapping.start >= mapping.end || (mapping.start | mapping.end) % PAGE != 0 {
            return refuse("it is not of whole pages; take the checkpoint again");
        }
        if mapping.start < before {
            return refuse(
                "it overlaps with other memory of the process; take the checkpoint again",
            );
        }
        if mapping.end > ADDRESSES_END {
            return refuse("no program can have these addresses; take the checkpoint again");
        }
        if mapping.start < here.lowest {
            return refuse(
                "this host keeps the lowest addresses from programs; set vm.mmap_min_addr to what it is there",
            );
        }
        before = mapping.end;
    }
    Ok(())
}

/// The kernel's at a place that is the same in every process, or none of the program's business.
fn is_everywhere(mapping: &Mapping) -> bool {
    let MappingKind::Special { name } = &mapping.kind else { return false };
    name.0 == b"[vsyscall]" || name.0 == b"[uprobes]"
}

/// How one mapping is made.
fn map(mapping: &Mapping, file: Option<usize>) -> Result<Map, Refusal> {
    let has = |flag: &[u8; 2]| mapping.flags.contains(flag);
    let refuse = |why| Err(Refusal::Memory { at: mapping.start, why });
    if let Some((_, why)) = UNMADE.iter().find(|(flag, _)| has(flag)) {
        return refuse(why);
    }
    let (source, name) = match &mapping.kind {
        MappingKind::Anonymous { name } => (anonymous(mapping.sharing), name.clone()),
        MappingKind::Heap | MappingKind::Stack => (anonymous(mapping.sharing), None),
        MappingKind::Guard if mapping.permissions == Permissions::default() => {
            (anonymous(mapping.sharing), None)
        }
        MappingKind::Guard => {
            return refuse("it is a guard that can be used; take the checkpoint again");
        }
        MappingKind::Special { .. } => return refuse("it is the kernel's"),
        MappingKind::File(backing) => {
            let is_memory = backing.path.0 == b"/dev/zero" && backing.deleted;
            match (file, mapping.sharing) {
                (Some(file), sharing) => {
                    (Source::File { file, offset: backing.offset, sharing }, None)
                }
                (None, Sharing::Shared) if is_memory => (Source::SharedAnonymous, None),
                // All of its present pages are in the image.
                (None, Sharing::Private) if backing.deleted || backing.trust == Trust::No => {
                    (Source::Anonymous, None)
                }
                // So are those of one that is shared and only read; nobody writes it here.
                (None, Sharing::Shared)
                    if backing.trust == Trust::No && !mapping.permissions.write =>
                {
                    (Source::SharedAnonymous, None)
                }
                (None, Sharing::Shared) if mapping.permissions.write => {
                    return refuse(
                        "it writes to a file that others see; have the program close it first",
                    );
                }
                (None, _) => {
                    let why = "no file with the same content is there";
                    return Err(Refusal::Backing { path: backing.path.clone(), why });
                }
            }
        }
    };
    let name = name.filter(|name| name.0.len() < NAME_MAX && is_printable(&name.0));
    Ok(Map {
        range: mapping.start..mapping.end,
        permissions: mapping.permissions,
        source,
        grows_down: matches!(mapping.kind, MappingKind::Stack) || has(b"gd"),
        droppable: has(b"dp"),
        no_reserve: has(b"nr"),
        locked: has(b"lo"),
        sealed: has(b"sl"),
        is_kept_open: !mapping.permissions.write
            && (source == Source::SharedAnonymous
                // What may not even be read is reserved: to have all of it writable could be too much.
                || mapping.sharing == Sharing::Private && mapping.permissions.read),
        advice: ADVICE.iter().filter(|(flag, _)| has(flag)).map(|(_, advice)| *advice).collect(),
        name,
    })
}

/// What the kernel takes as a name of memory, its end included (ANON_VMA_NAME_MAX_LEN).
const NAME_MAX: usize = 80;

fn is_printable(name: &[u8]) -> bool {
    name.iter().all(|byte| (0x20..0x7f).contains(byte) && !b"\\`$[]".contains(byte))
}

fn anonymous(sharing: Sharing) -> Source {
    match sharing {
        Sharing::Private => Source::Anonymous,
        Sharing::Shared => Source::SharedAnonymous,
    }
}

fn forged(what: &'static str, thread: &Thread, why: &'static str) -> Refusal {
    Refusal::Forged { what, who: format!("thread {}", thread.tid), why }
}

/// Bytes of a thread's name.
const THREAD_NAME_MAX: usize = 15;

/// Where a thread goes on, and what the kernel is told of it, lies where it can.
fn check_thread(thread: &Thread, checked: &Checked, mappings: &[Mapping]) -> Result<(), Refusal> {
    if thread.name.0.len() > THREAD_NAME_MAX {
        return Err(forged("the name", thread, "it is longer than the kernel's"));
    }
    let within = |at: u64, len: u64, wanted: fn(&Permissions) -> bool| {
        let end = at.checked_add(len);
        // They are in order, and none overlaps.
        let index = mappings.partition_point(|mapping| mapping.end <= at);
        mappings.get(index).is_some_and(|mapping| {
            mapping.start <= at
                && end.is_some_and(|end| end <= mapping.end)
                && !is_everywhere(mapping)
                && wanted(&mapping.permissions)
        })
    };
    if !within(checked.next, 1, |permissions| permissions.execute) {
        return Err(forged("the next instruction", thread, "there is no code"));
    }
    if let Some(rseq) = thread.rseq
        && (rseq.size < 32
            || rseq.pointer % 32 != 0
            || !within(rseq.pointer, u64::from(rseq.size), |permissions| permissions.write))
    {
        return Err(forged("the restartable sequence", thread, "it lies in no memory of its own"));
    }
    if thread.robust_list.is_some_and(|list| list.head >= ADDRESSES_END || list.length != 24) {
        return Err(forged("the robust list", thread, "it is no program's"));
    }
    if thread.clear_tid >= ADDRESSES_END {
        return Err(forged("the place of the number", thread, "it is no program's address"));
    }
    let stack = thread.alternate_stack;
    if stack.pointer.checked_add(stack.size).is_none_or(|end| end >= ADDRESSES_END) {
        return Err(forged("the alternate stack", thread, "it is no program's address"));
    }
    check_pending(&thread.pending, &format!("thread {}", thread.tid))
}

fn check_timers(process: &Process, tids: &BTreeSet<i32>) -> Result<(), Refusal> {
    let mut ids = BTreeSet::new();
    for timer in &process.timers {
        let why = match timer.notify {
            _ if timer.id < 0 || !ids.insert(timer.id) => "its number is none, or another's",
            SIGEV_THREAD_ID if !tids.contains(&timer.thread) => {
                "it tells a thread that is not there"
            }
            SIGEV_NONE | SIGEV_SIGNAL | SIGEV_THREAD_ID if timer.signal <= SIGNALS => continue,
            _ => "it tells in a way that there is not",
        };
        return Err(Refusal::Forged { what: "a timer", who: "the process".to_owned(), why });
    }
    Ok(())
}

const SIGEV_SIGNAL: i32 = 0;
const SIGEV_NONE: i32 = 1;

#[cfg(test)]
mod tests;
