//! A process goes elsewhere and comes back into itself, over connections that do what they should, or do not.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use farcall_telefork::yoyo::{self, Stayed};

fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples").join("yoyo")
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(program())
            .args(["serve", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening at ").unwrap().to_owned();
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn go(address: &str, rounds: u32) -> Output {
    Command::new(program()).args(["go", address, &rounds.to_string()]).output().unwrap()
}

/// A connection between a program and a server, of which `way_back` does with what comes back what it likes.
fn between(
    server: &str,
    way_back: impl FnOnce(Vec<u8>, &mut TcpStream) + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut there = TcpStream::connect(server).unwrap();
    thread::spawn(move || {
        let (mut here, _) = listener.accept().unwrap();
        let (mut from, mut to) = (here.try_clone().unwrap(), there.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from, &mut to));
        let mut back = Vec::new();
        there.read_to_end(&mut back).unwrap();
        way_back(back, &mut here);
        let _ = here.shutdown(Shutdown::Both);
    });
    address
}

#[test]
fn many_journeys_change_what_they_should_and_leave_nothing_behind() {
    let server = Server::start();
    let [one, many] = [1, 25].map(|rounds| {
        let done = go(&server.address, rounds);
        assert!(done.status.success(), "{done:?}");
        let text = String::from_utf8(done.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(many[0], "25 words, 325000 numbers, 25 actions");
    assert_eq!((&one[1..3], &one[2][..]), (&many[1..3], "children: \"\""));
    let count = |line: &str| line.split(' ').next().unwrap().parse::<u32>().unwrap();
    assert!(count(&many[3]) <= count(&one[3]) + 1, "{one:?} {many:?}");
}

#[test]
fn whatever_is_wrong_with_what_comes_back_the_caller_is_as_it_was() {
    let server = Server::start();
    let ways: [fn(Vec<u8>) -> Vec<u8>; 4] = [
        |_| Vec::new(),
        |bytes| bytes[..bytes.len() - 1].to_vec(),
        |mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        },
        |bytes| bytes.iter().map(|byte| !byte).collect(),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let address = between(&server.address, move |bytes, to| {
            let _ = to.write_all(&way(bytes));
        });
        let done = go(&address, 1);
        let words = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && words.contains("as it was: true"), "{number}: {words}");
    }
}

#[test]
fn nobody_at_the_other_end_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let done = go(&address, 1);
    let words = String::from_utf8(done.stderr).unwrap();
    assert!(words.contains("refused") && words.contains("as it was: true"), "{words}");
}

#[test]
fn a_lock_that_another_thread_held_when_the_helper_was_made_is_waited_for_within_a_bound() {
    static LOCK: Mutex<()> = Mutex::new(());
    let (locked, is_locked) = channel();
    let (done, is_done) = channel::<()>();
    let other = thread::spawn(move || {
        let held = LOCK.lock().unwrap();
        locked.send(()).unwrap();
        let _ = is_done.recv();
        drop(held);
    });
    is_locked.recv().unwrap();
    let stayed = yoyo::go(Duration::from_millis(50), |_, _| {
        drop(LOCK.lock());
        Ok(())
    });
    let Err(Stayed(words)) = stayed else { panic!("it went") };
    assert!(words.contains("another thread may have held a lock"), "{words}");
    drop(done);
    other.join().unwrap();
}
