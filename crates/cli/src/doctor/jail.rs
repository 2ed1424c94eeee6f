//! What jails can do here: tried by the code that builds them (`worker::jail`), told in its words.

use worker::jail::{self, Ability, AbilityState};

use super::findings::{Finding, Good, Mark, Section, found};

pub(super) fn look() -> Section {
    let mut section = Section::new("Jails", &[Good::JailUser, Good::JailStrict, Good::Limits]);
    for ability in jail::abilities() {
        section.add(describe(&ability));
    }
    let told = |section: &Section| {
        section.findings.iter().any(|finding| finding.breaks == Some(Good::JailStrict))
    };
    if let Err(why) = jail::strict_is_possible()
        && !told(&section)
    {
        section.add(
            found(Mark::Warn, format!("no jail of level strict can be put up here: {why}"))
                .breaks(Good::JailStrict)
                .remedy("farcall node --jail user"),
        );
    }
    for (file, wanted) in SYSCTLS {
        if let Ok(text) = std::fs::read_to_string(format!("/proc/sys/{file}")) {
            section.findings.extend(wanted(text.trim()));
        }
    }
    section
}

fn describe(ability: &Ability) -> Finding {
    let what = ability.what;
    let breaks = match what {
        what if what.starts_with("limits of memory") => Some(Good::Limits),
        what if what.starts_with("limits of where files") => Some(Good::JailUser),
        what if what.starts_with("a view of its own") => Some(Good::JailStrict),
        what if what.starts_with("a list of system calls") => Some(Good::JailStrict),
        _ => None,
    };
    match &ability.state {
        AbilityState::Present { how } => found(Mark::Ok, format!("{what}: {how}")),
        AbilityState::Partial { why } => {
            let mut finding = advised(Mark::Note, format!("{what}: {why}"), ability.remedy);
            finding.breaks = breaks.filter(|good| *good == Good::Limits);
            finding
        }
        AbilityState::Missing { why } => {
            let mut finding = advised(Mark::Warn, format!("{what}: {why}"), ability.remedy);
            finding.breaks = breaks;
            finding
        }
    }
}

/// Remedies of the jail are sentences; where one command does it, that is more to the point.
fn advised(mark: Mark, what: String, remedy: Option<&str>) -> Finding {
    let command = match remedy {
        None => return found(mark, what),
        Some(words) if words.contains("Delegate=yes") => {
            "systemd-run --user --scope -p Delegate=yes farcall node"
        }
        Some(words) if words.contains("user.max_user_namespaces") => {
            "sysctl -w user.max_user_namespaces=10000"
        }
        Some(words) => return found(mark, format!("{what}; {words}")),
    };
    found(mark, what).remedy(command)
}

type Judge = fn(&str) -> Option<Finding>;

/// Settings of the kernel that decide what an ordinary user's jails can do.
const SYSCTLS: [(&str, Judge); 4] = [
    ("kernel/unprivileged_userns_clone", |text| {
        let off = "only root may make user namespaces (kernel.unprivileged_userns_clone = 0)";
        off_for_users(text == "0", off, "sysctl -w kernel.unprivileged_userns_clone=1")
    }),
    ("kernel/apparmor_restrict_unprivileged_userns", |text| {
        let off = "AppArmor keeps ordinary users' namespaces from doing anything \
                   (kernel.apparmor_restrict_unprivileged_userns = 1)";
        let remedy = "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
        off_for_users(text == "1", off, remedy)
    }),
    ("user/max_user_namespaces", |text| {
        let off = "no user namespaces are allowed (user.max_user_namespaces = 0)";
        off_for_users(text == "0", off, "sysctl -w user.max_user_namespaces=10000")
    }),
    ("kernel/yama/ptrace_scope", |text| {
        let means = match text {
            "0" => "any process may trace others of its user; jails of level user forbid it",
            "1" => "processes may trace only what they started",
            "2" => "only root may trace",
            _ => "nobody may trace",
        };
        Some(found(Mark::Note, format!("kernel.yama.ptrace_scope is {text}: {means}")))
    }),
];

/// Root's node is not bound by it.
fn off_for_users(is_off: bool, what: &str, remedy: &str) -> Option<Finding> {
    let mark = if sys::limits::is_root() { Mark::Note } else { Mark::Warn };
    is_off.then(|| found(mark, what).remedy(remedy))
}
