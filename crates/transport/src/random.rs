//! Numbers that nobody can guess, from the cryptographic library.

use rustls::crypto::{SecureRandom, aws_lc_rs};

/// Draws one. Without a source of randomness no connection could be made either.
pub fn random_u64() -> u64 {
    let source: &dyn SecureRandom = aws_lc_rs::default_provider().secure_random;
    let mut bytes = [0; 8];
    assert!(source.fill(&mut bytes).is_ok(), "the system has no random numbers");
    u64::from_le_bytes(bytes)
}
