//! `farcall completions`: what a shell needs to complete this command.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::terminal;

/// Print the completion script of a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall completions bash > ~/.local/share/bash-completion/completions/farcall
  farcall completions fish > ~/.config/fish/completions/farcall.fish
  farcall completions zsh > ~/.zfunc/_farcall")]
pub(crate) struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run<C: CommandFactory>(self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut C::command(), "farcall", &mut script);
        terminal::say(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}
