//! Out and back into the same process.

use std::fs::{self, File};
use std::io::{self, Write, stderr, stdout};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

use ::telefork::yoyo::{Away, Journey, Returning, Stayed, Watch, go};
use ::telefork::{Error as TeleforkError, Pid};
use transport::Secrets;
use wire::Message;
use wire::answer::Mark;
use wire::hello::Goodbye;
use wire::limits::RETURN_MAX;
use wire::units::Time;
use wire::visit::{Alone, Closed, Exited, Stdio, Taken, Wake};

use super::called::mark;
use super::error::TravelError;
use super::hearing::{Printing, print_error_held, print_held};
use super::luggage::{Forms, begin};
use super::passage::PATIENCE;
use crate::Cluster;
use crate::copied::{self, be_away, be_back};
use crate::driver::{Aside, hold_all};
use crate::error::chain;
use crate::visit::flow::Receiving;
use crate::visit::{Fate, Source, Terms, Visit, WayTo, settle};

impl Cluster {
    /// Runs a closure on the node of this name with all of this process's memory, and comes back with what it
    /// changed: as if it had run here, but for where.
    ///
    /// This process stands still meanwhile: signals wait, and it goes on under its own number. What the
    /// closure prints is printed here, and if it panics, the panic goes on here. Memory comes back, and nothing
    /// else: descriptors that it has opened are closed over there, and so is what it has set in the kernel (signal
    /// handlers, timers, its folder). Over there it has standard streams and no other descriptor; a [`Cluster`] fails by
    /// name. If the node is lost, or what comes back is damaged, nothing has changed here.
    ///
    /// It is to be called from the main thread, with no other of one's own running: they would see memory
    /// change under them. Memory that is shared with other processes is refused.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = farcall::Cluster::connect(["host-b"])?;
    /// let mut primes = vec![2_u64, 3];
    /// let count = cluster.yoyo("host-b", || {
    ///     for number in 4..1_000_000 {
    ///         if primes.iter().take_while(|prime| *prime * *prime <= number).all(|it| number % it != 0) {
    ///             primes.push(number);
    ///         }
    ///     }
    ///     primes.len()
    /// })?;
    /// println!("{count} primes, the last is {:?}", primes.last());
    /// # Ok(())
    /// # }
    /// ```
    pub fn yoyo<T>(&self, node: &str, f: impl FnOnce() -> T) -> Result<T, TravelError> {
        self.driver().check_linked()?;
        check_threads()?;
        let stayed = |reason| TravelError::Stayed { node: node.to_owned(), reason };
        let way = self.way_to(node).map_err(|error| stayed(chain(&error)))?;
        let mut aside = Aside::prepare().map_err(|error| stayed(error.to_string()))?;
        let mark = mark();
        let away = leave(way, &mark).map_err(|Stayed(words)| stayed(words))?;
        // Over there.
        let before = be_away();
        aside.swap();
        let returned = catch_unwind(AssertUnwindSafe(f));
        let _ = stdout().lock().flush();
        aside.swap();
        be_back(before);
        away.home(|returning| send(returning, &mark));
        // Here, with what it was over there.
        returned.map_err(|panic| resume_unwind(panic))
    }
}

/// The names of all threads that this library starts begin so.
const OWN: &[u8] = b"farcall";

fn is_own(name: &[u8]) -> bool {
    name.starts_with(OWN)
}

/// Of a copy that is being sent. That needs what is locked while this process is away.
const SENDING: &[u8] = b"farcall-keep";

/// How long a thread that has just begun may still have the name of who started it.
const NAMELESS: Duration = Duration::from_secs(2);
/// How long copies may take that are being sent.
const SENDING_PATIENCE: Duration = Duration::from_secs(60);

/// How long what carries this process may come nowhere until it runs over there: longer than all that it may wait
/// for. What another thread had locked when it was made, as one that has just begun or ends, it would wait for without end.
const STANDSTILL: Duration = Duration::from_secs(180);

