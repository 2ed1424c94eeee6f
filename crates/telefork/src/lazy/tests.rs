//! Memory that goes from one real process (`specimen.c`) to another, which touches it meanwhile.

use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use sys::Pid;
use sys::ptrace::{Remote, Tracee};
use sys::uffd::Pager;
use wire::image::ImageId;

use super::*;
use crate::Error;

const PATIENCE: Duration = Duration::from_secs(60);
const ID: ImageId = ImageId(77);
const START: u64 = 0x2000_0000_0000;
const LEN: u64 = 8192 * 4096;

struct Specimen {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Specimen {
    fn start(kind: &str) -> Self {
        static PROGRAM: OnceLock<tempfile::TempPath> = OnceLock::new();
        let program = PROGRAM.get_or_init(|| {
            let program = tempfile::NamedTempFile::new().unwrap().into_temp_path();
            let mut compiler = Command::new("cc")
                .args(["-O1", "-w", "-pthread", "-x", "c", "-o"])
                .args([program.as_os_str(), "-".as_ref()])
                .stdin(Stdio::piped())
                .spawn()
                .expect("a C compiler");
            compiler.stdin.take().unwrap().write_all(include_bytes!("specimen.c")).unwrap();
            assert!(compiler.wait().unwrap().success());
            program
        });
        let mut command = Command::new(program);
        command.arg(kind).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut specimen = Self { child, input, output };
        assert_eq!(specimen.said(), 0);
        specimen
    }

    fn pid(&self) -> Pid {
        Pid(self.child.id() as i32)
    }

    fn said(&mut self) -> u64 {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().parse().unwrap_or_else(|_| panic!("{line:?}"))
    }

    fn asked(&mut self, what: char) -> u64 {
        writeln!(self.input, "{what}").unwrap();
        self.said()
    }

