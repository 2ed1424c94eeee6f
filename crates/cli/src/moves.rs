//! `farcall move`: a running process goes to a node, and a stand-in stays for whoever started it.
//!
//! ```text
//!   preflight, visit ─▶ freeze ─▶ image ─▶ BUILT ─▶ hold, WAKE ─▶ WOKEN ─▶ the original becomes the stand-in
//! ```
//!
//! From `hold` on the original stays stopped even if this command is killed; then the *guardian*, a process
//! that this command starts before, asks the node what became of it, and does what the answer says.
//!
//! With `--pre-copy` its memory goes before it is stopped for good (`rounds`); the commit is the same one.

mod lazy;
mod rounds;
mod sent;

use std::cell::RefCell;
use std::io::{Read, Write, stderr};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use client::Cluster;
use client::memory::{Error, line::now};
use client::visit::{Fate, Source, Terms, Visit};
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use sys::Pid;
use telefork::Description;
use telefork::capture::Frozen;
use telefork::lazy::PageServer;
use telefork::preflight::{Report, Weight, preflight, recheck};
use wire::image::Writer;
use wire::image::descriptor::{Direction, Opened};
use wire::image::process::SignalInfo;
use wire::visit::{Alone, Begin, Resize, Wake};

use crate::cluster::Nodes;
use crate::codes;
use crate::errors::{Complaint, complaint};
use crate::preflight::Wishes;
use crate::progress::Progress;
use crate::stand_in::Address;
use crate::values::{fine, spell_size};
use crate::visitor::{self, Heard, Passage, cut, moment};
use crate::{config, terminal};
use rounds::{Ahead, Sent, Standing};
use sent::{Unsent, send};

/// How long all threads of a process may take to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a file that is standard input, which is taken along whole. A longer one is read here.
const INPUT_MAX: u64 = 64 << 20;
/// How a descriptor is open, in its flags.
const O_ACCMODE: i32 = 3;
const O_RDONLY: i32 = 0;
const O_WRONLY: i32 = 1;
/// What the guardian is told: the input goes along; the original is about to be held; there is nothing left to
/// be done.
const TOOK_INPUT: u8 = b'i';
const HELD: u8 = b'h';
const DONE: u8 = b'd';

/// Move a running process to a node
///
/// All its threads go, with its memory and its open files. Whoever started it notices nothing: it keeps its
/// terminal, sees its output and gets its exit status. If anything fails, the process goes on here.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall move 4242 --to host-b
  farcall move $(pgrep -n solver) --to host-b
  farcall move 4242 --to host-b --pre-copy      its memory goes while it runs; it stands still for the rest alone
  farcall move 4242 --to host-b --lazy          it runs there at once, and its memory follows
  farcall move 4242 --to host-b --fd 5=drop     as if descriptor 5 were closed")]
pub(crate) struct Move {
    /// The number of the process
    #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: i32,
    /// The node that it is to run on, by its name
    #[arg(long, value_name = "NODE")]
    to: String,
    /// Bytes of memory that it may have there; 0 is no limit
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    memory: u64,
    /// Run it there before its memory is there, which follows. Until all of it is over, the process is lost if
    /// either host, this command or the network between is
    #[arg(long, conflicts_with_all = ["pre_copy", "json"])]
    lazy: bool,
    /// Send its memory while it runs, and then what it has written meanwhile: more is sent, and it stands still
    /// for less time
    #[arg(long)]
    pre_copy: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    nodes: Nodes,
}

