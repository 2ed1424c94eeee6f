//! Real processes are captured, restored from the bytes alone, and then check themselves.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farcall_telefork::capture::{Carry, Frozen};
use farcall_telefork::restore::{Restore, VdsoChoice};
use farcall_telefork::{Error, wait_for_exit};
use sys::Pid;
use sys::maps::{Content, Mapping};
use wire::image::{ImageId, Reader, Writer};

/// Nothing here waits that long where nothing is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Children and descriptors are counted: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Specimen {
    child: Child,
    /// It works in it.
    _folder: tempfile::TempDir,
}

impl Specimen {
    fn start(clock_calls: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("specimen");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/restore/specimen.c");
        let compiled = Command::new("cc")
            .args(["-O1", "-g", "-pthread", "-w", &format!("-DCLOCK_CALLS={clock_calls}"), "-o"])
            .args([program.as_os_str(), source.as_ref()])
            .status();
        assert!(compiled.expect("a C compiler").success());
        let path = std::fs::canonicalize(folder.path()).unwrap();
        let mut child = Command::new(&program)
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Ours may be a file that others write: such a one is refused.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, _folder: folder }
    }

    fn pid(&self) -> Pid {
        Pid(self.child.id() as i32)
    }

    /// Asks it to check itself, and hears that all was right.
    fn finish(mut self) {
        signal(self.pid());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the original found something wrong: {status}");
    }
}

