//! A program that makes copies of itself has no child that it did not start: its handler of SIGCHLD does not
//! run, and whoever waits there for any child gets none. In a file of its own: handlers are a process's.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use farcall_telefork::{Departed, Location, depart, telefork_to, telepad, wait_for_exit};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::wait;

static HEARD: AtomicU32 = AtomicU32::new(0);

extern "C" fn hear(_: i32) {
    HEARD.fetch_add(1, Relaxed);
}

fn on_children(handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler adds to a number.
    unsafe { sigaction(Signal::SIGCHLD, &action) }.unwrap();
}

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
        leaving.send(number, &mut Vec::new()).unwrap();
        leaving.end().unwrap();
    }
    image
}

#[test]
fn a_program_hears_of_no_child_but_its_own() {
    let is_over = AtomicBool::new(false);
    let mut seen = Vec::new();
    let image = thread::scope(|scope| {
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
        on_children(SigHandler::Handler(hear));
        let image = copies();
        on_children(SigHandler::SigIgn);
        copies();
        is_over.store(true, Relaxed);
        seen.extend(waiting.join().unwrap());
        image
    });
    assert_eq!(seen, []);
    assert_eq!(HEARD.load(Relaxed), 0, "SIGCHLD came");
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    assert_eq!(children, "");
    // And such an image wakes.
    on_children(SigHandler::SigDfl);
    let child = telepad(&mut &image[..], 7).unwrap();
    assert_eq!(wait_for_exit(child).unwrap(), 7);
}
