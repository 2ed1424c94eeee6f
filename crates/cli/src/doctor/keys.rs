//! The credentials of this user: who may read them, and until when they are good.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use transport::{Authority, Credentials, Role};

use super::findings::{Finding, Good, Mark, Section, found, quoted};
use crate::values::spell;

/// Before a certificate ends there should be time to get another.
const SOON: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn look(folder: &Path) -> Section {
    let mut section = Section::new("Keys", &[Good::Secrets]);
    let shown = folder.display();
    let Ok(metadata) = fs::symlink_metadata(folder) else {
        let none = format!("there are no credentials yet (no folder {shown})");
        section.add(found(Mark::Note, none).remedy("farcall auth init"));
        return section;
    };
    let loose = section.findings.len();
    section.findings.extend(secret(folder, &metadata, 0o700));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    for path in files {
        // The authority's certificate is no secret, but whoever can change it decides whom we trust.
        let is_ours = path.extension().is_some_and(|kind| kind == "pem")
            || path.file_name().is_some_and(|name| name == "tokens" || name == "lock");
        if let Some(metadata) = fs::symlink_metadata(&path).ok().filter(|_| is_ours) {
            section.findings.extend(secret(&path, &metadata, 0o600));
        }
    }
    if section.findings.len() == loose {
        section.add(found(Mark::Ok, format!("{shown} and what is in it are this user's alone")));
    }
    // What is wrong with modes is said already, and in more words.
    let is_told = section.findings.iter().any(|finding| finding.mark == Mark::Fail);
    match Authority::load(folder) {
        Ok(Some(authority)) => {
            let what = format!("the authority's key is here ({})", authority.fingerprint());
            section.add(found(Mark::Ok, what));
        }
        Ok(None) => {}
        Err(_) if is_told => {}
        Err(error) => section.add(broken(&error)),
    }
    for role in Role::ALL {
        match Credentials::load(folder, role) {
            Ok(Some(own)) => section.add(validity(&own, SystemTime::now())),
            Ok(None) => {}
            Err(_) if is_told => {}
            Err(error) => section.add(broken(&error)),
        }
    }
    section
}

fn broken(error: &transport::Error) -> Finding {
    found(Mark::Fail, error.to_string()).breaks(Good::Cluster).remedy("farcall auth status")
}

/// What is wrong with who may use a file; nothing, if only its owner may.
fn secret(path: &Path, metadata: &fs::Metadata, wanted: u32) -> Option<Finding> {
    let (shown, mode) = (path.display(), metadata.mode() & 0o7777);
    let named = quoted(path);
    let fail = |what: String| found(Mark::Fail, what).breaks(Good::Secrets);
    if metadata.is_symlink() {
        let what = format!("{shown} is a symbolic link, which credentials never follow");
        return Some(
            fail(what)
                .remedy(format!("cp --remove-destination \"$(readlink -f {named})\" {named}")),
        );
    }
    let me = sys::limits::own_user();
    if metadata.uid() != me {
        let what = format!("{shown} belongs to uid {}, not to uid {me}", metadata.uid());
        return Some(fail(what).remedy(format!("chown {me} {named}")));
    }
    if mode & 0o077 == 0 {
        return None;
    }
    let who = match (mode & 0o007, mode & 0o022) {
        (0, 0) => "its group can use it",
        (_, 0) => "every user of this host can use it",
        (0, _) => "its group can change it",
        (_, _) => "every user of this host can change it",
    };
    let what = format!("{shown} has mode {mode:04o}: {who}");
    Some(fail(what).remedy(format!("chmod {wanted:o} {named}")))
}

fn validity(own: &Credentials, now: SystemTime) -> Finding {
    let (role, name) = (own.role(), own.name());
    let renewal = match role {
        Role::Node => "farcall node --join ADDR --token T",
        Role::Client | Role::Admin => "farcall auth join ADDR --token T",
    };
    match own.valid_until().duration_since(now) {
        Err(_) => found(Mark::Fail, format!("the certificate of the {role} {name} has expired"))
            .breaks(Good::Cluster)
            .remedy(renewal),
        Ok(left) if left < SOON => {
            let what = format!("the certificate of the {role} {name} ends in {}", spell(left));
            found(Mark::Warn, what).remedy(renewal)
        }
        Ok(left) => {
            let what = format!("the certificate of the {role} {name} is good for {}", spell(left));
            found(Mark::Ok, what)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(days_left: i64, mark: Mark) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(50 * 365 * 86_400);
        let authority = Authority::create(now).unwrap();
        let own = authority.issue(Role::Client, &"me".parse().unwrap(), now).unwrap();
        let end = own.valid_until();
        let day = Duration::from_secs(86_400);
        let then = match u32::try_from(days_left) {
            Ok(days) => end - day * days,
            Err(_) => end + day,
        };
        assert_eq!(validity(&own, then).mark, mark, "{days_left} days");
    }

    #[test]
    fn a_certificate_is_renewed_before_it_ends() {
        check(200, Mark::Ok);
        check(29, Mark::Warn);
        check(-1, Mark::Fail);
    }
}
