//! Waiting for something that comes soon: by looking again and again for a while before sleeping.
//!
//! A core without work goes to sleep, and waking it takes longer than most answers do: on a virtual
//! machine 20 to 40 µs against 5. So whoever was woken soon after it had gone to sleep, several times in a
//! row, looks next time, for about as long as being woken costs; between two looks it lets others run. It
//! goes on only while most looks find something, and not where others want the core: then its turn comes
//! late, and the kernel prefers those who slept.
//!
//! ```text
//! asleep --ENTER short waits--> looking --vain looks, long waits--> asleep
//!                                  |
//!                                  +---- a late turn ----> asleep, for a while longer each time
//! ```

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use crate::socket;

/// For so long one looks. Longer would cost more than to sleep and be woken.
const LOOK: Duration = Duration::from_micros(50);
/// A sleep that was no longer might have been a look: two wake-ups are part of it.
const SHORT: Duration = Duration::from_micros(120);
/// Trust from which on it looks, and the most there is. Each short wait earns one.
const ENTER: u32 = 8;
const TRUST_MAX: u32 = 16;
/// What a look in vain costs.
const VAIN: u32 = 4;
/// Others have their turn between two looks; one that takes longer is one of somebody busy.
const TURN_MAX: Duration = Duration::from_micros(200);
/// The first pause after a late turn. It grows fourfold if the next one comes within `SOON` after it: who
/// computes takes the core for a few milliseconds, again and again; anything else is noise.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(15);

/// What one who waits again and again has learnt from it.
#[derive(Debug, Default)]
pub struct Spin {
    trust: u32,
    pause: Duration,
    not_before: Option<Instant>,
}

/// How a wait was.
struct Waited {
    ended: Instant,
    has_looked: bool,
    /// Others had the core for long between two looks.
    was_late: bool,
    /// For how long it slept, if looking found nothing.
    slept: Option<Duration>,
    /// Something came, and not only the end of the time.
    has_found: bool,
}

impl Spin {
    /// Waits with `once`, at most for `timeout` (none: for ever). `once` waits at most for the time that it
    /// is given, without an end if it is given none, and returns nothing if nothing came.
    pub fn wait<R>(
        &mut self,
        timeout: Option<Duration>,
        mut once: impl FnMut(Option<Duration>) -> io::Result<Option<R>>,
    ) -> io::Result<Option<R>> {
        if timeout == Some(Duration::ZERO) {
            return once(timeout);
        }
        let began = Instant::now();
        let (mut before, mut was_late) = (began, false);
        let has_looked = self.looks(began);
        if has_looked {
            let span = timeout.map_or(LOOK, |timeout| timeout.min(LOOK));
            loop {
                let found = once(Some(Duration::ZERO));
                let now = Instant::now();
                was_late = now - before > TURN_MAX;
                before = now;
                if !matches!(found, Ok(None)) {
                    self.learn(&Waited {
                        ended: now,
                        has_looked,
                        was_late,
                        slept: None,
                        has_found: true,
                    });
                    return found;
                }
                if was_late || now - began >= span {
                    break;
                }
                yield_now();
            }
        }
        let found = once(timeout.map(|timeout| timeout.saturating_sub(before - began)));
        let ended = Instant::now();
        let (slept, has_found) = (Some(ended - before), !matches!(found, Ok(None)));
        self.learn(&Waited { ended, has_looked, was_late, slept, has_found });
        found
    }

    /// Reads what is there, or what comes first.
    pub fn read(
        &mut self,
        source: &mut (impl Read + AsFd),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let read = self.wait(None, |timeout| {
            if timeout.is_some() && !socket::wait(source, false, Duration::ZERO)?.readable {
                return Ok(None);
            }
            source.read(buffer).map(Some)
        });
        // Without an end it waits until there is something.
        Ok(read?.unwrap_or_default())
    }

    fn looks(&self, now: Instant) -> bool {
        self.trust >= ENTER && self.not_before.is_none_or(|not_before| now >= not_before)
    }

    fn learn(&mut self, waited: &Waited) {
        if waited.was_late {
            let again = self.not_before.is_some_and(|end| waited.ended <= end + SOON);
            self.pause = if again { (self.pause * 4).min(PAUSE_MAX) } else { PAUSE };
            self.not_before = Some(waited.ended + self.pause);
        }
        if waited.has_looked && waited.slept.is_some() {
            self.trust = self.trust.saturating_sub(VAIN);
        }
        if waited.slept.is_some_and(|slept| slept > SHORT) {
            self.trust /= 2;
        } else if waited.has_found {
            self.trust = (self.trust + 1).min(TRUST_MAX);
        }
    }
}

#[cfg(test)]
mod tests;
