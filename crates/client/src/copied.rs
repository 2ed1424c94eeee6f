//! That this process is a copy of one that was a client, and what that one has handed on.
//!
//! ```text
//!   original                                   copy
//!   a key and a certificate for a day  ──────▶ its standard input, which is put aside as it wakes: whoever
//!   (`Handing`)                                reads 0 finds it empty
//!                                              the first use of a cluster reads it (`receive`)
//! ```
//!
//! A copy that uses no cluster neither waits nor reads.
//!
//! Elsewhere: when it is sent (`telefork::sending`), the links that are made with it (`anew`).

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use transport::{Authority, Credentials, Fingerprint};
use wire::delegation::{Delegation, LENGTH};
use wire::name::Name;
use zeroize::Zeroizing;

use crate::error::chain;

/// What is handed on, as it travels.
pub(crate) type Words = Arc<Zeroizing<Vec<u8>>>;

/// How long a copy waits for what it is handed on. It is sent as soon as the copy is known to be awake.
const PATIENCE: Duration = Duration::from_secs(10);
/// One certificate serves for all copies of so long.
const REUSED: Duration = Duration::from_secs(60 * 60);

/// How often this process has been copied, counted in the copies: what was made before is of another process.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// How many copies away from its first original this process is.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Relaxed)
}

/// What this process can hand on to its copies.
pub(crate) enum Means {
    /// What the authority of this folder signs, if its key is there.
    Folder(PathBuf),
    /// What it was handed on itself.
    Own(Words),
    /// Nothing: it has no certificate.
    Nothing,
}

/// Of one cluster: what its copies are handed on.
pub(crate) struct Handing {
    means: Means,
    me: Name,
    made: Option<(Words, SystemTime)>,
}

impl Handing {
    pub(crate) fn new(means: Means, me: Name) -> Self {
        Self { means, me, made: None }
    }

    /// To be written to a copy's standard input, before its end.
    pub(crate) fn words(&mut self, now: SystemTime) -> Words {
        if let Means::Own(words) = &self.means {
            return words.clone();
        }
        let fresh = |made: &SystemTime| now.duration_since(*made).is_ok_and(|age| age < REUSED);
        if let Some((words, made)) = &self.made
            && fresh(made)
        {
            return words.clone();
        }
        match self.make(now) {
            Ok(words) => {
                let words = Arc::new(words);
                self.made = Some((words.clone(), now));
                words
            }
            // Not kept: the authority's key may come.
            Err(reason) => Arc::new(Zeroizing::new(withheld(reason))),
        }
    }

    fn make(&self, now: SystemTime) -> Result<Zeroizing<Vec<u8>>, String> {
        let Means::Folder(folder) = &self.means else {
            return Err("its original had no certificate, as it knows its nodes by Unix sockets alone, which \
                        are closed to copies; give the node `--listen` and connect to its address"
                .to_owned());
        };
        let authority = Authority::load(folder).map_err(|error| chain(&error))?;
        let authority = authority.ok_or_else(|| {
            let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            format!(
                "the authority's key is not in {} on {}, where it was copied, and nobody else signs for \
                 copies; start the program where the cluster was begun, or have the copy connect anew with \
                 credentials of its own host",
                folder.display(),
                host.trim_end()
            )
        })?;
        authority.delegate(&self.me, now).map_err(|error| chain(&error))
    }
}

fn withheld(reason: String) -> Vec<u8> {
    // A reason of ours is short.
    Delegation::Withheld { reason }.encode().unwrap_or_default()
}

/// What this process was handed on.
enum Arriving {
    /// It is no copy.
    Nothing,
    /// It is on its way.
    Coming(OwnedFd),
    Missing(String),
    Here(Credentials, Words),
}

static ARRIVING: Mutex<Arriving> = Mutex::new(Arriving::Nothing);

fn arriving() -> MutexGuard<'static, Arriving> {
    ARRIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a copy finds as its standard input.
#[derive(Clone, Copy)]
pub(crate) enum Input {
    /// What it is handed on.
    HandedOn,
    /// What whoever wakes it gives it to read: it is handed on nothing.
    Own,
}

