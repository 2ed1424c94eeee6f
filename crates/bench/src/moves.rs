//! `farcall-bench telefork`: processes that move, beside a raw copy of as many bytes and a plain fork.
//!
//! What is moved (`subject.c`) measures itself: it looks at the clock over and over, so the longest time
//! between two looks is how long it stood still, and both ends of a move on one host have one clock. Each
//! round moves a new process, into a new one, after the machine was given enough memory.
//!
//! A scene is a file of its own, and a line in `PARTS`; its figures and floors are in `figure`.

pub use journey::pad;
use subject::Program;

use std::time::Duration;

use crate::error::Error;
use crate::figure::{FIGURES, Scene};
use crate::record::Record;
use crate::setting::Setting;
use crate::turns::{Measurement, fate, measure, take_turns};

mod eager;
mod lazy;
mod pause;
mod fault;
mod small;
mod tls;
mod command;
mod criu;
mod calls;
mod copy;
mod journey;
mod commanded;
mod subject;

/// Its scenes, in the order in which they are measured.
const PARTS: &[Part] = &[
    Part { scene: Scene::Eager, measurements: eager::measurements },
    Part { scene: Scene::Lazy, measurements: lazy::measurements },
    Part { scene: Scene::Pause, measurements: pause::measurements },
    Part { scene: Scene::Fault, measurements: fault::measurements },
    Part { scene: Scene::Small, measurements: small::measurements },
    Part { scene: Scene::Calls, measurements: calls::measurements },
    Part { scene: Scene::Tls, measurements: tls::measurements },
    Part { scene: Scene::Command, measurements: command::measurements },
    Part { scene: Scene::Criu, measurements: criu::measurements },
];

struct Part {
    scene: Scene,
    measurements: for<'a> fn(Moves<'a>) -> Vec<Measurement<'a>>,
}

/// A thread of a process that runs stops within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Its scenes, in order.
pub fn scenes() -> Vec<Scene> {
    PARTS.iter().map(|part| part.scene).collect()
}

/// Measures the scenes in order. `say` hears what is being done.
pub fn run(setting: &Setting, scenes: &[Scene], say: &dyn Fn(&str)) -> Record {
    let mut record = Record::default();
    let program = Program::compile();
    for &scene in scenes {
        say(&format!("{scene:?}"));
        let part = PARTS.iter().find(|part| part.scene == scene);
        let part = part.unwrap_or_else(|| unreachable!("{scene:?} is one of another benchmark"));
        match &program {
            Ok(program) => {
                let measurements = (part.measurements)(Moves { setting, program });
                take_turns(measurements, setting.effort.rounds, &mut record);
            }
            Err(error) => {
                for figure in FIGURES.iter().filter(|figure| figure.scene == scene) {
                    record.leave_out(&[figure.name], fate(error));
                }
            }
        }
    }
    record
}

/// What every scene is given.
#[derive(Clone, Copy)]
struct Moves<'a> {
    setting: &'a Setting,
    program: &'a Program,
}

impl<'a> Moves<'a> {
    /// A measurement of one figure.
    fn each(
        self,
        figures: &'static [&'static str],
        mut value: impl FnMut(&Moves<'a>) -> Result<f64, Error> + 'a,
    ) -> Measurement<'a> {
        self.all(figures, move |moves| Ok(vec![value(moves)?]))
    }

    /// One of several, in their order.
    fn all(
        self,
        figures: &'static [&'static str],
        mut values: impl FnMut(&Moves<'a>) -> Result<Vec<f64>, Error> + 'a,
    ) -> Measurement<'a> {
        Measurement { figures, measure: Ok(measure(move || values(&self))) }
    }
}
