//! What each fuzz target does with the bytes it is given.
//!
//! The bodies are plain functions without a fuzzer in them: `fuzz_targets` hands them libFuzzer's
//! bytes, and the tests `fuzz.rs` of `wire`, `logic` and `transport` include the same files and
//! hand them the bytes of `noise`, so that they run wherever `cargo test` does.

#![forbid(unsafe_code)]

pub mod node;
pub mod regions;
pub mod link;
pub mod message;
pub mod payload_head;
pub mod kept;
pub mod image;
pub mod image_paging;
pub mod worker_v1;
pub mod netmem;
pub mod frame;
pub mod delegation;
pub mod answer;
pub mod token;
pub mod noise;
pub mod seeds;
