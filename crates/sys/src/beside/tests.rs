//! This test process runs things as other processes with its memory.

use std::sync::mpsc::channel;
use std::thread;

use super::*;

#[test]
fn what_runs_beside_us_is_another_process_with_our_memory() {
    let mut told = Vec::new();
    let number = run(|| {
        told.push(String::from("from over there"));
        Pid::own()
    });
    assert_eq!(told, ["from over there"]);
    let number = number.unwrap();
    assert_ne!(number, Pid::own());
    assert!(!std::path::Path::new(&format!("/proc/{number}")).exists(), "it stayed");
}

#[test]
fn threads_and_what_runs_beside_them_hear_each_other() {
    let (ask, asked) = channel::<u32>();
    let (answer, answers) = channel();
    let other =
        thread::spawn(move || run(|| asked.iter().for_each(|n| answer.send(n + 1).unwrap())));
    for number in 0..1000 {
        ask.send(number).unwrap();
        assert_eq!(answers.recv().unwrap(), number + 1);
    }
    drop(ask);
    other.join().unwrap().unwrap();
}

#[test]
fn a_panic_beside_us_is_ours_to_hear_of() {
    let caught = std::panic::catch_unwind(|| run(|| panic!("over there")));
    assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"over there"));
}

#[test]
fn one_that_is_killed_is_named() {
    let killed = run(|| {
        let own = Pid::own().0;
        // SAFETY: it takes two numbers; what is killed is the process beside this one.
        unsafe { libc::kill(own, libc::SIGKILL) };
    });
    assert!(killed.unwrap_err().to_string().contains("beside"));
}
