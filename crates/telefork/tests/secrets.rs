//! Secrets are in no image: neither in memory nor in the registers of the thread that goes.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

use farcall_telefork::capture::Changes;
use farcall_telefork::{Departed, Leaving, depart};

/// As it is written over there it is not to be in this program's own data.
fn secret() -> Vec<u8> {
    (0..32_u8).map(|number| number.wrapping_mul(73) ^ 0x5a).collect()
}

fn leaving() -> Leaving {
    match depart().unwrap() {
        Departed::Parent(departing) => departing.hold().unwrap(),
        Departed::Child(_) => sys::park::end(1),
    }
}

fn has(copy: &mut Leaving, secret: &[u8]) -> bool {
    let mut image = Vec::new();
    copy.send(Some(0), &mut image).unwrap();
    memchr::memmem::find(&image, secret).is_some()
}

#[test]
fn a_secret_that_was_wiped_is_not_in_the_image() {
    let secret = secret();
    let copied = secret.clone();
    let mut copy = leaving();
    assert!(has(&mut copy, &secret), "what is sent is looked for in vain");
    assert!(copy.wipe(&[&secret]).unwrap() >= 2);
    assert!(!has(&mut copy, &secret));
    copy.end().unwrap();
    assert_eq!(copied, secret, "the original has lost it");
}

#[test]
fn a_page_that_held_a_secret_alone_does_not_come_with_later_changes() {
    let secret = secret();
    // Fresh from the kernel: pages of which one holds the secret, and nothing else.
    let mut pages = vec![0_u8; 8 << 20];
    let middle = pages.len() / 2;
    pages[middle..middle + secret.len()].copy_from_slice(&secret);
    let copy = leaving();
    copy.wipe(&[&secret]).unwrap();
    let mut image = Vec::new();
    let (_, told) = copy.send_told(0, &mut image).unwrap();
    copy.end().unwrap();
    assert!(memchr::memmem::find(&image, &secret).is_none());
    let copy = leaving();
    let changed = [];
    copy.wipe_near(&[&secret], &told, &changed).unwrap();
    image.clear();
    let sent = copy.send_changes(0, told, Some(&changed), &mut image).unwrap();
    assert!(matches!(sent, Changes::Sent(..)) && !image.is_empty(), "{sent:?}");
    assert!(memchr::memmem::find(&image, &secret).is_none());
    copy.end().unwrap();
    assert_eq!(pages[middle..middle + secret.len()], secret, "the original has lost it");
}

#[test]
fn memory_that_is_new_since_somebody_was_told_is_looked_through_wherever_it_has_changed() {
    let secret = secret();
    let copy = leaving();
    copy.wipe(&[&secret]).unwrap();
    let (_, told) = copy.send_told(0, &mut Vec::new()).unwrap();
    copy.end().unwrap();
    let mut pages = vec![0_u8; 8 << 20];
    let middle = pages.len() / 2;
    pages[middle..middle + secret.len()].copy_from_slice(&secret);
    let begin = pages.as_ptr().addr() as u64 / 4096 * 4096;
    // Somebody has seen some of its pages written, and not this one.
    let changed: Vec<_> =
        (1..9).map(|at| begin + at * 65_536..begin + at * 65_536 + 4096).collect();
    let copy = leaving();
    copy.wipe_near(&[&secret], &told, &changed).unwrap();
    let mut image = Vec::new();
    copy.send_changes(0, told, Some(&changed), &mut image).unwrap();
    assert!(memchr::memmem::find(&image, &secret).is_none());
    copy.end().unwrap();
    assert_eq!(pages[middle..middle + secret.len()], secret, "the original has lost it");
}
