//! Turns the tables of system calls into a program for the kernel, and applies it.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::policy::{ARGUMENTS, Argument, CALLS, OLD_CALLS};

/// From now on, for good, the calling thread and those it starts make no other system calls.
pub(super) fn apply() -> Result<(), seccompiler::Error> {
    seccompiler::apply_filter(&program()?)
}

fn program() -> Result<BpfProgram, seccompiler::Error> {
    let mut rules = BTreeMap::new();
    for (_reason, calls) in CALLS.iter().chain(OLD_CALLS) {
        for call in *calls {
            // No condition: whatever the arguments.
            rules.insert(*call, Vec::new());
        }
    }
    for (call, at, argument, _reason) in &ARGUMENTS {
        rules.insert(*call, conditions(*at, argument)?);
    }
    // What a kernel says that does not have it: programs then use what they used before, which
    // they do not after "not permitted".
    let refused = SeccompAction::Errno(libc::ENOSYS as u32);
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)?;
    Ok(BpfProgram::try_from(filter)?)
}

/// One of the rules has to hold, and all conditions of it.
fn conditions(at: u8, argument: &Argument) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let condition = |is, value| SeccompCondition::new(at, Length::Dword, is, u64::from(value));
    match argument {
        Argument::OneOf(values) => {
            values.iter().map(|&value| SeccompRule::new(vec![condition(Is::Eq, value)?])).collect()
        }
        Argument::NoneOf(values) => {
            let all: Result<_, _> = values.iter().map(|&value| condition(Is::Ne, value)).collect();
            Ok(vec![SeccompRule::new(all?)?])
        }
        Argument::Without(bits) => {
            Ok(vec![SeccompRule::new(vec![condition(Is::MaskedEq(u64::from(*bits)), 0)?])?])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that is named twice would be one of two reasons.
    #[test]
    fn every_call_is_named_once_and_the_whole_is_a_program() {
        let tables = CALLS.iter().chain(OLD_CALLS);
        let all: Vec<i64> = tables.flat_map(|(_, calls)| calls.iter().copied()).collect();
        let arguments = ARGUMENTS.iter().map(|(call, ..)| *call);
        let mut all: Vec<i64> = all.into_iter().chain(arguments).collect();
        let named = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), named);
        assert!(program().unwrap().len() < 4096);
    }

    #[test]
    fn what_opens_the_kernel_or_a_neighbour_is_not_on_the_list() {
        let dangerous = [
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_fsopen,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_mount_setattr,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_clone3,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_kcmp,
            libc::SYS_pidfd_getfd,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_kexec_load,
            libc::SYS_reboot,
            libc::SYS_open_by_handle_at,
            libc::SYS_fanotify_init,
            libc::SYS_personality,
            libc::SYS_setuid,
            libc::SYS_setns,
        ];
        for (reason, calls) in CALLS.iter().chain(OLD_CALLS) {
            for call in dangerous {
                assert!(!calls.contains(&call), "{call} is allowed for {reason}");
            }
        }
    }
}
