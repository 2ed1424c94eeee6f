//! Sections of PEM files, read and written without a buffer that is left unwiped: the libraries' own readers free
//! the text of a key as it is, and what lies in freed memory is in each copy of the process.

use crate::base64;
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
pub(crate) const PRIVATE_KEY: &str = "PRIVATE KEY";

/// What a private key can be called: PKCS#8, which is written here, and what other tools write.
const KEYS: [&str; 3] = [PRIVATE_KEY, "EC PRIVATE KEY", "RSA PRIVATE KEY"];

/// The bytes of the first section of this name.
pub(crate) fn section(text: &[u8], label: &str) -> Option<Zeroizing<Vec<u8>>> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let mut at = 0;
    let mut body = None;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let words = line.trim_ascii();
        match body {
            None if words == begin.as_bytes() => body = Some(at + line.len()),
            Some(start) if words == end.as_bytes() => {
                return base64::decode_lines(&text[start..at]);
            }
            _ => (),
        }
        at += line.len();
    }
    None
}

/// The bytes of the first private key, if they look like one.
pub(crate) fn private_key(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let der = KEYS.iter().find_map(|label| section(text, label))?;
    PrivateKeyDer::try_from(&der[..]).is_ok().then_some(der)
}

/// The text of one section.
pub(crate) fn write(der: &[u8], label: &str) -> Zeroizing<String> {
    let body = Zeroizing::new(base64::encode(der, base64::STANDARD));
    // All of it at once: a text that grows would leave copies of a key behind.
    let frame = "-----BEGIN -----\n-----END -----\n".len() + 2 * label.len();
    let length = frame + body.len() + body.len().div_ceil(base64::LINE);
    let mut text = Zeroizing::new(String::with_capacity(length));
    for part in ["-----BEGIN ", label, "-----\n"] {
        text.push_str(part);
    }
    for line in body.as_bytes().chunks(base64::LINE) {
        text.extend(line.iter().map(|&digit| char::from(digit)));
        text.push('\n');
    }
    for part in ["-----END ", label, "-----\n"] {
        text.push_str(part);
    }
    debug_assert_eq!(text.len(), length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn what_is_written_is_read_here_and_by_others() {
        for length in [1, 47, 48, 49, 50, 96, 700] {
            let der: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
            let text = write(&der, CERTIFICATE);
            assert_eq!(section(text.as_bytes(), CERTIFICATE).unwrap()[..], der);
            assert_eq!(CertificateDer::from_pem_slice(text.as_bytes()).unwrap()[..], der);
            let dressed = format!("a word before\n{}", text.replace('\n', "\r\n"));
            assert_eq!(section(dressed.as_bytes(), CERTIFICATE).unwrap()[..], der);
            assert!(section(text.as_bytes(), PRIVATE_KEY).is_none());
            assert!(section(&text.as_bytes()[..text.len() - 8], CERTIFICATE).is_none());
        }
    }

    #[test]
    fn a_key_is_found_behind_a_certificate_and_what_is_none_is_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let both = format!("{}{}", *write(b"some", CERTIFICATE), key.serialize_pem());
        assert_eq!(private_key(both.as_bytes()).unwrap()[..], *key.serialized_der());
        assert_eq!(*write(key.serialized_der(), PRIVATE_KEY), key.serialize_pem());
        assert!(private_key(write(b"no key", PRIVATE_KEY).as_bytes()).is_none());
    }
}
