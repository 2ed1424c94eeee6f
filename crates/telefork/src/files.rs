//! Open descriptors: described here, opened there.
//!
//! ```text
//!   describe ──▶ [Descriptor] ──────────────────────────▶ Arriving::new   looks, opens, makes nothing yet
//!   hold ──▶ Held ── send ──▶ parts of files in an image ──▶ Arriving::part   compares, or copies
//!                                                            Arriving::finish ──▶ Arrived, then keep
//! ```
//!
//! One file for each object of the kernel, with both directions. What cannot travel is described as that,
//! with the reason and what to do. A path of an image makes or changes no file that is there, is opened only
//! as what it is said to be, and all that was made goes again unless `Arrived::keep` is reached.

mod arriving;
mod sending;
mod folder;
mod device;
mod regular;
mod terminal;
mod stdio;
mod unsupported;
mod overrides;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use sys::Pid;
use sys::descriptors::Listed;
use wire::image::descriptor::{Content, Descriptor, FileNo, OpenFile, Opened};
use wire::image::text::Text;

use crate::Error;

pub use arriving::{Arrived, Arriving, Number};
pub use overrides::{Override, Overrides};
pub use sending::{Held, Offer, hold, send, wanted, withhold};
pub use stdio::Stdio;
pub use terminal::{modes, set_modes};
pub(crate) use unsupported::shown;

/// What the kinds of descriptors have to know beside the one that they look at.
struct Context<'a> {
    pid: Pid,
    /// The number of the terminal that controls the process.
    terminal: Option<u64>,
    /// It is 0, 1 or 2, or shares its offset with one of them.
    is_standard: bool,
    /// What was wished of it.
    wish: Option<Override>,
    /// Files that are to be taken along, by device and inode.
    shipped: &'a mut BTreeMap<(u64, u64), FileNo>,
}

/// All descriptors of a process, by number, but those that are to be dropped. It is best stopped; if it
/// is not, this is as of now. Files that would be taken along have numbers, and are not read here.
pub fn describe(pid: Pid, overrides: &Overrides) -> Result<Vec<Descriptor>, Error> {
    let listed = sys::descriptors::list(pid)?;
    overrides.check(pid, &listed.iter().map(|listed| listed.number).collect())?;
    let descriptions = descriptions(pid, &listed)?;
    let numbered = listed.iter().zip(&descriptions);
    let standard: BTreeSet<u32> =
        numbered.clone().filter(|(listed, _)| listed.number <= 2).map(|(_, &of)| of).collect();
    let terminal = sys::proc::terminal(pid)?;
    let mut shipped = BTreeMap::new();
    let tracks = listed.iter().any(|it| unsupported::is_tracker(pid, it));
    let mut all = Vec::with_capacity(listed.len());
    for (listed, &description) in numbered {
        let wish = overrides.of(listed.number);
        if wish == Some(Override::Drop) {
            continue;
        }
        // A copy begins without it. What has it has the number still, to close it.
        if tracks && unsupported::is_for_tracking(pid, listed) {
            all.push(Descriptor {
                number: listed.number,
                close_on_exec: listed.close_on_exec,
                description,
                flags: libc::O_PATH as u32,
                what: Opened::Device { path: Text::from("/dev/null") },
            });
            continue;
        }
        let is_standard = standard.contains(&description);
        let context = Context { pid, terminal, is_standard, wish, shipped: &mut shipped };
        all.push(Descriptor {
            number: listed.number,
            close_on_exec: listed.close_on_exec,
            description,
            flags: listed.flags,
            what: what(listed, context)?,
        });
    }
    Ok(all)
}

fn what(listed: &Listed, context: Context<'_>) -> Result<Opened, Error> {
    if let Some(opened) = unsupported::by_name(listed) {
        return Ok(opened);
    }
    let asynchronous = libc::O_ASYNC as u32;
    if listed.flags & asynchronous != 0 && context.wish.is_none() {
        return Ok(unsupported::asynchronous());
    }
    let wish = context.wish;
    let opened = match listed.node.kind() {
        libc::S_IFREG => regular::describe(listed, context)?,
        libc::S_IFDIR => folder::describe(listed, &context),
        libc::S_IFCHR => match terminal::describe(listed, &context) {
            Some(opened) => opened,
            None => device::describe(listed),
        },
        libc::S_IFIFO | libc::S_IFSOCK if context.is_standard => stdio::describe(listed),
        kind => unsupported::by_kind(kind, listed),
    };
    match wish {
        Some(Override::Reopen) if !matches!(opened, Opened::File(_) | Opened::Folder { .. }) => {
            Err(Error::NotReopened {
                number: listed.number,
                name: unsupported::shown(&listed.name),
            })
        }
        _ => Ok(opened),
    }
}

/// Which descriptors share offset and flags: a number for each, the same for those that do.
fn descriptions(pid: Pid, listed: &[Listed]) -> Result<Vec<u32>, Error> {
    // Only those of one file can; the kernel is asked about these alone. Each list is of descriptions, in
    // the kernel's order, by one place each.
    let mut by_file = BTreeMap::<(u64, u64), Vec<usize>>::new();
    let mut numbers = Vec::with_capacity(listed.len());
    let mut next = 0;
    for (at, here) in listed.iter().enumerate() {
        let known = by_file.entry((here.node.device, here.node.inode)).or_default();
        let (mut low, mut high) = (0, known.len());
        let mut same = None;
        while low < high && same.is_none() {
            let middle = low.midpoint(high);
            let other = listed[known[middle]].number;
            match sys::descriptors::compare(pid, other, here.number)? {
                Some(Ordering::Less) => low = middle + 1,
                // Closed meanwhile: it equals nothing.
                Some(Ordering::Greater) | None => high = middle,
                Some(Ordering::Equal) => same = Some(known[middle]),
            }
        }
        match same {
            Some(same) => numbers.push(numbers[same]),
            None => {
                known.insert(low, at);
                numbers.push(next);
                next += 1;
            }
        }
    }
    Ok(numbers)
}

/// How what is open goes along, for people; `None` if it does not.
pub(crate) fn travels(what: &Opened) -> Option<String> {
    Some(match what {
        Opened::File(OpenFile { path, content: Content::There, .. }) => {
            format!("{path}: the destination's own file, whatever it holds")
        }
        Opened::File(OpenFile { path, deleted: true, identity, .. }) => {
            format!("{path} (deleted): its {} bytes", identity.size)
        }
        Opened::File(OpenFile { path, identity, offset, .. }) => {
            format!("{path}: its {} bytes, at offset {offset}", identity.size)
        }
        Opened::Folder { path } => format!("{path}: the destination's own folder"),
        Opened::Device { path } => format!("{path}: the destination's own"),
        Opened::Terminal { path, .. } => format!("{path}: the terminal, passed on"),
        Opened::Stdio { .. } => "a standard stream, passed on".to_owned(),
        Opened::Unsupported { .. } => return None,
    })
}

/// A number with the right form of its noun.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests;
