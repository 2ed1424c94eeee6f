//! Sends itself to a `teleserver`, where its copy tells what it has in its memory.
//!
//! `cargo run -p farcall-telefork --example teleclient -- 127.0.0.1:7334`

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::net::TcpStream;

use farcall_telefork::{Location, telefork_to};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: teleclient ADDRESS")?;
    let number = 103;
    let mut stream = TcpStream::connect(address)?;
    match telefork_to(&mut stream)? {
        Location::Child(_) => {
            println!("I have woken elsewhere: foo={number}");
            std::process::exit(number);
        }
        Location::Parent => println!("sent"),
    }
    Ok(())
}
