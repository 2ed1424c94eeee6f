//! `farcall stand-in`: what a process that moved leaves in its place, for whoever started it.
//!
//! It is that process as far as this host knows: its number, parent, session, terminal and standard streams.
//! It begins with all signals blocked: those that came while the process moved are passed on.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use client::Cluster;
use client::visit::Visit;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use sys::ptrace::Replacement;
use wire::limits::{VISIT_KEPT, VISIT_WAITS};

use crate::codes;
use crate::errors::{Complaint, complaint};
use crate::visitor::{
    self, Beside, Heard, Leaves, SIGNALS, Screen, Served, Waiting, beside, pause,
};

/// Stand in for a process that has moved
#[derive(Args)]
pub(crate) struct StandIn {
    #[command(flatten)]
    at: Address,
}

/// By what a visit is found again.
#[derive(Args, Clone, Debug)]
pub(crate) struct Address {
    #[arg(long)]
    pub(crate) on: String,
    #[arg(long)]
    pub(crate) visit: u64,
    #[arg(long, value_delimiter = ',')]
    pub(crate) nodes: Vec<String>,
    /// It has a terminal there
    #[arg(long)]
    pub(crate) terminal: bool,
    /// Its standard input is a file that went along
    #[arg(long)]
    pub(crate) took_input: bool,
}

struct Unreached {
    /// There is no such visit any more.
    is_over: bool,
    reason: String,
}

impl Address {
    fn reach(&self) -> Result<(Visit, Cluster), Unreached> {
        let unreached =
            |error: &anyhow::Error| Unreached { is_over: false, reason: error.to_string() };
        let cluster = Cluster::connect(&self.nodes).map_err(|error| unreached(&error.into()))?;
        match cluster.visit_again(&self.on, self.visit) {
            Ok(visit) => Ok((visit, cluster)),
            Err(error) => {
                Err(Unreached { is_over: visitor::is_over(&error), reason: error.to_string() })
            }
        }
    }

    pub(crate) fn words(&self) -> Vec<String> {
        let (visit, nodes) = (self.visit.to_string(), self.nodes.join(","));
        let words = ["--on", &self.on, "--visit", &visit, "--nodes", &nodes];
        let flags = [(self.terminal, "--terminal"), (self.took_input, "--took-input")];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag);
        words.into_iter().chain(flags).map(str::to_owned).collect()
    }

    /// This command as what another process is to become.
    pub(crate) fn replacement(&self, forgotten: Vec<i32>) -> anyhow::Result<Replacement> {
        let text = |bytes: &[u8]| CString::new(bytes).context("a variable has a zero byte");
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let words = ["farcall".to_owned(), "stand-in".to_owned()].into_iter().chain(self.words());
        let variables = std::env::vars_os().filter(|(name, _)| name != "FARCALL_STOP_AT");
        Ok(Replacement {
            program: text(own.as_os_str().as_bytes())?,
            arguments: words.map(|word| text(word.as_bytes())).collect::<Result<_, _>>()?,
            environment: variables
                .map(|(name, value)| text(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
                .collect::<Result<_, _>>()?,
            forgotten,
        })
    }
}

impl StandIn {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let heard = Heard::of(&SIGNALS).context("cannot hear of signals")?;
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
            .context("cannot hear of signals")?;
        let patience = Duration::from(VISIT_KEPT);
        let mut waiting = Waiting::default();
        let mut is_unwanted = || waiting.is_over(&heard, &self.at.on);
        // A node that has died since is not told from one that is slow.
        let until = Instant::now() + Duration::from(VISIT_WAITS);
        let (mut visit, _cluster) = self.attach(until, &mut is_unwanted)?;
        let screen = self.at.terminal.then(|| Screen::open(Leaves::Visitors)).flatten();
        let (has_terminal, has_input) = (self.at.terminal, !self.at.took_input);
        let early = waiting.came();
        let served = Served { screen, has_terminal, has_input, is_redrawn: false, early };
        visitor::serve(&mut visit, &heard, served, patience)
    }

    /// The first connection. The visitor goes on meanwhile.
    fn attach(
        &self,
        until: Instant,
        is_unwanted: &mut dyn FnMut() -> bool,
    ) -> anyhow::Result<(Visit, Cluster)> {
        let on = &self.at.on;
        let cannot = |reason: Option<String>| {
            let what = format!("the process that moved to {on} cannot be reached");
            let help = "see with `farcall ps` whether it runs";
            let lost = complaint(&codes::E0708, what).help(help);
            reason.into_iter().fold(lost, Complaint::note)
        };
        let mut last = None;
        loop {
            let at = self.at.clone();
            match beside(move || at.reach(), is_unwanted) {
                Beside::Done(Ok(reached)) => return Ok(reached),
                Beside::Done(Err(Unreached { is_over: true, reason })) => {
                    let what = format!("the process that moved to {on} is no more");
                    let help = "look at what it has done";
                    return Err(complaint(&codes::E0708, what).note(reason).help(help).into());
                }
                Beside::Done(Err(Unreached { reason, .. })) => last = Some(reason),
                Beside::NotDone => {}
                Beside::Unwanted => return Err(cannot(last).into()),
            }
            if !pause(until, is_unwanted) {
                return Err(cannot(last).into());
            }
        }
    }
}
