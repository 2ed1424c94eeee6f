//! A program that makes copies of itself has no child that it did not start: its handler of SIGCHLD does not
//! run, and whoever waits there for any child gets none. In a file of its own: handlers are a process's.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use farcall_telefork::{Departed, Location, depart, telefork_to, telepad, wait_for_exit};
use nix::errno::Errno;
use nix::sys::wait::wait;

/// Says that this process was started with SIGCHLD ignored.
const IGNORED: &str = "FARCALL_TEST_CHILDREN_IGNORED";

/// Sends a copy both ways; returns the last image.
fn copies() -> Vec<u8> {
    let mut image = Vec::new();
    for number in 0..3 {
        image.clear();
        match telefork_to(&mut image).unwrap() {
            Location::Parent => {}
            Location::Child(code) => sys::park::end(code),
        }
        let mut leaving = match depart().unwrap() {
            Departed::Parent(departing) => departing.hold().unwrap(),
            Departed::Child(code) => sys::park::end(code),
        };
        leaving.send(Some(number), &mut Vec::new()).unwrap();
        leaving.end().unwrap();
    }
    image
}

/// The same, while another thread waits for any child.
fn copies_that_nobody_sees() -> Vec<u8> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut found = Vec::new();
            while !is_over.load(Relaxed) {
                match wait() {
                    Err(Errno::ECHILD) => thread::park_timeout(Duration::from_micros(50)),
                    other => found.push(other),
                }
            }
            found
        });
        let image = copies();
        is_over.store(true, Relaxed);
        assert_eq!(waiting.join().unwrap(), []);
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
        assert_eq!(children, "");
        image
    })
}

#[test]
fn a_program_hears_of_no_child_but_its_own() {
    if std::env::var_os(IGNORED).is_some() {
        copies_that_nobody_sees();
        return;
    }
    let ignoring = Command::new("bash")
        .args(["-c", "trap '' CHLD; exec \"$0\" --exact a_program_hears_of_no_child_but_its_own"])
        .arg(std::env::current_exe().unwrap())
        .env(IGNORED, "1")
        .status();
    assert!(ignoring.unwrap().success());

    let heard = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::clone(&heard)).unwrap();
    let image = copies_that_nobody_sees();
    assert!(!heard.load(Relaxed), "SIGCHLD came");
    // And such an image wakes; of that one it hears.
    let child = telepad(&mut &image[..], 7).unwrap();
    assert_eq!(wait_for_exit(child).unwrap(), 7);
    assert!(heard.load(Relaxed), "it hears of nobody");
}
