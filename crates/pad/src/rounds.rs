//! A visitor that comes in rounds: memory first, while its original runs, then what has changed.

use std::io::Read;

use telefork::files::{Overrides, Stdio};
use telefork::restore::{Base, Built, Holdings, Restore};
use wire::image::Reader;
use wire::visit::Round;

type Error = Box<dyn std::error::Error + Send + Sync>;

const NO_BASE: &str = "changes came before what they change; send the process anew";

/// Makes a process of the images that come, up to the last one.
pub(crate) fn build(
    first: Round,
    from: &mut dyn Read,
    restore: fn() -> Restore,
) -> Result<Built, Error> {
    let mut round = first;
    let mut base: Option<Base> = None;
    loop {
        let reader = Reader::new(&mut *from)?;
        let mut reader = reader.ok_or("the connection ended between two images; try again")?;
        match round {
            Round::Whole => {
                // Not both at once.
                drop(base.take());
                base = Some(restore().base(&mut reader)?);
            }
            Round::Changes => base.as_mut().ok_or(NO_BASE)?.change(&mut reader)?,
            Round::LastWhole => {
                drop(base.take());
                return Ok(restore().build(&mut reader)?);
            }
            Round::LastChanges => {
                let mut base = base.take().ok_or(NO_BASE)?;
                let (stdio, overrides) = (Stdio::Inherit, Overrides::none());
                let opened = base.change_and_open(&mut reader, stdio, &overrides)?;
                return Ok(base.finish(Holdings::Came(opened))?);
            }
        }
        let mut next = [0];
        from.read_exact(&mut next)?;
        round = Round::of_byte(next[0])
            .ok_or("no round begins so; use the same version on both hosts")?;
    }
}
