//! Measurements that take turns, round by round, so that a neighbour's load falls on all alike.

use std::time::Duration;

use crate::error::Error;
use crate::record::{Fate, Record};

/// Measures each in each round, until it fails.
pub(crate) fn take_turns(measurements: Vec<Measurement<'_>>, rounds: usize, record: &mut Record) {
    let mut running = Vec::new();
    for Measurement { figures, measure } in measurements {
        match measure {
            Ok(measure) => running.push((figures, measure)),
            Err(fate) => record.leave_out(figures, fate),
        }
    }
    for _ in 0..rounds {
        running.retain_mut(|(figures, measure)| {
            match measure() {
                Ok(values) => record.add(figures, &values),
                Err(error) => record.leave_out(figures, fate(&error)),
            }
            record.is_measured(figures[0])
        });
    }
}

/// Values of some figures, in their order, as often as it is called.
pub(crate) struct Measurement<'a> {
    pub(crate) figures: &'static [&'static str],
    pub(crate) measure: Result<Measure<'a>, Fate>,
}

pub(crate) type Measure<'a> = Box<dyn FnMut() -> Result<Vec<f64>, Error> + 'a>;

pub(crate) fn measure<'a>(measure: impl FnMut() -> Result<Vec<f64>, Error> + 'a) -> Measure<'a> {
    Box::new(measure)
}

/// So many tasks that the last `tasks` of them are warm.
pub(crate) fn warmed(tasks: usize) -> usize {
    tasks + tasks / 10
}

/// p50 and p99 of the last `tasks` times, in microseconds.
pub(crate) fn percentiles(mut nanoseconds: Vec<u64>, tasks: usize) -> Vec<f64> {
    let mut warm = nanoseconds.split_off(nanoseconds.len().saturating_sub(tasks));
    warm.sort_unstable();
    let percentile = |share: usize| warm[(warm.len() - 1) * share / 100] as f64 / 1e3;
    vec![percentile(50), percentile(99)]
}

pub(crate) fn per_second(tasks: usize, time: Duration) -> f64 {
    tasks as f64 / time.as_secs_f64()
}

/// What becomes of the figures of a measurement that went wrong.
pub(crate) fn fate(error: &Error) -> Fate {
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        why = format!("{why}: {error}");
        cause = error.source();
    }
    match error.is_absence() {
        true => Fate::Skipped(why),
        false => Fate::Failed(why),
    }
}
