//! Threads of ours in a program of somebody else's.

use std::io;
use std::thread::{Builder, JoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow};

/// Starts a thread of this name with all signals blocked, so that no handler of the program runs on it:
/// one that waits for what the thread does would wait for ever. Faults of the thread itself end the
/// process, as they do without a handler.
pub fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    // A thread begins with its maker's mask.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = Builder::new().name(name.to_owned()).spawn(body);
    before.thread_set_mask()?;
    started
}

/// The calling thread does what nobody waits for: from now on, and for good, those that somebody waits for
/// go before it.
pub fn stand_back() {
    // SAFETY: it takes numbers alone; 0 is the calling thread, for the kernel gives each its own.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, STOOD_BACK) };
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads one `sched_param`, which is ours.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
}

/// As the command `nice` does.
const STOOD_BACK: libc::c_int = 10;

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn who_stands_back_does_it_alone() {
        // SAFETY: it takes numbers alone.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = nice();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                stand_back();
                assert_eq!(nice(), STOOD_BACK.max(before));
            });
        });
        assert_eq!(nice(), before);
    }

    #[test]
    fn no_signal_reaches_the_thread_and_its_maker_hears_as_before() {
        let before = SigSet::thread_get_mask().unwrap();
        let inside = spawn("quiet", || SigSet::thread_get_mask().unwrap()).unwrap().join().unwrap();
        for signal in [Signal::SIGUSR1, Signal::SIGALRM, Signal::SIGTERM, Signal::SIGSEGV] {
            assert!(inside.contains(signal), "{signal}");
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}
