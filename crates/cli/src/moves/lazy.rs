//! `farcall move --lazy`: the process runs on the node before its memory is there.
//!
//! ```text
//!   WOKEN ─▶ a twin has the memory ─▶ the original becomes the stand-in ─▶ pages follow from the twin ─▶ it ends
//! ```
//!
//! The twin is this command's, and ends with it: then the process ends over there, for want of its memory, and the
//! stand-in says so. The original is committed by then, and runs nowhere any more.

use std::io::{Write, stderr};
use std::time::Duration;

use client::visit::{Lanes, Visit};
use telefork::Description;
use telefork::capture::Frozen;
use telefork::lazy::PageServer;

use super::sent::Interrupts;
use super::{Guard, leave_stand_in, runs};
use crate::codes;
use crate::errors::{Complaint, complaint};
use crate::progress::Progress;
use crate::stand_in::Address;
use crate::terminal;
use crate::visitor::moment;

/// How often it is looked whether somebody wants to end this command.
const LOOK: Duration = Duration::from_millis(200);

/// A process that went ahead of its memory.
pub(super) struct Ahead {
    pub(super) server: PageServer,
    pub(super) lanes: Lanes,
}

/// Where it went, and what is said of it.
pub(super) struct Gone<'a> {
    pub(super) what: &'a str,
    /// Its number there.
    pub(super) there: u32,
    pub(super) address: &'a Address,
    pub(super) forgotten: Vec<i32>,
    /// Whether it is said how far it is; else whoever called says it at the end.
    pub(super) is_told: bool,
}

/// What its pages can follow it over; asked for while it still runs.
pub(super) fn lanes(visit: &Visit, what: &str) -> anyhow::Result<Lanes> {
    visit.lanes()?.map_err(|why| {
        let (reason, help) = why.split_once("; ").unwrap_or((&why, "choose another node"));
        complaint(
            &codes::E0728,
            format!("the memory of {what} cannot follow it to {}", visit.node()),
        )
        .note(reason.to_owned())
        .note(format!("{what} goes on here"))
        .help(format!("move it without --lazy; or {help}"))
        .into()
    })
}

/// Says the risk, before anything is stopped.
pub(super) fn warn(what: &str, node: &str) {
    eprintln!(
        "farcall: until all of its memory is on {node}, {what} is lost if this host, this command, {node} or \
         what is between them is"
    );
}

/// Once it runs there: the stand-in takes its place, and its memory follows. Returns the bytes that did.
pub(super) fn follow(
    mut frozen: Frozen,
    description: &Description,
    ahead: Ahead,
    gone: Gone<'_>,
    guard: &mut Guard,
    interrupts: &Interrupts,
) -> anyhow::Result<u64> {
    let Gone { what, there, address, forgotten, is_told } = gone;
    let node = &address.on;
    let bytes = ahead.server.left();
    // Without a twin the original keeps its memory, and its place is taken when all of that is over.
    let twin = frozen.twin_behind(description);
    let (server, frozen) = match &twin {
        Ok(twin) => (ahead.server.in_twin(twin.pid()), Ok(frozen)),
        Err(_) => (ahead.server, Err(frozen)),
    };
    let serving = ahead.lanes.serve(server);
    let mut replace = |frozen: Frozen| -> anyhow::Result<()> {
        leave_stand_in(frozen, address, forgotten.clone(), what, &runs(address, there))?;
        moment("replaced");
        guard.done();
        Ok(())
    };
    let (kept, replaced) = match frozen {
        Ok(frozen) => (None, replace(frozen)),
        Err(frozen) => (Some(frozen), Ok(())),
    };
    moment("follows");
    let followed = match &serving {
        Ok(serving) => {
            if is_told {
                let words = format!("{what} runs on {node} now, as {there}; its memory follows\n");
                // Whoever cannot be told must not cost the process its memory.
                let _ = terminal::say(&words);
            }
            let progress = Progress::of_bytes("memory", bytes);
            let (mut shown, mut is_warned) = (0, false);
            loop {
                if let Some(followed) = serving.wait(LOOK) {
                    break followed.map_err(|error| lost(what, node).note(error.to_string()));
                }
                progress.more((serving.sent() - shown) as usize);
                shown = serving.sent();
                if interrupts.have_come() && !std::mem::replace(&mut is_warned, true) {
                    progress.aside(|| {
                        // The terminal may be what went away.
                        let _ = writeln!(
                            stderr(),
                            "farcall: {what} would be lost: its memory still follows it, and this command with it \
                             ends when all is there"
                        );
                    });
                }
            }
        }
        Err(error) => Err(lost(what, node).note(error.to_string())),
    };
    let sent = serving.as_ref().map_or(0, |serving| serving.sent());
    drop(serving);
    let replaced = match kept {
        Some(frozen) => replace(frozen),
        None => replaced,
    };
    if let Ok(twin) = twin {
        twin.end()?;
    }
    followed?;
    replaced?;
    moment("followed");
    if is_told {
        let bytes = indicatif::BinaryBytes(sent);
        terminal::say(&format!("all memory of {what} is on {node}: {bytes} followed it\n"))?;
    }
    Ok(sent)
}

fn lost(what: &str, node: &str) -> Complaint {
    complaint(&codes::E0729, format!("{what} is lost: its memory did not follow it to {node}"))
        .note("it was ended there, and had ended here when it woke there")
        .help("start it again, or wake it from a checkpoint if there is one")
}
