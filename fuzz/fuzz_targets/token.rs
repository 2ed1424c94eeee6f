//! The text of a join token, as somebody typed it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::token::parse(bytes));
