//! What `/proc` says of processes that we made.

use super::*;

#[test]
fn memory_that_is_touched_becomes_resident() {
    let before = memory(Pid::own()).unwrap().unwrap();
    let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
    let after = memory(Pid::own()).unwrap().unwrap();
    assert!(after.resident > before.resident + (50 << 20), "{before:?} {after:?}");
    assert!(after.peak_resident >= after.resident);
    assert!(own_proportional_memory().unwrap() > 50 << 20);
    drop(touched);
}

#[test]
fn an_open_file_is_one_descriptor_more() {
    // Other tests of this process open files too, so that only a large step is telling.
    let before = descriptors(Pid::own()).unwrap();
    let files: Vec<_> = (0..100).map(|_| crate::files::null().unwrap()).collect();
    let after = descriptors(Pid::own()).unwrap();
    assert!(after >= before + 50, "{before} {after}");
    drop(files);
}

#[test]
fn a_process_is_kin_of_itself() {
    let own = kinship(Pid::own()).unwrap();
    assert_eq!(own.parent, Pid::parent());
    assert!(!own.is_dead);
    assert!(threads(Pid::own()).unwrap() >= 1);
}

#[test]
fn a_process_that_is_gone_is_an_error() {
    let gone = Pid(i32::MAX);
    assert!(memory(gone).unwrap_err().is_gone());
    assert!(descriptors(gone).unwrap_err().is_gone());
    assert!(children(gone).unwrap_err().is_gone());
    assert!(kinship(gone).unwrap_err().is_gone());
}

#[test]
fn a_process_cannot_lie_about_its_parent_by_its_name() {
    let stat = "42 (evil) R 1 1 1 () S 7 8 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0";
    let want = Kinship { parent: Pid(7), session: Pid(9), is_dead: false };
    assert_eq!(parse_kinship(stat), Some(want));
}

#[test]
fn a_process_whose_main_thread_ended_is_not_dead_before_the_others() {
    let stat = |threads| format!("42 (x) Z 7 8 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0");
    assert!(parse_kinship(&stat(1)).unwrap().is_dead);
    assert!(!parse_kinship(&stat(2)).unwrap().is_dead);
}

#[test]
fn garbage_is_refused_and_does_not_panic() {
    for text in ["", ")", "1 (x", "1 (x) R", "1 (x) R y 2 3", "1 (x) R 99999999999 1 1"] {
        assert_eq!(parse_kinship(text), None, "{text:?}");
    }
    let absurd = "VmRSS: 99999999999999999999 kB\nVmHWM: 1 kB";
    for text in ["", "VmRSS:", "VmRSS: 1 kB", "VmRSS: x kB\nVmHWM: 1 kB", absurd] {
        assert_eq!(parse_memory(text), None, "{text:?}");
    }
    let overflow = format!("VmRSS: {} kB\nVmHWM: 1 kB", u64::MAX);
    assert_eq!(parse_memory(&overflow), None);
}
