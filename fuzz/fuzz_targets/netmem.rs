//! Messages of NetMem 0.2, from either side.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::netmem::read(bytes));
