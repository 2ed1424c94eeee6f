//! What this host can do for a jail, found by trying.

use landlock::{ABI, Access as _, AccessFs, Ruleset, RulesetAttr};
use sys::cgroup::{CONTROLLERS, Controller, Group, Version};
use sys::namespace::Namespaces;
use sys::process;

/// One thing that a host can do or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ability {
    /// What it is good for: "limits of memory", say.
    pub what: &'static str,
    pub state: AbilityState,
    /// What the host's owner can do about what is missing.
    pub remedy: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AbilityState {
    /// Whole; how, in a few words.
    Present {
        how: String,
    },
    /// There is something else in its place.
    Partial {
        why: String,
    },
    Missing {
        why: String,
    },
}

impl Ability {
    /// What lacks, in one line; `None` if nothing.
    pub fn gap(&self) -> Option<String> {
        let what = self.what;
        match &self.state {
            AbilityState::Present { .. } => None,
            AbilityState::Partial { why } | AbilityState::Missing { why } => {
                Some(match self.remedy {
                    Some(remedy) => format!("{what}: {why}; {remedy}"),
                    None => format!("{what}: {why}"),
                })
            }
        }
    }
}

/// Everything that a jail of any level could use, tried now, in the calling process's place. Takes a
/// few milliseconds and leaves nothing behind.
pub fn abilities() -> Vec<Ability> {
    let mut found = vec![namespaces(), user_namespace(), system_calls(), landlock()];
    found.extend(groups());
    found
}

/// Whether jails of level `strict` can be put up here; if not, why and what helps.
pub fn strict_is_possible() -> Result<(), String> {
    let needed = [namespaces(), system_calls()];
    let lacking: Vec<String> = needed.iter().filter_map(Ability::gap).collect();
    if lacking.is_empty() { Ok(()) } else { Err(lacking.join("; ")) }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn namespaces() -> Ability {
    let what = "a view of its own for each worker (level strict)";
    let namespaces = Namespaces::for_own_user();
    match process::try_namespaces(namespaces) {
        Ok(()) => {
            let how = match namespaces {
                Namespaces::ByRoot => "namespaces, made by root",
                Namespaces::ByUser => "namespaces, made by an ordinary user",
            };
            Ability { what, state: AbilityState::Present { how: how.to_owned() }, remedy: None }
        }
        Err(error) => Ability {
            what,
            state: AbilityState::Missing { why: chain(&error) },
            remedy: Some(
                "run the node as root, or let users make namespaces \
                 (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
                 kernel.apparmor_restrict_unprivileged_userns)",
            ),
        },
    }
}

fn user_namespace() -> Ability {
    let what = "a user namespace for each worker";
    match process::try_user_namespace() {
        Ok(()) => Ability {
            what,
            state: AbilityState::Present { how: "one user in each".to_owned() },
            remedy: None,
        },
        Err(error) => Ability {
            what,
            state: AbilityState::Missing { why: chain(&error) },
            remedy: Some("raise the sysctl user.max_user_namespaces"),
        },
    }
}

fn system_calls() -> Ability {
    let what = "a list of system calls (level strict)";
    // One program for every kernel since 3.17; what differs is whether it was built in.
    match std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(_) => {
            let how = "seccomp".to_owned();
            Ability { what, state: AbilityState::Present { how }, remedy: None }
        }
        Err(_) => Ability {
            what,
            state: AbilityState::Missing { why: "the kernel has no seccomp filters".to_owned() },
            remedy: Some("use a kernel with CONFIG_SECCOMP_FILTER"),
        },
    }
}

fn landlock() -> Ability {
    let what = "limits of where files are written";
    // Asks for everything, the kernel's best answer counts; nothing is restricted by asking.
    let newest = [ABI::V6, ABI::V5, ABI::V4, ABI::V3, ABI::V2, ABI::V1].into_iter().find(|abi| {
        let ruleset = landlock::Compatible::set_compatibility(
            Ruleset::default(),
            landlock::CompatLevel::HardRequirement,
        );
        let ruleset = ruleset.handle_access(AccessFs::from_all(*abi));
        let ruleset = match *abi {
            ABI::V6 => ruleset.and_then(|known| known.scope(landlock::Scope::Signal)),
            _ => ruleset,
        };
        ruleset.and_then(|known| known.create()).is_ok()
    });
    let (state, remedy) = match newest {
        Some(ABI::V6) => (AbilityState::Present { how: "Landlock".to_owned() }, None),
        Some(version) => {
            let why = format!("the kernel's Landlock is an older one ({version:?})");
            (AbilityState::Partial { why }, Some("Linux 6.12 has all that is used of it"))
        }
        None => (
            AbilityState::Missing { why: "the kernel has no Landlock, or it is off".to_owned() },
            Some("use Linux 5.13 or newer, with landlock in the boot option lsm="),
        ),
    };
    Ability { what, state, remedy }
}

/// Makes a group beneath the own one and asks it for each limit.
fn groups() -> Vec<Ability> {
    let describe = |controller| match controller {
        Controller::Memory => "limits of memory, kept by the kernel",
        Controller::Pids => "limits of processes for each worker",
        Controller::Cpu => "limits of processor time (level strict)",
    };
    let instead = |controller| match controller {
        Controller::Memory => "workers are measured every 20 ms instead",
        Controller::Pids => "processes are counted by user instead, where each worker has its own",
        Controller::Cpu => "a worker can use every core",
    };
    let remedy = Some(
        "run the node in a control group that it may write to (systemd: Delegate=yes, \
         or systemd-run --user --scope -p Delegate=yes)",
    );
    let own = Group::own().unwrap_or_default();
    let name = format!("farcall-probe-{}", sys::Pid::own());
    let (group, refused) = own.make_child(&name);
    let before = own.counted();
    let mut aside = None;
    let why = refused.first().map_or_else(|| "the host has no such group".to_owned(), |e| chain(e));
    let mut ability = |controller: Controller| {
        let tried = match group.version(controller) {
            None => Err(why.clone()),
            // As a node does it that starts here, and undone below.
            Some(version) => own
                .count_beneath(controller, &format!("{name}-aside"), &mut aside)
                .and_then(|()| match controller {
                    Controller::Memory => group.limit_memory(1 << 30),
                    Controller::Pids => group.limit_pids(64),
                    Controller::Cpu => group.limit_cpu(100),
                })
                .map(|()| version)
                .map_err(|error| chain(&error)),
        };
        let what = describe(controller);
        match tried {
            Ok(version) => {
                let how = match version {
                    Version::One => "control groups, version 1",
                    Version::Two => "control groups, version 2",
                };
                Ability { what, state: AbilityState::Present { how: how.to_owned() }, remedy: None }
            }
            Err(why) => {
                let why = format!("{why}; {}", instead(controller));
                Ability { what, state: AbilityState::Partial { why }, remedy }
            }
        }
    };
    let found = CONTROLLERS.map(&mut ability).to_vec();
    group.remove();
    own.come_back(aside, &before);
    found
}
