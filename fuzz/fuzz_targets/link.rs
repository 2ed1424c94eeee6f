//! A stream of bytes into the manners of one connection, on both sides of it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::link::converse(bytes));
