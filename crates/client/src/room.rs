//! How many nodes a client can be linked with: each takes descriptors, of which a process has a number.

/// Descriptors that are left to the rest of the process, before links and their bulk connections
/// share what remains.
const DESCRIPTORS_LEFT: u64 = 32;

/// How many nodes a process can be linked with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) links: usize,
    /// What it may have open in all.
    pub(crate) descriptors: u64,
}

impl Room {
    pub(crate) fn of_process() -> Self {
        let limit = sys::limits::limit(sys::Pid::own(), sys::limits::Resource::OpenFiles);
        Self::of(limit.map_or(1024, |limit| limit.soft))
    }

    /// Half of what is left is for bulk connections. A few are always tried: the kernel knows.
    fn of(descriptors: u64) -> Self {
        let links = descriptors.saturating_sub(DESCRIPTORS_LEFT) / 2;
        Self { links: usize::try_from(links).unwrap_or(usize::MAX).max(4), descriptors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_leave_descriptors_for_payloads_and_for_the_caller() {
        assert_eq!(Room::of(1024).links, 496);
        assert_eq!(Room::of(64).links, 16);
        assert_eq!(Room::of(0).links, 4);
        assert!(Room::of(u64::MAX).links >= 10_000);
    }
}
