//! Memory whose thread ends.

use std::num::NonZeroUsize;

use sys::uffd::PAGE;

use super::*;

#[test]
fn a_thread_that_fails_leaves_nobody_waiting() {
    let page = NonZeroUsize::new(PAGE).unwrap();
    let memory = match FaultMemory::reserve(page, None) {
        Ok(memory) => memory,
        Err(error) => {
            eprintln!("skipped: {error}: {:?}", std::error::Error::source(&error));
            return;
        }
    };
    let fate = Fate::new().unwrap();
    answer(&memory, &fate, || panic!("a bug"));
    assert!(fate.lost.get().is_some_and(|why| why.contains("failed")));
    // Nobody may touch it: whoever does is ended, and does not wait.
    let start = format!("{:x}-", memory.as_ptr().addr());
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.starts_with(&start)).unwrap();
    assert!(line.contains(" ---p "), "{line}");
}
