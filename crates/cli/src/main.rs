//! The `farcall` command: parses what was typed, hands over, turns errors into words and an exit
//! status. Each command has a file; none of them decides anything that the library should.

#![forbid(unsafe_code)]

mod node;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs the code you have on the machines you have.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Farcall {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Node(Box<node::Node>),
    #[command(hide = true)]
    Worker,
}

fn main() -> ExitCode {
    let result = match Farcall::parse().command {
        Command::Node(node) => node.run(),
        Command::Worker => worker::run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