impl Move {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        // Killed, this command leaves the process as it was.
        sys::process::work_behind()?;
        let pid = Pid(self.pid);
        self.look()?;
        let started = sys::proc::started(pid)?;
        // 1. Everything that can be refused is refused while the process runs.
        let named = self.nodes.named()?;
        let named = if named.is_empty() { vec![crate::status::own_node()?] } else { named };
        let cluster = Cluster::connect(&named)?;
        let from = config::host_name()?.to_string();
        let terminal = terminal_of(pid);
        let begin = Begin {
            from: cut(from),
            pid: pid.0.unsigned_abs(),
            command: cut(command(pid)),
            memory: self.memory,
            terminal: terminal.is_some(),
        };
        let mut visit = cluster.visit(&self.to, begin)?;
        let node = visit.node().to_owned();
        let nodes = named.iter().map(|node| reachable_anywhere(node)).collect();
        let mut address = Address {
            on: node.clone(),
            visit: visit.token(),
            nodes,
            terminal: terminal.is_some(),
            took_input: false,
        };
        let what = format!("process {pid}");
        let lanes = self.lazy.then(|| lazy::lanes(&visit, &what)).transpose()?;
        if lanes.is_some() {
            lazy::warn(&what, &node);
        }
        let mut guard = Guard::start(pid, started, &address)?;
        let interrupts = Heard::of(&[SIGINT, SIGTERM, SIGHUP])?;
        moment("begun");
        let input = RefCell::new(None);
        let look = |description: &mut Description| {
            // What has come since it was looked at.
            self.refuse(&recheck(pid, description)?)?;
            input.replace(pass_streams(description));
            Ok(())
        };
        let overrides = self.wishes.overrides();
        let mut ahead = self.pre_copy.then(|| Ahead::new(pid));
        if let Some(ahead) = &mut ahead {
            let mut interrupted = false;
            ahead.go(&overrides, &mut visit, &look, &mut || {
                interrupted |= !interrupts.take().is_empty();
                interrupted
            })?;
            if interrupted {
                let why = "it was interrupted; start it again";
                let what = format!("process {pid}");
                return Err(visitor::not_there(&what, &node, why).note("it goes on here").into());
            }
        }
        // 2. It stands still; dropped, it goes on.
        let expected = sys::proc::memory(pid)?.map_or(0, |memory| memory.resident);
        let progress = match &ahead {
            None => Progress::of_bytes("sent", expected),
            Some(_) => Progress::of_bytes("last", 0),
        };
        let (standing, begun) = match &mut ahead {
            Some(ahead) => {
                let (frozen, begun) = ahead.freeze(&overrides)?;
                (ahead.describe(frozen, &look)?, begun)
            }
            None => {
                let begun = Instant::now();
                let mut frozen = Frozen::freeze(pid, PATIENCE)?;
                frozen.set_overrides(overrides);
                let mut description = frozen.describe()?;
                look(&mut description)?;
                (Standing::of(frozen, description), begun)
            }
        };
        let input = input.take();
        if input.is_some() {
            address.took_input = true;
            guard.tell(TOOK_INPUT)?;
        }
        moment("frozen");
        // What the node says instead of taking it, it says again when it is asked.
        let sent = match &mut ahead {
            Some(ahead) if ahead.is_said => Ok((None, 0, 0)),
            Some(ahead) => ahead
                .finish(&standing, &mut visit, &progress)
                .map(|(bytes, pages)| (None, bytes, pages)),
            None => send_all(&standing, &mut visit, &progress, lanes.is_some()),
        };
        progress.finish();
        let (server, bytes, pages) = match sent {
            Ok(sent) => sent,
            Err(error) if error.is_said => (None, 0, 0),
            Err(error) => return Err(error.source),
        };
        let left = lanes.zip(server).map(|(lanes, server)| lazy::Ahead { server, lanes });
        let Standing { mut frozen, description, .. } = standing;
        moment("sent");
        let token = visit.token();
        let mut source = Source::new(Terms::default(), wake(terminal));
        let mut passage = Passage {
            visit: Some(visit),
            again: &mut || cluster.visit_again(&node, token),
            hold: &mut || {
                moment("built");
                guard.tell(HELD)?;
                frozen.hold()?;
                moment("held");
                Ok(())
            },
            is_unwanted: &|| !interrupts.take().is_empty(),
        };
        let fate = passage.settle(&mut source)?;
        let visit = passage.visit.take();
        let last = Sent { bytes, pages, stood: begun.elapsed() };
        moment("settled");
        // 3. What became of it.
        match fate {
            Fate::There { pid: there } => {
                // The stand-in is the next to hear of it.
                drop(visit);
                if let Some(left) = left {
                    let (what, address) = (&what[..], &address);
                    let forgotten = forgotten(&description);
                    let gone = lazy::Gone { what, there, address, forgotten };
                    lazy::follow(frozen, &description, left, gone, &mut guard, &interrupts)?;
                    note_input(input.as_deref());
                    return Ok(ExitCode::SUCCESS);
                }
                leave_stand_in(frozen, &address, forgotten(&description), &what, there)?;
                moment("replaced");
                guard.tell(DONE)?;
                let rounds = ahead.as_ref().map(|ahead| (&ahead.rounds[..], ahead.is_tracked()));
                terminal::say(&self.told(&node, there, &last, rounds))?;
                note_input(input.as_deref());
                Ok(ExitCode::SUCCESS)
            }
            Fate::Here { why } => {
                frozen.release()?;
                guard.tell(DONE)?;
                Err(visitor::not_there(&what, &node, &why).note("it goes on here").into())
            }
            Fate::Doubt => {
                drop(frozen);
                guard.tell(DONE)?;
                Err(in_doubt(pid, &node).into())
            }
        }
    }

    /// That it has moved, and what that took.
    fn told(&self, node: &str, there: u32, last: &Sent, ahead: Option<(&[Sent], bool)>) -> String {
        let pid = self.pid;
        let milliseconds = |span: Duration| span.as_secs_f64() * 1e3;
        if self.json {
            let in_json = |sent: &Sent| {
                json!({ "bytes": sent.bytes, "pages": sent.pages,
                    "stood_still_ms": milliseconds(sent.stood) })
            };
            let rounds: Vec<_> =
                ahead.iter().flat_map(|(rounds, _)| *rounds).map(in_json).collect();
            return terminal::json_line(&json!({ "pid": pid, "node": node, "as": there,
                "bytes": last.bytes, "pages": last.pages,
                "stood_still_ms": milliseconds(last.stood), "rounds": rounds,
                "tracked": ahead.map(|(_, is_tracked)| is_tracked) }));
        }
        let mut text = format!("process {pid} runs on {node} now, as {there}\n");
        if let Some((rounds, _)) = ahead {
            let went: Vec<_> = rounds.iter().map(|round| spell_size(round.bytes)).collect();
            let (went, rest, stood) = (went.join(", "), spell_size(last.bytes), fine(last.stood));
            text += &format!(
                "it stood still for {stood}, while {rest} went; {went} went while it ran\n"
            );
        }
        text
    }

    /// Before anything is stopped.
    fn look(&self) -> anyhow::Result<()> {
        let report = preflight(Pid(self.pid), &self.wishes.overrides())?;
        self.refuse(&report)
    }

    /// Says all that stands in the way.
    fn refuse(&self, report: &Report) -> anyhow::Result<()> {
        let mut blocking = report.findings.iter().filter(|one| one.weight == Weight::Blocks);
        let Some(first) = blocking.next() else { return Ok(()) };
        let what = format!("process {} cannot move: {}: {}", self.pid, first.object, first.reason);
        let mut refused = complaint(&codes::E0709, what);
        for other in blocking {
            refused = refused.note(format!("{}: {}", other.object, other.reason));
        }
        Err(refused.help(first.remedy.clone()).into())
    }
}

