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

/// One answer of the instruction `cpuid`: what the processor has.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    pub leaf: u32,
    pub subleaf: u32,
    /// eax, ebx, ecx, edx.
    pub answer: [u32; 4],
}

/// The leaves that tell which instructions and which registers there are: 1, 7, 0xd, 0x14, 0x19, 0x1e, 0x24
/// and the extended ones. What differs between the processors of one host (their numbers) is 0.
#[cfg(target_arch = "x86_64")]
pub fn leaves() -> Vec<Leaf> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let ask = |leaf: u32, subleaf: u32| {
        let found = __cpuid_count(leaf, subleaf);
        Leaf { leaf, subleaf, answer: [found.eax, found.ebx, found.ecx, found.edx] }
    };
    let (last, last_extended) = (__cpuid(0).eax, __cpuid(0x8000_0000).eax);
    let wanted = [(1, 0), (7, 0), (7, 1), (7, 2), (0xd, 0), (0xd, 1), (0x14, 0), (0x19, 0)];
    let wanted = wanted.into_iter().chain([(0x1e, 0), (0x24, 0)]);
    let mut found: Vec<Leaf> = wanted
        .filter(|(leaf, _)| *leaf <= last)
        .map(|(leaf, subleaf)| ask(leaf, subleaf))
        .collect();
    for leaf in found.iter_mut().filter(|leaf| leaf.leaf == 1) {
        // The number of the processor that was asked, and how many there are.
        leaf.answer[1] &= 0x0000_ff00;
    }
    let extended = [0x8000_0001, 0x8000_0008];
    let extended = extended.into_iter().filter(|leaf| *leaf <= last_extended);
    found.extend(extended.map(|leaf| ask(leaf, 0)));
    found
}

/// Which states of the processor the kernel keeps for each thread (XCR0); 0 where it keeps none in this form.
#[cfg(target_arch = "x86_64")]
pub fn kept_states() -> u64 {
    use std::arch::x86_64::{__cpuid, _xgetbv};
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return 0;
    }
    #[target_feature(enable = "xsave")]
    fn states() -> u64 {
        // SAFETY: the processor has the instruction, as the caller has asked.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: the kernel has switched the feature on, or the bit above would not be set.
    unsafe { states() }
}

/// What the kernel calls the processor, for people.
pub fn model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    line.and_then(|line| line.split_once(':'))
        .map(|(_, name)| name.trim().to_owned())
        .unwrap_or_default()
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
