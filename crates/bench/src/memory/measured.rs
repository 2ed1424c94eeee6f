//! Kinds of measurements: a request alone, and clients that contend for a page or a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::contend::{contend, queue_up};
use crate::error::Error;
use crate::record::Fate;
use crate::turns::{Measurement, measure, percentiles, warmed};

pub(super) type Figures = &'static [&'static str];

/// Whatever a subject that is here says of itself, as often as it is asked.
pub(super) fn subject<'a, S: 'a>(
    figures: Figures,
    started: Result<S, Fate>,
    mut ask: impl FnMut(&mut S) -> Result<Vec<f64>, Error> + 'a,
) -> Measurement<'a> {
    let measure = started.map(|mut subject| measure(move || ask(&mut subject)));
    Measurement { figures, measure }
}

/// p50, and p99 where there is a figure for it, of a request, one after the other.
pub(super) fn each<'a, S: 'a, T>(
    figures: Figures,
    started: Result<S, Fate>,
    count: usize,
    mut ask: impl FnMut(&mut S) -> Result<T, Error> + 'a,
) -> Measurement<'a> {
    subject(figures, started, move |subject| {
        let mut nanoseconds = Vec::with_capacity(warmed(count));
        for _ in 0..warmed(count) {
            let start = Instant::now();
            ask(subject)?;
            nanoseconds.push(start.elapsed().as_nanos() as u64);
        }
        Ok(middle(figures, nanoseconds, count))
    })
}

/// p50 and p99 of the last `count` times, as far as there are figures for them.
pub(super) fn middle(figures: Figures, nanoseconds: Vec<u64>, count: usize) -> Vec<f64> {
    let mut values = percentiles(nanoseconds, count);
    values.truncate(figures.len());
    values
}

/// Clients that count up in one page: their rate, and their retries for each success. `turn` returns
/// its retries, `count` what the page has been counted up to. An update that was lost is a failure.
pub(super) fn counting<'a, C: Send + 'a>(
    figures: Figures,
    clients: Result<Vec<C>, Fate>,
    time: Duration,
    turn: impl Fn(&mut C) -> Result<u64, Error> + Sync + 'a,
    count: impl Fn(&mut C) -> Result<u64, Error> + 'a,
) -> Measurement<'a> {
    subject(figures, clients, move |clients| {
        let before = count(&mut clients[0])?;
        let warm = contend(clients, time / 10, &turn)?;
        let contended = contend(clients, time, &turn)?;
        let (counted, done) = (count(&mut clients[0])? - before, warm.total() + contended.total());
        if counted != done {
            let answer = format!("{done} changes succeeded, and the page has {counted} of them");
            return Err(Error::Answer { who: figures[0], answer });
        }
        Ok(vec![contended.rate(), contended.retries_each()])
    })
}

/// Clients that want one lock: how often it is passed on, and what the luckiest got against the least
/// lucky, where there is a figure for it. Two inside at the same time are a failure.
pub(super) fn exclusive<'a, C: Send + 'a>(
    figures: Figures,
    clients: Result<Vec<C>, Fate>,
    time: Duration,
    with_lock: impl Fn(&mut C, &mut dyn FnMut()) -> Result<(), Error> + Sync + 'a,
) -> Measurement<'a> {
    subject(figures, clients, move |clients| {
        // Counted up in two steps: who is not alone loses some.
        let inside = AtomicU64::new(0);
        let turn = |client: &mut C| {
            with_lock(client, &mut || inside.store(inside.load(Relaxed) + 1, Relaxed)).map(|()| 0)
        };
        let warm = contend(clients, time / 10, &turn)?;
        let contended = contend(clients, time, &turn)?;
        let (counted, done) = (inside.load(Relaxed), warm.total() + contended.total());
        if counted != done {
            let answer = format!("{done} had the lock, and {counted} were alone with it");
            return Err(Error::Answer { who: figures[0], answer });
        }
        let mut values = vec![contended.rate(), contended.share()];
        values.truncate(figures.len());
        Ok(values)
    })
}

/// Pairs that a lock did not serve in the order in which they came, for each hundred queues. `queued`
/// returns when so many wait.
pub(super) fn queues<'a, C: Send + 'a>(
    figures: Figures,
    clients: Result<Vec<C>, Fate>,
    queues: usize,
    with_lock: impl Fn(&mut C, &mut dyn FnMut()) -> Result<(), Error> + Sync + 'a,
    mut queued: impl FnMut(usize) + 'a,
) -> Measurement<'a> {
    subject(figures, clients, move |clients| {
        let mut overtaken = 0;
        for _ in 0..queues {
            overtaken += queue_up(clients, &with_lock, &mut queued)?;
        }
        Ok(vec![overtaken as f64 * 100.0 / queues as f64])
    })
}
