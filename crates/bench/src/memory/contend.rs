//! Clients that want the same thing at the same time.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// What some clients got done in some time.
pub(super) struct Contended {
    /// Of each client.
    pub(super) done: Vec<u64>,
    /// How often somebody else was faster.
    pub(super) retries: u64,
    pub(super) took: Duration,
}

impl Contended {
    pub(super) fn total(&self) -> u64 {
        self.done.iter().sum()
    }

    pub(super) fn rate(&self) -> f64 {
        self.total() as f64 / self.took.as_secs_f64()
    }

    pub(super) fn retries_each(&self) -> f64 {
        self.retries as f64 / self.total() as f64
    }

    /// What the luckiest client got, against the least lucky.
    pub(super) fn share(&self) -> f64 {
        let (most, fewest) = (self.done.iter().max(), self.done.iter().min());
        *most.unwrap_or(&0) as f64 / *fewest.unwrap_or(&0) as f64
    }
}

/// Each client takes one turn after the other, on a thread of its own, for so long. A turn says how
/// often it had to try again.
pub(super) fn contend<C: Send>(
    clients: &mut [C],
    time: Duration,
    turn: &(impl Fn(&mut C) -> Result<u64, Error> + Sync),
) -> Result<Contended, Error> {
    let (begin, over) = (&Barrier::new(clients.len() + 1), &AtomicBool::new(false));
    thread::scope(|scope| {
        let threads: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    begin.wait();
                    let (mut done, mut retries) = (0, 0);
                    while !over.load(Relaxed) {
                        retries += turn(client)?;
                        done += 1;
                    }
                    Ok::<_, Error>((done, retries))
                })
            })
            .collect();
        begin.wait();
        let start = Instant::now();
        thread::sleep(time);
        over.store(true, Relaxed);
        let mut contended = Contended { done: Vec::new(), retries: 0, took: Duration::ZERO };
        for thread in threads {
            let (done, retries) = thread.join().expect("a client's thread does not panic")?;
            contended.done.push(done);
            contended.retries += retries;
        }
        contended.took = start.elapsed();
        Ok(contended)
    })
}

/// Somebody holds a lock while the others queue up before it, one after the other: `queued` returns
/// when so many do. Then he gives it back. Returns how many pairs were not served in their order.
pub(super) fn queue_up<C: Send>(
    clients: &mut [C],
    with_lock: &(impl Fn(&mut C, &mut dyn FnMut()) -> Result<(), Error> + Sync),
    mut queued: impl FnMut(usize),
) -> Result<usize, Error> {
    let Some((holder, others)) = clients.split_first_mut() else { return Ok(0) };
    let served = &Mutex::new(Vec::new());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut others = others.iter_mut().enumerate();
        with_lock(holder, &mut || {
            for (place, client) in others.by_ref() {
                threads.push(scope.spawn(move || {
                    with_lock(client, &mut || {
                        served.lock().unwrap_or_else(PoisonError::into_inner).push(place);
                    })
                }));
                queued(place + 1);
            }
        })?;
        for thread in threads {
            thread.join().expect("a client's thread does not panic")?;
        }
        Ok::<_, Error>(())
    })?;
    Ok(overtaken(&served.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Pairs of which the later one came first.
fn overtaken(served: &[usize]) -> usize {
    let behind = |at: usize| served[at + 1..].iter().filter(|&&place| place < served[at]).count();
    (0..served.len()).map(behind).sum()
}

#[cfg(test)]
mod tests;