/// How often it is looked whether they are.
const LOOK: Duration = Duration::from_millis(1);

/// Waits until no copy is being sent. The helper would find threads that are in the way, too: this says it
/// before there is one.
fn check_threads() -> Result<(), TravelError> {
    let own = std::process::id();
    let caller = fs::read_link("/proc/thread-self").ok();
    let caller = caller.and_then(|path| path.file_name()?.to_str()?.parse::<u32>().ok());
    let until = Instant::now() + SENDING_PATIENCE;
    let named = Instant::now() + NAMELESS;
    let program = fs::read("/proc/self/comm").ok();
    let program = program.map(|name| name.strip_suffix(b"\n").unwrap_or(&name).to_owned());
    loop {
        let mut is_sending = false;
        for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let tid = thread.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            let Some(tid) = tid.filter(|tid| Some(*tid) != caller) else { continue };
            // One that has ended meanwhile has no name.
            let Ok(name) = fs::read(thread.path().join("comm")) else { continue };
            let name = name.strip_suffix(b"\n").unwrap_or(&name);
            // One that has just begun has the name of who started it yet.
            if tid != own && program.as_deref() == Some(name) && Instant::now() < named {
                is_sending = true;
                continue;
            }
            if tid == own || !is_own(name) {
                let name = String::from_utf8_lossy(name).into_owned();
                return Err(TravelError::Threads { name, tid });
            }
            is_sending |= name == SENDING;
        }
        if !is_sending || Instant::now() >= until {
            return Ok(());
        }
        thread::park_timeout(LOOK);
    }
}

/// With all locks of the library in the hands of the calling thread: so they are in the helper and in the copy,
/// where it is the only one, and gives them back as here.
fn leave(way: WayTo, mark: &Mark) -> Result<Away, Stayed> {
    let (mut output, _errors) = (stdout().lock(), stderr().lock());
    let _printing = Printing::hold();
    let _own = copied::hold();
    let secrets = Secrets::hold();
    if !secrets.are_all() {
        return Err(Stayed(TeleforkError::UnknownKey.to_string()));
    }
    let forms = secrets.forms();
    // Else both would write what is left.
    let _ = output.flush();
    hold_all(|_| go(STANDSTILL, |caller, watch| carry(way, mark, &forms, caller, watch)))
}

/// The helper's work.
fn carry(way: WayTo, mark: &Mark, forms: &Forms, caller: Pid, watch: &Watch) -> Result<(), String> {
    let secrets: Vec<&[u8]> = forms.iter().map(|form| &form[..]).collect();
    let words = |error: TeleforkError| chain(&error);
    let mut journey = Journey::begin(caller, is_own).map_err(words)?;
    // As long as memory is large.
    watch.stop();
    journey.hide(&secrets).map_err(words)?;
    watch.set(STANDSTILL);
    let mut visit = way.begin(begin()).map_err(|error| chain(&error))?;
    let mut pour = Pour { visit: &mut visit, watch, is_heard: false };
    let sent = journey.send(&mut pour);
    match (sent, pour.is_heard) {
        // Whoever refuses it says so in what follows.
        (Ok(()), _) | (Err(_), true) => {}
        (Err(error), false) => return Err(chain(&error)),
    }
    let image = follow(&mut visit, mark, watch)?;
    journey.land(&image).map_err(words)
}

/// The image on its way.
struct Pour<'a> {
    visit: &'a mut Visit,
    watch: &'a Watch,
    is_heard: bool,
}

