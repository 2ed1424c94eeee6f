//! Processes that start with nothing, and end with all they started.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::{Error, Pid, proc};

/// A shell that runs `script`, writing to a pipe as its number 1.
fn shell(script: &str) -> (Spawn, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut spawn = Spawn::new("/bin/sh");
    spawn.args = vec!["-c".into(), script.into()];
    spawn.descriptors.push((OwnedFd::from(writer), 1));
    spawn.stderr = Stderr::Inherit;
    (spawn, reader)
}

/// What a shell's script writes until its end.
#[track_caller]
fn output(script: &str) -> String {
    let (spawn, mut reader) = shell(script);
    let mut child = spawn.start().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Code(0));
    text
}

fn line(reader: &mut impl BufRead) -> String {
    let mut text = String::new();
    reader.read_line(&mut text).unwrap();
    text.trim_end().to_owned()
}

fn is_dead(pid: Pid) -> bool {
    proc::kinship(pid).is_err() || proc::kinship(pid).unwrap().is_dead
}

#[test]
fn the_exit_code_arrives_with_its_child() {
    let (spawn, _reader) = shell("exit 7");
    let mut child = spawn.start().unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Code(7));
    assert_eq!(child.try_wait().unwrap(), Some(Exit::Code(7)));
    child.kill().unwrap();
    child.kill_tree().unwrap();
}

#[test]
fn a_child_that_kills_itself_tells_the_signal() {
    let (spawn, _reader) = shell("ulimit -c 0; kill -SEGV $$");
    let exit = spawn.start().unwrap().wait().unwrap();
    assert_eq!(exit, Exit::Signal { signal: libc::SIGSEGV, core_dumped: false });
    let (spawn, _reader) = shell("kill -34 $$");
    let exit = spawn.start().unwrap().wait().unwrap();
    assert_eq!(exit, Exit::Signal { signal: 34, core_dumped: false });
}

#[test]
fn a_pidfd_is_readable_only_after_the_end() {
    let (mut spawn, _reader) = shell("read line");
    let (reader, writer) = std::io::pipe().unwrap();
    spawn.descriptors.push((reader.into(), 0));
    let mut child = spawn.start().unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    let ready = |timeout: PollTimeout| {
        poll(&mut [PollFd::new(child.as_fd(), PollFlags::POLLIN)], timeout).unwrap()
    };
    assert_eq!(ready(PollTimeout::ZERO), 0);
    drop(writer);
    assert_eq!(ready(PollTimeout::NONE), 1);
    assert_eq!(child.try_wait().unwrap(), Some(Exit::Code(1)));
}

#[test]
fn a_program_that_does_not_exist_is_an_error_of_its_own_step() {
    let error = Spawn::new("/nowhere/at/all").start().unwrap_err();
    assert!(error.is_gone(), "{error:?}");
    assert_eq!(error.to_string(), "cannot start /nowhere/at/all: executing it failed");
    assert!(matches!(Spawn::new("/bin/\0sh").start(), Err(Error::CallerName { .. })));
}

#[test]
fn nothing_of_the_environment_is_inherited() {
    let (mut spawn, mut reader) = shell("");
    spawn.program = "/usr/bin/env".into();
    spawn.args.clear();
    spawn.env = vec![(OsString::from("LANG"), OsString::from("C")), ("A".into(), "b=c".into())];
    let mut child = spawn.start().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert_eq!(text, "LANG=C\nA=b=c\n");
}

