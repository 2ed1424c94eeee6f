//! The clock that only goes forward.

use nix::time::{ClockId, clock_gettime};

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

#[cfg(test)]
mod tests {
    #[test]
    fn time_never_goes_back() {
        let readings: Vec<u64> = (0..1000).map(|_| super::monotonic_nanoseconds()).collect();
        assert!(readings.is_sorted());
        assert!(readings[999] > readings[0]);
    }
}
