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
use sent::{Interrupts, Unsent, send};

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
    #[arg(long, conflicts_with = "pre_copy")]
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
        let terminal = terminal_of(pid);
        let (mut visit, mut address) = self.enter(&cluster, &named, terminal.is_some())?;
        let lanes = self.lazy.then(|| lazy::lanes(&visit, &self.what())).transpose()?;
        if lanes.is_some() {
            lazy::warn(&self.what(), &address.on);
        }
        let mut guard = Guard::start(pid, started, &address)?;
        let interrupts = Interrupts::new()?;
        moment("begun");
        let input = RefCell::new(None);
        let look = |description: &mut Description| {
            // What has come since it was looked at.
            self.refuse(&recheck(pid, description)?)?;
            input.replace(pass_streams(description));
            Ok(())
        };
        // 2. Its image goes: while it runs, if that is wished, and then as it stands still. Dropped, it goes on.
        let overrides = self.wishes.overrides();
        let mut ahead = self.pre_copy.then(|| Ahead::new(pid));
        if let Some(ahead) = &mut ahead {
            let went = ahead.go(&overrides, &mut visit, &look, &interrupts);
            self.not_interrupted(&interrupts, &address)?;
            went?;
        }
        let (standing, begun, expected) = self.stop(ahead.as_mut(), &look)?;
        let input = input.take();
        if input.is_some() {
            address.took_input = true;
            guard.tell(TOOK_INPUT)?;
        }
        moment("frozen");
        let sent = send_last(
            &standing,
            ahead.as_mut(),
            &mut visit,
            expected,
            &interrupts,
            lanes.is_some(),
        );
        let sent = match sent {
            // What the node says instead of taking it, it says again when it is asked.
            Err(Unsent { is_said: true, .. }) => Last::default(),
            Err(Unsent { source, .. }) => {
                self.not_interrupted(&interrupts, &address)?;
                return Err(source);
            }
            Ok(sent) => sent,
        };
        let Standing { mut frozen, description, .. } = standing;
        moment("sent");
        // 3. The commit, and what became of it.
        let mut source = Source::new(Terms::default(), wake(terminal));
        let mut passage = Passage {
            visit: Some(visit),
            again: &mut || cluster.visit_again(&address.on, address.visit),
            hold: &mut || {
                moment("built");
                guard.tell(HELD)?;
                frozen.hold()?;
                moment("held");
                Ok(())
            },
            is_unwanted: &|| interrupts.have_come(),
        };
        let fate = passage.settle(&mut source)?;
        // The stand-in is the next to hear of it.
        drop(passage.visit.take());
        let last = Sent { bytes: sent.bytes, pages: sent.pages, stood: begun.elapsed() };
        moment("settled");
        let what = self.what();
        match fate {
            Fate::There { pid: there } => {
                let forgotten = forgotten(&description);
                if let Some((lanes, server)) = lanes.zip(sent.server) {
                    let left = lazy::Ahead { server, lanes };
                    let (what, address, is_told) = (&what[..], &address, !self.json);
                    let gone = lazy::Gone { what, there, address, forgotten, is_told };
                    let followed =
                        lazy::follow(frozen, &description, left, gone, &mut guard, &interrupts)?;
                    if self.json {
                        terminal::say(&self.told(&address.on, there, &last, None, Some(followed)))?;
                    }
                } else {
                    leave_stand_in(frozen, &address, forgotten, &what, &runs(&address, there))?;
                    moment("replaced");
                    guard.done();
                    terminal::say(&self.told(&address.on, there, &last, ahead.as_ref(), None))?;
                }
                note_input(input.as_deref());
                Ok(ExitCode::SUCCESS)
            }
            Fate::Gone { why } => {
                leave_stand_in(frozen, &address, forgotten(&description), &what, &ran(&address))?;
                guard.done();
                Err(visitor::gone(&what, &address.on, &why).into())
            }
            Fate::Here { why } => {
                frozen.release()?;
                guard.done();
                Err(self.stays(&address, &why))
            }
            Fate::Doubt => {
                drop(frozen);
                guard.done();
                Err(in_doubt(pid, &address.on).into())
            }
        }
    }

    fn what(&self) -> String {
        format!("process {}", self.pid)
    }

    /// Opens the visit, and says by what it is found again.
    fn enter(
        &self,
        cluster: &Cluster,
        named: &[String],
        terminal: bool,
    ) -> anyhow::Result<(Visit, Address)> {
        let pid = Pid(self.pid);
        let begin = Begin {
            from: cut(config::host_name()?.to_string()),
            pid: pid.0.unsigned_abs(),
            command: cut(command(pid)),
            memory: self.memory,
            terminal,
        };
        let visit = cluster.visit(&self.to, begin)?;
        let on = visit.node().to_owned();
        let nodes = named.iter().map(|node| reachable_anywhere(node)).collect();
        let address = Address { on, visit: visit.token(), nodes, terminal, took_input: false };
        Ok((visit, address))
    }

    /// It stands still: since when, and how many bytes are expected to go.
    fn stop(
        &self,
        ahead: Option<&mut Ahead>,
        look: &dyn Fn(&mut Description) -> anyhow::Result<()>,
    ) -> anyhow::Result<(Standing, Instant, u64)> {
        let (pid, overrides) = (Pid(self.pid), self.wishes.overrides());
        let Some(ahead) = ahead else {
            let expected = sys::proc::memory(pid)?.map_or(0, |memory| memory.resident);
            let begun = Instant::now();
            let mut frozen = Frozen::freeze(pid, PATIENCE)?;
            frozen.set_overrides(overrides);
            let mut description = frozen.describe()?;
            look(&mut description)?;
            return Ok((Standing::of(frozen, description), begun, expected));
        };
        let (frozen, begun) = ahead.freeze(&overrides)?;
        Ok((ahead.describe(frozen, look)?, begun, 0))
    }

    /// It does not wake there, and goes on here.
    fn stays(&self, address: &Address, why: &str) -> anyhow::Error {
        visitor::not_there(&self.what(), &address.on, why).note("it goes on here").into()
    }

    fn not_interrupted(&self, interrupts: &Interrupts, address: &Address) -> anyhow::Result<()> {
        match interrupts.have_come() {
            true => Err(self.stays(address, "it was interrupted; start it again")),
            false => Ok(()),
        }
    }

    /// That it has moved, and what that took; `followed`: bytes that came after it had woken.
    fn told(
        &self,
        node: &str,
        there: u32,
        last: &Sent,
        ahead: Option<&Ahead>,
        followed: Option<u64>,
    ) -> String {
        let pid = self.pid;
        let milliseconds = |span: Duration| span.as_secs_f64() * 1e3;
        if self.json {
            let in_json = |sent: &Sent| {
                json!({ "bytes": sent.bytes, "pages": sent.pages,
                    "stood_still_ms": milliseconds(sent.stood) })
            };
            let rounds: Vec<_> =
                ahead.iter().flat_map(|ahead| &ahead.rounds).map(in_json).collect();
            return terminal::json_line(&json!({ "pid": pid, "node": node, "as": there,
                "bytes": last.bytes,
                "pages": followed.is_none().then_some(last.pages), "followed_bytes": followed,
                "stood_still_ms": milliseconds(last.stood), "rounds": rounds,
                "tracked": ahead.map(Ahead::is_tracked) }));
        }
        let mut text = format!("process {pid} runs on {node} now, as {there}\n");
        if let Some(ahead) = ahead {
            let went: Vec<_> = ahead.rounds.iter().map(|round| spell_size(round.bytes)).collect();
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

/// What is said of one that is not here any more.
fn runs(address: &Address, there: u32) -> String {
    format!("runs on {} now, as {there}", address.on)
}

fn ran(address: &Address) -> String {
    format!("ran on {}", address.on)
}

/// The original ends where a program cannot take its place: it `runs` elsewhere.
fn leave_stand_in(
    frozen: Frozen,
    address: &Address,
    forgotten: Vec<i32>,
    what: &str,
    runs: &str,
) -> anyhow::Result<()> {
    let replaced = match address.replacement(forgotten) {
        Ok(replacement) => frozen.replace(&replacement).map_err(anyhow::Error::from),
        Err(error) => frozen.end().map_err(anyhow::Error::from).and(Err(error)),
    };
    replaced.map_err(|error| {
        let lost = format!("{what} {runs}, and nothing stands in for it");
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

/// What was sent of a process that stands still.
#[derive(Default)]
struct Last {
    /// Of pages that stay behind.
    server: Option<PageServer>,
    bytes: u64,
    pages: u64,
}

/// The last image of a process in rounds, or the one that has all of it.
fn send_last(
    standing: &Standing,
    ahead: Option<&mut Ahead>,
    visit: &mut Visit,
    expected: u64,
    interrupts: &Interrupts,
    is_lazy: bool,
) -> Result<Last, Unsent> {
    let name = if ahead.is_some() { "last" } else { "sent" };
    let progress = Progress::of_bytes(name, expected);
    let sent = match ahead {
        Some(ahead) if ahead.is_said => Ok(Last::default()),
        Some(ahead) => ahead
            .finish(standing, visit, &progress, interrupts)
            .map(|(bytes, pages)| Last { server: None, bytes, pages }),
        None => send_all(standing, visit, &progress, interrupts, is_lazy),
    };
    progress.finish();
    sent
}

/// The whole process, as one image; `is_ahead`: most of its pages stay behind.
fn send_all(
    standing: &Standing,
    visit: &mut Visit,
    progress: &Progress,
    interrupts: &Interrupts,
    is_ahead: bool,
) -> Result<Last, Unsent> {
    let Standing { frozen, description, .. } = standing;
    let ((server, pages), bytes) = send(visit, None, progress, interrupts, |to| {
        let mut writer = Writer::new(to, telefork::image_id()?);
        description.put(&mut writer)?;
        let sent = match is_ahead {
            true => (Some(frozen.send_ahead(description, &mut writer)?), 0),
            false => (None, frozen.send(description, &mut writer)?.pages),
        };
        writer.finish()?;
        Ok(sent)
    })?;
    Ok(Last { server, bytes, pages })
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

    /// All is settled. A guardian that has ended meanwhile is not missed.
    fn done(&mut self) {
        let _ = self.tell(DONE);
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
    pub(crate) fn run(mut self) -> anyhow::Result<ExitCode> {
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
        self.at.took_input = told.contains(&TOOK_INPUT);
        let pid = Pid(self.pid);
        match fate {
            Fate::There { pid: there } => self.leave_stand_in(&runs(&self.at, there))?,
            Fate::Gone { .. } => self.leave_stand_in(&ran(&self.at))?,
            Fate::Here { .. } => {}
            Fate::Doubt => return Err(in_doubt(pid, &self.at.on).into()),
        }
        // Either of them was stopped with the original.
        kill(nix::unistd::Pid::from_raw(self.pid), Signal::SIGCONT)
            .context("cannot let the process go on; send it SIGCONT")?;
        Ok(ExitCode::SUCCESS)
    }

    fn leave_stand_in(&self, runs: &str) -> anyhow::Result<()> {
        let frozen = Frozen::freeze(Pid(self.pid), PATIENCE)?;
        leave_stand_in(frozen, &self.at, Vec::new(), &format!("process {}", self.pid), runs)
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
