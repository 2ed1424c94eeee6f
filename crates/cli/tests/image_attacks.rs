//! Attacks by images of processes: words that are forged behind sums that are right, and files that are damaged.
//!
//! | case | what | refused by name before there is a process | beside this file |
//! |---|---|---|---|
//! | 19 | overlapping maps, 2^47 sizes, a map over all that restoring needs | yes | `wire/tests/image/hostile.rs`, `telefork/src/restore/plan/tests.rs` |
//! | 19 | the next instruction in nowhere, segment registers, flags | yes | the same |
//! | 19 | memory that is written and run | no: a program may have that; it is its own, in the jail of its pad | `specimens/jit.c` |
//! | 19 | pages by a hash, pages that the sender has, parts of others' images | yes | `wire/tests/image/hostile.rs`, `telefork/tests/base.rs` |
//! | 19 | another user's image | it runs as whoever its pad runs as | `visits.rs`: nobody returns to another's visit |
//! | 21 | cut at each byte, each byte altered | yes | `wire/tests/image.rs`, of a small image; `checkpoint.rs` |
//! | 21 | lengths without end, other versions | yes | `wire/tests/image/hostile.rs` |
//! | 21 | two who write one file | each image is whole | |

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::error::Error;
use std::fs;
use std::io::{Read, Write, pipe};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::process::{children, descriptors, kill};
use support::target::Target;
use support::{Machine, PATIENCE, Ran, until};
use sys::process::{Spawn, Stderr};
use telefork::Description;
use transport::Role;
use wire::Message;
use wire::hello::Purpose;
use wire::image::memory::{Mapping, MappingKind, Permissions, Place, Placed, Run, Sharing};
use wire::image::{ImageId, Reader, Section, Writer};
use wire::name::Hash;
use wire::visit::{Begin, Entry};

/// Registers by their place in a thread's.
const RIP: usize = 16;
const CS: usize = 17;
const FLAGS: usize = 18;
const SS: usize = 20;
const FS_BASE: usize = 21;
const GS_BASE: usize = 22;
const DS: usize = 23;

/// A shell that has read one line, and says as whom it runs when it has read another.
fn captured() -> Vec<u8> {
    let ((input, mut typed), (mut output, said)) = (pipe().unwrap(), pipe().unwrap());
    let mut shell = Spawn::new("/bin/sh");
    let script = "read a; echo got $a; read b
        while read key value rest; do case $key in Uid:) echo $b $value; exit 7;; esac; done < /proc/self/status";
    shell.args = vec!["-c".into(), script.into()];
    shell.stderr = Stderr::Null;
    shell.descriptors = vec![(input.into(), 0), (said.into(), 1)];
    let mut shell = shell.start().unwrap();
    typed.write_all(b"one\n").unwrap();
    output.read_exact(&mut [0; 8]).unwrap();
    let mut frozen = telefork::capture::Frozen::freeze(shell.pid(), PATIENCE).unwrap();
    let description = frozen.describe().unwrap();
    let mut writer = Writer::new(Vec::new(), ImageId(7));
    description.put(&mut writer).unwrap();
    frozen.send(&description, &mut writer).unwrap();
    drop(frozen);
    shell.kill().unwrap();
    shell.wait().unwrap();
    writer.finish().unwrap()
}

/// The same image with other words, and sums that fit them. What nobody would read our writer does not write: its
/// words then.
fn forged(
    image: &[u8],
    forge: impl FnOnce(&mut Description),
    also: Option<Section>,
) -> Result<Vec<u8>, telefork::Error> {
    let mut reader = Reader::new(image).unwrap().unwrap();
    let (mut description, mut next) = Description::take(&mut reader).unwrap();
    forge(&mut description);
    let mut writer = Writer::new(Vec::new(), ImageId(9));
    description.put(&mut writer)?;
    if let Some(section) = also {
        writer.put(&section, &[]).unwrap();
    }
    while let Some(section) = next {
        let mut body = vec![0; reader.left() as usize];
        reader.read(&mut body).unwrap();
        writer.put(&section, &[&body]).unwrap();
        next = reader.next_section().unwrap();
    }
    Ok(writer.finish().unwrap())
}

fn set(description: &mut Description, register: usize, value: u64) {
    let general = &mut description.threads[0].registers.general;
    general[register * 8..][..8].copy_from_slice(&value.to_le_bytes());
}

/// The last mapping that is a process's own.
fn last(description: &mut Description) -> &mut Mapping {
    let is_everywhere = |of: &Mapping| of.start >= 1 << 47;
    description.mappings.retain(|of| !is_everywhere(of));
    description.mappings.last_mut().unwrap()
}

