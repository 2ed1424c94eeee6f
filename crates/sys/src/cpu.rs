//! Processors: how many this process may use.

use std::num::NonZeroUsize;

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
