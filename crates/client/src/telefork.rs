//! `fork` whose child wakes on a node.
//!
//! ```text
//!   calling thread          the twin             a thread of ours                the node's pad
//!   fork ─────────────────▶ stands still
//!   goes on                     └──── held, keys wiped ── image ──────────────▶  builds it
//!                                                        WAKE ────────────────▶  it runs: Child(number)
//!   stdout, stderr  ◀─────────────────────────────────── STDIO, EXITED ◀───────
//! ```
//!
//! A thread sends, not a process: it has the links and may print, the tracer of the twin must live as long as
//! the sending, and a second fork would cost what the first one did.
//!
//! Of several threads only the calling one is in the copy: what the others had locked stays locked there. The
//! library's own state is held while the copy is made. What was under way fails by name in a copy. Its
//! [`Cluster`] links to the nodes by itself when it is first used (`anew`), with what its original hands on over
//! its standard input (`copied`).
//!
//! Calls, and copies that go where calls went, share one connection to each node and what it keeps of this
//! process (`calls`).
//!
//! Elsewhere: capture (`telefork`), who says what when (`logic::visit`), answers of calls (`wire::answer`).

use std::io::Write;
use std::marker::PhantomData;
use std::sync::Arc;

use ::telefork::Location;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::answer;

use crate::Cluster;
use error::TravelError;
use sending::{Left, leave, prepare, write_copy};
use trip::Trip;

mod yoyo;
mod called;
mod sending;
mod chain;
mod passage;
pub(crate) mod calls;
mod watch;
mod lazy;
mod hearing;
mod luggage;
mod trip;
pub(crate) mod error;

/// Writes an image of this process onto a stream or into a file, and goes on; each copy that is woken from it by
/// [`telepad`](crate::telepad) goes on here, too. Of several threads only the calling one is in the copy.
///
/// The copy has this process's memory but the private keys of clusters, which are zeroed in it, and its standard
/// input, output and error from who wakes it. Of other descriptors it has the numbers: they can be closed, and
/// using them fails (EBADF). Every [`Cluster`] in it fails by name.
pub fn telefork_to(to: &mut impl Write) -> Result<Location, ::telefork::Error> {
    write_copy(to)
}

/// Where [`Cluster::telefork`] returns.
#[derive(Debug)]
pub enum Telefork {
    /// In the process that called. Its copy is on its way.
    Parent(Copy),
    /// In the copy, on the node: its number, from 0.
    Child(u32),
}

/// Where [`Cluster::telefork_all`] returns.
#[derive(Debug)]
pub enum TeleforkAll {
    /// In the process that called: its copies, in the order of the nodes.
    Parent(Vec<Copy>),
    /// In a copy: its number, which is its node's place in the list.
    Child(u32),
}

/// A copy of this process on a node. It ends when this process does; dropping this does not end it.
#[derive(Debug)]
pub struct Copy {
    trip: Arc<Trip>,
}

/// A call that runs on a node; see [`Cluster::fork_call`]. Dropping it does not end it.
#[derive(Debug)]
#[must_use = "the result comes through the handle"]
pub struct Call<T> {
    trip: Result<Arc<Trip>, TravelError>,
    value: PhantomData<fn() -> T>,
}