impl Drop for Specimen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(pid: Pid) {
    let sent = Command::new("kill").args(["-USR1", &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// An image of a process that stands still while `also` looks at it, and then goes on.
fn image(pid: Pid, also: impl FnOnce(&[u8])) -> Vec<u8> {
    let mut frozen = Frozen::freeze(pid, PATIENCE).unwrap();
    // The specimen is no file that every host has, but this one has.
    frozen.set_carry(Carry::NoPrograms);
    let description = frozen.describe().unwrap();
    let mut writer = Writer::new(Vec::new(), ImageId(1234));
    description.put(&mut writer).unwrap();
    frozen.send(&description, &mut writer).unwrap();
    let bytes = writer.finish().unwrap();
    also(&bytes);
    frozen.release().unwrap();
    bytes
}

fn restored(bytes: &[u8], restore: Restore) -> Result<Pid, Error> {
    let mut reader = Reader::new(bytes)?.expect("an image");
    Ok(restore.build(&mut reader)?.wake()?.pid)
}

/// The copy checks itself, too.
fn finish(copy: Pid) {
    signal(copy);
    assert_eq!(wait_for_exit(copy).unwrap(), 0, "the copy found something wrong");
}

fn children() -> Vec<Pid> {
    sys::proc::children(Pid::own()).unwrap()
}

fn descriptors() -> usize {
    sys::proc::descriptors(Pid::own()).unwrap()
}

#[test]
fn a_copy_of_a_busy_process_goes_on_and_so_does_the_original() {
    let _alone = alone();
    let specimen = Specimen::start(1000);
    let bytes = image(specimen.pid(), |_| ());
    let copy = restored(&bytes, Restore::default()).unwrap();
    assert_ne!(copy, specimen.pid());
    finish(copy);
    specimen.finish();
}

#[test]
fn a_copy_keeps_its_numbers_where_they_are_free() {
    let _alone = alone();
    let mut specimen = Specimen::start(1000);
    let bytes = image(specimen.pid(), |_| ());
    let pid = specimen.pid();
    specimen.child.kill().unwrap();
    specimen.child.wait().unwrap();
    let copy = restored(&bytes, Restore::default()).unwrap();
    if is_root() {
        assert_eq!(copy, pid);
    }
    finish(copy);
    // Once more, from the same bytes, with others.
    let restore = Restore { keeps_numbers: false, ..Restore::default() };
    finish(restored(&bytes, restore).unwrap());
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

// TF-6.
#[test]
fn clocks_go_on_where_the_kernels_code_is_another() {
    let _alone = alone();
    let specimen = Specimen::start(1_000_000);
    let bytes = image(specimen.pid(), |_| ());
    let restore = Restore { vdso: VdsoChoice::Patched, ..Restore::default() };
    finish(restored(&bytes, restore).unwrap());
    drop(specimen);
}

/// The lines of `maps`, without what differs for the same memory: the number of memory that is shared, and
/// where one mapping has come of two that fit together.
fn maps(pid: Pid) -> Vec<Mapping> {
    let mut found: Vec<Mapping> = Vec::new();
    for mut mapping in sys::maps::mappings(pid).unwrap() {
        if matches!(&mapping.content, Content::File(path) if path.starts_with(b"/dev/zero")) {
            mapping.inode = 0;
        }
        let last = found.last_mut().filter(|last| {
            let follows = last.offset + last.range.end - last.range.start == mapping.offset;
            last.range.end == mapping.range.start
                && last.content == mapping.content
                && last.permissions == mapping.permissions
                && last.sharing == mapping.sharing
                && (last.inode, follows) == (mapping.inode, true)
                && mapping.inode != 0
        });
        match last {
            Some(last) => last.range.end = mapping.range.end,
            None => found.push(mapping),
        }
    }
    found
}

// TF-7.
#[test]
fn a_copy_has_the_same_memory_with_the_same_permissions() {
    let _alone = alone();
    let specimen = Specimen::start(1);
    image(specimen.pid(), |bytes| {
        let mut reader = Reader::new(bytes).unwrap().unwrap();
        let built = Restore::default().build(&mut reader).unwrap();
        let (there, here) = (maps(specimen.pid()), maps(built.pid()));
        assert!(there.len() > 20);
        for (there, here) in there.iter().zip(&here) {
            assert_eq!(there, here);
        }
        assert_eq!(there.len(), here.len());
        let all = sys::maps::Permissions { read: true, write: true, execute: true };
        assert_eq!(here.iter().filter(|mapping| mapping.permissions == all).count(), 1);
        let link = |pid: Pid, what| std::fs::read_link(format!("/proc/{pid}/{what}")).unwrap();
        for what in ["exe", "cwd", "root"] {
            assert_eq!(link(specimen.pid(), what), link(built.pid(), what));
        }
        for what in ["auxv", "cmdline", "environ", "comm", "limits"] {
            let text = |pid| std::fs::read(format!("/proc/{pid}/{what}")).unwrap();
            assert!(text(specimen.pid()) == text(built.pid()), "{what} differs");
        }
        let threads = |pid| sys::proc::threads(pid).unwrap();
        assert_eq!(threads(specimen.pid()), threads(built.pid()));
    });
    specimen.finish();
}

#[test]
fn nothing_wakes_of_an_image_that_is_not_whole() {
    let _alone = alone();
    let specimen = Specimen::start(1);
    let bytes = image(specimen.pid(), |_| ());
    let (before, open) = (children(), descriptors());
    let mut reader = Reader::new(&bytes[..]).unwrap().unwrap();
    let mut borders = vec![reader.offset()];
    while reader.next_section().unwrap().is_some() {
        borders.push(reader.offset());
    }
    borders.push(reader.offset() - 1);
    let step = (borders.len() / 40).max(1);
    for border in borders.iter().step_by(step).chain(borders.last()) {
        let cut = &bytes[..*border as usize];
        let error = restored(cut, Restore::default()).expect_err("the image was cut");
        assert!(matches!(error, Error::Image(wire::image::Error::Truncated(_))), "{error}");
        let mut flipped = bytes.clone();
        flipped[*border as usize] ^= 0x10;
        let error = restored(&flipped, Restore::default()).expect_err("a bit was flipped");
        assert!(matches!(error, Error::Image(_)), "{error}");
        assert_eq!(children(), before);
    }
    assert_eq!(descriptors(), open);
    specimen.finish();
}

#[test]
fn a_hundred_restores_leave_nothing_behind() {
    let _alone = alone();
    let specimen = Specimen::start(1);
    let bytes = image(specimen.pid(), |_| ());
    let (before, open) = (children(), descriptors());
    for round in 0..100 {
        let mut reader = Reader::new(&bytes[..]).unwrap().unwrap();
        let built = Restore::default().build(&mut reader).unwrap();
        if round % 10 == 0 {
            let awake = built.wake().unwrap();
            Command::new("kill").args(["-KILL", &awake.pid.to_string()]).status().unwrap();
            let error = wait_for_exit(awake.pid).expect_err("it was killed");
            assert!(matches!(error, Error::Killed { signal: 9, .. }), "{error}");
        }
    }
    assert_eq!(children(), before);
    assert_eq!(descriptors(), open);
    specimen.finish();
}

/// The examples, as programs of their own.
fn example(name: &str, args: &[&Path], user: Option<u32>) -> (String, bool) {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    // Others may not come to where it was built.
    let program: PathBuf = args[0].parent().unwrap().join(name);
    std::fs::copy(&built, &program).unwrap();
    let mut command = Command::new(&program);
    command.args(args);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "");
    (output, child.wait().unwrap().success())
}

#[track_caller]
fn check_basic(user: Option<u32>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let (output, is_right) = example("basic", &[&folder.path().join("basic.image")], user);
    let mut lines: Vec<&str> = output.lines().collect();
    // Parent and child write at once.
    let child = lines.iter().position(|line| line.starts_with("child pid = ")).unwrap();
    assert!(lines.remove(child)["child pid = ".len()..].parse::<i32>().unwrap() > 0);
    let want = [
        "Hello!",
        "tls: 4",
        "finished teleforking",
        "hello from a strange new world where I woke up passed 7",
        "My local variable says foo=103 and I'm going to exit with that status",
        "tls: 4",
        "tls: 4",
        "child exited with status = 103",
    ];
    assert_eq!(lines, want);
    assert!(is_right);
}

// TF-1.
#[test]
fn a_program_wakes_a_copy_of_itself_with_a_value() {
    let _alone = alone();
    check_basic(None);
}

#[test]
fn an_ordinary_user_can_do_that_too() {
    let _alone = alone();
    if !is_root() {
        eprintln!("skipped: the other tests ran as an ordinary user already");
        return;
    }
    check_basic(Some(65534));
}

// TF-2.
#[test]
fn a_copy_sends_a_copy_and_another_program_wakes_it() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let (output, is_right) = example("double", &[&first, &second], None);
    let lines: Vec<&str> = output.lines().collect();
    let want = [
        "Hello!",
        "first val=5, foo=103",
        "the copy has sent a copy",
        "child exited with status = 42",
        "second val=5, foo=42",
        "child exited with status = 42",
    ];
    assert_eq!(lines, want);
    assert!(is_right);
    let (output, is_right) = example("load", &[&second], None);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines, ["second val=1, foo=42", "child exited with status = 42"]);
    assert!(is_right);
}

// TF-4.
#[test]
fn a_program_goes_and_comes_back_over_one_connection() {
    let _alone = alone();
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples").join("yoyo_raw");
    let mut server = Command::new(&program)
        .args(["serve", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening at ").unwrap();
    let client = Command::new(&program).args(["go", address]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&client.stderr), "");
    assert_eq!(String::from_utf8_lossy(&client.stdout), "foo=42\n");
    assert!(client.status.success());
    line.clear();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "the visitor has left with status 0\n");
    assert!(server.wait().unwrap().success());
}

#[test]
fn a_server_wakes_eight_clients_at_once_and_survives_a_hundred_that_send_garbage() {
    let _alone = alone();
    let tests = std::env::current_exe().unwrap();
    let examples = tests.parent().unwrap().parent().unwrap().join("examples");
    let mut server = Command::new(examples.join("teleserver"))
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = told.next().unwrap();
    let address = line.strip_prefix("listening at ").unwrap();
    for round in 0..100_u32 {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let garbage: Vec<u8> = (0..500 * round).map(|at| ((at * round) >> 3) as u8).collect();
        // It may have had enough before the end.
        let _ = std::io::Write::write_all(&mut stream, &garbage);
    }
    let client = || Command::new(examples.join("teleclient")).arg(address).output().unwrap();
    let clients: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for client in clients {
        assert_eq!(String::from_utf8_lossy(&client.stdout), "sent\n");
        assert!(client.status.success() && client.stderr.is_empty());
    }
    let (mut woke, mut left) = (0, 0);
    while left < 8 {
        let line = told.next().unwrap();
        woke += usize::from(line == "I have woken elsewhere: foo=103");
        left += usize::from(line.ends_with("the visitor has left with status 103"));
    }
    assert_eq!(woke, 8);
    server.kill().unwrap();
    server.wait().unwrap();
}

// TF-5.
#[test]
fn a_picture_drawn_elsewhere_is_the_one_drawn_here_to_the_byte() {
    let _alone = alone();
    let tests = std::env::current_exe().unwrap();
    let examples = tests.parent().unwrap().parent().unwrap().join("examples");
    let mut server = Command::new(examples.join("yoyo_raw"))
        .args(["serve", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = told.next().unwrap();
    let address = line.strip_prefix("listening at ").unwrap();
    let draw = |words: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(examples.join("smallpt"));
        let drawn = command.args(["40", "4", "2"]).args(words).current_dir(folder.path()).output();
        let drawn = drawn.unwrap();
        assert!(drawn.status.success(), "{drawn:?}");
        std::fs::read(folder.path().join("render.png")).unwrap()
    };
    assert!(draw(&[]) == draw(&[address]), "the pictures differ");
    // It was there, and left.
    assert_eq!(told.next().unwrap(), "the visitor has left with status 0");
    assert!(server.wait().unwrap().success());
}
