use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;

use super::*;

fn number(file: &impl AsRawFd) -> u32 {
    file.as_raw_fd() as u32
}

#[test]
fn a_descriptor_is_told_with_offset_flags_and_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let mut file = OpenOptions::new().append(true).read(true).create(true).open(&path).unwrap();
    file.write_all(b"12345").unwrap();
    file.seek(SeekFrom::Start(3)).unwrap();
    let all = list(Pid::own()).unwrap();
    let found = all.iter().find(|listed| listed.number == number(&file)).unwrap();
    assert_eq!(found.name, path.as_os_str().as_encoded_bytes());
    assert_eq!((found.offset, found.close_on_exec, found.is_locked), (3, true, false));
    assert_eq!(found.flags & libc::O_APPEND as u32, libc::O_APPEND as u32);
    assert_eq!((found.node.kind(), found.node.size, found.node.links), (libc::S_IFREG, 5, 1));
    file.lock().unwrap();
    assert!(one(Pid::own(), number(&file)).unwrap().is_locked);
}

#[test]
fn descriptors_that_share_an_offset_are_equal_and_others_are_not() {
    let one = File::open("/dev/null").unwrap();
    let (same, other) = (one.try_clone().unwrap(), File::open("/dev/null").unwrap());
    let compare = |a: &File, b: &File| compare(Pid::own(), number(a), number(b)).unwrap().unwrap();
    assert_eq!(compare(&one, &same), Ordering::Equal);
    assert_ne!(compare(&one, &other), Ordering::Equal);
    assert_eq!(compare(&one, &other), compare(&other, &one).reverse());
}

#[test]
fn a_deleted_file_is_read_anew_and_its_descriptor_copied() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"content").unwrap();
    let mut text = String::new();
    open(Pid::own(), number(&file)).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "content");
    let mut copied = File::from(copy(Pid::own(), number(&file)).unwrap());
    assert_eq!(copied.stream_position().unwrap(), 7);
}

#[test]
fn text_that_tells_nothing_is_none() {
    assert_eq!(Told::parse(b"pos:\t1\n"), None);
    assert_eq!(Told::parse(b"flags:\t02\npos:\tx\n"), None);
    let told = Told { offset: u64::MAX, flags: 0o100_002, is_locked: false };
    assert_eq!(Told::parse(b"pos:\t-1\nflags:\t0100002\n"), Some(told));
}
