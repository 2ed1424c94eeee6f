//! Streams of bytes from clients, neighbours and strangers into a whole node.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::node::serve(bytes));
