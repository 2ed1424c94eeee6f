//! The far end of a call: it runs, answers, and its process ends.

use std::any::Any;
use std::fs::File;
use std::io::{Write, stdout};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde::Serialize;
use wire::answer::{Answer, Mark, value};

/// One that nobody has had before.
pub(super) fn mark() -> Mark {
    let halves = [transport::random_u64(), transport::random_u64()].map(u64::to_le_bytes);
    let mut mark = Mark::default();
    mark.as_chunks_mut().0.copy_from_slice(&halves);
    mark
}

/// Counts the calls, so that nodes take turns.
pub(super) fn turn() -> usize {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    TURN.fetch_add(1, Relaxed)
}

/// Status of a copy that could not say what it has to say.
const MUTE: i32 = 70;

/// Runs the call, writes its answer to our standard output, and ends this process.
pub(super) fn answer<T: Serialize>(mark: &Mark, call: impl FnOnce() -> T) -> ! {
    let returned = catch_unwind(AssertUnwindSafe(call));
    let answer = match returned {
        Ok(returned) => match value(&returned) {
            Ok(bytes) => Answer::Value(bytes),
            Err(error) => Answer::Panicked(format!("what it returned cannot be sent: {error}")),
        },
        Err(panic) => Answer::Panicked(words(&*panic).to_owned()),
    };
    let encoded = answer.encode(mark).or_else(|error| {
        Answer::Panicked(format!("what it returned cannot be sent: {error}")).encode(mark)
    });
    // What the call printed goes first.
    let said = stdout().flush().is_ok();
    let said = said
        && encoded.is_ok_and(|bytes| {
            let descriptor = stdout().as_fd().try_clone_to_owned();
            descriptor.is_ok_and(|descriptor| File::from(descriptor).write_all(&bytes).is_ok())
        });
    sys::park::end(if said { 0 } else { MUTE })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}
