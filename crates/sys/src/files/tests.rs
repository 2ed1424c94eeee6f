//! Private files, and names that lead elsewhere.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A folder of one test, removed at its end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("farcall-{}-{test}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_name_with_a_way_out_of_the_folder_is_refused() {
    let home = Folder::new("names");
    let at = folder(&home.0).unwrap();
    for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\0b"] {
        let error = open_in(&at, name, Purpose::Replace).unwrap_err();
        assert!(matches!(error, Error::CallerName { .. }), "{name:?}: {error}");
    }
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let home = Folder::new("links");
    let at = folder(&home.0).unwrap();
    symlink("/etc/passwd", home.0.join("link")).unwrap();
    for purpose in [Purpose::Read, Purpose::Replace, Purpose::Append, Purpose::CreateNew] {
        assert!(open_in(&at, "link", purpose).is_err(), "{purpose:?}");
    }
    assert!(matches!(open_private(&home.0.join("link")), Err(Error::NotPrivate { .. })));
}

#[test]
fn what_was_written_beneath_a_folder_is_read_back() {
    let home = Folder::new("beneath");
    let at = folder(&home.0).unwrap();
    open_in(&at, "file", Purpose::CreateNew).unwrap().write_all(b"one ").unwrap();
    open_in(&at, "file", Purpose::Append).unwrap().write_all(b"two").unwrap();
    assert!(open_in(&at, "file", Purpose::CreateNew).is_err());
    let mut text = String::new();
    open_in(&at, "file", Purpose::Read).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "one two");
}

#[test]
fn an_unnamed_file_leaves_no_name() {
    let home = Folder::new("unnamed");
    let mut file = unnamed_in(&home.0).unwrap();
    file.write_all(b"x").unwrap();
    assert_eq!(fs::read_dir(&home.0).unwrap().count(), 0);
}

#[test]
fn a_private_file_that_others_may_read_is_refused() {
    let home = Folder::new("private");
    let path = home.0.join("key");
    create_private(&path).unwrap();
    open_private(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = open_private(&path).unwrap_err();
        assert!(matches!(error, Error::NotPrivate { .. }), "{mode:o}: {error}");
    }
}

#[test]
fn a_fifo_in_place_of_a_private_file_is_refused_without_waiting() {
    let home = Folder::new("fifo");
    let path = home.0.join("key");
    nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    assert!(matches!(open_private(&path), Err(Error::NotPrivate { .. })));
}

#[test]
fn a_folder_in_memory_is_told_from_one_that_is_not() {
    match is_memory(std::path::Path::new("/dev/shm")) {
        Ok(is_memory) => assert!(is_memory),
        Err(error) => eprintln!("skipped: {error}"),
    }
    assert!(!is_memory(std::path::Path::new("/proc")).unwrap());
}
