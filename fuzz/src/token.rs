//! The text of a join token, as somebody typed it.

use transport::Token;

/// What is read as a token is written as the same token.
pub fn parse(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(token) = text.parse::<Token>() {
        assert_eq!(token.to_string(), text.trim());
    }
}
