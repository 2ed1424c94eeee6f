//! Memory that is kept: it follows what its process does, is forked, and each fork goes on as the process.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio as Standard};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farcall_telefork::capture::{Carry, Frozen, Told};
use farcall_telefork::files::{Overrides, Stdio};
use farcall_telefork::restore::{Base, Descriptors, Holdings, Restore, VdsoChoice};
use farcall_telefork::{Description, Error, Refusal, wait_for_exit};
use sys::Pid;
use wire::image::memory::{Mapping, MappingKind, Pages, Permissions, Run, Sharing};
use wire::image::{ImageId, Reader, Section, Writer};

/// Nothing here waits that long where nothing is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Memory of the subject that is changed a little.
const BIG_MIB: usize = 48;

/// Children and descriptors are counted: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Subject {
    child: Child,
    commands: ChildStdin,
    answers: ChildStdout,
    _folder: tempfile::TempDir,
}

impl Subject {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("subject");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/base/subject.c");
        let compiled = Command::new("cc")
            .args(["-O1", "-g", "-pthread", "-w", &format!("-DBIG_MIB={BIG_MIB}"), "-o"])
            .args([program.as_os_str(), source.as_ref()])
            .status();
        assert!(compiled.expect("a C compiler").success());
        let mut child = Command::new(&program)
            .stdin(Standard::piped())
            .stdout(Standard::piped())
            .stderr(Standard::piped())
            .spawn()
            .unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut subject = Self { child, commands, answers, _folder: folder };
        subject.hears();
        subject
    }

    fn hears(&mut self) {
        let mut answer = [0];
        self.answers.read_exact(&mut answer).unwrap();
    }

    fn does(&mut self, commands: &[u8]) {
        for command in commands {
            self.commands.write_all(&[*command]).unwrap();
            self.hears();
        }
    }

    /// What `with` makes of it while it stands still.
    fn frozen<T>(&self, with: impl FnOnce(&Frozen, Description) -> T) -> T {
        let mut frozen = Frozen::freeze(Pid(self.child.id() as i32), PATIENCE).unwrap();
        frozen.set_carry(Carry::default());
        let description = frozen.describe().unwrap();
        let made = with(&frozen, description);
        frozen.release().unwrap();
        made
    }

    fn image(&self, id: u64) -> (Vec<u8>, Told) {
        self.frozen(|frozen, description| {
            let mut writer = Writer::new(Vec::new(), ImageId(id));
            description.put(&mut writer).unwrap();
            let (_, told) = frozen.send_told(&description, &mut writer).unwrap();
            (writer.finish().unwrap(), told)
        })
    }

    fn changes(&self, id: u64, told: &Told) -> (Vec<u8>, Told) {
        self.frozen(|frozen, description| {
            let difference = told.until(&description).unwrap();
            let mut writer = Writer::new(Vec::new(), ImageId(id));
            let sent =
                frozen.send_changes(&description, told.clone(), &difference, None, &mut writer);
            (writer.finish().unwrap(), sent.unwrap().1)
        })
    }

    fn finish(mut self) {
        self.commands.write_all(b"q").unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the original found something wrong: {status}");
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A copy that runs.
struct Copy {
    pid: Pid,
    commands: PipeWriter,
    answers: PipeReader,
    complaints: PipeReader,
}

impl Copy {
    fn wake(base: Base) -> Self {
        let (input, commands) = std::io::pipe().unwrap();
        let (answers, output) = std::io::pipe().unwrap();
        let (complaints, errors) = std::io::pipe().unwrap();
        let streams: [OwnedFd; 3] = [input.into(), output.into(), errors.into()];
        let opened = Descriptors::Opened(Stdio::Given(streams), Overrides::none());
        let pid = base.finish(Holdings::Now(opened)).unwrap().wake().unwrap().pid;
        Self { pid, commands, answers, complaints }
    }

    fn does(&mut self, command: u8) {
        self.commands.write_all(&[command]).unwrap();
        self.answers.read_exact(&mut [0]).unwrap();
    }

    fn finish(mut self) {
        self.commands.write_all(b"q").unwrap();
        let code = wait_for_exit(self.pid).unwrap();
        let mut wrong = String::new();
        self.complaints.read_to_string(&mut wrong).unwrap();
        assert_eq!((code, &wrong[..]), (0, ""));
    }
}

fn base(bytes: &[u8]) -> Base {
    base_with(bytes, Restore::default())
}

fn base_with(bytes: &[u8], restore: Restore) -> Base {
    restore.base(&mut Reader::new(bytes).unwrap().unwrap()).unwrap()
}

fn change(base: &mut Base, bytes: &[u8]) -> Result<(), Error> {
    base.change(&mut Reader::new(bytes).unwrap().unwrap())
}

fn children() -> usize {
    sys::proc::children(Pid::own()).unwrap().len()
}

fn descriptors() -> usize {
    sys::proc::descriptors(Pid::own()).unwrap()
}

#[test]
fn memory_that_is_kept_becomes_the_process() {
    let _alone = alone();
    let subject = Subject::start();
    let (image, _) = subject.image(1);
    Copy::wake(base(&image)).finish();
    subject.finish();
}

#[test]
fn one_page_in_a_hundred_takes_three_bytes_in_a_hundred() {
    let _alone = alone();
    let mut subject = Subject::start();
    let (image, told) = subject.image(1);
    let mut base = base(&image);
    subject.does(b"d");
    let (changes, told) = subject.changes(2, &told);
    let share = changes.len() as f64 / image.len() as f64;
    assert!(share <= 0.03, "{} of {} bytes: {share}", changes.len(), image.len());
    change(&mut base, &changes).unwrap();
    assert_eq!(base.id(), ImageId(2));
    subject.does(b"dd");
    let (changes, _) = subject.changes(3, &told);
    change(&mut base, &changes).unwrap();
    Copy::wake(base).finish();
    subject.finish();
}

#[test]
fn what_changed_in_any_way_is_changed_and_each_fork_is_its_own() {
    let _alone = alone();
    let mut subject = Subject::start();
    let (image, told) = subject.image(1);
    let (before, open) = (children(), descriptors());
    {
        let mut base = base(&image);
        let mut early = Copy::wake(base.fork().unwrap());
        subject.does(b"dc");
        let (changes, told) = subject.changes(2, &told);
        change(&mut base, &changes).unwrap();
        let (one, other) = (base.fork().unwrap(), base.fork().unwrap());
        assert_ne!(one.pid().unwrap(), other.pid().unwrap());
        let mut one = Copy::wake(one);
        one.does(b'w');
        // Of a fork there can be more of them.
        let mut other = other;
        let third = other.fork().unwrap();
        subject.does(b"dc");
        let (again, _) = subject.changes(3, &told);
        // A fork is changed as its origin is.
        change(&mut other, &again).unwrap();
        change(&mut base, &again).unwrap();
        for base in [third, other, base] {
            Copy::wake(base).finish();
        }
        early.does(b'd');
        early.finish();
        one.commands.write_all(b"q").unwrap();
        assert_eq!(wait_for_exit(one.pid).unwrap(), 1, "it has changed what others do not share");
    }
    assert_eq!((children(), descriptors()), (before, open));
    subject.finish();
}

#[test]
fn the_kernels_code_of_another_host_is_kept_with_a_base() {
    let _alone = alone();
    let mut subject = Subject::start();
    let (image, told) = subject.image(1);
    let patched = || Restore { vdso: VdsoChoice::Patched, ..Restore::default() };
    let mut base = base_with(&image, patched());
    subject.does(b"dc");
    let (changes, _) = subject.changes(2, &told);
    change(&mut base, &changes).unwrap();
    Copy::wake(base.fork().unwrap()).finish();
    // What lies aside is not to be mapped over.
    let aside = sys::maps::mappings(base.pid().unwrap()).unwrap();
    let aside = aside.iter().find(|it| it.content == sys::maps::Content::Vdso).unwrap();
    let mut forged = base.description().clone();
    forged.mappings.push(plain(aside.range.start));
    forged.mappings.sort_by_key(|mapping| mapping.start);
    let error = change(&mut base, &forged_changes(&forged, 2, &[])).unwrap_err();
    assert!(matches!(error, Error::Refused(Refusal::Memory { .. })), "{error}");
    Copy::wake(base).finish();
    subject.finish();
}

/// An image upon another whose words are right by themselves.
fn forged_changes(of: &Description, upon: u64, pages: &[u64]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), ImageId(77));
    of.put_upon(ImageId(upon), &mut writer).unwrap();
    for page in pages {
        let runs = vec![Run { page: *page, count: 1 }];
        let section = Section::Pages(Pages { runs, names: Vec::new() });
        writer.put(&section, &[&[7; 4096]]).unwrap();
    }
    writer.finish().unwrap()
}

