//! Which private keys this process has had: for whoever makes copies of its memory and must leave them out.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base64;
use rcgen::KeyPair;
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

/// Bytes of a key of P-256.
const KEY: usize = 32;

/// How the key stands in each encoding of it (RFC 5915): version 1, then so many bytes.
const FRONT: [u8; 5] = [2, 1, 1, 4, KEY as u8];

/// Characters of base64 that a key alone decides: those at its ends have bits of its neighbours, too.
const DIGITS: usize = KEY * 8 / 6;

/// For each place of a key within groups of three bytes: after how many of its digits a line of a PEM file ends.
/// Before it PKCS#8 has 36 bytes, or 35 without the public key; RFC 5915 alone has 7, and the key is in one line.
const BREAKS: [usize; 3] =
    [base64::LINE - 36 * 8 / 6, DIGITS / 2, base64::LINE - (35usize * 8).div_ceil(6)];

/// Whether this process has had a key that is none of those, and would not be found in memory.
static HAS_OTHERS: AtomicBool = AtomicBool::new(false);

static KEYS: Mutex<Vec<Zeroizing<[u8; KEY]>>> = Mutex::new(Vec::new());

/// The private keys of this process. No other thread learns of one more while this is held.
#[derive(Debug)]
pub struct Secrets(MutexGuard<'static, Vec<Zeroizing<[u8; KEY]>>>);

impl Secrets {
    /// All that there are.
    pub fn hold() -> Self {
        Self(KEYS.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether these are all: keys of other kinds than P-256 are not known here, and can be left out nowhere.
    pub fn are_all(&self) -> bool {
        !HAS_OTHERS.load(Relaxed)
    }

    /// Each in the two orders of bytes in which memory can hold it: files have one, arithmetic the other. And
    /// as the text of files, in pieces that no line's end cuts. Not those of zeros, which a copy has in their place.
    pub fn forms(&self) -> Vec<Zeroizing<Vec<u8>>> {
        let keys = self.0.iter().filter(|key| key.iter().any(|byte| *byte != 0));
        let mut forms = Vec::new();
        for key in keys {
            let turned = key.iter().rev().copied().collect::<Vec<u8>>();
            forms.extend([Zeroizing::new(key.to_vec()), Zeroizing::new(turned)]);
            forms.extend((0..BREAKS.len()).flat_map(|before| texts(key, before)));
        }
        forms
    }

    /// Whoever reads a key holds these from before it is in memory until it is kept: no copy of this memory is
    /// made while a key is there and not known here.
    pub(crate) fn keep(&mut self, der: &[u8]) {
        keep(&mut self.0, der);
    }
}

/// The two pieces of a key's base64 with so many bytes before it in its group of three.
fn texts(key: &[u8; KEY], before: usize) -> [Zeroizing<Vec<u8>>; 2] {
    let mut bytes = Zeroizing::new([0; KEY + 2]);
    bytes[before..before + KEY].copy_from_slice(key);
    let text = Zeroizing::new(base64::encode(&bytes[..], base64::STANDARD));
    let begin = (before * 8).div_ceil(6);
    let (first, second) = text.as_bytes()[begin..begin + DIGITS].split_at(BREAKS[before]);
    [Zeroizing::new(first.to_vec()), Zeroizing::new(second.to_vec())]
}

/// This process has had this key. Waits for whoever holds the others.
pub(crate) fn remember(key: &PrivateKeyDer<'_>) {
    Secrets::hold().keep(key.secret_der());
}

/// Makes a key. No copy of this memory is made while it is there and not known here.
pub(crate) fn generate() -> Result<KeyPair, rcgen::Error> {
    let mut keys = Secrets::hold().0;
    let key = KeyPair::generate()?;
    keep(&mut keys, key.serialized_der());
    Ok(key)
}

fn keep(keys: &mut Vec<Zeroizing<[u8; KEY]>>, der: &[u8]) {
    let at = der.windows(FRONT.len()).position(|window| window == FRONT);
    let Some(key) = at.and_then(|at| der[at + FRONT.len()..].first_chunk::<KEY>()) else {
        HAS_OTHERS.store(true, Relaxed);
        return;
    };
    if !keys.iter().any(|known| **known == *key) {
        // The same list every time it grows: what it leaves behind is wiped first.
        let mut grown = Vec::with_capacity(keys.len() + 1);
        grown.extend(keys.iter().cloned());
        grown.push(Zeroizing::new(*key));
        *keys = grown;
    }
}

#[cfg(test)]
mod tests;