#[test]
fn no_descriptor_is_inherited_but_those_given() {
    // One that forgot to ask for being closed.
    let leaky = File::open("/dev/null").unwrap();
    nix::fcntl::fcntl(&leaky, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let (mut spawn, mut reader) = shell("");
    // `ls` itself opens the folder it lists, by the lowest free number.
    spawn.program = "/bin/ls".into();
    spawn.args = vec!["/proc/self/fd".into()];
    spawn.descriptors.push((leaky.as_fd().try_clone_to_owned().unwrap(), 9));
    let mut child = spawn.start().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3", "9"]);
}

#[test]
fn descriptors_land_on_their_numbers_even_when_these_cross() {
    let (first_reader, mut first_writer) = std::io::pipe().unwrap();
    let (second_reader, mut second_writer) = std::io::pipe().unwrap();
    first_writer.write_all(b"first\n").unwrap();
    second_writer.write_all(b"second\n").unwrap();
    let (one, two) = (first_reader.as_raw_fd(), second_reader.as_raw_fd());
    let (mut spawn, reader) = shell(&format!("cd /proc/$$/fd; head -n1 {two}; head -n1 {one}"));
    // Each is to become the other's number.
    spawn.descriptors.push((first_reader.into(), two));
    spawn.descriptors.push((second_reader.into(), one));
    let mut child = spawn.start().unwrap();
    let mut reader = BufReader::new(reader);
    assert_eq!((line(&mut reader), line(&mut reader)), ("first".into(), "second".into()));
    child.wait().unwrap();
}

#[test]
fn a_child_leads_its_own_session_with_default_signals() {
    let status = output("cat /proc/self/status; cat /proc/self/stat; echo $$");
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    assert_eq!(field("SigBlk:"), "0000000000000000");
    // Rust ignores SIGPIPE in every program, this one included.
    assert_eq!(field("SigIgn:"), "0000000000000000");
    let shell = status.lines().last().unwrap();
    let cat = status.lines().rev().nth(1).unwrap();
    let session = cat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap();
    assert_eq!(session, shell);
}

#[test]
fn signals_are_not_left_blocked_in_the_parent() {
    output("true");
    let mask = nix::sys::signal::SigSet::thread_get_mask().unwrap();
    assert_eq!(mask, nix::sys::signal::SigSet::empty());
}

#[test]
fn a_child_dies_with_the_thread_that_started_it() {
    let (mut spawn, _reader) = shell("read line");
    let (reader, _writer) = std::io::pipe().unwrap();
    spawn.descriptors.push((reader.into(), 0));
    let mut child = std::thread::spawn(|| spawn.start().unwrap()).join().unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Signal { signal: libc::SIGKILL, core_dumped: false });
}

#[test]
fn killing_a_child_kills_its_group() {
    let (spawn, reader) = shell("cat /dev/zero >/dev/null & echo $!; wait");
    let mut child = spawn.start().unwrap();
    let mut reader = BufReader::new(reader);
    line(&mut reader);
    child.kill().unwrap();
    assert!(matches!(child.wait().unwrap(), Exit::Signal { signal: libc::SIGKILL, .. }));
    // The pipe ends when the last holder of its other end has.
    assert_eq!(line(&mut reader), "");
}

#[test]
fn what_a_child_leaves_in_its_group_ends_with_it() {
    let (spawn, reader) = shell("cat /dev/zero >/dev/null & echo started");
    let mut child = spawn.start().unwrap();
    let mut reader = BufReader::new(reader);
    assert_eq!(line(&mut reader), "started");
    assert_eq!(child.wait().unwrap(), Exit::Code(0));
    assert_eq!(line(&mut reader), "");
}

#[test]
fn descendants_in_other_sessions_and_without_parents_are_killed() {
    // Three that try to get away: in a session of its own; orphaned; both, twice over.
    let script = "
        setsid sh -c 'echo $$; exec cat /dev/zero >/dev/null' &
        (sh -c 'echo $$; exec cat /dev/zero >/dev/null' &)
        setsid sh -c '(setsid sh -c \"echo \\$\\$; exec cat /dev/zero >/dev/null\" &)' &
        read line";
    let (mut spawn, reader) = shell(script);
    let (input, _writer) = std::io::pipe().unwrap();
    spawn.descriptors.push((input.into(), 0));
    let mut child = spawn.start().unwrap();
    let mut reader = BufReader::new(reader);
    let escaped: Vec<Pid> = (0..3).map(|_| Pid(line(&mut reader).parse().unwrap())).collect();
    assert!(escaped.iter().all(|&pid| !is_dead(pid)));
    child.kill_tree().unwrap();
    assert!(matches!(child.wait().unwrap(), Exit::Signal { signal: libc::SIGKILL, .. }));
    assert_eq!(line(&mut reader), "");
    assert!(escaped.iter().all(|&pid| is_dead(pid)));
}

#[test]
fn a_child_that_keeps_forking_is_killed_whole() {
    // Each link starts the next in a session of its own and ends: the chain has no fixed process.
    let folder = std::env::temp_dir().join(format!("farcall-chain-{}", std::process::id()));
    fs::write(&folder, "setsid sh \"$0\" & \n").unwrap();
    let script =
        format!("for i in 1 2 3; do sh {} & done; echo started; wait; read l", folder.display());
    let (mut spawn, reader) = shell(&script);
    let (input, _writer) = std::io::pipe().unwrap();
    spawn.descriptors.push((input.into(), 0));
    let mut child = spawn.start().unwrap();
    let mut reader = BufReader::new(reader);
    assert_eq!(line(&mut reader), "started");
    child.kill_tree().unwrap();
    child.wait().unwrap();
    // All of them hold the pipe: it ends when none is left.
    assert_eq!(line(&mut reader), "");
    fs::remove_file(folder).unwrap();
}
