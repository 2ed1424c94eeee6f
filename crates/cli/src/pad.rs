//! `farcall pad`: what a node starts for a process that moves there. Of no use by hand.

use std::path::PathBuf;
use std::process::ExitCode;

use ::pad::arrival::build;
use anyhow::Context;
use clap::{Args, ValueEnum};

/// Where a process that moves arrives
#[derive(Args)]
pub(crate) struct Pad {
    #[arg(long)]
    jail: Level,
    #[arg(long)]
    scratch: PathBuf,
    #[arg(long)]
    account: Option<u32>,
    /// What a copy learns of itself
    #[arg(long, default_value_t = 0)]
    number: u32,
    /// The image comes over descriptor 4
    #[arg(long)]
    chained: bool,
    /// The image goes on over descriptor 5
    #[arg(long)]
    onward: bool,
    /// The memory of its visitor may follow it
    #[arg(long)]
    follow: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    None,
    User,
}

impl Pad {
    /// The node's socket is descriptor 3: it brings the visit's connections.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let control = sys::process::inherited(3)
            .context("this command is started by a node; run `farcall node` instead")?;
        let level = match self.jail {
            Level::None => worker::jail::Level::None,
            Level::User => worker::jail::Level::User,
        };
        let Self { scratch, account, follow, .. } = self;
        let rules = ::pad::Rules {
            level,
            scratch,
            account,
            follow,
            notice: |gap| eprintln!("note: a visitor's jail is not complete: {gap}"),
        };
        let given = |wanted: bool, number| {
            let taken = wanted.then(|| sys::process::inherited(number)).transpose();
            taken.map(|end| end.map(Into::into)).context("the node gave no socket for an image")
        };
        let (from, onward) = (given(self.chained, 4)?, given(self.onward, 5)?);
        let chained = ::pad::Chained { number: self.number, from, onward };
        ::pad::serve_chained(control.into(), &rules, build, chained)?;
        Ok(ExitCode::SUCCESS)
    }
}
