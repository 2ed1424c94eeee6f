//! A file that replaces another: what is left when its disk fails.

use std::fs;
use std::io::{self, Write};
use std::sync::atomic::AtomicBool;

use super::Unfinished;

#[test]
fn whatever_the_disk_does_an_older_file_stays_until_a_newer_one_is_safe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let put = |bytes: &[u8], sync: fn() -> io::Result<()>| {
        let mut unfinished = Unfinished::beside(&path).unwrap();
        unfinished.file.write_all(bytes).unwrap();
        unfinished.finish_with(&AtomicBool::new(false), &|_| sync())
    };
    let broken = || Err(io::Error::other("no"));
    let names = || fs::read_dir(folder.path()).unwrap().count();
    assert!(put(b"first", broken).is_err());
    assert_eq!(names(), 0, "where there was none there is none");
    put(b"old", || Ok(())).unwrap();
    assert!(put(b"new", broken).is_err());
    assert_eq!((fs::read(&path).unwrap(), names()), (b"old".to_vec(), 1));
    put(b"new", || Ok(())).unwrap();
    assert_eq!((fs::read(&path).unwrap(), names()), (b"new".to_vec(), 1));
}
