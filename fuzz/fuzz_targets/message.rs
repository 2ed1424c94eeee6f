//! One frame of any kind and body.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::message::decode(bytes));
