//! What a copy of a client is handed on, as its standard input brings it.

use wire::delegation::{Delegation, LENGTH};

/// What is read is written as something that is read the same.
pub fn decode(bytes: &[u8]) {
    if let Some((front, body)) = bytes.split_first_chunk::<LENGTH>() {
        let _ = Delegation::length(*front);
        if let Ok(delegation) = Delegation::decode(body) {
            let again = delegation.encode().map(|bytes| Delegation::decode(&bytes[LENGTH..]));
            assert_eq!(again, Ok(Ok(delegation)));
        }
    }
}
