//! What a copy writes to its standard output, with or without the answer to its call.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::answer::find(bytes));
