//! `farcall logs`: what tasks wrote to their standard error, from the record of their job. It was
//! written down as it came, so it is there when the node is not.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::record::files::Piece;
use crate::record::past::{Past, Target};
use crate::terminal::{json_line, tame};
use crate::values::spell_size;

/// Show what tasks wrote to their standard error
///
/// Of each task its first and last 32 KiB are kept. A worker has one standard error for all of its
/// tasks: at the border between two that take less than a millisecond, a line may stand under the
/// later one's name.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall logs k3f9qx2.17          of one task, exactly as it wrote it
  farcall logs k3f9qx2             of all tasks, with the task's number before each line")]
pub(crate) struct Logs {
    /// A job, or one of its tasks
    #[arg(value_name = "JOB[.TASK]")]
    target: String,
    /// Print a JSON object for each piece
    #[arg(long)]
    json: bool,
}

impl Logs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let target = Target::find(&self.target)?;
        let past = Past::need(target.job)?;
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let mut to = BufWriter::new(stdout.lock());
        let mut pieces = 0;
        let written = past.logs(|piece, bytes| {
            if target.task.is_some_and(|task| task != piece.task) {
                return Ok(());
            }
            pieces += 1;
            if self.json {
                return in_json(&mut to, piece, bytes);
            }
            if piece.skipped > 0 {
                to.flush()?;
                let skipped = spell_size(piece.skipped);
                eprintln!("note: task {}: {skipped} were left out here", piece.task);
            }
            match (target.task, is_terminal) {
                (Some(_), false) => to.write_all(bytes),
                (Some(_), true) => to.write_all(tame(&String::from_utf8_lossy(bytes)).as_bytes()),
                (None, _) => {
                    let text = tame(&String::from_utf8_lossy(bytes));
                    text.lines().try_for_each(|line| writeln!(to, "{} | {line}", piece.task))
                }
            }
        })?;
        match written.and_then(|()| to.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result?,
        }
        if pieces == 0 && !self.json {
            eprintln!("note: {} wrote nothing to its standard error", self.target.trim());
        }
        for gap in past.job.gaps.iter().filter(|gap| gap.starts_with("what tasks wrote")) {
            eprintln!("note: the record lacks {}", tame(gap));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn in_json(to: &mut impl Write, piece: &Piece, bytes: &[u8]) -> io::Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let line = json!({
        "task": piece.task,
        "attempt": piece.attempt,
        "node": piece.node,
        "skipped": piece.skipped,
        "text": text,
    });
    to.write_all(json_line(&line).as_bytes())
}
