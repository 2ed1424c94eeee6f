//! Descriptors of this process, described, sent as an image, and opened again from it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;
use wire::image::Section;
use wire::image::descriptor::{Content, DescriptorKind, Direction};
use wire::image::host::{Architecture, Host, Processor, Vdso};
use wire::image::process::{Clocks, Credentials, Executable, Process};
use wire::image::text::Text;
use wire::image::thread::{AlternateStack, Registers, Thread};
use wire::image::{ImageId, Reader, Writer};
use wire::name::Hash;

use super::*;
use crate::Unopened;

fn number(file: &impl AsRawFd) -> u32 {
    file.as_raw_fd() as u32
}

/// Those of this process that belong to these files; others are of tests that run beside.
fn described(files: &[&dyn AsRawFd]) -> Vec<Descriptor> {
    let numbers: Vec<u32> = files.iter().map(|file| file.as_raw_fd() as u32).collect();
    let listed = sys::descriptors::list(Pid::own()).unwrap();
    let listed: Vec<_> = listed.into_iter().filter(|one| numbers.contains(&one.number)).collect();
    let descriptions = descriptions(Pid::own(), &listed).unwrap();
    let mut shipped = BTreeMap::new();
    let mut all = Vec::new();
    for (one, description) in listed.iter().zip(descriptions) {
        let (pid, shipped) = (Pid::own(), &mut shipped);
        let context = Context { pid, terminal: None, is_standard: false, wish: None, shipped };
        let (number, close_on_exec, flags) = (one.number, one.close_on_exec, one.flags);
        let what = what(one, context).unwrap();
        all.push(Descriptor { number, close_on_exec, description, flags, what });
    }
    all
}

/// Bytes of an image's files, and how they were cut.
type Parts = Vec<(wire::image::descriptor::FilePart, Vec<u8>)>;

fn sent(descriptors: &[Descriptor]) -> Vec<u8> {
    image_of(&hold(Pid::own(), descriptors).unwrap())
}

fn image_of(held: &Held) -> Vec<u8> {
    let mut writer = begun();
    held.send(&mut writer).unwrap();
    writer.finish().unwrap()
}

/// Opens everything from an image.
fn arrive(descriptors: &[Descriptor], image: &[u8]) -> Result<Arrived, Error> {
    arrive_with(descriptors, image, &Overrides::none())
}

fn arrive_with(
    descriptors: &[Descriptor],
    image: &[u8],
    overrides: &Overrides,
) -> Result<Arrived, Error> {
    let mut arriving = Arriving::new(descriptors, Stdio::Null, overrides)?;
    let mut reader = Reader::new(image).unwrap().unwrap();
    while let Some(section) = reader.next_section().unwrap() {
        if let Section::File(part) = section {
            arriving.part(&part, &mut reader)?;
        }
    }
    arriving.finish()
}

fn parts(image: &[u8]) -> Parts {
    let mut reader = Reader::new(image).unwrap().unwrap();
    let mut all = Vec::new();
    while let Some(section) = reader.next_section().unwrap() {
        if let Section::File(part) = section {
            let mut bytes = vec![0; reader.left() as usize];
            reader.read(&mut bytes).unwrap();
            all.push((part, bytes));
        }
    }
    all
}

fn opened(arrived: &Arrived, number: u32) -> File {
    let found = arrived.numbers.iter().find(|one| one.number == number).unwrap();
    File::from(arrived.opened[found.opened].try_clone().unwrap())
}

