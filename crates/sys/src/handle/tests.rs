use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use super::*;
use crate::files::unnamed_in;

#[test]
fn what_is_opened_is_what_was_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "old").unwrap();
    let handle = Handle::of(&path, Links::Refused).unwrap();
    fs::rename(&path, folder.path().join("g")).unwrap();
    fs::write(&path, "newer").unwrap();
    assert_eq!(handle.node().size, 3);
    let mut text = String::new();
    handle.open(libc::O_RDONLY as u32).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "old");
}

#[test]
fn a_fifo_is_found_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    nix::unistd::mkfifo(&path, Mode::S_IRUSR).unwrap();
    assert_eq!(Handle::of(&path, Links::Followed).unwrap().node().kind(), libc::S_IFIFO);
}

#[test]
fn an_unnamed_file_gets_a_name_once_and_loses_only_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let mut file = match unnamed_in(folder.path()) {
        Ok(file) => file,
        Err(error) => return eprintln!("skipped: no unnamed files here: {error}"),
    };
    file.write_all(b"text").unwrap();
    name(&file, &path).unwrap();
    assert!(name(&file, &path).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"text");
    unname(&file, &path).unwrap();
    assert!(!path.exists());
    fs::write(&path, "another's").unwrap();
    unname(&file, &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"another's");
}

#[test]
fn holes_are_passed_over() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&[1; 4096], 1 << 20).unwrap();
    file.set_len(2 << 20).unwrap();
    let data = next_data(&file, 0).unwrap().unwrap();
    assert!(data.contains(&(1 << 20)), "{data:?}");
    assert_eq!(next_data(&file, 1 << 20 | 4096).unwrap(), None);
}
