//! Secrets are in no image: wherever the process has them, or there is none.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use farcall_telefork::{Departed, Error, Leaving, depart};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect};

const PAGE: usize = 4096;

/// As it is written over there it is not to be in this program's own data.
fn secret() -> Vec<u8> {
    (0..32_u8).map(|number| number.wrapping_mul(73) ^ 0x5a).collect()
}

fn page(sharing: MapFlags, secret: &[u8]) -> NonNull<u8> {
    let (len, both) =
        (NonZeroUsize::new(PAGE).unwrap(), ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
    // SAFETY: nobody else has this memory.
    let at = unsafe { mmap_anonymous(None, len, both, sharing) }.unwrap().cast::<u8>();
    // SAFETY: it has room for a page.
    unsafe { at.as_ptr().copy_from(secret.as_ptr(), secret.len()) };
    at
}

fn leaving() -> Leaving {
    match depart().unwrap() {
        Departed::Parent(departing) => departing.hold().unwrap(),
        Departed::Child(_) => sys::park::end(1),
    }
}

fn has(image: &[u8], secret: &[u8]) -> bool {
    memchr::memmem::find(image, secret).is_some()
}

#[test]
fn a_secret_is_found_where_nobody_may_read_and_refused_where_others_have_it() {
    let secret = secret();
    let hidden = page(MapFlags::MAP_PRIVATE, &secret);
    // SAFETY: nobody uses that memory.
    unsafe { mprotect(hidden.cast(), PAGE, ProtFlags::PROT_NONE) }.unwrap();
    let mut copy = leaving();
    let mut image = Vec::new();
    copy.send(0, &mut image).unwrap();
    assert!(has(&image, &secret), "what is sent is looked for in vain");
    drop(image);
    assert!(copy.wipe(&[&secret]).unwrap() >= 2, "in the vector, and where nobody may read");
    let mut image = Vec::new();
    copy.send(0, &mut image).unwrap();
    assert!(!has(&image, &secret));
    copy.end().unwrap();
    drop(image);

    let shared = page(MapFlags::MAP_SHARED, &secret);
    let copy = leaving();
    let refused = copy.wipe(&[&secret]).unwrap_err();
    let at = shared.as_ptr().addr() as u64;
    assert!(matches!(refused, Error::SharedSecret { address } if address == at), "{refused}");
    // SAFETY: it is there as long as this process.
    let kept = unsafe { std::slice::from_raw_parts(shared.as_ptr(), secret.len()) };
    assert_eq!(kept, secret, "the original has lost it");
}
