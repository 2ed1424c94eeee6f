//! Wakes a copy from an image that another program has written, with the value 1.
//!
//! `cargo run -p farcall-telefork --example load -- second.image`

use std::error::Error;
use std::fs::File;

use farcall_telefork::{telepad, wait_for_exit};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: load IMAGE")?;
    let child = telepad(&mut File::open(&path)?, 1)?;
    println!("child exited with status = {}", wait_for_exit(child)?);
    Ok(())
}