fn why(result: Result<Arrived, Error>) -> Unopened {
    match result {
        Err(Error::Unopened { why, .. }) => *why,
        other => panic!("{other:?}"),
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|one| one.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn text(mut file: impl Read) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// An image of nothing but files: the least that has to stand before them.
fn begun() -> Writer<Vec<u8>> {
    let mut writer = Writer::new(Vec::new(), ImageId(1));
    let architecture = Architecture::X86_64;
    let processor =
        Processor { model: String::new(), leaves: Vec::new(), states: 0, capabilities: Vec::new() };
    let host = Host {
        architecture,
        page_size: 4096,
        kernel: String::new(),
        vdso: Vdso { hash: Hash([0; 32]), symbols: Vec::new() },
        processor,
        c_library: None,
    };
    let executable =
        Executable { path: "/a".into(), identity: Default::default(), build_id: None, hash: None };
    let process = Process {
        pid: 1,
        executable,
        arguments: Vec::new(),
        directory: "/".into(),
        root: "/".into(),
        umask: 0,
        limits: Vec::new(),
        marks: Default::default(),
        auxiliary: Vec::new(),
        attributes: Default::default(),
        interval_timers: Default::default(),
        timers: Vec::new(),
        actions: Vec::new(),
        pending: Vec::new(),
        credentials: Credentials::default(),
        session: Default::default(),
        clocks: Clocks::default(),
        stopped: 0,
    };
    let thread = Thread {
        tid: 1,
        name: "a".into(),
        registers: Registers { architecture, general: Vec::new(), extended: Vec::new() },
        signal_mask: 0,
        pending: Vec::new(),
        alternate_stack: AlternateStack::default(),
        rseq: None,
        robust_list: None,
        clear_tid: 0,
        timer_slack: 50_000,
        nice: 0,
        caller: None,
    };
    writer.put(&Section::Host(Box::new(host)), &[]).unwrap();
    writer.put(&Section::Process(Box::new(process)), &[]).unwrap();
    writer.put(&Section::Thread(Box::new(thread)), &[]).unwrap();
    writer
}

#[test]
fn a_file_that_is_there_is_opened_there_with_offset_and_shared_descriptions() {
    let folder = folder();
    let path = folder.path().join("f");
    fs::write(&path, "0123456789").unwrap();
    let mut one = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    one.seek(SeekFrom::Start(4)).unwrap();
    let same = one.try_clone().unwrap();
    let appending = OpenOptions::new().append(true).open(&path).unwrap();
    let descriptors = described(&[&one, &same, &appending]);
    let image = sent(&descriptors);
    let arrived = arrive(&descriptors, &image).unwrap();

    let there = opened(&arrived, number(&one));
    assert_eq!(there.metadata().unwrap().ino(), one.metadata().unwrap().ino());
    assert_eq!(text(&there), "456789");
    assert_eq!((&opened(&arrived, number(&same))).stream_position().unwrap(), 10);
    assert!(arrived.numbers.iter().all(|one| one.close_on_exec));
    assert_eq!(arrived.opened.len(), 2);
    opened(&arrived, number(&appending)).write_all(b"ab").unwrap();
    arrived.keep();
    assert_eq!(fs::read(&path).unwrap(), b"0123456789ab");
}

#[test]
fn a_written_file_that_is_missing_is_made_and_goes_again_if_not_kept() {
    let folder = folder();
    let path = folder.path().join("f");
    fs::write(&path, "text").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let file = OpenOptions::new().append(true).open(&path).unwrap();
    let descriptors = described(&[&file]);
    let image = sent(&descriptors);
    fs::remove_file(&path).unwrap();

    let arrived = arrive(&descriptors, &image).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"text");
    drop(arrived);
    assert_eq!(names(folder.path()), [""; 0]);

    let arrived = arrive(&descriptors, &image).unwrap();
    opened(&arrived, number(&file)).write_all(b" more").unwrap();
    let link = fs::read_link(format!("/proc/self/fd/{}", arrived.opened[0].as_raw_fd())).unwrap();
    assert_eq!(link, path);
    arrived.keep();
    assert_eq!(fs::read(&path).unwrap(), b"text more");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn a_written_file_with_other_bytes_is_refused_and_stays_as_it_is() {
    let folder = folder();
    let path = folder.path().join("f");
    fs::write(&path, "text").unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let descriptors = described(&[&file]);
    let image = sent(&descriptors);
    for other in ["tex7", "longer text", ""] {
        fs::write(&path, other).unwrap();
        let why = why(arrive(&descriptors, &image));
        assert!(matches!(why, Unopened::OtherBytes), "{why:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), other);
        assert_eq!(names(folder.path()), ["f"]);
    }
    // Unless it is wished so, or left out.
    let wish = |wish| Overrides::none().with(number(&file), wish);
    let arrived = arrive_with(&descriptors, &image, &wish(Override::Reopen)).unwrap();
    opened(&arrived, number(&file)).write_all(b"new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    let arrived = arrive_with(&descriptors, &image, &wish(Override::Drop)).unwrap();
    assert!(arrived.numbers.is_empty());
}

#[test]
fn a_file_that_is_only_read_becomes_a_copy_where_the_own_one_is_other_or_missing() {
    let folder = folder();
    let path = folder.path().join("f");
    // Beyond one step, with a hole, and other at the end alone.
    let mut bytes = vec![7; 600 << 10];
    bytes.extend(vec![0; 2 << 20]);
    bytes.extend(b"end");
    fs::write(&path, &bytes).unwrap();
    let file = File::open(&path).unwrap();
    let descriptors = described(&[&file]);
    let image = sent(&descriptors);
    for change in [None, Some(bytes.len() - 1), Some(3), Some(700 << 10)] {
        match change {
            Some(at) => {
                let mut other = bytes.clone();
                other[at] ^= 1;
                fs::write(&path, other).unwrap();
            }
            None => fs::remove_file(&path).unwrap(),
        }
        let arrived = arrive(&descriptors, &image).unwrap();
        let mut found = Vec::new();
        let mut there = opened(&arrived, number(&file));
        there.read_to_end(&mut found).unwrap();
        assert!(found == bytes, "{change:?}");
        assert!(there.write_all(b"x").is_err(), "only to be read");
    }
}

#[test]
fn holes_are_not_sent_and_are_holes_again() {
    let folder = folder();
    let file = tempfile::tempfile_in(folder.path()).unwrap();
    file.write_all_at(&[1; 4096], 8 << 20).unwrap();
    file.set_len(1 << 30).unwrap();
    let descriptors = described(&[&file]);
    let image = sent(&descriptors);
    let bytes: usize = parts(&image).iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes <= 64 << 10, "{bytes}");
    let arrived = arrive(&descriptors, &image).unwrap();
    let there = opened(&arrived, number(&file));
    let found = there.metadata().unwrap();
    assert_eq!(found.len(), 1 << 30);
    assert!(found.blocks() * 512 <= 64 << 10, "{}", found.blocks());
    let mut page = [0; 4096];
    there.read_exact_at(&mut page, 8 << 20).unwrap();
    assert_eq!(page, [1; 4096]);
}

#[test]
fn a_deleted_file_travels_and_two_openings_of_it_are_one_file() {
    let folder = folder();
    let path = folder.path().join("f");
    let mut writing = File::create(&path).unwrap();
    let reading = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    writing.write_all(b"gone").unwrap();
    let descriptors = described(&[&writing, &reading]);
    let Opened::File(told) = &descriptors[0].what else { panic!("{descriptors:?}") };
    assert!(told.deleted && told.path.0 == path.as_os_str().as_encoded_bytes());
    // Somebody else's file of that name is none of ours.
    fs::write(&path, "other").unwrap();
    let arrived = arrive(&descriptors, &sent(&descriptors)).unwrap();
    opened(&arrived, number(&writing)).write_all(b" on").unwrap();
    assert_eq!(text(opened(&arrived, number(&reading))), "gone on");
    assert_eq!(fs::read(&path).unwrap(), b"other");
    assert_eq!(names(folder.path()), ["f"]);
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_named_and_a_copy_does_not_change() {
    let folder = folder();
    let path = folder.path().join("f");
    fs::write(&path, "text").unwrap();
    let file = OpenOptions::new().append(true).read(true).open(&path).unwrap();
    let descriptors = described(&[&file]);
    let mut copied = hold(Pid::own(), &descriptors).unwrap();
    copied.copy_written().unwrap();
    let held = hold(Pid::own(), &descriptors).unwrap();
    fs::write(&path, "t").unwrap();
    assert!(matches!(held.send(&mut begun()), Err(Error::Changing { .. })));
    assert!(matches!(hold(Pid::own(), &descriptors), Err(Error::Changing { .. })));
    let parts = parts(&image_of(&copied));
    assert_eq!(parts[0].1, b"text");
}

#[test]
fn what_the_destination_has_is_left_out_and_must_be_there_then() {
    let folder = folder();
    let (path, other) = (folder.path().join("f"), folder.path().join("g"));
    fs::write(&path, "text").unwrap();
    fs::write(&other, "changes").unwrap();
    let (file, changing) = (File::open(&path).unwrap(), File::open(&other).unwrap());
    let mut descriptors = described(&[&file, &changing]);
    let mut held = hold(Pid::own(), &descriptors).unwrap();
    let offers = held.offers(0).unwrap();
    fs::write(&other, "changed").unwrap();
    let asked = wanted(&offers);
    assert_eq!(asked.len(), 1);
    withhold(&mut descriptors, &offers, &asked);
    let unwanted = offers.iter().map(|offer| offer.file).filter(|file| !asked.contains(file));
    held.leave_out(&unwanted.collect());
    fs::write(&other, "changes").unwrap();
    assert!(
        matches!(&descriptors[0].what, Opened::File(file) if matches!(file.content, Content::Same(_)))
    );
    assert_eq!(held.length(), 7);
    let image = {
        let mut writer = begun();
        let told = held.send(&mut writer);
        assert!(matches!(told, Ok(()) | Err(Error::Changing { .. })), "{told:?}");
        begun().finish().unwrap()
    };
    let only = &descriptors[..1];
    assert_eq!(text(opened(&arrive(only, &image).unwrap(), number(&file))), "text");
    fs::write(&path, "texx").unwrap();
    assert!(matches!(why(arrive(only, &image)), Unopened::OtherHash));
}

#[test]
fn folders_and_devices_are_opened_as_such_and_nothing_else_is() {
    let folder = folder();
    let at = File::open(folder.path()).unwrap();
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    let descriptors = described(&[&at, &null]);
    assert_eq!(descriptors[1].what, Opened::Device { path: "/dev/null".into() });
    let image = begun().finish().unwrap();
    let arrived = arrive(&descriptors, &image).unwrap();
    let there = opened(&arrived, number(&at)).metadata().unwrap();
    assert_eq!((there.is_dir(), there.ino()), (true, at.metadata().unwrap().ino()));

    let forged = |what| vec![Descriptor { what, ..descriptors[0].clone() }];
    let fifo = folder.path().join("p");
    nix_mkfifo(&fifo);
    let file = |path: &Path, flags, content| {
        let path = Text(path.as_os_str().as_encoded_bytes().to_vec());
        let identity = Default::default();
        let (offset, deleted, mode) = (0, false, 0o600);
        let file =
            wire::image::descriptor::OpenFile { path, offset, identity, deleted, mode, content };
        vec![Descriptor { flags, what: Opened::File(file), ..descriptors[0].clone() }]
    };
    let hash = Content::Same(Hash([0; 32]));
    for (descriptors, wanted) in [
        (forged(Opened::Device { path: "/dev/sda".into() }), "device"),
        (forged(Opened::Folder { path: "/dev/null".into() }), "something else"),
        (forged(Opened::Folder { path: "tmp".into() }), "no path"),
        (file(&fifo, 0, hash), "something else"),
        (file(Path::new("/dev/zero"), 1, Content::There), "something else"),
        (file(Path::new("/proc/self/mem"), 1, Content::There), "something else"),
        (file(&folder.path().join("no"), 1, Content::There), "no such file"),
        (file(&folder.path().join("no/no"), 1, Content::Shipped(FileNo(0))), "cannot be made"),
    ] {
        let refused = why(arrive(&descriptors, &image));
        assert!(refused.to_string().contains(wanted), "{refused}: {descriptors:?}");
        assert_eq!(names(folder.path()), ["p"]);
    }
}

fn nix_mkfifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn a_writer_is_not_led_astray_by_a_symbolic_link() {
    let folder = folder();
    let (path, victim) = (folder.path().join("f"), folder.path().join("victim"));
    fs::write(&path, "text").unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let descriptors = described(&[&file]);
    let image = sent(&descriptors);
    fs::write(&victim, "text").unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    assert!(matches!(why(arrive(&descriptors, &image)), Unopened::OtherKind));
}

#[test]
fn streams_and_terminals_become_what_the_caller_gives() {
    let descriptor = |number, description, what| Descriptor {
        number,
        close_on_exec: false,
        description,
        flags: 2,
        what,
    };
    let stream = || Opened::Stdio { direction: Direction::Both };
    let terminal = || Opened::Terminal { path: "/dev/pts/0".into(), modes: None };
    let descriptors = [
        descriptor(0, 0, stream()),
        descriptor(1, 1, stream()),
        descriptor(2, 1, stream()),
        descriptor(7, 1, stream()),
        descriptor(255, 2, terminal()),
    ];
    let files: Vec<File> = (0..3).map(|_| tempfile::tempfile().unwrap()).collect();
    let given: Vec<OwnedFd> = files.iter().map(|file| file.try_clone().unwrap().into()).collect();
    let given = <[OwnedFd; 3]>::try_from(given).unwrap();
    let arriving = Arriving::new(&descriptors, Stdio::Given(given), &Overrides::none()).unwrap();
    let arrived = arriving.finish().unwrap();
    let inode = |number| opened(&arrived, number).metadata().unwrap().ino();
    let wanted = |at: usize| files[at].metadata().unwrap().ino();
    assert_eq!([0, 1, 2, 7, 255].map(inode), [0, 1, 2, 1, 0].map(wanted));
}

#[test]
fn what_cannot_travel_is_told_with_reason_and_remedy() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let made_up = File::open("/proc/stat").unwrap();
    let locked = tempfile::tempfile().unwrap();
    locked.lock().unwrap();
    let kinds = [
        (&reader as &dyn AsRawFd, DescriptorKind::Pipe),
        (&socket, DescriptorKind::Socket),
        (&made_up, DescriptorKind::Other),
        (&locked, DescriptorKind::Other),
    ];
    for (file, wanted) in kinds {
        let told = described(&[file]).remove(0).what;
        let Opened::Unsupported { kind, why } = told else { panic!("{told:?}") };
        assert_eq!(kind, wanted);
        assert!(why.contains("; "), "{why}");
    }
    let descriptors = described(&[&reader]);
    let refused = why(arrive(&descriptors, &begun().finish().unwrap()));
    assert!(matches!(refused, Unopened::Unsupported(_)));
}

#[test]
fn wishes_are_of_descriptors_that_are_there_and_have_paths() {
    let overrides = Overrides::none().with(999_999, Override::Drop);
    assert!(matches!(
        describe(Pid::own(), &overrides),
        Err(Error::NoDescriptor { number: 999_999, .. })
    ));
    let (reader, _writer) = std::io::pipe().unwrap();
    let overrides = Overrides::none().with(number(&reader), Override::Reopen);
    assert!(matches!(describe(Pid::own(), &overrides), Err(Error::NotReopened { .. })));
    assert_eq!("drop".parse(), Ok(Override::Drop));
    assert!("close".parse::<Override>().is_err());
}
