//! A real child (`specimen.c`) whose pages are filled as it touches, drops and moves them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::Pid;
use crate::ptrace::Tracee;

/// Nothing here waits that long where nothing is broken.
const PATIENCE: Duration = Duration::from_secs(60);

const PAGES: u64 = 16;

struct Specimen {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    start: u64,
    pager: Pager,
}

impl Specimen {
    /// Nothing where the host does not permit it, said aloud.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("specimen");
        let mut compiler = Command::new("cc")
            .args(["-O1", "-w", "-x", "c", "-o"])
            .args([program.as_os_str(), "-".as_ref()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a C compiler");
        compiler.stdin.take().unwrap().write_all(include_bytes!("specimen.c")).unwrap();
        assert!(compiler.wait().unwrap().success());
        let mut child =
            Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let start = number(&mut output);
        let mut tracee = Tracee::seize(Pid(child.id() as i32), PATIENCE).unwrap();
        let mut remote = Remote::enter(&mut tracee.threads_mut()[0], PATIENCE).unwrap();
        let pager = Pager::make_in(&mut remote);
        remote.finish().unwrap();
        tracee.detach().unwrap();
        let pager = match pager {
            Ok(pager) => pager,
            Err(error) => {
                eprintln!("skipped: {error}: {:?}", std::error::Error::source(&error));
                child.kill().unwrap();
                child.wait().unwrap();
                return None;
            }
        };
        pager.register(start, PAGES * PAGE as u64).unwrap();
        Some(Self { child, input, output, start, pager })
    }

    fn at(&self, page: u64) -> u64 {
        self.start + page * PAGE as u64
    }

    fn order(&mut self, what: char, page: u64) {
        writeln!(self.input, "{what} {page}").unwrap();
    }

    fn said(&mut self) -> u64 {
        number(&mut self.output)
    }

    /// Whatever else is to be told: that the old place of what was moved is unmapped, for one. It waits until
    /// that is heard.
    fn hear_until_it_speaks(&self) {
        let (pager, output) = (self.pager.as_fd(), self.output.get_ref().as_fd());
        let mut polled = [pager, output].map(|end| PollFd::new(end, PollFlags::POLLIN));
        let wait = PollTimeout::try_from(PATIENCE).unwrap();
        while polled[1].revents().is_none_or(|seen| seen.is_empty()) {
            assert!(poll(&mut polled, wait).unwrap() > 0, "nothing happened");
            self.pager.events(&mut Vec::new()).unwrap();
        }
    }

    fn fault_at(&self, at: u64) {
        match event(&self.pager) {
            Event::Fault { at: found } if found == at => {}
            other => panic!("not a fault at {at:#x}: {other:?}"),
        }
    }
}

impl Drop for Specimen {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn number(output: &mut BufReader<ChildStdout>) -> u64 {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("{line:?}"))
}

fn event(of: &Pager) -> Event {
    let mut found = Vec::new();
    let mut polled = [PollFd::new(of.as_fd(), PollFlags::POLLIN)];
    let wait = PollTimeout::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut polled, wait), Ok(1), "nothing happened");
    of.events(&mut found).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn page(of: u64) -> Vec<u8> {
    of.to_ne_bytes().repeat(PAGE / 8)
}

const ALL: Filled = Filled { done: PAGE, stopped: None };

#[test]
fn a_page_comes_when_the_program_or_the_kernel_touches_it() {
    let Some(mut specimen) = Specimen::start() else { return };
    for (what, at) in [('r', 1), ('k', 2)] {
        specimen.order(what, at);
        specimen.fault_at(specimen.at(at));
        assert_eq!(specimen.pager.fill(specimen.at(at), &page(7 + at)).unwrap(), ALL);
        assert_eq!(specimen.said(), 7 + at);
    }
    specimen.order('r', 3);
    specimen.fault_at(specimen.at(3));
    assert_eq!(specimen.pager.fill_zero(specimen.at(3), PAGE).unwrap(), ALL);
    assert_eq!(specimen.said(), 0);
}

