//! `farcall mem`: shared memory from the command line.
//!
//! ```text
//!   create list stat grow drop     regions            (`regions`)
//!   read write update              pages              (`pages`)
//!   lock                           a command alone    (`lock`)
//!   watch                          what is committed  (`watch`)
//!   hot bench                      how it goes        (`hot`, `bench`)
//! ```
//!
//! Elsewhere: which region and which pages (`place`), bytes as people and programs write them
//! (`forms`), the codes of what goes wrong (`errors::memory`).

mod bench;
mod hot;
mod lock;
mod watch;
mod pages;
mod regions;
mod place;
mod forms;

use std::process::ExitCode;

use clap::Subcommand;

/// Use shared memory: regions of pages, with locks, transactions and watches
///
/// A region is a named array of pages on one node. Each page has a version, which rises with each
/// write. Programs on any host of the cluster share it; the library has the same and more: typed
/// cells, counters, queues, transactions over many pages.
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  farcall mem create genes --pages 1000
  farcall mem update genes 3 --text hello
  farcall mem read genes 3
  farcall mem watch genes 0-99
  farcall mem lock genes 3 --wait 10s -- ./alone.sh
  farcall mem list
  farcall mem bench                       how fast it is here; needs nothing")]
pub(crate) enum Mem {
    Create(regions::Create),
    List(regions::List),
    Stat(regions::Stat),
    Read(pages::Read),
    Write(pages::Write),
    Update(pages::Update),
    Lock(lock::Lock),
    Watch(watch::Watch),
    Grow(regions::Grow),
    Drop(regions::Drop),
    Hot(hot::Hot),
    Bench(bench::Bench),
}

impl Mem {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(create) => create.run(),
            Self::List(list) => list.run(),
            Self::Stat(stat) => stat.run(),
            Self::Read(read) => read.run(),
            Self::Write(write) => write.run(),
            Self::Update(update) => update.run(),
            Self::Lock(lock) => lock.run(),
            Self::Watch(watch) => watch.run(),
            Self::Grow(grow) => grow.run(),
            Self::Drop(drop) => drop.run(),
            Self::Hot(hot) => hot.run(),
            Self::Bench(bench) => bench.run(),
        }
    }
}
