//! What the jail's rules come to.

use super::*;

fn variables(of: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    of.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn of_the_environment_only_the_stated_list_remains() {
    let daemons = variables(&[
        ("LD_PRELOAD", "/evil.so"),
        ("LANG", "C.UTF-8"),
        ("HOME", "/root"),
        ("FARCALL_TOKEN", "secret"),
        ("PATH", "/opt/bin"),
        ("TZ", "UTC"),
    ]);
    let want = variables(&[
        ("LANG", "C.UTF-8"),
        ("PATH", "/opt/bin"),
        ("TZ", "UTC"),
        ("HOME", "/s"),
        ("TMPDIR", "/s"),
    ]);
    assert_eq!(environment(Path::new("/s"), daemons), want);
}

#[test]
fn programs_are_found_even_if_the_daemon_has_no_path() {
    let want = variables(&[("PATH", PATH_DEFAULT), ("HOME", "/s"), ("TMPDIR", "/s")]);
    assert_eq!(environment(Path::new("/s"), []), want);
}

#[test]
fn a_kernel_without_landlock_is_reported() {
    check(LandlockStatus::NotImplemented, 1, "no Landlock");
    check(LandlockStatus::NotEnabled, 1, "switched off");
}

#[test]
fn an_old_kernel_is_reported_line_by_line() {
    let available = |effective_abi| LandlockStatus::Available { effective_abi, kernel_abi: None };
    check(available(ABI::V1), 4, "truncated");
    check(available(ABI::V4), 2, "ioctl");
    check(available(ABI::V5), 1, "signalled");
}

/// That a host with this Landlock is said to have so many gaps, `text` in one of them.
#[track_caller]
fn check(landlock: LandlockStatus, count: usize, text: &str) {
    let gaps = gaps(landlock);
    assert_eq!(gaps.len(), count, "{gaps:?}");
    assert!(gaps.iter().any(|line| line.contains(text)), "{gaps:?}");
}
