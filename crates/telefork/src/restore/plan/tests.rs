//! Images that somebody has forged are refused by name, each before there is a process.

use std::sync::OnceLock;

use wire::image::descriptor::Opened;
use wire::image::host::{Architecture, Host};
use wire::image::memory::{Backing, FileIdentity, Run};
use wire::image::process::{
    Attributes, Clocks, Credentials, Executable, PosixTimer, ResourceLimit, Session, SignalAction,
    SignalInfo, Timer,
};
use wire::image::text::Text;
use wire::image::thread::{AlternateStack, Registers, Rseq};

use super::*;
use crate::host;
use crate::restore::nouns::{Special, VdsoChoice};

const CODE: u64 = 0x40_0000;
const STACK: u64 = 0x7ffd_0000_0000;
const VDSO: u64 = 0x7ffe_0000_0000;

fn here() -> Destination {
    static HOST: OnceLock<Host> = OnceLock::new();
    Destination {
        host: HOST.get_or_init(|| host::here().unwrap()).clone(),
        specials: vec![
            Special { name: "[vvar]".into(), offset: 0, length: 4 * PAGE },
            Special { name: "[vdso]".into(), offset: 4 * PAGE, length: 2 * PAGE },
        ],
        lowest: 1 << 16,
        threads_max: 100,
        files: Vec::new(),
        vdso: VdsoChoice::Compared,
        value: 7,
        strangers: Strangers::Dead,
    }
}

fn mapping(start: u64, pages: u64, letters: &str, kind: MappingKind) -> Mapping {
    let has = |letter| letters.contains(letter);
    let permissions = Permissions { read: has('r'), write: has('w'), execute: has('x') };
    let (end, sharing) = (start + pages * PAGE, Sharing::Private);
    Mapping { start, end, permissions, sharing, kind, flags: Vec::new() }
}

fn anonymous() -> MappingKind {
    MappingKind::Anonymous { name: None }
}

fn special(name: &str) -> MappingKind {
    MappingKind::Special { name: name.into() }
}

/// What any process has.
fn thread() -> Thread {
    let mut general = [0_u64; 27];
    (general[15], general[16], general[17], general[18]) = (u64::MAX, CODE + 16, 0x33, 0x246);
    (general[19], general[20]) = (STACK + PAGE, 0x2b);
    let mut extended = vec![0; 832];
    extended[512] = 3;
    Thread {
        tid: 4242,
        name: "count".into(),
        registers: Registers {
            architecture: Architecture::X86_64,
            general: general.iter().flat_map(|word| word.to_le_bytes()).collect(),
            extended,
        },
        signal_mask: 0,
        pending: Vec::new(),
        alternate_stack: AlternateStack::default(),
        rseq: Some(Rseq { pointer: STACK + 64, size: 32, signature: 1 }),
        robust_list: None,
        clear_tid: STACK + 128,
        timer_slack: 50_000,
        nice: 0,
        caller: None,
    }
}

fn good() -> Description {
    let process = Process {
        pid: 4242,
        executable: Executable {
            path: "/bin/count".into(),
            identity: FileIdentity::default(),
            build_id: None,
            hash: None,
        },
        arguments: Vec::new(),
        directory: "/".into(),
        root: "/".into(),
        umask: 0o22,
        limits: Vec::new(),
        marks: MemoryMarks::default(),
        auxiliary: Vec::new(),
        attributes: Attributes::default(),
        interval_timers: [Timer::default(); 3],
        timers: Vec::new(),
        actions: Vec::new(),
        pending: Vec::new(),
        credentials: Credentials::default(),
        session: Session::default(),
        clocks: Clocks::default(),
        stopped: 0,
    };
    Description {
        host: here().host,
        process,
        threads: vec![thread()],
        mappings: vec![
            mapping(CODE, 4, "rx", anonymous()),
            mapping(CODE + 4 * PAGE, 4, "rw", anonymous()),
            mapping(STACK, 16, "rw", MappingKind::Stack),
            mapping(VDSO, 4, "r", special("[vvar]")),
            mapping(VDSO + 4 * PAGE, 2, "rx", special("[vdso]")),
        ],
        descriptors: Vec::new(),
    }
}

fn set(thread: &mut Thread, register: usize, value: u64) {
    thread.registers.general[register * 8..][..8].copy_from_slice(&value.to_le_bytes());
}

