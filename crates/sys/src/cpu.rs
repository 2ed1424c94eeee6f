//! Processors: how many this process may use, and which of them a thread runs on.

use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};

use crate::{Error, Pid};

/// More processors than any Linux can be built for (NR_CPUS is at most 8192).
const PROCESSORS_MAX: usize = 1 << 16;

/// Processors that the calling thread may run on, by its affinity mask. A cgroup's quota is not
/// counted: it limits time, not places.
pub fn usable() -> NonZeroUsize {
    // The kernel refuses (EINVAL) a mask shorter than its own, whose length it does not tell.
    let mut mask = vec![0_u64; 1024 / 64];
    while mask.len() * 64 <= PROCESSORS_MAX {
        // SAFETY: the kernel writes at most `size_of_val(mask)` bytes at the pointer, and `mask` is
        // ours alone for the whole call; its words are as aligned as `cpu_set_t`'s.
        let refused = unsafe {
            libc::sched_getaffinity(0, size_of_val(mask.as_slice()), mask.as_mut_ptr().cast())
        };
        if refused == 0 {
            break;
        }
        let twice = mask.len() * 2;
        mask.resize(twice, 0);
    }
    let count: u32 = mask.iter().map(|word| word.count_ones()).sum();
    // A mask of nothing would mean that we are not running.
    NonZeroUsize::new(count as usize).unwrap_or(NonZeroUsize::MIN)
}

/// Where a thread may run.
#[derive(Clone)]
pub struct Places(libc::cpu_set_t);

impl Places {
    /// Where the calling thread may run now.
    pub fn own() -> Result<Self, Error> {
        // SAFETY: zero is a value of its field, an array of integers.
        let mut set = unsafe { MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init() };
        // SAFETY: the kernel writes at most `size_of` bytes to `set`, ours alone during the call.
        let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
        // Hosts with more processors than the set has bits answer EINVAL.
        if result == 0 { Ok(Self(set)) } else { Err(failed("ask where a thread may run")) }
    }

    /// This processor alone, if it is one of these.
    pub fn only(&self, processor: u32) -> Option<Self> {
        let index = processor as usize;
        if index >= libc::CPU_SETSIZE as usize {
            return None;
        }
        // SAFETY: `index` was checked against the set's size.
        if !unsafe { libc::CPU_ISSET(index, &self.0) } {
            return None;
        }
        // SAFETY: zero is a value of its field, an array of integers.
        let mut set = unsafe { MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init() };
        // SAFETY: as above.
        unsafe { libc::CPU_SET(index, &mut set) };
        Some(Self(set))
    }

    /// Says where a thread may run from now on; the calling thread is `Pid(0)`.
    pub fn assign(&self, thread: Pid) -> Result<(), Error> {
        // SAFETY: the kernel reads `size_of` bytes of the borrowed set, and nothing else.
        let result =
            unsafe { libc::sched_setaffinity(thread.0, size_of_val(&self.0), &raw const self.0) };
        if result == 0 { Ok(()) } else { Err(failed("say where a thread may run")) }
    }

    /// The same for all threads that a process has now.
    pub fn assign_all(&self, process: Pid) -> Result<(), Error> {
        for thread in crate::proc::thread_ids(process)? {
            match self.assign(thread) {
                Err(error) if !error.is_gone() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Confines the calling thread to the processor that it is on; returns where it could run before.
pub fn stay() -> Option<Places> {
    let anywhere = Places::own().ok()?;
    let here = anywhere.only(current()?)?;
    here.assign(Pid(0)).ok()?;
    Some(anywhere)
}

/// The processor that the calling thread runs on just now.
pub fn current() -> Option<u32> {
    // SAFETY: takes nothing and returns a number.
    u32::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// The processor that a TCP socket's last packet arrived at: on loopback the sender's own.
pub fn incoming(socket: &impl AsFd) -> Option<u32> {
    let mut processor: libc::c_int = -1;
    let mut length = size_of_val(&processor) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of `processor`, ours alone during
    // the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_INCOMING_CPU,
            (&raw mut processor).cast(),
            &raw mut length,
        )
    };
    if result == 0 { u32::try_from(processor).ok() } else { None }
}

fn failed(action: &'static str) -> Error {
    Error::kernel(action)(io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    #[test]
    fn usable_processors_are_those_the_kernel_lists() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("Cpus_allowed:")).unwrap();
        let mask = line.split_whitespace().nth(1).unwrap().replace(',', "");
        let listed: u32 = mask.chars().map(|digit| digit.to_digit(16).unwrap().count_ones()).sum();
        assert_eq!(super::usable().get(), listed as usize);
    }
}
