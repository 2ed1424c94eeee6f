//! What a copy of a client is handed on.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::delegation::decode(bytes));
