//! Streams of bytes from clients into the regions of a home.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::regions::share(bytes));
