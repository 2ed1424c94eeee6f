//! What C is told of a call.

use std::ffi::CStr;

use super::*;

fn last() -> String {
    // SAFETY: the text belongs to this thread, which makes no call before it is copied.
    let text = unsafe { CStr::from_ptr(farcall_last_error()) };
    text.to_str().unwrap().to_owned()
}

#[test]
fn a_panic_is_a_status_and_goes_no_further() {
    let status = guard(|| panic!("of {}", "a test"));
    assert_eq!((status, last()), (FARCALL_BUG, "a bug of Farcall's: of a test".to_owned()));
}

#[test]
fn what_went_wrong_is_kept_for_its_thread_alone() {
    let status = guard(|| Err(Failure::argument("no\0zero stays")));
    assert_eq!((status, last()), (FARCALL_WRONG_ARGUMENT, "nozero stays".to_owned()));
    assert_eq!(std::thread::spawn(last).join().unwrap(), "");
    assert_eq!(guard(|| Ok(FARCALL_UNCHANGED)), FARCALL_UNCHANGED);
    assert_eq!(last(), "nozero stays", "a call that went well leaves it alone");
}
