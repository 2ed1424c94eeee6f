//! `farcall-bench telefork`: processes that move, beside a raw copy of as many bytes and a plain fork.
//!
//! What is moved (`subject.c`) measures itself: it looks at the clock over and over, so the longest time
//! between two looks is how long it stood still, and both ends of a move on one host have one clock. Each
//! round moves a new process, into a new one, after the machine was given enough memory.

pub use journey::pad;
use journey::{Over, travel};
use subject::{Program, Subject};

use std::time::Duration;

use telefork::capture::Frozen;
use telefork::restore::Memory;

use crate::error::Error;
use crate::figure::Scene;
use crate::ours::ours;
use crate::raw::{Pair, Sizes, Transport};
use crate::record::{Fate, Record};
use crate::setting::Setting;
use crate::turns::{Measurement, fate, measure, percentiles, take_turns, warmed};

mod copy;
mod journey;
mod subject;

/// Its scenes, in order.
pub const SCENES: [Scene; 5] =
    [Scene::Eager, Scene::Lazy, Scene::Pause, Scene::Fault, Scene::Small];

/// MiB of the process that is moved whole, and of the two that go ahead of their memory.
const LARGE: u64 = 1024;
const AHEAD: [u64; 2] = [64, 4096];
/// Pages that are touched, each alone, while the others come.
const TOUCHES: u64 = 2000;
/// What is asked and what comes back for a page.
const FAULT: Sizes = Sizes { ask: 16, answer: 4096 + 24 };

/// A thread of a process that runs stops within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures the scenes in order. `say` hears what is being done.
pub fn run(setting: &Setting, scenes: &[Scene], say: &dyn Fn(&str)) -> Record {
    let mut record = Record::default();
    let program = Program::compile();
    for &scene in scenes {
        say(&format!("{scene:?}"));
        let measurements = match &program {
            Ok(program) => Moves { setting, program }.scene(scene),
            Err(error) => vec![Measurement { figures: figures(scene), measure: Err(fate(error)) }],
        };
        take_turns(measurements, setting.effort.rounds, &mut record);
    }
    record
}

fn figures(scene: Scene) -> &'static [&'static str] {
    match scene {
        Scene::Eager => &["eager.raw.unix", "eager.unix"],
        Scene::Lazy => &["lazy.small", "lazy.large"],
        Scene::Pause => &["pause.fork", "pause.twin", "pause.fork.huge", "pause.twin.huge"],
        Scene::Fault => &["fault.raw", "fault.ours"],
        Scene::Small => &["small.moved"],
        other => unreachable!("{other:?} is a scene of another benchmark"),
    }
}

struct Moves<'a> {
    setting: &'a Setting,
    program: &'a Program,
}

impl<'a> Moves<'a> {
    fn scene(&self, scene: Scene) -> Vec<Measurement<'a>> {
        match scene {
            Scene::Eager => vec![
                self.each(&["eager.raw.unix"], |moves| copy::raw(moves.program, LARGE)),
                self.each(&["eager.unix"], |moves| {
                    moves.moved(&["heap", "1024", "huge"], LARGE, Memory::Whole, Over::Unix)
                }),
                self.each(&["eager.unix.pages"], |moves| {
                    moves.moved(&["heap", "1024", "small"], LARGE, Memory::Whole, Over::Unix)
                }),
            ],
            Scene::Lazy => vec![
                self.each(&["lazy.small"], |moves| {
                    moves.moved(&["heap", "64", "huge"], AHEAD[0], Memory::Following, Over::Tcp)
                }),
                self.each(&["lazy.large"], |moves| {
                    moves.moved(&["heap", "4096", "huge"], AHEAD[1], Memory::Following, Over::Tcp)
                }),
            ],
            Scene::Pause => vec![
                self.all(&["pause.fork", "pause.twin"], |moves| moves.paused("small")),
                self.all(&["pause.fork.huge", "pause.twin.huge"], |moves| moves.paused("huge")),
            ],
            Scene::Fault => vec![self.raw_fault(), self.each(&["fault.ours"], Self::faults)],
            Scene::Small => vec![self.each(&["small.moved"], |moves| {
                moves.moved(&["heap", "1", "small"], 1, Memory::Whole, Over::Unix)
            })],
            other => unreachable!("{other:?} is a scene of another benchmark"),
        }
    }

    fn each(
        &self,
        figures: &'static [&'static str],
        mut value: impl FnMut(&Moves<'a>) -> Result<f64, Error> + 'a,
    ) -> Measurement<'a> {
        self.all(figures, move |moves| Ok(vec![value(moves)?]))
    }

    fn all(
        &self,
        figures: &'static [&'static str],
        mut values: impl FnMut(&Moves<'a>) -> Result<Vec<f64>, Error> + 'a,
    ) -> Measurement<'a> {
        let moves = Moves { setting: self.setting, program: self.program };
        Measurement { figures, measure: Ok(measure(move || values(&moves))) }
    }

    /// Microseconds for which a process stood still that moved.
    fn moved(&self, args: &[&str], mib: u64, memory: Memory, over: Over) -> Result<f64, Error> {
        self.program.warm(2 * mib + 256)?;
        let subject = self.program.start(args)?;
        travel(self.setting, subject, memory, over, |there| {
            let [_, still] = there.said("woke")?;
            Ok(still as f64 / 1e3)
        })
    }

    /// Microseconds of a plain fork of a process, and for which it stood still when it was copied.
    fn paused(&self, pages: &str) -> Result<Vec<f64>, Error> {
        self.program.warm(2 * LARGE)?;
        let mut subject = self.program.start(&["heap", "1024", pages])?;
        subject.ask(Subject::FORK)?;
        let [forked, _] = subject.said("fork")?;
        subject.ask(Subject::STILL)?;
        let [_] = subject.said("still")?;
        let failed = |error: telefork::Error| ours("copy a process")(error);
        let mut frozen = Frozen::freeze(subject.pid(), PATIENCE).map_err(failed)?;
        let description = frozen.describe().map_err(failed)?;
        let twin = frozen.twin(&description).map_err(failed)?;
        subject.ask(Subject::STILL)?;
        let [still] = subject.said("still")?;
        twin.end().map_err(failed)?;
        Ok(vec![forked as f64 / 1e3, still as f64 / 1e3])
    }

    /// Microseconds for which a thread over there waits for a page while all others come.
    fn faults(&self) -> Result<f64, Error> {
        self.program.warm(3 * LARGE)?;
        let touches = TOUCHES.to_string();
        let subject = self.program.start(&["touch", "1024", &touches])?;
        travel(self.setting, subject, Memory::Following, Over::Tcp, |there| {
            let [_, _] = there.said("woke")?;
            let [middle, waited] = there.said("touch")?;
            if waited < 20 {
                let answer = format!("of {touches} pages only {waited} were waited for");
                return Err(Error::Answer { who: "a process that touches pages", answer });
            }
            Ok(middle as f64 / 1e3)
        })
    }

    fn raw_fault(&self) -> Measurement<'a> {
        let asks = self.setting.effort.latency_tasks;
        let measure = Pair::answering(self.setting, Transport::Tcp, FAULT).map(|mut pair| {
            measure(move || {
                let times = pair.ask_each(FAULT, warmed(asks))?;
                Ok(percentiles(times, asks)[..1].to_vec())
            })
        });
        let measure: Result<_, Fate> = measure.map_err(|error| fate(&error));
        Measurement { figures: &["fault.raw"], measure }
    }
}
