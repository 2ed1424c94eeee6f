//! The clock that only goes forward.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};

use crate::Error;

/// Nanoseconds since some moment before this host's start of work, the same for all its processes
/// and never set back. It stands still while the host sleeps. Costs about 25 ns: the vDSO answers,
/// without a switch to the kernel.
pub fn monotonic_nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    let seconds = u64::try_from(now.tv_sec()).expect("this clock starts at 0");
    let rest = u64::try_from(now.tv_nsec()).expect("this clock starts at 0");
    seconds * 1_000_000_000 + rest
}

/// Whether something keeps this host's clock by others' (NTP, PTP), as the kernel was told; `None`
/// where it may not be asked.
pub fn is_synchronised() -> Option<bool> {
    // SAFETY: zero is a value of each of its fields, all integers; `modes` of 0 only asks.
    let mut asked = unsafe { std::mem::zeroed::<libc::timex>() };
    // SAFETY: the kernel writes one `timex` to `asked`, ours alone during the call, and sets
    // nothing, since `modes` is 0.
    let state = unsafe { libc::adjtimex(&raw mut asked) };
    (state >= 0).then_some(state != libc::TIME_ERROR && asked.status & libc::STA_UNSYNC == 0)
}

/// Nanoseconds that the threads of this process have been on processors, in user and kernel mode.
pub fn own_processor_nanoseconds() -> u64 {
    let used =
        clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every Linux has this clock");
    let seconds = u64::try_from(used.tv_sec()).expect("this clock starts at 0");
    let rest = u64::try_from(used.tv_nsec()).expect("this clock starts at 0");
    seconds * 1_000_000_000 + rest
}

/// A descriptor that becomes readable at a moment of [`monotonic_nanoseconds`]. To set it anew takes
/// back that it was readable, so it need not be read.
#[derive(Debug)]
pub struct Alarm(TimerFd);

impl Alarm {
    /// One that is not set.
    pub fn new() -> Result<Self, Error> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(timerfd::ClockId::CLOCK_MONOTONIC, flags);
        timer.map(Self).map_err(Error::kernel("make a timer"))
    }

    /// Sets it to that moment and to no other. A moment that has passed is now.
    pub fn set(&self, nanoseconds: u64) -> Result<(), Error> {
        // Zero would mean never.
        let at = i64::try_from(nanoseconds.max(1)).unwrap_or(i64::MAX);
        let at = TimeSpec::new(at / 1_000_000_000, at % 1_000_000_000);
        let set = self.0.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME);
        set.map_err(Error::kernel("set a timer"))
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::socket::wait;

    #[test]
    fn an_alarm_is_readable_from_its_moment_on() {
        let alarm = Alarm::new().unwrap();
        let is_readable = |patience| wait(&alarm, false, patience).unwrap().readable;
        assert!(!is_readable(Duration::ZERO), "it was not set");
        let at = monotonic_nanoseconds() + 5_000_000;
        alarm.set(at).unwrap();
        assert!(is_readable(Duration::from_secs(10)));
        assert!(monotonic_nanoseconds() >= at);
        alarm.set(at + 3_600_000_000_000).unwrap();
        assert!(!is_readable(Duration::ZERO), "it was set anew");
        alarm.set(0).unwrap();
        assert!(is_readable(Duration::from_secs(10)), "what has passed is now");
    }

    #[test]
    fn time_never_goes_back() {
        let readings: Vec<u64> = (0..1000).map(|_| super::monotonic_nanoseconds()).collect();
        assert!(readings.is_sorted());
        assert!(readings[999] > readings[0]);
    }
}