fn note_input(input: Option<&str>) {
    if let Some(input) = input.map(terminal::tame_line) {
        let _ = writeln!(stderr(), "note: its input, {input}, went along as it is now");
    }
}

/// The original ends where a program cannot take its place: it runs elsewhere.
fn leave_stand_in(
    frozen: Frozen,
    address: &Address,
    forgotten: Vec<i32>,
    what: &str,
    there: u32,
) -> anyhow::Result<()> {
    let replaced = match address.replacement(forgotten) {
        Ok(replacement) => frozen.replace(&replacement).map_err(anyhow::Error::from),
        Err(error) => frozen.end().map_err(anyhow::Error::from).and(Err(error)),
    };
    replaced.map_err(|error| {
        let node = &address.on;
        let lost = format!("{what} runs on {node} now, as {there}, and nothing stands in for it");
        complaint(&codes::E0710, lost)
            .note(format!("{error:#}"))
            .note("who started it is told that it was killed, and what it writes is lost")
            .help("see it with `farcall ps`")
            .into()
    })
}

fn in_doubt(pid: Pid, node: &str) -> Complaint {
    let what =
        format!("it is not known whether process {pid} runs on {node}, which cannot be asked");
    complaint(&codes::E0707, what).note(format!("process {pid} is stopped here")).help(format!(
        "ask `farcall ps` when the node can be reached; if it is not there, `kill -CONT {pid}`"
    ))
}

