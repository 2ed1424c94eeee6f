//! Wakes every process that comes over TCP, each on a thread of its own, and says how it ended.
//!
//! Whoever can connect runs what he likes here, as the user of this program: loopback, or a network that is
//! yours alone. (Nodes ask for a certificate.)
//!
//! `cargo run -p farcall-telefork --example teleserver -- 127.0.0.1:7334`

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use farcall_telefork::{telepad, wait_for_exit};

/// Whoever says nothing for so long has left.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: teleserver ADDRESS")?;
    let listener = TcpListener::bind(address)?;
    println!("listening at {}", listener.local_addr()?);
    loop {
        let (stream, from) = listener.accept()?;
        thread::spawn(move || match serve(stream) {
            Ok(status) => println!("{from}: the visitor has left with status {status}"),
            Err(error) => println!("{from}: {error}"),
        });
    }
}

fn serve(mut stream: TcpStream) -> Result<i32, Box<dyn Error>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let child = telepad(&mut stream, 0)?;
    println!("a visitor wakes as {child}");
    Ok(wait_for_exit(child)?)
}
