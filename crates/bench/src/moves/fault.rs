//! A page that has not come yet, while all others come, against a message there and back.

use telefork::restore::Memory;

use super::Moves;
use super::journey::{Over, travel};
use crate::error::Error;
use crate::raw::{Pair, Sizes, Transport};
use crate::turns::{Measurement, fate, measure, percentiles, warmed};

/// MiB of the process.
const SIZE: u64 = 1024;
/// Pages that are touched, each alone, while the others come.
const TOUCHES: u64 = 2000;
/// What is asked and what comes back for a page.
const FAULT: Sizes = Sizes { ask: 16, answer: 4096 + 24 };

pub(super) fn measurements(moves: Moves<'_>) -> Vec<Measurement<'_>> {
    vec![raw(moves), moves.each(&["fault.ours"], faults)]
}

/// Microseconds for which a thread over there waits for a page while all others come.
fn faults(moves: &Moves<'_>) -> Result<f64, Error> {
    moves.program.warm(3 * SIZE)?;
    let touches = TOUCHES.to_string();
    let subject = moves.program.start(&["touch", "1024", &touches])?;
    travel(moves.setting, subject, Memory::Following, Over::Tcp, |there| {
        let [_, _] = there.said("woke")?;
        let [middle, waited] = there.said("touch")?;
        if waited < 20 {
            let answer = format!("of {touches} pages only {waited} were waited for");
            return Err(Error::Answer { who: "a process that touches pages", answer });
        }
        Ok(middle as f64 / 1e3)
    })
}

fn raw(moves: Moves<'_>) -> Measurement<'_> {
    let asks = moves.setting.effort.latency_tasks;
    let pair = Pair::answering(moves.setting, Transport::Tcp, FAULT);
    let measure = pair.map_err(|error| fate(&error)).map(|mut pair| {
        measure(move || {
            let times = pair.ask_each(FAULT, warmed(asks))?;
            Ok(percentiles(times, asks)[..1].to_vec())
        })
    });
    Measurement { figures: &["fault.raw"], measure }
}
