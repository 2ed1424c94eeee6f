//! Pads: a process for each visit, started like a worker, which is given the visit's connections.
//!
//! ```text
//!  client <== Unix socket ===============================> pad     the descriptor itself: nothing is copied
//!  client <== TLS ==> relay (a thread here) <== socket ==> pad
//! ```
//!
//! The node and its pad share one socket: connections go over it, each with a byte that says what for, and a byte
//! for each stage comes back.

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use logic::VisitId;
use logic::node::Arrival;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use sys::cgroup::Group;
use sys::process::{Child, Spawn, Stderr};
use sys::socket::{pair, send_with_fds};
use transport::{Connection, DialTls, FlushOutcome};
use wire::Message;
use wire::visit::{Lane, PLAIN, Refused, Stage, WITH_TERMINAL};

use super::{Jail, NotStarted, Workers, scratch};
use crate::chain::{self, Ends};
use crate::relay;
use crate::source::Source;

/// Numbers of accounts that workers, of which there are far fewer, do not come to.
const ACCOUNTS: u32 = 1 << 15;

pub(super) type Pads = HashMap<VisitId, Pad>;

pub(super) struct Pad {
    pub(super) child: Child,
    group: Option<Group>,
    control: UnixStream,
    scratch: PathBuf,
    /// What the pad reads of its image comes here, too, for a node that will come for it.
    onward: Option<UnixStream>,
    /// One more holder for each relay that runs.
    relays: Arc<()>,
}

/// Relays of one visit. Those of lost connections end by themselves, in a while at the latest.
const RELAYS_MAX: usize = 16;

impl Workers {
    /// Starts a pad and gives it its first connection. If that cannot be, the client is told why.
    pub(crate) fn begin_visit(
        &mut self,
        registry: &Registry,
        visit: VisitId,
        connection: Connection,
        arrival: Arrival,
        tls: Option<&DialTls>,
    ) -> bool {
        self.started += 1;
        let folder = self.scratch.folder().join(self.started.to_string());
        let what = if arrival.begin.terminal { WITH_TERMINAL } else { PLAIN };
        let reason = match self.start_pad(registry, visit, arrival, tls, folder.clone()) {
            Ok(pad) => {
                self.pads.insert(visit, pad);
                if !self.give_to_pad(visit, connection, what) {
                    // It would wait for its first connection for ever.
                    self.kill_visit(visit);
                }
                return true;
            }
            Err(NotStarted::ForNow(reason)) => format!("{reason}; try again, or another node"),
            Err(NotStarted::ForGood(reason)) => format!("{reason}; choose another node"),
        };
        self.scratch.remove(&folder);
        refuse(connection, reason);
        false
    }

    /// Whether the memory of a visitor can follow it.
    pub(crate) fn pages_follow(&self) -> Result<(), String> {
        self.follows.clone()
    }

    fn start_pad(
        &mut self,
        registry: &Registry,
        visit: VisitId,
        arrival: Arrival,
        tls: Option<&DialTls>,
        folder: PathBuf,
    ) -> Result<Pad, NotStarted> {
        let jail = match self.jail {
            Jail::None => "none",
            Jail::User => "user",
            Jail::Strict => {
                let words = "this node's jail is strict, and a visitor needs calls that it forbids";
                return Err(NotStarted::ForGood(words.to_owned()));
            }
        };
        let failed = NotStarted::of;
        if arrival.begin.memory > 0 && !self.groups.limit_memory() {
            let words =
                "this node has no control group by which a visitor's memory could be bounded";
            return Err(NotStarted::ForGood(words.to_owned()));
        }
        let has_own = changes_user(self.jail);
        let account = has_own.then(|| self.accounts.of(ACCOUNTS + visit.0 % ACCOUNTS));
        scratch::make(&folder, account).map_err(|e| failed("cannot make a scratch folder", &e))?;
        let socket_error = |error: std::io::Error| failed("cannot make a pad's socket", &error);
        let (control, far) = pair().map_err(socket_error)?;
        control.set_nonblocking(true).map_err(socket_error)?;

        let mut spawn = Spawn::new(&self.command.program);
        spawn.args = ["pad", "--jail", jail, "--scratch"].map(Into::into).into();
        spawn.args.push(folder.clone().into());
        if let Some(account) = account {
            spawn.args.extend(["--account".into(), account.to_string().into()]);
        }
        if self.follows.is_ok() {
            spawn.args.push("--follow".into());
        }
        spawn.env = worker::jail::environment(&folder, self.command.environment.clone());
        spawn.descriptors = vec![(far.into(), 3)];
        let chained = arrival.chain.as_ref().map(Ends::new).transpose().map_err(socket_error)?;
        if let Some(chained) = &chained {
            spawn.args.extend(chained.words());
        }
        let (upstream, onward) = chained.map_or((None, None), |ends| {
            spawn.descriptors.extend(ends.far);
            (ends.upstream, ends.onward)
        });
        // Until it has its visitor's: what its jail lacks, and why it ended, is for the node's own log.
        spawn.stderr = Stderr::Inherit;
        let group = self.groups.make(self.started, arrival.begin.memory);
        let group = group.map_err(|e| failed("cannot make a visitor's control group", &e))?;
        let begun = Self::spawn(spawn, group.as_ref(), 0);
        let child = match begun {
            Ok((child, _)) => child,
            Err(error) => {
                group.into_iter().for_each(|group| self.groups.let_go(group));
                return Err(failed("cannot start a pad", &error));
            }
        };
        let relays = Arc::new(());
        let pad = Pad { child, group, control, scratch: folder, onward, relays };
        if let Err(error) = pad.register(registry, visit) {
            pad.kill();
            pad.group.into_iter().for_each(|group| self.groups.let_go(group));
            return Err(failed("cannot watch a pad", &error));
        }
        // Where it cannot be had the pad finds no image, and says so.
        if let (Some(near), Some(from), Some(tls)) =
            (upstream, arrival.chain.and_then(|chain| chain.from), tls)
        {
            chain::fetch(near, from, tls.clone());
        }
        Ok(pad)
    }