impl Write for Pour<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.watch.set(STANDSTILL);
        match self.visit.pour(bytes) {
            Ok(true) => Ok(bytes.len()),
            Ok(false) => {
                self.is_heard = true;
                Err(io::Error::other("the node takes no more of the image"))
            }
            Err(error) => Err(io::Error::other(chain(&error))),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From the end of the image to the end of the copy: what it came to.
fn follow(visit: &mut Visit, mark: &Mark, watch: &Watch) -> Result<Vec<u8>, String> {
    let wake = Wake { alone: Alone::Ends, terminal: None };
    let Ok(fate) = settle(visit, &mut Source::new(Terms::default(), wake), PATIENCE);
    match fate {
        Fate::Here { why } | Fate::Gone { why } => return Err(why),
        Fate::Doubt => return Err("it cannot be asked any more; see `farcall ps`".to_owned()),
        Fate::There { .. } => {}
    }
    // It takes as long as what it went for.
    watch.stop();
    let gone = |source: memory::Error| format!("the node is gone: {}", chain(&source));
    visit.send(&Message::Closed(Closed { stream: 0, at: 0 })).map_err(gone)?;
    let mut outputs = [Receiving::default(), Receiving::default()];
    let mut coming = Coming::behind(mark);
    loop {
        let Some(message) = visit.next(Time::NEVER).map_err(gone)? else { continue };
        match message {
            Message::Stdio(Stdio { stream: stream @ 1..=2, at }, bytes) => {
                let output = &mut outputs[usize::from(stream) - 1];
                let known = output.arrived(at, bytes.len());
                let known = known.ok_or("it broke the protocol; compare the versions")?;
                let new = &bytes[known..];
                match stream {
                    1 => coming.push(new)?,
                    _ => print_error_held(new),
                }
                output.done(bytes.len() - known);
                if let Some(bytes) = output.news() {
                    visit.send(&Message::Taken(Taken { stream, bytes })).map_err(gone)?;
                }
            }
            Message::Exited(exited) => {
                let _ = visit.send(&Message::Goodbye(Goodbye::Leaving));
                visit.close();
                return match (exited, coming.finish()) {
                    (Exited::Code(0), Some(image)) => Ok(image),
                    (Exited::Code(status), _) => Err(format!(
                        "it ended its process with status {status} instead of returning"
                    )),
                    (Exited::Signal(signal), _) => {
                        Err(format!("signal {signal} ended it over there; its output says why"))
                    }
                };
            }
            _ => {}
        }
    }
}

/// Standard output: what the closure has printed, and behind the mark what it came to.
struct Coming<'a> {
    mark: &'a Mark,
    held: Vec<u8>,
    is_found: bool,
}

impl<'a> Coming<'a> {
    fn behind(mark: &'a Mark) -> Self {
        Self { mark, held: Vec::new(), is_found: false }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.held.extend_from_slice(bytes);
        if self.is_found {
            let is_bounded = self.held.len() as u64 <= RETURN_MAX;
            return if is_bounded { Ok(()) } else { Err("it came to too much".to_owned()) };
        }
        match self.held.windows(self.mark.len()).position(|window| window == self.mark) {
            Some(at) => {
                let rest = self.held.split_off(at + self.mark.len());
                print_held(&self.held[..at]);
                (self.held, self.is_found) = (rest, true);
            }
            None => {
                // All but the longest end that the mark begins with.
                let longest = self.held.len().min(self.mark.len() - 1);
                let starts =
                    |kept: &usize| self.held[self.held.len() - kept..] == self.mark[..*kept];
                let kept = (0..=longest).rev().find(starts).unwrap_or(0);
                let rest = self.held.split_off(self.held.len() - kept);
                print_held(&std::mem::replace(&mut self.held, rest));
            }
        }
        Ok(())
    }

    fn finish(self) -> Option<Vec<u8>> {
        if !self.is_found {
            print_held(&self.held);
        }
        self.is_found.then_some(self.held)
    }
}

/// Over there, in a process beside the copy.
fn send(returning: &Returning<'_>, mark: &Mark) -> Result<(), String> {
    let output = stdout().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
    let mut output = File::from(output);
    output.write_all(mark).map_err(|error| error.to_string())?;
    returning.send(&mut output).map_err(|error| format!("it cannot come back: {}", chain(&error)))
}
