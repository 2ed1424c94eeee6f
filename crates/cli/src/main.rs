//! The `farcall` command: parses what was typed, hands over, turns errors into words and an exit
//! status. Each command has a file; none of them decides anything that the library should.

#![forbid(unsafe_code)]

mod demo;
mod moves;
mod stand_in;
mod checkpoint;
mod restore;
mod preflight;
mod image;
mod visitor;
mod ps;
mod retry;
mod mem;
mod why;
mod logs;
mod jobs;
mod controller_v1;
mod core;
mod doctor;
mod node;
mod auth;
mod status;
mod explain;
mod completions;
mod man;
mod worker;
mod pad;
mod cluster;
mod record;
mod config;
mod interrupt;
mod progress;
mod endpoint;
mod values;
mod errors;
mod codes;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs the code you have on the machines you have
#[derive(Parser)]
#[command(name = "farcall", version, propagate_version = true, after_help = EXAMPLES)]
struct Farcall {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  farcall demo                                  a picture, drawn by two nodes on this machine
  farcall core run ./libsum.so a.txt b.txt      a task for each file
  farcall mem read genes 3                      a page of shared memory
  farcall node                                  offer this machine's cores
  farcall status --nodes host-a                 what the cluster is doing
  farcall preflight 4242                        what of a process can move
  farcall move 4242 --to host-b                 a running process goes to another host
  farcall checkpoint 4242 -o sort.image         a running process becomes a file, and ends
  farcall restore sort.image                    it goes on from there
  farcall jobs                                  your jobs, those that ended and those that run
  farcall why k3f9qx2.17                        why a task waits, failed or took so long
  farcall doctor                                what this host can do, and what it cannot
  farcall explain E0201                         more about an error";

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    #[command(subcommand)]
    Core(core::Core),
    #[command(subcommand)]
    Mem(Box<mem::Mem>),
    ControllerV1(controller_v1::ControllerV1),
    Node(Box<node::Node>),
    #[command(subcommand)]
    Auth(auth::Auth),
    Status(status::Status),
    Jobs(jobs::Jobs),
    Why(why::Why),
    Logs(logs::Logs),
    Retry(retry::Retry),
    Preflight(preflight::Preflight),
    Checkpoint(checkpoint::Checkpoint),
    Image(image::Image),
    Move(moves::Move),
    Restore(restore::Restore),
    Ps(ps::Ps),
    Doctor(doctor::Doctor),
    Explain(explain::Explain),
    Completions(completions::Completions),
    Man(man::Man),
    #[command(hide = true)]
    Worker,
    #[command(hide = true)]
    Pad(pad::Pad),
    #[command(hide = true)]
    StandIn(stand_in::StandIn),
    #[command(hide = true)]
    Guardian(moves::Guardian),
    #[command(hide = true)]
    DemoSerial,
}

fn main() -> ExitCode {
    let result = match Farcall::try_parse().unwrap_or_else(|error| errors::misused(&error)).command
    {
        Command::Demo(demo) => demo.run(),
        Command::Core(core) => core.run(),
        Command::Mem(mem) => mem.run(),
        Command::ControllerV1(controller) => controller.run(),
        Command::Node(node) => node.run(),
        Command::Auth(auth) => auth.run(),
        Command::Status(status) => status.run(),
        Command::Jobs(jobs) => jobs.run(),
        Command::Why(why) => why.run(),
        Command::Logs(logs) => logs.run(),
        Command::Retry(retry) => retry.run(),
        Command::Preflight(preflight) => preflight.run(),
        Command::Checkpoint(checkpoint) => checkpoint.run(),
        Command::Image(image) => image.run(),
        Command::Move(moves) => moves.run(),
        Command::Restore(restore) => restore.run(),
        Command::Ps(ps) => ps.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Explain(explain) => explain.run(),
        Command::Man(man) => man.run::<Farcall>(),
        Command::Completions(completions) => completions.run::<Farcall>(),
        Command::Worker => worker::run(),
        Command::Pad(pad) => pad.run(),
        Command::StandIn(stand_in) => stand_in.run(),
        Command::Guardian(guardian) => guardian.run(),
        Command::DemoSerial => demo::serve_serially(),
    };
    match result {
        Ok(code) => code,
        Err(error) => errors::show(&error),
    }
}
