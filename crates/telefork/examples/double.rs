//! A copy that was woken from an image writes an image of itself in turn.
//!
//! `cargo run -p farcall-telefork --example double -- first.image second.image`, then
//! `cargo run -p farcall-telefork --example load -- second.image`

use std::error::Error;
use std::fs::File;

use farcall_telefork::{Location, telefork_to, telepad, wait_for_exit};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(first), Some(second)) = (args.next(), args.next()) else {
        return Err("usage: double IMAGE IMAGE".into());
    };
    let mut foo = 103;
    println!("Hello!");
    if let Location::Child(value) = telefork_to(&mut File::create(&first)?)? {
        println!("first val={value}, foo={foo}");
        foo = 42;
        match telefork_to(&mut File::create(&second)?)? {
            Location::Child(value) => println!("second val={value}, foo={foo}"),
            Location::Parent => println!("the copy has sent a copy"),
        }
        std::process::exit(foo);
    }
    let child = telepad(&mut File::open(&first)?, 5)?;
    println!("child exited with status = {}", wait_for_exit(child)?);
    let child = telepad(&mut File::open(&second)?, 5)?;
    println!("child exited with status = {}", wait_for_exit(child)?);
    Ok(())
}
