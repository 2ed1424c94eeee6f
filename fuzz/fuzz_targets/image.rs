//! Images of processes, as a file or a peer may give them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::image::decode(bytes));