fn all(start: u64, end: u64) -> Vec<Mapping> {
    let permissions = Permissions { read: true, write: true, execute: true };
    let (sharing, kind) = (Sharing::Private, MappingKind::Anonymous { name: None });
    vec![Mapping { start, end, permissions, sharing, kind, flags: Vec::new() }]
}

/// What the node says of an image that it is sent.
fn said(target: &Target, image: &[u8]) -> Result<(), String> {
    let mut raw = target.peer(Role::Client, "eve");
    let (from, command) = ("here".to_owned(), "forged".to_owned());
    let begin = Begin { from, pid: 0, command, memory: 0, terminal: false };
    raw.greet(Purpose::Visit { entry: Entry::Begin(begin) });
    raw.put(image);
    raw.find(|message| match message {
        Message::Refused(refused) => Some(Err(refused.reason.clone())),
        Message::Built(_) => Some(Ok(())),
        _ => None,
    })
}

type Forge = Box<dyn FnOnce(&mut Description)>;

#[test]
fn attack_case_19_forged_images_are_refused_by_name_and_harm_no_node() {
    const PAGE: u64 = 4096;
    let target = Target::start();
    let image = captured();
    let before = (children(target.pid()), descriptors(target.pid()));
    let register = |register, value| -> Forge { Box::new(move |it| set(it, register, value)) };
    let cases: [(&str, Forge, &str); 15] = [
        (
            "maps that overlap",
            Box::new(|it| it.mappings[1].start = it.mappings[0].end - PAGE),
            "overlap",
        ),
        ("maps out of order", Box::new(|it| it.mappings.swap(0, 1)), "overlap"),
        ("half a page", Box::new(|it| it.mappings[0].start += 1), "page"),
        ("2^47", Box::new(|it| last(it).end = 1 << 47), "addresses"),
        ("2^64", Box::new(|it| last(it).end = !(PAGE - 1)), "addresses"),
        ("address 0", Box::new(|it| it.mappings[0].start = 0), "lowest"),
        ("all there is", Box::new(|it| it.mappings = all(1 << 16, (1 << 47) - PAGE)), "room"),
        ("the next instruction", register(RIP, 0x1000), "next instruction"),
        ("the kernel's next instruction", register(RIP, !0xffff), "next instruction"),
        ("the kernel's code segment", register(CS, 0x10), "segment"),
        ("the kernel's stack segment", register(SS, 0x18), "segment"),
        ("a data segment", register(DS, 0x33), "segment"),
        ("a segment's base", register(FS_BASE, 0xffff_8000_0000_0000), "base"),
        ("the other one's", register(GS_BASE, 1 << 47), "base"),
        ("access to ports", register(FLAGS, 0x3202), "flags"),
    ];
    for (what, forge, says) in cases {
        let refusal = match forged(&image, forge, None) {
            Ok(image) => said(&target, &image).expect_err(what),
            Err(error) => format!("{error}: {:?}", error.source().map(ToString::to_string)),
        };
        assert!(refusal.contains(says), "{what}: {refusal}");
    }
    // Pages that others have sent, or that nobody has.
    let mut reader = Reader::new(&image[..]).unwrap().unwrap();
    let (description, _) = Description::take(&mut reader).unwrap();
    let writable = description.mappings.iter().find(|it| it.permissions.write).unwrap();
    let runs = vec![Run { page: writable.start / PAGE, count: 1 }];
    for place in [Place::Known(vec![Hash([7; 32])]), Place::Sender] {
        let section = Section::Placed(Placed { runs: runs.clone(), place: place.clone() });
        let refusal =
            said(&target, &forged(&image, |_| (), Some(section)).unwrap()).expect_err("a page");
        assert!(refusal.contains("page") || refusal.contains("memory"), "{place:?}: {refusal}");
    }
    until("nothing of it all is left", || {
        children(target.pid()) == before.0 && descriptors(target.pid()) <= before.1 + 1
    });

    // What is not refused: memory that is written and run is the program's own, and it runs as its pad does,
    // whoever its image says it was.
    let as_is = run(&target, &image);
    let forged_too = forged(
        &image,
        |it| {
            let plain = |of: &&mut Mapping| {
                of.permissions.write
                    && matches!(of.kind, MappingKind::Anonymous { .. } | MappingKind::Heap)
            };
            it.mappings.iter_mut().filter(plain).for_each(|of| of.permissions.execute = true);
            let credentials = &mut it.process.credentials;
            credentials.users = credentials.users.map(|user| user ^ 1);
            credentials.groups = credentials.groups.map(|group| group ^ 1);
        },
        None,
    )
    .unwrap();
    let woken = run(&target, &forged_too);
    assert_eq!((as_is.code, woken.code), (Some(7), Some(7)), "{as_is:?} {woken:?}");
    let forged_user = fs::metadata("/proc/self").unwrap().uid() ^ 1;
    for said in [&as_is.stdout, &woken.stdout] {
        let user = said.trim().strip_prefix("two ").and_then(|user| user.parse::<u32>().ok());
        assert!(user.is_some_and(|user| user != forged_user), "{said}");
    }
    target.check_unharmed();
}