/// What is wrong with an image is said.
#[track_caller]
fn check(forge: impl FnOnce(&mut Description), says: &str) {
    let mut description = good();
    forge(&mut description);
    let refusal = plan(&description, &here()).expect_err("it was taken").to_string();
    assert!(refusal.contains(says), "{refusal}");
    assert!(refusal.contains("; ") || refusal.contains(": "), "no next step: {refusal}");
}

#[test]
fn what_any_process_has_is_planned() {
    let plan = plan(&good(), &here()).unwrap();
    assert_eq!(plan.maps.len(), 3);
    assert!(plan.maps[2].grows_down && !plan.maps[1].grows_down);
    assert_eq!(plan.registers[0].next, CODE + 16);
    let room = plan.room(&[]).unwrap();
    let need = sys::ptrace::REMOTE_LEN + plan.vdso.staging();
    assert!(good().mappings.iter().all(|it| it.end <= room || room + need <= it.start));
}

#[test]
fn memory_that_cannot_be_is_refused() {
    check(|it| it.mappings[1].start -= PAGE, "overlaps");
    check(|it| it.mappings.swap(0, 1), "overlaps");
    check(|it| it.mappings[0].start += 1, "whole pages");
    check(|it| it.mappings[2].end = 1 << 47, "no program");
    check(|it| it.mappings[2].end = u64::MAX - PAGE + 1, "no program");
    check(|it| it.mappings[0].start = 0, "lowest addresses");
    check(|it| it.mappings[1].flags.push(*b"um"), "userfaultfd");
    check(|it| it.mappings[1].flags.push(*b"io"), "device");
    check(|it| it.mappings[1].flags.push(*b"ht"), "hugetlbfs");
    check(|it| it.mappings[1].flags.push(*b"ss"), "shadow stack");
    check(|it| it.mappings[1].kind = MappingKind::Guard, "guard");
}

#[test]
fn memory_over_all_that_restoring_needs_is_refused() {
    let end = ADDRESSES_END - PAGE;
    check(
        |it| {
            it.mappings.truncate(1);
            it.mappings[0].start = 1 << 16;
            it.mappings[0].end = end;
            it.threads[0].rseq = None;
        },
        "no room",
    );
}

#[test]
fn the_kernels_own_memory_cannot_be_forged() {
    check(|it| it.mappings[4].permissions.write = true, "not as the kernel makes");
    check(|it| it.mappings[3].permissions.execute = true, "not as the kernel makes");
    check(|it| it.mappings[3].kind = special("[vdso]"), "not as the kernel makes");
    check(|it| it.mappings[1].kind = special("[mine]"), "no kernel known");
    check(|it| it.mappings[4].end = it.mappings[4].start + (1 << 30), "not as the kernel makes");
    check(
        |it| {
            it.host.vdso.hash = wire::name::Hash::of(b"another");
            it.host.vdso.symbols.iter_mut().for_each(|symbol| symbol.offset = u64::MAX - 3);
        },
        "kernel's own code",
    );
}

#[test]
fn threads_that_cannot_run_are_refused() {
    check(|it| set(&mut it.threads[0], 16, 0x1234_5000), "next instruction");
    check(|it| set(&mut it.threads[0], 16, STACK), "next instruction");
    check(|it| set(&mut it.threads[0], 16, u64::MAX - 7), "next instruction");
    check(|it| set(&mut it.threads[0], 17, 0x10), "code or stack segment");
    check(|it| set(&mut it.threads[0], 20, 0), "code or stack segment");
    check(|it| set(&mut it.threads[0], 23, 0x33), "segment register");
    check(|it| set(&mut it.threads[0], 21, 1 << 63), "segment's base");
    check(|it| set(&mut it.threads[0], 19, 1 << 47), "stack pointer");
    check(|it| set(&mut it.threads[0], 18, 0x346), "flags");
    check(|it| set(&mut it.threads[0], 18, 0x3246), "flags");
    check(|it| it.threads[0].registers.general.truncate(208), "set of registers");
    check(|it| it.threads[0].registers.extended.truncate(512), "vector registers");
    check(|it| it.threads[0].registers.extended[527] = 0x80, "packed");
    check(|it| it.threads[0].registers.extended[519] = 0x40, "does not keep");
    check(|it| it.threads[0].registers.extended[26] = 1, "mxcsr");
    check(|it| it.threads[0].rseq.as_mut().unwrap().pointer = CODE, "restartable");
    check(|it| it.threads[0].rseq.as_mut().unwrap().pointer += 8, "restartable");
    check(|it| it.threads[0].clear_tid = u64::MAX, "place of the number");
    check(|it| it.threads[0].alternate_stack.size = u64::MAX, "alternate stack");
    check(|it| it.threads.clear(), "0 threads");
    check(|it| it.threads.push(thread()), "another thread has the same");
    check(|it| it.threads = vec![thread(); 101], "101 threads");
}