impl Cluster {
    /// Makes a copy of this process that goes on from here on the node of this name: `fork` whose child wakes
    /// there. The calling thread goes, and no other.
    ///
    /// The parent goes on as soon as the copy is made. Where the node's kernel allows it, the copy wakes at once,
    /// whatever its size, and its memory follows: what it touches first, and all the rest behind. Until all of it
    /// is there the copy needs this process, and then, too. Elsewhere it wakes when all its memory has come,
    /// which is said once on standard error; see [`Copy::is_lazy`]. The copy has all of this
    /// process's memory but private keys, which are zeroed in it. Its standard output and error come here, its
    /// input is empty; all other descriptors are closed. It needs the node's leave to run code of one's own, and
    /// ends when this process does.
    ///
    /// Clusters and cores can be used in it: what is asked of them goes over links of its own, with a certificate for
    /// a day that is signed on this host, where the authority's key must be. Handles, regions and calls of before
    /// fail in it, and are as they were here.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use farcall::{Cluster, Telefork};
    /// let cluster = Cluster::connect(["host-b"])?;
    /// let table: Vec<u64> = (0..1_000_000).map(|n| n * n).collect();
    /// match cluster.telefork("host-b")? {
    ///     Telefork::Child(_) => {
    ///         println!("the sum is {}", table.iter().sum::<u64>());
    ///         std::process::exit(0);
    ///     }
    ///     Telefork::Parent(copy) => println!("it ended with {}", copy.wait()?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn telefork(&self, node: &str) -> Result<Telefork, TravelError> {
        Ok(match leave(self, &[node.to_owned()], None)? {
            Left::Child(number) => Telefork::Child(number),
            Left::Parent(mut trips) => match trips.pop() {
                Some(trip) => Telefork::Parent(Copy { trip }),
                None => unreachable!("one node, one copy"),
            },
        })
    }

    /// The same onto several nodes: copies of one moment, each with a number of its own. This process sends the
    /// image once, to the first node; each passes it on to the next one while it builds its own. Where a node
    /// refuses or is lost, those behind it get the image by another way.
    pub fn telefork_all<N: AsRef<str>>(
        &self,
        nodes: impl IntoIterator<Item = N>,
    ) -> Result<TeleforkAll, TravelError> {
        let nodes: Vec<String> = nodes.into_iter().map(|node| node.as_ref().to_owned()).collect();
        Ok(match leave(self, &nodes, None)? {
            Left::Child(number) => TeleforkAll::Child(number),
            Left::Parent(trips) => {
                TeleforkAll::Parent(trips.into_iter().map(|trip| Copy { trip }).collect())
            }
        })
    }

    /// Runs a closure on a node, with all that it has captured and all of this process's memory, and gives
    /// what it returns. Nodes take turns.
    ///
    /// What it prints is printed here. If it panics, [`Call::join`] says so with its words. Only what it returns
    /// comes back: what it changes is changed in its copy alone.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = farcall::Cluster::connect(["host-a", "host-b"])?;
    /// let words = ["one", "two", "three"];
    /// let calls: Vec<_> = words.iter().map(|word| cluster.fork_call(|| word.len())).collect();
    /// for call in calls {
    ///     println!("{}", call.join()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn fork_call<T: Serialize + DeserializeOwned>(&self, call: impl FnOnce() -> T) -> Call<T> {
        match self.next_node() {
            Ok(node) => self.fork_call_on(&node, call),
            Err(error) => Call { trip: Err(error), value: PhantomData },
        }
    }

    /// The same on the node of this name.
    pub fn fork_call_on<T: Serialize + DeserializeOwned>(
        &self,
        node: &str,
        call: impl FnOnce() -> T,
    ) -> Call<T> {
        let mark = called::mark();
        let trip = match leave(self, &[node.to_owned()], Some(mark)) {
            Ok(Left::Child(_)) => called::answer(&mark, call),
            Ok(Left::Parent(mut trips)) => match trips.pop() {
                Some(trip) => Ok(trip),
                None => unreachable!("one node, one copy"),
            },
            Err(error) => Err(error),
        };
        Call { trip, value: PhantomData }
    }

    /// Has a node keep the memory of this process as it is now, so that the first copy that goes there goes as
    /// quickly as those that follow: then only what has changed is sent. [`Cluster::fork_call`] does the same
    /// with the first call.
    ///
    /// The node keeps it until this cluster is dropped.
    pub fn prepare(&self, node: &str) -> Result<(), TravelError> {
        match prepare(self, node)? {
            Some(trip) => trip.wait().map(drop),
            // What is kept never wakes but as a fork of it, which does not come from here.
            None => Err(TravelError::Copied),
        }
    }

    /// A node that is up; the next one the next time.
    fn next_node(&self) -> Result<String, TravelError> {
        let shared = self.driver();
        shared.check_linked()?;
        let state = shared.state();
        let up = state.nodes.all_up();
        match up.len() {
            0 => Err(TravelError::NoNode),
            count => Ok(state.nodes.name_of(up[called::turn() % count])),
        }
    }
}

impl Copy {
    /// The node that it is on.
    pub fn node(&self) -> &str {
        self.trip.node()
    }

    /// What it was told by [`Telefork::Child`].
    pub fn number(&self) -> u32 {
        self.trip.number()
    }

    /// Whether it runs, or ran, before all its memory was there, which follows it. Waits until that is known.
    pub fn is_lazy(&self) -> bool {
        self.wait_until_awake();
        self.trip.serving().is_some()
    }

    /// Why it is not: `what; next step`, as its node says.
    pub fn why_not_lazy(&self) -> Option<&str> {
        self.wait_until_awake();
        self.trip.why_whole()
    }

    /// Bytes that this process has sent of its image, and of its memory behind that. Of several copies the first has
    /// most of them: the others' came from node to node.
    pub fn sent(&self) -> u64 {
        self.trip.sent()
    }

    /// Waits until it runs there: its process number. `None`: it never did, or this is itself a copy; `wait`
    /// says why.
    pub fn wait_until_awake(&self) -> Option<u32> {
        self.trip.wait_until_awake()
    }

    /// Waits for its end: its exit status. Death by a signal is an error, and so is it if it never woke.
    pub fn wait(self) -> Result<i32, TravelError> {
        Ok(self.trip.wait()?.status)
    }
}

impl<T: DeserializeOwned> Call<T> {
    /// The node that it runs on, if it could be sent to any.
    pub fn node(&self) -> Option<&str> {
        self.trip.as_ref().ok().map(|trip| trip.node())
    }

    /// Its result is there, for `join` to take.
    pub fn is_done(&self) -> bool {
        self.trip.as_ref().map_or(true, |trip| trip.is_over())
    }

    /// Waits for what it returns.
    pub fn join(self) -> Result<T, TravelError> {
        let trip = self.trip?;
        let ended = trip.wait()?;
        let node = || trip.node().to_owned();
        match ended.answer {
            None => Err(TravelError::Unanswered { node: node(), status: ended.status }),
            Some(Ok(answer::Answer::Panicked(words))) => {
                Err(TravelError::Panicked { node: node(), words })
            }
            Some(Ok(answer::Answer::Value(bytes))) => answer::value_of(&bytes)
                .map_err(|source| TravelError::Unreadable { node: node(), source }),
            Some(Err(source)) => Err(TravelError::Unreadable { node: node(), source }),
        }
    }
}
