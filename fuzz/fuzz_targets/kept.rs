//! What a vault keeps of a region, as a disk may give it back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::kept::decode(bytes));
