//! What a call's results mean, and processes that hang.

use super::*;

#[test]
fn a_copy_without_what_it_was_is_no_copy_that_can_come_back() {
    assert_eq!(stood(AWAY as isize, 42), Stood::Away(Pid(42)));
    assert_eq!(stood(AWAY as isize, -11), Stood::Unmade(11));
    assert_eq!(stood(1, 42), Stood::Told);
    assert_eq!(stood(-11, 42), Stood::Alone);
}

#[test]
fn a_process_that_hangs_is_ended_unless_its_watch_is_stopped() {
    for is_stopped in [false, true] {
        let made = split().unwrap();
        let Split::Parent(child) = made else {
            let watch = Watch::new();
            watch.set(Duration::from_millis(1));
            if is_stopped {
                watch.set(Duration::from_secs(3600));
                watch.stop();
                crate::park::end(3);
            }
            loop {
                std::thread::park();
            }
        };
        let end = reap(child);
        assert_eq!((end.is_none(), was_watch(end)), (is_stopped, !is_stopped), "{end:?}");
    }
}
