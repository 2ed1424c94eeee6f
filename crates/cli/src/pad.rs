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
        let rules = ::pad::Rules { level, scratch, account, follow };
        ::pad::serve(control.into(), &rules, build)?;
        Ok(ExitCode::SUCCESS)
    }
}
