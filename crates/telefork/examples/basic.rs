//! Writes an image of this program to a file, and wakes a copy of it from there with the value 7.
//!
//! `cargo run -p farcall-telefork --example basic -- basic.image`

use std::cell::Cell;
use std::error::Error;
use std::fs::File;
use std::thread;
use std::time::Duration;

use farcall_telefork::{Location, telefork_to, telepad, wait_for_exit};

thread_local! {
    static VALUE: Cell<i32> = const { Cell::new(3) };
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: basic IMAGE")?;
    println!("Hello!");
    let foo = 103;
    VALUE.set(4);
    println!("tls: {}", VALUE.get());
    let location = telefork_to(&mut File::create(&path)?)?;
    match location {
        Location::Child(value) => {
            println!("hello from a strange new world where I woke up passed {value}");
            println!("My local variable says foo={foo} and I'm going to exit with that status");
            println!("tls: {}", VALUE.get());
            thread::sleep(Duration::from_millis(100));
            println!("tls: {}", VALUE.get());
            std::process::exit(foo);
        }
        Location::Parent => println!("finished teleforking"),
    }
    let child = telepad(&mut File::open(&path)?, 7)?;
    println!("child pid = {child}");
    let status = wait_for_exit(child)?;
    println!("child exited with status = {status}");
    Ok(())
}
