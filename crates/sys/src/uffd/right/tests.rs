//! Who kept the right has it when all others are gone, and can do nothing else with it.

use super::*;

fn has_right() -> bool {
    match can_follow(false) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("skipped: {error}: {:?}", std::error::Error::source(&error));
            false
        }
    }
}

/// Runs in a process of its own, which has one thread and whose rights nobody needs; its status.
fn in_a_process(what: fn() -> i32) -> i32 {
    // SAFETY: the copy makes only calls that need no lock of another thread, and ends without ours.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let status = what();
        // SAFETY: ends the copy at once.
        unsafe { libc::_exit(status) }
    }
    let mut status = 0;
    // SAFETY: the kernel writes one number, which is ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "{status:x}");
    libc::WEXITSTATUS(status)
}

fn become_nobody() {
    // SAFETY: it takes numbers alone.
    assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
}

#[test]
fn who_gave_up_all_other_rights_is_still_told_of_forks() {
    if !has_right() || device().is_err() {
        return;
    }
    let status = in_a_process(|| {
        let right = Right::keep(true).unwrap();
        become_nobody();
        let device = right.device().unwrap().unwrap();
        let faults = made(&device).unwrap();
        let without = ask(&made(&device).unwrap());
        match (without, right.ask(&faults)) {
            (Err(_), Ok(())) => 7,
            _ => 1,
        }
    });
    assert_eq!(status, 7);
}

#[test]
fn the_keeper_asks_of_nothing_but_faults_and_ends_with_its_owner() {
    if !has_right() {
        return;
    }
    let status = in_a_process(|| {
        let right = Right::keep(true).unwrap();
        become_nobody();
        let other = OwnedFd::from(File::open("/dev/null").unwrap());
        let refused = right.ask(&other).is_err();
        let keeper = right.keeper.as_ref().unwrap().child;
        drop(right);
        // SAFETY: it asks of a number, and sends nothing.
        let is_gone = unsafe { libc::kill(keeper, 0) } < 0;
        if refused && is_gone { 7 } else { 1 }
    });
    assert_eq!(status, 7);
}