#[test]
fn pages_that_are_there_already_stay_as_they_are() {
    let Some(mut specimen) = Specimen::start() else { return };
    specimen.pager.fill(specimen.at(1), &page(5)).unwrap();
    let three = [page(1), page(2), page(3)].concat();
    let filled = specimen.pager.fill(specimen.at(0), &three).unwrap();
    assert_eq!(filled, Filled { done: 3 * PAGE, stopped: None });
    for (at, is) in [(0, 1), (1, 5), (2, 3)] {
        specimen.order('r', at);
        assert_eq!(specimen.said(), is);
    }
    let outside = specimen.pager.fill(specimen.at(PAGES) + 1024 * PAGE as u64, &page(1)).unwrap();
    assert_eq!(outside, Filled { done: 0, stopped: Some(Stopped::Elsewhere) });
}

#[test]
fn nothing_is_filled_between_a_change_and_the_word_of_it() {
    let Some(mut specimen) = Specimen::start() else { return };
    specimen.order('d', 4);
    let wait = PollTimeout::try_from(PATIENCE).unwrap();
    poll(&mut [PollFd::new(specimen.pager.as_fd(), PollFlags::POLLIN)], wait).unwrap();
    let filled = specimen.pager.fill(specimen.at(4), &page(9)).unwrap();
    assert_eq!(filled, Filled { done: 0, stopped: Some(Stopped::Changing) });
    match event(&specimen.pager) {
        Event::Dropped { start, end } => {
            assert_eq!((start, end), (specimen.at(4), specimen.at(5)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(specimen.said(), 0);
    assert_eq!(specimen.pager.fill(specimen.at(4), &page(9)).unwrap(), ALL);
}

#[test]
fn unmapped_and_moved_pages_are_told_of() {
    let Some(mut specimen) = Specimen::start() else { return };
    specimen.order('u', 5);
    match event(&specimen.pager) {
        Event::Unmapped { start, end } => {
            assert_eq!((start, end), (specimen.at(5), specimen.at(6)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(specimen.said(), 0);
    let filled = specimen.pager.fill(specimen.at(5), &page(1)).unwrap();
    assert_eq!(filled.stopped, Some(Stopped::Elsewhere));

    specimen.order('m', 6);
    let to = match event(&specimen.pager) {
        Event::Moved { from, to, len } => {
            assert_eq!((from, len), (specimen.at(6), PAGE as u64));
            to
        }
        other => panic!("{other:?}"),
    };
    specimen.hear_until_it_speaks();
    assert_eq!(specimen.said(), to);
    specimen.order('s', 6);
    specimen.fault_at(to);
    assert_eq!(specimen.pager.fill(to, &page(66)).unwrap(), ALL);
    assert_eq!(specimen.said(), 66);
}

#[test]
fn a_child_lacks_what_its_parent_lacks() {
    let Some(mut specimen) = Specimen::start() else { return };
    specimen.order('f', 7);
    let child = match event(&specimen.pager) {
        Event::Forked(child) => child,
        other => panic!("{other:?}"),
    };
    match event(&child) {
        Event::Fault { at } => assert_eq!(at, specimen.at(7)),
        other => panic!("{other:?}"),
    }
    assert_eq!(child.fill(specimen.at(7), &page(77)).unwrap(), ALL);
    assert_eq!(specimen.said(), 77);
    specimen.order('r', 7);
    specimen.fault_at(specimen.at(7));
    specimen.pager.unregister(specimen.start, PAGES * PAGE as u64).unwrap();
    assert_eq!(specimen.said(), 0, "what was let go is as any other memory");
}

#[test]
fn a_process_that_ended_is_told_as_such() {
    let Some(mut specimen) = Specimen::start() else { return };
    specimen.child.kill().unwrap();
    specimen.child.wait().unwrap();
    let filled = specimen.pager.fill(specimen.at(0), &page(1)).unwrap();
    assert_eq!(filled.stopped, Some(Stopped::Ended));
}
