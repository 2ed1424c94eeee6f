//! What is wiped from copies: keys as bytes and as text, and none that is not known yet.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::credentials::{Authority, Credentials};
use crate::identity::Role;

/// Wipes this as a copy is wiped; returns how much of it that is.
fn wipe(memory: &mut [u8]) -> usize {
    let forms = Secrets::hold().forms();
    let mut wiped = 0;
    for form in &forms {
        let found = |memory: &[u8]| memory.windows(form.len()).position(|part| part == &form[..]);
        while let Some(at) = found(memory) {
            memory[at..at + form.len()].fill(0);
            wiped += form.len();
        }
    }
    wiped
}

/// The key itself, without what stands around it.
fn bare(der: &[u8]) -> &[u8] {
    let at = der.windows(FRONT.len()).position(|window| window == FRONT).unwrap();
    &der[at + FRONT.len()..][..KEY]
}

#[test]
fn the_text_of_a_key_file_is_wiped() {
    let folder = tempfile::tempdir().unwrap();
    let (home, now) = (folder.path().join("home"), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    Credentials::load_or_create(&home, Role::Client, &"me".parse().unwrap(), now).unwrap();
    for file in ["authority-key.pem", "client.pem"] {
        let text = std::fs::read(home.join(file)).unwrap();
        // Somewhere in the heap, at the places where a text can lie.
        for shift in 0..8 {
            let mut memory = vec![0xa5; shift];
            memory.extend_from_slice(&text);
            assert_eq!(wipe(&mut memory), DIGITS, "{file}");
            // A line's end is all that is left between the first digit and the last.
            let begin = memory.iter().position(|byte| *byte == 0).unwrap();
            let rest: Vec<u8> = memory[begin..=begin + DIGITS].to_vec();
            assert_eq!(rest.iter().filter(|byte| **byte != 0).collect::<Vec<_>>(), [&b'\n']);
        }
    }
}

#[test]
fn a_keys_text_is_wiped_wherever_it_stands_in_its_group() {
    let key = generate().unwrap();
    for before in 0..6 {
        let mut bytes = vec![0x5a; before];
        bytes.extend_from_slice(bare(key.serialized_der()));
        bytes.extend_from_slice(b"what follows");
        let mut text = base64::encode(&bytes, base64::STANDARD).into_bytes();
        assert_eq!(wipe(&mut text), DIGITS, "{before}");
    }
}

#[test]
fn a_key_is_read_only_while_no_copy_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (home, now) = (folder.path().join("home"), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    Credentials::load_or_create(&home, Role::Client, &"me".parse().unwrap(), now).unwrap();
    type Load = fn(&std::path::Path) -> bool;
    let loads: [Load; 2] = [
        |home| Authority::load(home).unwrap().is_some(),
        |home| Credentials::load(home, Role::Client).unwrap().is_some(),
    ];
    for load in loads {
        let held = Secrets::hold();
        let (sender, receiver) = channel();
        let home = home.clone();
        let thread = thread::spawn(move || sender.send(load(&home)).unwrap());
        let early = receiver.recv_timeout(Duration::from_millis(100));
        assert_eq!(early, Err(RecvTimeoutError::Timeout));
        drop(held);
        assert!(receiver.recv().unwrap());
        thread.join().unwrap();
    }
}
