//! A program goes to another one and comes back over one connection: what its copy has changed over there
//! is changed in the copy that comes back.
//!
//! `cargo run -p farcall-telefork --example yoyo_raw -- serve 127.0.0.1:7335`, and elsewhere
//! `cargo run -p farcall-telefork --example yoyo_raw -- go 127.0.0.1:7335`

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::io::{Write, stdout};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use farcall_telefork::{Location, telefork_to, telepad, telepad_with, wait_for_exit};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    match &args[..] {
        [_, role, address] if role == "serve" => serve(address),
        [_, role, address] if role == "go" => go(address),
        _ => Err("usage: yoyo_raw serve|go ADDRESS".into()),
    }
}

/// Wakes who comes, once; the connection is the standard output of the copy.
fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address)?;
    println!("listening at {}", listener.local_addr()?);
    let (mut stream, _) = listener.accept()?;
    let back = OwnedFd::from(stream.try_clone()?);
    let child = telepad_with(&mut stream, 0, vec![(1, back)])?;
    println!("the visitor has left with status {}", wait_for_exit(child)?);
    Ok(())
}

fn go(address: &str) -> Result<(), Box<dyn Error>> {
    let mut number = 103;
    let mut stream = TcpStream::connect(address)?;
    if telefork_to(&mut stream)? == Location::Parent {
        let child = telepad(&mut stream, 0)?;
        std::process::exit(wait_for_exit(child)?);
    }
    // Over there.
    number -= 61;
    match telefork_to(&mut stdout())? {
        Location::Parent => stdout().flush()?,
        // Back here.
        Location::Child(_) => println!("foo={number}"),
    }
    Ok(())
}
