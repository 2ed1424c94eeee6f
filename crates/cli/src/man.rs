//! `farcall man`: manual pages, made of the same definitions that parse the command line.
//!
//! One page for each command and subcommand, named as `man` looks for them: farcall-core-run(1).
//! Nothing is kept in the repository, so nothing there can grow old.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_mangen::roff::{Roff, bold, roman};

use crate::codes;
use crate::errors::{complaint, file};
use crate::terminal;

/// Print a manual page, or write all of them to a folder
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall man ~/.local/share/man/man1        then: man farcall-node
  farcall man --page node | man -l -
  farcall man --page 'core run' > farcall-core-run.1")]
pub(crate) struct Man {
    /// Write every page to this folder, as farcall.1, farcall-node.1 and so on
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The command whose page to print, like `node` or `core run` [default: farcall itself]
    #[arg(long, value_name = "COMMAND", conflicts_with = "folder")]
    page: Option<String>,
}

/// A page, and the file that `man` finds it in.
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) roff: Vec<u8>,
}

impl Man {
    pub(crate) fn run<C: CommandFactory>(self) -> anyhow::Result<ExitCode> {
        let pages = pages(C::command())?;
        let Some(folder) = &self.folder else {
            let wanted = self.page.unwrap_or_default();
            let wanted = ["farcall"].into_iter().chain(wanted.split([' ', '-']));
            let wanted: Vec<&str> = wanted.filter(|word| !word.is_empty()).collect();
            let wanted = wanted.join("-");
            let stated = wanted.strip_prefix("farcall-").unwrap_or_default().to_owned();
            let named = |page: &&Page| page.name == wanted || page.name == stated;
            let page = pages.iter().find(named).ok_or_else(|| {
                let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
                complaint(&codes::E0109, format!("there is no page {wanted}"))
                    .note(format!("there are {}", names.join(", ")))
                    .help("print one of them, or all with `farcall man DIR`")
            })?;
            terminal::say(&String::from_utf8_lossy(&page.roff))?;
            return Ok(ExitCode::SUCCESS);
        };
        std::fs::create_dir_all(folder).map_err(|error| file("make folder", folder, &error))?;
        for page in &pages {
            let path = folder.join(format!("{}.1", page.name));
            std::fs::write(&path, &page.roff).map_err(|error| file("write", &path, &error))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Of the command and all below it, but for those that are not for people.
pub(crate) fn pages(command: Command) -> std::io::Result<Vec<Page>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    gather(&command, None, &mut pages)?;
    Ok(pages)
}

fn gather(command: &Command, above: Option<&str>, pages: &mut Vec<Page>) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let below = || command.get_subcommands().filter(|below| !below.is_hide_set());
    pages.push(Page { roff: render(command, above, below())?, name: name.clone() });
    below().try_for_each(|below| gather(below, Some(&name), pages))
}

fn render<'a>(
    command: &Command,
    above: Option<&'a str>,
    below: impl Iterator<Item = &'a Command>,
) -> std::io::Result<Vec<u8>> {
    let man = clap_mangen::Man::new(command.clone()).manual("Farcall");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if let Some(examples) = command.get_after_help() {
        // As it stands: commands and their columns must not be filled into paragraphs.
        rest.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.to_string().lines().filter(|line| !line.starts_with("Example")) {
            rest.text([roman(line)]);
        }
        rest.control("fi", []);
    }
    rest.control("SH", ["EXIT STATUS"]);
    rest.text([roman(
        "0 if all went well, 1 if something did not, 2 for words that make no command, and what \
         is said above.",
    )]);
    let see: Vec<&str> =
        above.into_iter().chain(below.filter_map(Command::get_display_name)).collect();
    if !see.is_empty() {
        rest.control("SH", ["SEE ALSO"]);
        let last = see.len() - 1;
        for (at, name) in see.into_iter().enumerate() {
            rest.text([bold(name), roman(if at == last { "(1)" } else { "(1)," })]);
        }
    }
    rest.to_writer(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests;