/// The visitor outlives the host that it came from.
fn wake(terminal: Option<Resize>) -> Wake {
    Wake { alone: Alone::GoesOn, terminal }
}

/// The size of the terminal that a process has open; `None` where it has none.
fn terminal_of(pid: Pid) -> Option<Resize> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let is_terminal = |path: &Path| {
        let path = path.to_string_lossy();
        ["/dev/pts/", "/dev/tty", "/dev/console"].iter().any(|begin| path.starts_with(begin))
    };
    let mut open = open.map(|one| one.path());
    let found = open.find(|one| std::fs::read_link(one).is_ok_and(|path| is_terminal(&path)))?;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).custom_flags((OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits());
    let size = options.open(found).ok().and_then(|file| sys::terminal::size(&file).ok());
    let (rows, columns) = size.unwrap_or_default();
    Some(Resize { rows, columns })
}

/// Standard streams that are files stay with the stand-in, like all others: what the process writes goes to
/// where whoever started it looks for it. But for input that is only read, and is short: it goes along, so that
/// the process finds its way in it as before. Returns its name.
fn pass_streams(description: &mut Description) -> Option<String> {
    let mut taken = None;
    for descriptor in description.descriptors.iter_mut().filter(|one| one.number <= 2) {
        if let Opened::File(file) = &descriptor.what {
            let is_read = descriptor.flags.cast_signed() & O_ACCMODE == O_RDONLY;
            if descriptor.number == 0 && is_read && file.identity.size <= INPUT_MAX {
                taken = Some(file.path.to_string());
                continue;
            }
            let direction = match descriptor.flags.cast_signed() & O_ACCMODE {
                O_RDONLY => Direction::Read,
                O_WRONLY => Direction::Write,
                _ => Direction::Both,
            };
            descriptor.what = Opened::Stdio { direction };
        }
    }
    taken
}

/// Signals that have moved with it: the stand-in must not hear of them once more.
fn forgotten(description: &Description) -> Vec<i32> {
    let threads = description.threads.iter().flat_map(|thread| &thread.pending);
    let all = description.process.pending.iter().chain(threads);
    let number = |info: &SignalInfo| info.0.first_chunk().map(|word| i32::from_le_bytes(*word));
    all.filter_map(number).collect()
}

/// The whole process, as one image; `is_ahead`: most of its pages stay behind.
fn send_all(
    standing: &Standing,
    visit: &mut Visit,
    progress: &Progress,
    is_ahead: bool,
) -> Result<(Option<PageServer>, u64, u64), Unsent> {
    let Standing { frozen, description, .. } = standing;
    let ((server, pages), bytes) = send(visit, None, progress, |to| {
        let mut writer = Writer::new(to, telefork::image_id()?);
        description.put(&mut writer)?;
        let sent = match is_ahead {
            true => (Some(frozen.send_ahead(description, &mut writer)?), 0),
            false => (None, frozen.send(description, &mut writer)?.pages),
        };
        writer.finish()?;
        Ok(sent)
    })?;
    Ok((server, bytes, pages))
}