fn plain(start: u64) -> Mapping {
    let permissions = Permissions { read: true, write: true, execute: false };
    let (sharing, kind) = (Sharing::Private, MappingKind::Anonymous { name: None });
    Mapping { start, end: start + 4096, permissions, sharing, kind, flags: Vec::new() }
}

#[test]
fn what_does_not_fit_is_refused_and_the_base_is_as_it_was_or_gone() {
    let _alone = alone();
    let mut subject = Subject::start();
    let (image, told) = subject.image(1);
    let (before, open) = (children(), descriptors());
    let mut whole = base(&image);
    let description = whole.description().clone();

    // By itself, what has changed is no process.
    subject.does(b"d");
    let (changes, _) = subject.changes(2, &told);
    let refused = Restore::default().base(&mut Reader::new(&changes[..]).unwrap().unwrap());
    assert!(matches!(refused, Err(Error::Refused(Refusal::Changes))));
    let refused = Restore::default().build(&mut Reader::new(&changes[..]).unwrap().unwrap());
    assert!(matches!(refused, Err(Error::Refused(Refusal::Changes))));

    // Upon another, or upon nothing.
    let error = change(&mut whole, &forged_changes(&description, 9, &[])).unwrap_err();
    assert!(matches!(error, Error::Refused(Refusal::Upon { .. })), "{error}");
    let error = change(&mut whole, &image).unwrap_err();
    assert!(matches!(error, Error::Refused(Refusal::Upon { wanted: None, .. })), "{error}");
    // Of another host, of a file that was not there, with registers that are none.
    let mut forged = description.clone();
    forged.host.kernel.push('x');
    let error = change(&mut whole, &forged_changes(&forged, 1, &[])).unwrap_err();
    assert!(matches!(error, Error::Refused(Refusal::OtherHost)), "{error}");
    let mut forged = description.clone();
    for mapping in &mut forged.mappings {
        if let MappingKind::File(backing) = &mut mapping.kind {
            backing.offset += 4096;
        }
    }
    let error = change(&mut whole, &forged_changes(&forged, 1, &[])).unwrap_err();
    assert!(matches!(error, Error::Refused(Refusal::Unchangeable(_))), "{error}");
    let mut forged = description.clone();
    forged.threads[0].registers.general.truncate(8);
    assert!(change(&mut whole, &forged_changes(&forged, 1, &[])).is_err());
    // Nothing of that has touched it.
    Copy::wake(whole.fork().unwrap()).finish();
    change(&mut whole, &changes).unwrap();
    Copy::wake(whole.fork().unwrap()).finish();

    // A page where nothing is, and an image that breaks off: found on the way, and then it is gone.
    for bad in [&forged_changes(&description, 1, &[1])[..], &changes[..changes.len() - 50]] {
        let mut base = base(&image);
        assert!(change(&mut base, bad).is_err());
        assert!(matches!(base.fork(), Err(Error::BaseGone)));
        assert!(matches!(change(&mut base, &changes), Err(Error::BaseGone)));
        let none = Descriptors::Dead(Vec::new());
        assert!(matches!(base.finish(Holdings::Now(none)), Err(Error::BaseGone)));
    }
    drop(whole);
    assert_eq!((children(), descriptors()), (before, open));
    subject.finish();
}
