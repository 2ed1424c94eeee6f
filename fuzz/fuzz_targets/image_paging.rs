//! What is said of pages that follow an image, as a peer may say it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcall_fuzz::image_paging::decode(bytes));
