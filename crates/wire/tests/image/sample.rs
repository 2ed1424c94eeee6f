//! Images to test with: a small one that says something of everything, and random ones.

use farcall_wire::image::descriptor::{
    Content, Descriptor, DescriptorKind, Direction, FileNo, FilePart, OpenFile, Opened,
};
use farcall_wire::image::host::{Architecture, BuildId, Host, Leaf, Processor, Symbol, Vdso};
use farcall_wire::image::memory::{
    Backing, FileIdentity, Mapping, MappingKind, Pages, Permissions, Place, Placed, Run, Sharing,
    Trust,
};
use farcall_wire::image::process::{
    Attributes, Auxiliary, Clocks, Credentials, Executable, MemoryMarks, PosixTimer, Process,
    ResourceLimit, Session, SignalAction, SignalInfo, Timer,
};
use farcall_wire::image::text::Text;
use farcall_wire::image::thread::{AlternateStack, Caller, Registers, RobustList, Rseq, Thread};
use farcall_wire::image::{ImageId, Section, Writer};
use farcall_wire::name::Hash;
use farcall_wire::terminal::Modes;

use crate::noise::Noise;

pub(crate) const PAGE: usize = 4096;

/// A section with its body.
pub(crate) type Part = (Section, Vec<u8>);

/// One of everything that can be said in few bytes, without pages that are carried.
pub(crate) fn brief() -> Vec<Part> {
    let plain = |section| (section, Vec::new());
    let part = FilePart { file: FileNo(0), offset: 2, length: 9 };
    vec![
        plain(Section::Host(Box::new(host()))),
        plain(Section::Process(Box::new(process()))),
        plain(Section::Thread(Box::new(thread(4242, true)))),
        plain(Section::Mappings(mappings())),
        plain(Section::Descriptors(descriptors())),
        plain(Section::Placed(Placed { runs: vec![run(0x400, 2)], place: Place::Zero })),
        plain(Section::Placed(Placed {
            runs: vec![run(0x402, 1)],
            place: Place::Known(vec![Hash([0x5a; 32])]),
        })),
        plain(Section::Placed(Placed { runs: vec![run(0x404, 9)], place: Place::Sender })),
        (Section::File(part), b"content".to_vec()),
    ]
}

/// The same, with a page.
pub(crate) fn small() -> Vec<Part> {
    let mut parts = brief();
    let bytes = Noise::new(7).bytes(PAGE);
    let names = vec![Hash::of(&bytes)];
    parts.push((Section::Pages(Pages { runs: vec![run(0x403, 1)], names }), bytes));
    parts
}

pub(crate) fn run(page: u64, count: u32) -> Run {
    Run { page, count }
}

pub(crate) fn write(id: u64, parts: &[Part]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), ImageId(id));
    for (section, body) in parts {
        // In two slices, as from two places of memory.
        let (one, other) = body.split_at(body.len() / 2);
        writer.put(section, &[one, other]).expect("a vector takes everything");
    }
    writer.finish().expect("a vector takes everything")
}

