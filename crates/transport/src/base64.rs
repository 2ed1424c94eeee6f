//! Base64, twice: standard with padding for PEM files, and the alphabet of URLs for tokens.

use zeroize::Zeroizing;

/// The alphabet of PEM files, padded.
pub(crate) const STANDARD: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters in a line of a PEM file.
pub(crate) const LINE: usize = 64;

/// The alphabet that needs no quoting in a shell or a URL.
pub(crate) const URL: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Encodes with padding to whole groups of four.
pub(crate) fn encode(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = alphabet[(word >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Decodes text of whole groups without padding.
pub(crate) fn decode(text: &str, alphabet: &[u8; 64]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.as_bytes().chunks(4) {
        let mut word = 0;
        for digit in group {
            let value = alphabet.iter().position(|letter| letter == digit)?;
            word = word << 6 | u32::try_from(value).ok()?;
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..]);
    }
    Some(bytes)
}

/// Decodes the lines of a PEM file: standard, padded, with white space wherever it likes.
pub(crate) fn decode_lines(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // One allocation of the final size: a growing one would leave copies of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3));
    let (mut word, mut digits, mut padding) = (0, 0, 0);
    for digit in text.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match digit {
            b'=' if padding < 2 => {
                padding += 1;
                0
            }
            _ if padding > 0 => return None,
            _ => STANDARD.iter().position(|letter| letter == digit)?,
        };
        word = word << 6 | u32::try_from(value).ok()?;
        digits += 1;
        if digits == 4 {
            bytes.extend_from_slice(&word.to_be_bytes()[1..4 - padding]);
            (word, digits) = (0, 0);
        }
    }
    (digits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_stray_padding_does_not() {
        for (text, bytes) in [("", ""), ("Zg==\n", "f"), ("Zm\r\n8=", "fo"), ("Zm9v\nYg==", "foob")]
        {
            let decoded = decode_lines(text.as_bytes()).unwrap();
            assert_eq!(decoded[..], *bytes.as_bytes(), "{text:?}");
        }
        for text in ["Zg=", "Zg", "Zg==Zg==", "Zg===", "=Zg=", "Z===", "====", "Zm9-"] {
            assert_eq!(decode_lines(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn known_texts_come_out_padded() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(encode(bytes.as_bytes(), STANDARD), text);
        }
    }

    #[test]
    fn whole_groups_come_back() {
        let bytes: Vec<u8> = (0..=254).collect();
        assert_eq!(decode(&encode(&bytes, URL), URL), Some(bytes));
        assert_eq!(decode("abc", URL), None);
        assert_eq!(decode("ab+/", URL), None);
    }
}