    /// Another connection of a visit's client; one that carries pages says which.
    pub(crate) fn return_to_visit(
        &mut self,
        visit: VisitId,
        connection: Connection,
        lane: Option<Lane>,
    ) {
        let _ = self.give_to_pad(visit, connection, lane.map_or(PLAIN, Lane::byte));
    }

    /// Gives a visit's pad a connection. What cannot be given (`false`) is closed, which its client sees.
    fn give_to_pad(&mut self, visit: VisitId, mut connection: Connection, what: u8) -> bool {
        let Some(pad) = self.pads.get(&visit) else { return false };
        // Behind the greeting all bytes are the pad's: who did not wait for his welcome is not served.
        if !connection.input().is_empty() {
            return false;
        }
        let far = if connection.address().is_some() {
            if Arc::strong_count(&pad.relays) > RELAYS_MAX {
                return false;
            }
            relay::start(connection, Arc::clone(&pad.relays))
        } else {
            match connection.flush() {
                Ok(FlushOutcome::Done) => connection.as_fd().try_clone_to_owned(),
                Ok(FlushOutcome::Blocked) | Err(_) => return false,
            }
        };
        far.is_ok_and(|far| send_with_fds(&pad.control, &[what], &[far.as_fd()]).is_ok())
    }

    /// A node has come for the image that a visit's pad reads.
    pub(crate) fn pass_on_image(&mut self, visit: VisitId, connection: Connection) {
        let onward = self.pads.get_mut(&visit).and_then(|pad| pad.onward.take());
        if let Some(onward) = onward {
            chain::pass_on(onward, connection);
        }
    }

    /// What a pad has said; the last of it counts.
    pub(crate) fn visit_stage(&mut self, visit: VisitId) -> Option<Stage> {
        let pad = self.pads.get_mut(&visit)?;
        let mut bytes = [0; 16];
        let mut last = None;
        while let Ok(count @ 1..) = pad.control.read(&mut bytes) {
            last = bytes[..count].iter().rev().find_map(|byte| Stage::of_byte(*byte)).or(last);
        }
        last
    }

    /// A pad's pidfd says that it ended: nothing of the visit runs any more. `false`: not yet.
    pub(crate) fn visit_ended(&mut self, registry: &Registry, visit: VisitId) -> bool {
        let Some(pad) = self.pads.get_mut(&visit) else { return false };
        if !matches!(pad.child.try_wait(), Ok(Some(_))) {
            return false;
        }
        let Some(pad) = self.pads.remove(&visit) else { return false };
        pad.deregister(registry);
        pad.group.into_iter().for_each(|group| self.groups.let_go(group));
        let _ = sys::process::end_adopted(&self.known());
        self.scratch.remove(&pad.scratch);
        true
    }

    /// A visitor's number, once there is one.
    pub(crate) fn visitor(&self, visit: VisitId) -> Option<sys::Pid> {
        let pad = self.pads.get(&visit)?;
        sys::proc::children(pad.child.pid()).ok()?.first().copied()
    }

    pub(crate) fn visits(&self) -> Vec<VisitId> {
        self.pads.keys().copied().collect()
    }

    pub(crate) fn kill_visit(&self, visit: VisitId) {
        if let Some(pad) = self.pads.get(&visit) {
            pad.kill();
        }
    }
}

impl Pad {
    fn register(&self, registry: &Registry, visit: VisitId) -> std::io::Result<()> {
        let exit = Source::PadExit(visit.0).token();
        registry.register(
            &mut SourceFd(&self.child.as_fd().as_raw_fd()),
            exit,
            Interest::READABLE,
        )?;
        let said = Source::Pad(visit.0).token();
        registry.register(&mut SourceFd(&self.control.as_raw_fd()), said, Interest::READABLE)
    }

    fn deregister(&self, registry: &Registry) {
        let _ = registry.deregister(&mut SourceFd(&self.child.as_fd().as_raw_fd()));
        let _ = registry.deregister(&mut SourceFd(&self.control.as_raw_fd()));
    }

    /// With everything that it started.
    fn kill(&self) {
        let _ = match &self.group {
            Some(group) => {
                let all = group.kill();
                self.child.kill_tree().and(all)
            }
            None => self.child.kill_tree(),
        };
    }
}

/// Whether a pad becomes another user.
fn changes_user(jail: Jail) -> bool {
    jail != Jail::None && sys::limits::is_root()
}

/// Whether the memory of a visitor can follow it: what a pad will do is tried here.
pub(super) fn pages_follow(jail: Jail) -> Result<(), String> {
    sys::uffd::can_follow(changes_user(jail)).map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(String::new, |it| format!(": {it}"));
        format!(
            "this node's kernel does not let it answer the page faults of visitors ({error}{cause}); run the \
             node as root"
        )
    })
}

/// There will be no pad: in the words that a pad would have.
fn refuse(mut connection: Connection, reason: String) {
    Message::Refused(Refused { reason }).encode(0, connection.output());
    connection.close();
}