/// Any image of this seed: every kind of section, in any number that is small.
pub(crate) fn random(seed: u64) -> Vec<Part> {
    let noise = &mut Noise::new(seed);
    let plain = |section| (section, Vec::new());
    let mut parts = vec![plain(Section::Host(Box::new(host())))];
    if noise.below(3) == 0 {
        // No image of a test has this number.
        parts.push(plain(Section::Upon(ImageId(noise.below(1 << 30) as u64 | 1 << 40))));
    }
    parts.extend([plain(Section::Process(Box::new(Process {
        pid: noise.below(1 << 22) as i32,
        umask: noise.below(0o1000) as u32,
        arguments: (0..noise.below(5)).map(|_| text(noise)).collect(),
        ..process()
    })))]);
    for tid in 1..2 + noise.below(4) {
        let (general, extended) = (noise.bytes(216), noise.below(3000));
        let registers = Registers {
            architecture: Architecture::X86_64,
            general,
            extended: noise.bytes(extended),
        };
        let thread = Thread { registers, name: text(noise), ..thread(tid as i32, tid == 1) };
        parts.push(plain(Section::Thread(Box::new(thread))));
    }
    let mut at = 0;
    for _ in 0..noise.below(4) {
        let some = (0..noise.below(5)).map(|_| {
            let start = at + noise.below(9) as u64 * PAGE as u64;
            at = start + (1 + noise.below(99)) as u64 * PAGE as u64;
            let of = &mappings()[noise.below(mappings().len())];
            Mapping { start, end: at, ..of.clone() }
        });
        parts.push(plain(Section::Mappings(some.collect())));
    }
    let mut number = 0;
    for _ in 0..noise.below(4) {
        let some = (0..noise.below(5)).map(|_| {
            number += 1 + noise.below(3) as u32;
            Descriptor { number, ..descriptors()[noise.below(descriptors().len())].clone() }
        });
        parts.push(plain(Section::Descriptors(some.collect())));
    }
    for _ in 0..noise.below(8) {
        parts.push(match noise.below(3) {
            0 => {
                let bytes = noise.below(5000);
                let offset = noise.below(1 << 20) as u64;
                let length = offset + bytes as u64 + noise.below(10) as u64;
                let file = FileNo(noise.below(9) as u32);
                (Section::File(FilePart { file, offset, length }), noise.bytes(bytes))
            }
            1 => {
                let (runs, count) = runs(noise);
                let bytes = noise.bytes(count * PAGE);
                let mut names = Vec::new();
                if noise.below(2) == 0 {
                    names = bytes.chunks(PAGE).map(Hash::of).collect();
                }
                (Section::Pages(Pages { runs, names }), bytes)
            }
            _ => {
                let (runs, count) = runs(noise);
                let place = match noise.below(3) {
                    0 => Place::Zero,
                    1 => Place::Known((0..count).map(|n| Hash([n as u8; 32])).collect()),
                    _ => Place::Sender,
                };
                plain(Section::Placed(Placed { runs, place }))
            }
        });
    }
    parts
}

fn runs(noise: &mut Noise) -> (Vec<Run>, usize) {
    let (mut at, mut count) = (noise.below(1 << 30) as u64, 0);
    let runs = (0..1 + noise.below(3)).map(|_| {
        let page = at + noise.below(3) as u64;
        let pages = 1 + noise.below(3);
        at = page + pages as u64;
        count += pages;
        Run { page, count: pages as u32 }
    });
    (runs.collect(), count)
}

fn text(noise: &mut Noise) -> Text {
    let length = noise.below(20);
    Text(noise.bytes(length))
}

pub(crate) fn host() -> Host {
    Host {
        architecture: Architecture::X86_64,
        page_size: PAGE as u32,
        kernel: "6.18.0".into(),
        vdso: Vdso {
            hash: Hash([0x11; 32]),
            symbols: vec![Symbol { name: "__vdso_time".into(), offset: 0xa30 }],
        },
        processor: Processor {
            model: "a processor".into(),
            leaves: vec![Leaf { leaf: 7, subleaf: 0, eax: 1, ebx: 2, ecx: 3, edx: 4 }],
            states: 0xe7,
            capabilities: Vec::new(),
        },
        c_library: Some(BuildId(vec![0xab; 20])),
    }
}

pub(crate) fn process() -> Process {
    Process {
        pid: 4242,
        executable: Executable {
            path: "/usr/bin/count".into(),
            identity: IDENTITY,
            build_id: Some(BuildId(vec![0xcd; 20])),
            hash: None,
        },
        arguments: vec!["count".into(), Text(b"to\xff\x1b".to_vec())],
        directory: "/srv/ada".into(),
        root: "/".into(),
        umask: 0o22,
        limits: vec![ResourceLimit { resource: 7, soft: 1024, hard: u64::MAX }],
        marks: MemoryMarks { code_start: 0x40_0000, break_now: 0x60_0000, ..Default::default() },
        auxiliary: vec![Auxiliary { key: 6, value: 4096 }],
        attributes: Attributes { dumpable: 1, ..Default::default() },
        interval_timers: [Timer { interval: 0, left: 5_000 }, Timer::default(), Timer::default()],
        timers: vec![PosixTimer {
            id: 0,
            clock: 1,
            timer: Timer { interval: 1_000_000, left: 7 },
            overrun: 0,
            notify: 4,
            signal: 34,
            value: 0x77,
            thread: 4242,
        }],
        actions: vec![SignalAction {
            signal: 10,
            handler: 0x40_1000,
            flags: 0x1400_0004,
            restorer: 0x40_1010,
            mask: 0,
        }],
        pending: vec![SignalInfo(vec![12; 16])],
        credentials: Credentials {
            users: [1000; 4],
            groups: [1000; 4],
            further_groups: vec![27],
            capabilities: 0,
        },
        session: Session {
            session: 4000,
            group: 4242,
            leads_session: false,
            leads_group: true,
            terminal: Some(0x8801),
            foreground: true,
        },
        clocks: Clocks { real: 1_800_000_000_000_000_000, monotonic: 90, boot: 91 },
        stopped: 20,
    }
}