/// Held while a copy of this process is made: nobody receives anything meanwhile.
pub(crate) struct Held(MutexGuard<'static, Arriving>);

pub(crate) fn hold() -> Held {
    Held(arriving())
}

impl Held {
    /// This is a copy now: what was made before is of another process, and what it is handed on is coming.
    pub(crate) fn begin_anew(&mut self, input: Input) {
        GENERATION.fetch_add(1, Relaxed);
        if let Input::Own = input {
            let words = "a copy made by telefork_to is handed on nothing; connect anew";
            *self.0 = Arriving::Missing(words.to_owned());
            return;
        }
        *self.0 = match sys::park::take_input() {
            Ok(input) => Arriving::Coming(input),
            Err(error) => {
                Arriving::Missing(format!("its original had no standard input ({error})"))
            }
        };
    }
}

/// What this process was handed on before it went elsewhere.
pub(crate) struct Before(Arriving);

/// Why nothing is asked of a cluster by a copy that comes back.
pub(crate) const AWAY: &str =
    "it runs in `yoyo`, and comes back; use the cluster before or after that";

/// This is a copy that comes back into its original: it links to nothing meanwhile.
pub(crate) fn be_away() -> Before {
    GENERATION.fetch_add(1, Relaxed);
    Before(std::mem::replace(&mut *arriving(), Arriving::Missing(AWAY.to_owned())))
}

/// It comes back.
pub(crate) fn be_back(before: Before) {
    *arriving() = before.0;
    GENERATION.fetch_sub(1, Relaxed);
}

/// What this copy was handed on for the cluster of this authority, as it came and to be used; why not, if not.
/// Waits for it at most `PATIENCE`, and once.
pub(crate) fn receive(of: Option<Fingerprint>) -> Result<(Credentials, Words), String> {
    let mut arriving = arriving();
    if let Arriving::Coming(input) = &*arriving {
        *arriving = match read(input) {
            Ok((credentials, words)) => Arriving::Here(credentials, words),
            Err(reason) => Arriving::Missing(reason),
        };
    }
    match &*arriving {
        Arriving::Here(credentials, words) if Some(credentials.authority()) == of => {
            Ok((credentials.clone(), words.clone()))
        }
        Arriving::Here(..) => {
            Err("it was sent through another cluster, and has a certificate for that one alone; connect anew"
                .to_owned())
        }
        Arriving::Missing(reason) => Err(reason.clone()),
        Arriving::Nothing | Arriving::Coming(_) => unreachable!("only copies ask, and it was read"),
    }
}

fn read(input: &OwnedFd) -> Result<(Credentials, Words), String> {
    // No copy is made meanwhile: it would have a key that nobody knows of.
    let until = Instant::now() + PATIENCE;
    let mut front = [0; LENGTH];
    take(input, &mut front, until)?;
    let unreadable = |error: &dyn std::error::Error| {
        format!("what its original handed on makes no sense: {}; send it again", chain(error))
    };
    let length = Delegation::length(front).map_err(|error| unreadable(&error))?;
    let mut words = Zeroizing::new(vec![0; LENGTH + length]);
    words[..LENGTH].copy_from_slice(&front);
    take(input, &mut words[LENGTH..], until)?;
    let read = Credentials::of_delegation(&words[LENGTH..]);
    let credentials = read.map_err(|error| unreadable(&error))??;
    Ok((credentials, Arc::new(words)))
}

/// Fills the buffer, and waits for it no longer than that.
fn take(input: &OwnedFd, mut into: &mut [u8], until: Instant) -> Result<(), String> {
    let failed = |error: io::Error| format!("what its original handed on cannot be read: {error}");
    let mut file = File::from(input.try_clone().map_err(failed)?);
    while !into.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let seconds = PATIENCE.as_secs();
            return Err(format!(
                "its original handed on nothing within {seconds} s; send it again"
            ));
        }
        if !sys::socket::wait(input, false, left).map_err(failed)?.readable {
            continue;
        }
        match file.read(into) {
            Ok(0) => return Err("its original has handed on nothing; send it again".to_owned()),
            Ok(count) => into = &mut into[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}
