//! Keys and certificates in folders, made, kept and refused.

use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

#[test]
fn first_start_makes_everything_and_the_second_finds_it() {
    let home = Home::new();
    let first = home.start(Role::Node, "alpha").unwrap();
    let second = home.start(Role::Node, "alpha").unwrap();
    assert_eq!(first.own, second.own);
    assert_eq!((first.name().as_str(), first.role()), ("alpha", Role::Node));
    let client = home.start(Role::Client, "laptop").unwrap();
    assert_eq!(client.authority(), first.authority());
    assert_eq!(fs::metadata(&home.path).unwrap().mode() & 0o7777, 0o700);
    for entry in fs::read_dir(&home.path).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o7777, 0o600, "{:?}", entry.path());
    }
}

#[test]
fn concurrent_first_starts_agree() {
    let home = Home::new();
    let all: Vec<Credentials> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| home.start(Role::Node, "alpha").unwrap());
        let threads: Vec<_> = (0..8).map(|_| start()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.iter().all(|one| one.own == all[0].own && one.authority == all[0].authority));
}

#[test]
fn loose_modes_are_refused() {
    let home = Home::new();
    home.start(Role::Node, "alpha").unwrap();
    for (file, mode) in [("node.pem", 0o604), ("authority-key.pem", 0o640), ("lock", 0o622)] {
        let path = home.path.join(file);
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        // Another name, so that this start needs every file.
        let error = home.start(Role::Node, "beta").unwrap_err();
        assert!(
            matches!(&error, Error::LooseMode { path: p, mode: m, .. } if *p == path && *m == mode),
            "{error}"
        );
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    fs::set_permissions(&home.path, Permissions::from_mode(0o711)).unwrap();
    assert!(matches!(home.start(Role::Node, "alpha"), Err(Error::LooseMode { .. })));
}

#[test]
fn symbolic_links_are_refused() {
    let home = Home::new();
    home.start(Role::Node, "alpha").unwrap();
    for file in ["node.pem", "authority.pem", "authority-key.pem", "lock"] {
        let (path, aside) = (home.path.join(file), home.path.join("aside"));
        fs::rename(&path, &aside).unwrap();
        symlink(&aside, &path).unwrap();
        let error = home.start(Role::Node, "beta").unwrap_err();
        assert!(matches!(&error, Error::SymbolicLink { path: p } if *p == path), "{file}: {error}");
        fs::rename(&aside, &path).unwrap();
    }
    let link = home.path.with_file_name("link");
    symlink(&home.path, &link).unwrap();
    let error = Authority::load_or_create(&link, now()).err().unwrap();
    assert!(matches!(error, Error::SymbolicLink { .. }), "{error}");
}

#[test]
fn someone_elses_folder_is_refused() {
    let home = Home::new();
    home.start(Role::Node, "alpha").unwrap();
    // Root gives its folder away; anyone else looks at root's.
    let foreign = match std::os::unix::fs::chown(&home.path, Some(65534), None) {
        Ok(()) => home.path.as_path(),
        Err(_) => Path::new("/"),
    };
    let error = Credentials::load(foreign, Role::Node).err().unwrap();
    assert!(matches!(error, Error::ForeignOwner { .. }), "{error}");
}

#[test]
fn what_is_no_file_is_refused_without_waiting_for_it() {
    let home = Home::new();
    home.start(Role::Node, "alpha").unwrap();
    fs::remove_file(home.path.join("node.pem")).unwrap();
    fs::create_dir(home.path.join("node.pem")).unwrap();
    let error = home.start(Role::Node, "alpha").unwrap_err();
    assert!(matches!(error, Error::WrongKind { .. }), "{error}");
}

#[test]
fn damage_is_named() {
    let home = Home::new();
    home.start(Role::Client, "laptop").unwrap();
    let path = home.path.join("client.pem");
    let good = fs::read(&path).unwrap();
    for bad in [&b""[..], b"\xff\xfe", &good[..good.len() / 2], &vec![b'x'; 1 << 20]] {
        fs::write(&path, bad).unwrap();
        let error = home.start(Role::Client, "laptop").unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    fs::copy(&path, home.path.join("admin.pem")).unwrap();
    fs::write(home.path.join("admin.pem"), good).unwrap();
    let error = home.start(Role::Admin, "laptop").unwrap_err();
    assert!(error.to_string().contains("another role"), "{error}");
}

#[test]
fn certificate_is_renewed_before_it_ends_and_for_another_name() {
    let home = Home::new();
    let first = home.start(Role::Node, "alpha").unwrap();
    let later = now() + CERTIFICATE_VALIDITY - RENEWAL + DAY;
    let name = "alpha".parse::<Name>().unwrap();
    let second = Credentials::load_or_create(&home.path, Role::Node, &name, later).unwrap();
    assert!(second.valid_until() > first.valid_until());
    assert_eq!(second.authority(), first.authority());
    assert_eq!(home.start(Role::Node, "beta").unwrap().name().as_str(), "beta");
}

#[test]
fn replaced_authority_makes_old_certificates_useless() {
    let home = Home::new();
    let first = home.start(Role::Node, "alpha").unwrap();
    fs::remove_file(home.path.join(AUTHORITY_FILE)).unwrap();
    let second = home.start(Role::Node, "alpha").unwrap();
    assert_ne!(first.authority(), second.authority());
    assert_ne!(first.own.fingerprint, second.own.fingerprint);
}

#[test]
fn newcomer_gets_a_certificate_and_keeps_it() {
    let (node, newcomer) = (Home::new(), Home::new());
    let authority = Authority::load_or_create(&node.path, now()).unwrap();
    let joined = newcomer.join(&authority, Role::Node, "beta").unwrap();
    assert_eq!(joined.authority(), authority.fingerprint());
    assert_eq!(joined.role(), Role::Node);
    // Later starts use it, whatever name they ask for, and make no authority of their own.
    let again = newcomer.start(Role::Node, "gamma").unwrap();
    assert_eq!(again.own, joined.own);
    let error = newcomer.start(Role::Client, "laptop").unwrap_err();
    assert!(matches!(error, Error::NoAuthority { .. }), "{error}");
    assert!(Authority::load(&newcomer.path).unwrap().is_none());
}

#[test]
fn joining_does_not_overwrite_another_cluster() {
    let home = Home::new();
    let own = home.start(Role::Node, "alpha").unwrap();
    let other = Authority::create(now()).unwrap();
    let error = home.join(&other, Role::Node, "alpha").err().unwrap();
    assert!(matches!(error, Error::OtherAuthority { .. }), "{error}");
    assert_eq!(home.start(Role::Node, "alpha").unwrap().own, own.own);
}

#[test]
fn request_that_does_not_prove_its_key_is_refused() {
    let authority = Authority::create(now()).unwrap();
    let name = "beta".parse::<Name>().unwrap();
    let good = make_csr(&name).unwrap().csr().to_vec();
    let key = public_key(&authority.sign(&good, Role::Node, &name, now()).unwrap());
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1;
        match authority.sign(&bad, Role::Node, &name, now()) {
            Err(error) => assert!(matches!(error, Error::BadRequest { .. }), "{error}"),
            // A few bits of the outer encoding are not signed, and mean nothing.
            Ok(certificate) => assert_eq!(public_key(&certificate), key, "byte {index}"),
        }
        assert!(authority.sign(&good[..index], Role::Node, &name, now()).is_err());
    }
}

#[test]
fn certificate_for_another_key_or_of_another_authority_is_not_taken() {
    let authority = Authority::create(now()).unwrap();
    let name = "beta".parse::<Name>().unwrap();
    let (ours, theirs) = (make_csr(&name).unwrap(), make_csr(&name).unwrap());
    let theirs = authority.sign(theirs.csr(), Role::Node, &name, now()).unwrap();
    assert!(ours.finish(theirs, authority.certificate().clone()).is_err());
    let signed = authority.sign(ours.csr(), Role::Node, &name, now()).unwrap();
    let other = Authority::create(now()).unwrap();
    assert!(ours.finish(signed, other.certificate().clone()).is_err());
}

#[test]
fn names_are_safe_everywhere() {
    for good in ["a", "node-1", "A.b_c-9", &"x".repeat(64)] {
        assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
    }
    let long = "x".repeat(65);
    for bad in ["", "-a", ".a", "a b", "a/b", "\u{e4}", "a\n", "\u{1b}[2J", &long] {
        let error = bad.parse::<Name>().unwrap_err().to_string();
        assert!(error.is_ascii() && !error.contains('\u{1b}'), "{error:?}");
    }
}

// Helpers

fn public_key(certificate: &[u8]) -> Vec<u8> {
    X509Certificate::from_der(certificate).unwrap().1.public_key().raw.to_vec()
}

fn now() -> SystemTime {
    SystemTime::now()
}

/// A credentials folder that does not exist yet.
struct Home {
    path: PathBuf,
    _parent: TempDir,
}

impl Home {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        Self { path: parent.path().join("farcall"), _parent: parent }
    }

    fn start(&self, role: Role, name: &str) -> Result<Credentials, Error> {
        Credentials::load_or_create(&self.path, role, &name.parse::<Name>().unwrap(), now())
    }

    fn join(&self, authority: &Authority, role: Role, name: &str) -> Result<Credentials, Error> {
        let name = name.parse::<Name>().unwrap();
        let request = make_csr(&name).unwrap();
        let certificate = authority.sign(request.csr(), role, &name, now()).unwrap();
        request.finish_in(&self.path, certificate, authority.certificate().clone())
    }
}