pub(crate) fn thread(tid: i32, called: bool) -> Thread {
    Thread {
        tid,
        name: "count".into(),
        registers: Registers {
            architecture: Architecture::X86_64,
            general: (0..24).collect(),
            extended: vec![0x3f; 8],
        },
        signal_mask: 1 << 9,
        pending: Vec::new(),
        alternate_stack: AlternateStack { pointer: 0, flags: 2, size: 0 },
        rseq: Some(Rseq { pointer: 0x7000, size: 32, signature: 0x5305_3053 }),
        robust_list: Some(RobustList { head: 0x7100, length: 24 }),
        clear_tid: 0x7200,
        timer_slack: 70_000,
        nice: 5,
        caller: called.then_some(Caller { register: 16 }),
    }
}

pub(crate) fn mappings() -> Vec<Mapping> {
    let permissions = |read, write, execute| Permissions { read, write, execute };
    let mapping = |start: u64, pages: u64, permissions, kind| Mapping {
        start: start * PAGE as u64,
        end: (start + pages) * PAGE as u64,
        permissions,
        sharing: Sharing::Private,
        kind,
        flags: vec![*b"hg"],
    };
    let file = Backing {
        path: "/usr/bin/count".into(),
        offset: 4096,
        identity: IDENTITY,
        deleted: false,
        trust: Trust::Build(BuildId(vec![0xcd; 20])),
    };
    vec![
        mapping(0x300, 4, permissions(true, false, true), MappingKind::File(file)),
        mapping(0x400, 16, permissions(true, true, false), MappingKind::Heap),
        mapping(0x500, 1, permissions(false, false, false), MappingKind::Guard),
        mapping(0x501, 16, permissions(true, true, false), MappingKind::Stack),
        Mapping {
            sharing: Sharing::Shared,
            ..mapping(
                0x600,
                1,
                permissions(true, true, false),
                MappingKind::Anonymous { name: Some("ring".into()) },
            )
        },
        mapping(
            0x700,
            2,
            permissions(true, false, true),
            MappingKind::Special { name: "[vdso]".into() },
        ),
    ]
}

pub(crate) fn descriptors() -> Vec<Descriptor> {
    let descriptor = |number, what| Descriptor {
        number,
        close_on_exec: number > 2,
        description: number,
        flags: 2,
        what,
    };
    let file = |content| {
        Opened::File(OpenFile {
            path: "/tmp/out".into(),
            offset: 9,
            identity: IDENTITY,
            deleted: false,
            mode: 0o644,
            content,
        })
    };
    vec![
        descriptor(0, Opened::Terminal { path: "/dev/pts/1".into(), modes: Some(modes()) }),
        descriptor(1, Opened::Stdio { direction: Direction::Write }),
        descriptor(2, Opened::Device { path: "/dev/null".into() }),
        descriptor(3, file(Content::Shipped(FileNo(0)))),
        descriptor(4, file(Content::Same(Hash([0x22; 32])))),
        descriptor(5, Opened::Folder { path: "/tmp".into() }),
        descriptor(
            6,
            Opened::Unsupported {
                kind: DescriptorKind::Ring,
                why: "io_uring cannot travel; close it first".into(),
            },
        ),
    ]
}

const IDENTITY: FileIdentity =
    FileIdentity { device: 2049, inode: 99, size: 9, modified: 1_700_000_000_000_000_000 };

fn modes() -> Modes {
    Modes { flags: [0x500, 5, 0xbf, 0x8a3b], discipline: 0, characters: [3; 19] }
}