#[test]
fn a_process_that_no_kernel_makes_is_refused() {
    let limit = |resource, soft| ResourceLimit { resource, soft, hard: 10 };
    check(|it| it.process.limits.push(limit(7, 11)), "limit");
    check(|it| it.process.limits.push(limit(99, 1)), "limit");
    let action = SignalAction { signal: 9, handler: 1, flags: 0, restorer: 0, mask: 0 };
    check(|it| it.process.actions.push(action), "signal's action");
    check(|it| it.process.marks.break_start = 1, "boundary");
    check(|it| it.process.marks.stack_start = 1 << 47, "boundary");
    check(|it| it.process.pending.push(SignalInfo(vec![1; 3])), "waiting signal");
    check(|it| it.threads[0].pending.push(SignalInfo(vec![0; 128])), "waiting signal");
    check(|it| it.process.root = "/srv".into(), "another root");
    let timer = PosixTimer {
        id: 0,
        clock: 1,
        timer: Timer::default(),
        overrun: 0,
        notify: SIGEV_THREAD_ID,
        signal: 34,
        value: 0,
        thread: 1,
    };
    check(|it| it.process.timers.push(timer), "timer");
    let what = Opened::Folder { path: "/".into() };
    let number = u32::MAX;
    let descriptor = Descriptor { number, close_on_exec: true, description: 0, flags: 0, what };
    check(|it| it.descriptors.push(descriptor), "descriptor 4294967295");
}

#[test]
fn files_that_are_not_here_are_named() {
    let backing = Backing {
        path: "/usr/lib/libgone.so".into(),
        offset: 0,
        identity: FileIdentity::default(),
        deleted: false,
        trust: Trust::Hash(wire::name::Hash::of(b"")),
    };
    check(|it| it.mappings[0].kind = MappingKind::File(backing), "/usr/lib/libgone.so");
}

#[test]
fn a_host_that_lacks_a_feature_names_it() {
    let mut here = here();
    for leaf in here.host.processor.leaves.iter_mut().filter(|leaf| leaf.leaf == 1) {
        leaf.ecx &= !(1 << 19);
    }
    let mut image = good();
    for leaf in image.host.processor.leaves.iter_mut().filter(|leaf| leaf.leaf == 1) {
        leaf.ecx |= 1 << 19;
    }
    let refusal = plan(&image, &here).unwrap_err();
    assert_eq!(refusal, Refusal::Feature { feature: "SSE4_1" });
    // More does no harm.
    std::mem::swap(&mut image.host, &mut here.host);
    assert!(plan(&image, &here).is_ok());
    check(|it| it.host.architecture = Architecture::Aarch64, "another kind of processor");
    check(|it| it.host.page_size = 16384, "16384 bytes there and 4096 here");
}

#[test]
fn pages_outside_of_memory_are_refused() {
    let plan = plan(&good(), &here()).unwrap();
    let run = |at: u64, count| Run { page: at / PAGE, count };
    let pieces = plan.places.pieces(run(CODE + 2 * PAGE, 4)).unwrap();
    let all = [
        (CODE + 2 * PAGE..CODE + 4 * PAGE, Place::Empty),
        (CODE + 4 * PAGE..CODE + 6 * PAGE, Place::Empty),
    ];
    assert_eq!(pieces, all);
    for run in [run(CODE - PAGE, 2), run(CODE, 9), run(0, 1), Run { page: u64::MAX, count: 2 }] {
        assert!(matches!(plan.places.pieces(run), Err(Refusal::Page { .. })), "{run:?}");
    }
    assert_eq!(plan.places.pieces(run(VDSO, 1)).unwrap()[0].1, Place::Nowhere);
}

#[test]
fn names_that_the_kernel_would_not_take_are_left_out() {
    let mut image = good();
    image.mappings[1].kind = MappingKind::Anonymous { name: Some(Text(b"a[b".to_vec())) };
    assert_eq!(plan(&image, &here()).unwrap().maps[1].name, None);
}