fn run(target: &Target, image: &[u8]) -> Ran {
    let path = target.machine.write("shell.image", image);
    let words = format!("restore {} --on target --nodes {}", path.display(), target.address);
    target.machine.run_with_input(&words, "two\n")
}

/// All of it is looked through; why it is none, if so.
fn verify(bytes: &[u8]) -> Result<u64, wire::image::Error> {
    let mut reader = Reader::new(bytes)?.ok_or(wire::image::Error::Foreign)?;
    let mut parts = 0;
    while reader.next_section()?.is_some() {
        let mut body = vec![0; reader.left() as usize];
        reader.read(&mut body)?;
        parts += 1;
    }
    Ok(parts)
}

/// A shell that counts, and has nothing open.
fn counting(machine: &Machine, name: &str) -> Child {
    let words = format!("echo {name}; while :; do :; done");
    let close = "for path in /proc/self/fd/*; do number=${path##*/}; ((number > 2)) && exec {number}>&-; done; eval \"$0\"";
    let mut command = Command::new("bash");
    command.args(["-c", close, &words]).current_dir(machine.path(""));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().unwrap();
    let mut line = vec![0; name.len() + 1];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    child
}

fn pid_in(path: &Path) -> i32 {
    let bytes = fs::read(path).unwrap();
    verify(&bytes).unwrap();
    let mut reader = Reader::new(&bytes[..]).unwrap().unwrap();
    Description::take(&mut reader).unwrap().0.process.pid
}

#[test]
fn attack_case_21_a_checkpoint_that_is_cut_altered_or_written_by_two_is_whole_or_refused() {
    let machine = Machine::new();
    let mut shells = ["first", "second"].map(|name| counting(&machine, name));
    let pids = [0, 1].map(|at: usize| shells[at].id());
    let words = |pid: u32| format!("checkpoint {pid} -o one.image --leave-running");
    // Two commands write one file: it is one of both images, and nothing else is left.
    for _ in 0..4 {
        let writers = [0, 1].map(|at: usize| {
            let mut command = machine.command(words(pids[at]).split_whitespace());
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        });
        for writer in writers {
            let ran = Ran::of(writer.wait_with_output().unwrap());
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
        let told = pid_in(&machine.path("one.image"));
        assert!(pids.contains(&told.cast_unsigned()), "{told} of {pids:?}");
    }
    // Two of one process: who comes second says so, or has waited.
    let writers = [0, 1].map(|_| {
        let mut command = machine.command(words(pids[0]).split_whitespace());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    });
    let ends = writers.map(|writer| Ran::of(writer.wait_with_output().unwrap()));
    assert!(ends.iter().any(|ran| ran.code == Some(0)), "{ends:?}");
    assert!(
        ends.iter().all(|ran| ran.code == Some(0) || ran.stderr.contains("error[E07")),
        "{ends:?}"
    );
    assert_eq!(pid_in(&machine.path("one.image")).cast_unsigned(), pids[0]);
    let left = fs::read_dir(machine.path("")).unwrap().flatten();
    let left: Vec<_> = left.map(|one| one.file_name().into_string().unwrap()).collect();
    assert!(left.iter().filter(|name| name.contains("image")).count() == 1, "{left:?}");
    for shell in &mut shells {
        let status = fs::read_to_string(format!("/proc/{}/status", shell.id())).unwrap();
        assert!(status.contains("TracerPid:\t0\n"), "{status}");
        kill(shell.id());
        shell.wait().unwrap();
    }

    // Cut and altered all over: never taken for whole.
    let whole = fs::read(machine.path("one.image")).unwrap();
    assert!(verify(&whole).unwrap() > 5);
    let step = whole.len() / 40;
    let places =
        (0..200).chain((whole.len() - 100)..whole.len()).chain((0..40).map(|at| at * step));
    for at in places {
        assert!(verify(&whole[..at]).is_err(), "cut at {at}");
        let mut altered = whole.clone();
        altered[at] ^= 1 << (at % 8);
        assert!(verify(&altered).is_err(), "altered at {at}");
        machine.write("bad.image", if at % 2 == 0 { &altered[..] } else { &whole[..at] });
        if at % 97 == 0 {
            machine.run("image bad.image").complains(&["error[E070", "bad.image"]);
        }
    }
}
