//! One message of the worker socket protocol v1, from either side.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::worker_v1::read(bytes));