/// The words that a process was started with.
fn command(pid: Pid) -> String {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).split('\0').collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// The stand-in is in another folder.
fn reachable_anywhere(node: &str) -> String {
    let path = Path::new(node);
    let absolute = if node.contains('/') { std::path::absolute(path).ok() } else { None };
    absolute.map_or_else(|| node.to_owned(), |path| path.display().to_string())
}

/// The other end of the guardian.
struct Guard(ChildStdin);

impl Guard {
    fn start(pid: Pid, started: u64, address: &Address) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(own);
        command.arg("guardian").args(["--pid", &pid.to_string()]);
        command.args(["--started", &started.to_string()]).args(address.words());
        // What ends a terminal's programs must not end both.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        command.env_remove("FARCALL_STOP_AT");
        let mut child = command.spawn().context("cannot start a guardian for the process")?;
        Ok(Self(child.stdin.take().context("a guardian without a pipe")?))
    }

    fn tell(&mut self, word: u8) -> anyhow::Result<()> {
        self.0.write_all(&[word]).context("the guardian of the process has ended; try again")
    }
}

/// Settle a move whose command was killed
#[derive(Args)]
pub(crate) struct Guardian {
    #[arg(long)]
    pid: i32,
    /// When it was started, in ticks
    #[arg(long)]
    started: u64,
    #[command(flatten)]
    at: Address,
}

impl Guardian {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        // Whoever ends all of a terminal's programs leaves this one its few seconds.
        let _heard = Heard::of(&[SIGINT, SIGTERM, SIGHUP])?;
        let mut told = Vec::new();
        std::io::stdin().read_to_end(&mut told).context("cannot hear of the move")?;
        // It goes on by itself unless it was held, and `WAKE` was not sent before.
        if told.contains(&DONE) || !told.contains(&HELD) || !self.is_original() {
            return Ok(ExitCode::SUCCESS);
        }
        let mut source = Source::after_another(now(), Terms::default(), wake(None));
        let mut cluster = None;
        let mut again = || self.again(&mut cluster);
        let mut passage = Passage {
            visit: None,
            again: &mut again,
            hold: &mut || Ok(()),
            is_unwanted: &|| false,
        };
        let fate = passage.settle(&mut source)?;
        drop(passage.visit.take());
        if !self.is_original() {
            return Ok(ExitCode::SUCCESS);
        }
        let took_input = told.contains(&TOOK_INPUT);
        let at = Address { took_input, ..self.at.clone() };
        let pid = Pid(self.pid);
        match fate {
            Fate::There { pid: there } => {
                let frozen = Frozen::freeze(pid, PATIENCE)?;
                leave_stand_in(frozen, &at, Vec::new(), &format!("process {pid}"), there)?;
            }
            Fate::Here { .. } => {}
            Fate::Doubt => return Err(in_doubt(pid, &self.at.on).into()),
        }
        // Either of them was stopped with the original.
        kill(nix::unistd::Pid::from_raw(self.pid), Signal::SIGCONT)
            .context("cannot let the process go on; send it SIGCONT")?;
        Ok(ExitCode::SUCCESS)
    }

    fn again(&self, cluster: &mut Option<Cluster>) -> Result<Visit, Error> {
        let cluster = match cluster {
            Some(cluster) => cluster,
            None => {
                let node = self.at.on.clone();
                let made = Cluster::connect(&self.at.nodes);
                cluster.insert(made.map_err(|_| Error::NoNode { node })?)
            }
        };
        cluster.visit_again(&self.at.on, self.at.visit)
    }

    /// It is there, and not a stand-in yet.
    fn is_original(&self) -> bool {
        let own = std::env::current_exe().ok();
        let program: Option<PathBuf> = std::fs::read_link(format!("/proc/{}/exe", self.pid)).ok();
        let is_same = sys::proc::started(Pid(self.pid)).is_ok_and(|since| since == self.started);
        is_same && program.is_some() && program != own
    }
}
