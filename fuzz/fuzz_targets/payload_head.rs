//! The head of a piece of a payload.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::payload_head::peek(bytes));