    /// Nothing where the host does not permit it, said aloud.
    fn pager(&self) -> Option<Pager> {
        let mut tracee = Tracee::seize(self.pid(), PATIENCE).unwrap();
        let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
        let pager = Pager::make_in(&mut remote);
        remote.finish().unwrap();
        tracee.detach().unwrap();
        match pager {
            Ok(pager) => {
                pager.register(START, LEN).unwrap();
                Some(pager)
            }
            Err(error) => {
                eprintln!("skipped: {error}: {:?}", std::error::Error::source(&error));
                None
            }
        }
    }
}

impl Drop for Specimen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

fn left() -> Range<u64> {
    START..START + LEN
}

/// Lets the memory follow while the copy does what it is told; what it says, and what followed.
fn followed_while(what: char) -> Option<(u64, Followed)> {
    let (source, mut copy) = (Specimen::start("full"), Specimen::start("empty"));
    let pager = copy.pager()?;
    let server = PageServer::new(source.pid(), ID, [left()]);
    let (stream, to_stream) = UnixStream::pair().unwrap();
    let (faults, to_answer) = UnixStream::pair().unwrap();
    Some(thread::scope(|scope| {
        let follower = scope.spawn(move || follow(pager, [left()], ID, &stream, &faults, || {}));
        scope.spawn(|| assert!(server.answer(&to_answer).unwrap(), "all is there"));
        // What it touches first is asked for: nothing else has been sent.
        let comes_first = ['h', 'r'].contains(&what);
        let said = if comes_first { copy.asked(what) } else { u64::MAX };
        scope.spawn(|| server.stream(&to_stream).unwrap());
        let said = if comes_first { said } else { copy.asked(what) };
        let followed = follower.join().unwrap().unwrap();
        (said, followed)
    }))
}

#[test]
fn a_thread_waits_for_its_page_and_for_no_other() {
    let Some((said, followed)) = followed_while('h') else { return };
    assert_eq!(said, 0);
    assert_eq!(followed.faults, 100);
    assert_eq!(followed.bytes, LEN / 4 * 3, "pages that hold nothing are not sent");
}

#[test]
fn memory_is_what_it_was_whoever_touches_it_while_it_comes() {
    for what in ['a', 't', 'f'] {
        let Some((said, _)) = followed_while(what) else { return };
        assert_eq!(said, 0, "{what}");
    }
}

#[test]
fn memory_that_the_copy_moves_drops_unmaps_or_divides_is_what_it_would_be_without_us() {
    for what in ['m', 'd', 'u', 'p'] {
        let Some((said, _)) = followed_while(what) else { return };
        assert_eq!(said, 0, "{what}");
    }
}

/// A line that takes each piece late, and counts what it takes.
struct Slow {
    line: UnixStream,
    bytes: usize,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // As slow as it is to be, or slower: time is what this line is made of.
        let until = Instant::now() + Duration::from_micros(bytes.len() as u64 / 20);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        let count = self.line.write(bytes)?;
        self.bytes += count;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn over_a_slow_line_all_comes_in_clearly_fewer_bytes() {
    let (source, mut copy) = (Specimen::start("full"), Specimen::start("empty"));
    let Some(pager) = copy.pager() else { return };
    let server = PageServer::new(source.pid(), ID, [left()]);
    let (stream, line) = UnixStream::pair().unwrap();
    let (faults, to_answer) = UnixStream::pair().unwrap();
    let mut slow = Slow { line, bytes: 0 };
    let followed = thread::scope(|scope| {
        let follower = scope.spawn(move || follow(pager, [left()], ID, &stream, &faults, || {}));
        scope.spawn(|| assert!(server.answer(&to_answer).unwrap(), "all is there"));
        server.stream(&mut slow).unwrap();
        follower.join().unwrap().unwrap()
    });
    assert_eq!((followed.bytes, followed.faults), (LEN / 4 * 3, 0));
    // The first of it tells how slow the line is.
    assert!((slow.bytes as u64) < LEN / 4, "{} bytes", slow.bytes);
    assert_eq!(copy.asked('a'), 0);
}

#[test]
fn nobody_waits_for_ever_where_others_change_the_memory() {
    let Some((said, _)) = followed_while('r') else { return };
    assert_eq!(said, 0);
}

#[test]
fn a_copy_whose_pages_cannot_come_is_lost_and_sees_no_wrong_one() {
    let (source, mut copy) = (Specimen::start("full"), Specimen::start("empty"));
    let Some(pager) = copy.pager() else { return };
    let server = PageServer::new(source.pid(), ID, [left()]);
    let (stream, to_stream) = UnixStream::pair().unwrap();
    let (faults, to_answer) = UnixStream::pair().unwrap();
    let is_lost = AtomicBool::new(false);
    let pid = copy.pid();
    // It waits for its first page, and so would find a wrong one.
    writeln!(copy.input, "a").unwrap();
    thread::scope(|scope| {
        let follower = scope.spawn(|| {
            follow(pager, [left()], ID, &stream, &faults, || {
                is_lost.store(true, Relaxed);
                sys::process::kill_tree(pid).unwrap();
            })
        });
        drop((server, to_answer));
        drop(to_stream);
        let failed = follower.join().unwrap();
        assert!(matches!(failed, Err(Error::Pages(_))), "{failed:?}");
    });
    assert!(is_lost.load(Relaxed));
    let mut said = String::new();
    copy.output.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

#[test]
fn damage_is_named_by_its_address() {
    let copy = Specimen::start("empty");
    let Some(pager) = copy.pager() else { return };
    let (stream, mut to_stream) = UnixStream::pair().unwrap();
    let (faults, _to_answer) = UnixStream::pair().unwrap();
    let mut bytes = [5; 4096];
    let head = wire::image::paging::Piece::of(ID, START + 4096, &bytes);
    bytes[99] ^= 1;
    to_stream.write_all(&head.encode()).unwrap();
    to_stream.write_all(&bytes).unwrap();
    let failed = follow(pager, [left()], ID, &stream, &faults, || {});
    let Err(Error::PageSum { address }) = failed else { panic!("{failed:?}") };
    assert_eq!(address, START + 4096);
}

#[test]
fn only_what_was_left_behind_is_told() {
    let source = Specimen::start("full");
    let server = PageServer::new(source.pid(), ID, [left()]);
    let (mut asking, to_answer) = UnixStream::pair().unwrap();
    let request = wire::image::paging::Request { address: START - 4096, len: 8192 };
    asking.write_all(&request.encode()).unwrap();
    let refused = server.answer(&to_answer);
    assert!(matches!(refused, Err(Error::NotLeft { .. })), "{refused:?}");
}
