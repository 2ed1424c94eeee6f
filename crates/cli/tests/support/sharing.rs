//! Processes that share a region, and write down what they did and saw; all of it together is judged.
//!
//! ```text
//!   sharer (process) ── memory::Region ──► home        appends to a file of its own, before it asks and
//!   sharer (process)                                   when it knows: a kill leaves what it was about
//!   …
//!   Sharing (the test): starts, kills and stops them, reads the files, judges
//! ```
//!
//! Time is cut into *turns* with pages of their own, so that a run of any length is judged bit by bit.
//! All clocks are one: CLOCK_MONOTONIC of this machine.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::memory::{Change, Error};
use client::{Cluster, Page, Read, Region, Snapshot};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use verdict::{Act, Fact, Figures, History, Op, Put};

pub(crate) const PAGE: usize = 64;
/// Pages of one turn: accounts, counters, pages under locks.
const BANK: u64 = 4;
const COUNTERS: u64 = 2;
const LOCKED: u64 = 2;
pub(crate) const PAGES: u64 = BANK + COUNTERS + LOCKED;
/// Turns whose pages are there: they come again, which no run is long enough for.
pub(crate) const TURNS: u64 = 4096;
const ENVIRONMENT: &str = "FARCALL_SHARER";

/// Nanoseconds, the same for all processes.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// What a sharer is told.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) nodes: Vec<String>,
    pub(crate) home: PathBuf,
    pub(crate) region: String,
    pub(crate) who: u64,
    pub(crate) seed: u64,
    pub(crate) file: PathBuf,
    /// When the first turn began, and how long each is.
    pub(crate) begun: u64,
    pub(crate) turn: u64,
    /// Between two things that it does, in microseconds.
    pub(crate) pause: u64,
}

/// One line of a sharer's file. The last one with its number counts; without an operation, nothing was
/// done.
#[derive(Serialize, Deserialize)]
struct Line {
    number: u64,
    turn: u64,
    op: Option<Op>,
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().unwrap())
}

fn words(number: u64, tag: u64) -> Vec<u8> {
    [number.to_le_bytes(), tag.to_le_bytes()].concat()
}

// The sharer.

struct Sharer {
    orders: Orders,
    region: Region,
    file: Arc<File>,
    dice: u64,
    number: u64,
}

/// The life of a sharer, if this process is meant to be one: until its standard input ends.
pub(crate) fn share() {
    let Ok(orders) = std::env::var(ENVIRONMENT) else { return };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        asked.store(true, Ordering::SeqCst);
    });
    let cluster = Cluster::connect_with(&orders.nodes, &orders.home).unwrap();
    let region = cluster.memory(&orders.region).unwrap();
    let file = OpenOptions::new().create(true).append(true).open(&orders.file).unwrap();
    let file = Arc::new(file);
    let watcher = Sharer {
        orders: orders.clone(),
        region: region.clone(),
        file: file.clone(),
        dice: 0,
        number: 1 << 48,
    };
    let over = stop.clone();
    let watching = std::thread::spawn(move || watcher.watch(&over));
    let dice = orders.seed;
    let mut sharer = Sharer { orders, region, file, dice, number: 0 };
    while !stop.load(Ordering::SeqCst) {
        sharer.act();
        let pause = sharer.below(2 * sharer.orders.pause + 1);
        std::thread::park_timeout(Duration::from_micros(pause));
    }
    watching.join().unwrap();
}

impl Sharer {
    fn below(&mut self, end: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    /// One write to the file for each line: what was written outlives a kill.
    fn put(&self, number: u64, turn: u64, op: Option<Op>) {
        let mut line = serde_json::to_string(&Line { number, turn, op }).unwrap();
        line.push('\n');
        (&*self.file).write_all(line.as_bytes()).unwrap();
    }

    fn op(&self, begin: u64, end: Option<u64>, act: Act) -> Option<Op> {
        Some(Op { who: self.orders.who, begin, end, act })
    }

    /// A number for what begins now.
    fn begin(&mut self) -> (u64, u64, u64) {
        self.number += 1;
        let now = now();
        (self.number, now.saturating_sub(self.orders.begun) / self.orders.turn, now)
    }

    fn tag(&self) -> u64 {
        (self.orders.who << 48) | self.number
    }

    fn page(&self, turn: u64, at: u64) -> Page {
        self.region.page((turn % TURNS) * PAGES + at)
    }

    /// Fails for no reason but that the home was away, or others were quicker.
    fn excuse(error: &Error) {
        let known = error.may_be_committed()
            || error.is_away()
            || error.is_conflict()
            || error.is_lost_lock();
        assert!(known, "{error} ({error:?})");
    }

    fn told(&self, (number, turn, begin): (u64, u64, u64), act: Act) {
        self.put(number, turn, self.op(begin, Some(now()), act));
    }

    /// What is about to be committed; if nothing follows, nobody knows whether it was.
    fn intend(&self, (number, turn, begin): (u64, u64, u64), act: &Act) {
        self.put(number, turn, self.op(begin, None, act.clone()));
    }

    /// What became of a commit.
    fn outcome(&self, began: (u64, u64, u64), act: Act, result: Result<Vec<(u64, u64)>, Error>) {
        let (number, turn, _) = began;
        match (result, act) {
            (Ok(made), Act::Commit { reads, writes, token, .. }) => {
                self.told(began, Act::Commit { reads, writes, versions: made, token });
            }
            (Err(error), _) => {
                Self::excuse(&error);
                if !error.may_be_committed() {
                    self.put(number, turn, None);
                }
            }
            (Ok(_), _) => {}
        }
    }

    fn act(&mut self) {
        let began = self.begin();
        let turn = began.1;
        match self.below(10) {
            0 | 1 => {
                let at = self.below(PAGES);
                let page = self.page(turn, at);
                match page.read() {
                    Ok(seen) => self.told(began, Act::Read { pages: vec![fact(&page, &seen)] }),
                    Err(error) => Self::excuse(&error),
                }
            }
            2 => {
                // As it was no longer ago than that: as if it had been asked for so much earlier.
                let at = self.below(PAGES);
                let page = self.page(turn, at);
                let max_age = Duration::from_millis(20);
                match page.read_as(Read::Cached { max_age }) {
                    Ok(seen) => {
                        let begin = began.2 - max_age.as_nanos() as u64;
                        let act = Act::Read { pages: vec![fact(&page, &seen)] };
                        self.told((began.0, turn, begin), act);
                    }
                    Err(error) => Self::excuse(&error),
                }
            }
            3 | 4 => self.scribble(began),
            5 => self.count(began),
            6 | 7 => self.pay(began),
            8 => self.look(began),
            _ => self.lock(began),
        }
    }

    fn scribble(&mut self, began: (u64, u64, u64)) {
        let at = self.below(PAGES);
        let offset = 16 + 8 * self.below(6);
        let page = self.page(began.1, at);
        let bytes = self.tag().to_le_bytes();
        let writes = vec![Put::new(page.number(), offset as usize, &bytes)];
        let act = Act::Commit { reads: vec![], writes, versions: vec![], token: None };
        self.intend(began, &act);
        let result = page.update(offset as u32, &bytes);
        self.outcome(began, act, result.map(|version| vec![(page.number(), version.0)]));
    }

    fn count(&mut self, began: (u64, u64, u64)) {
        let at = BANK + self.below(COUNTERS);
        let page = self.page(began.1, at);
        let seen = match page.read() {
            Ok(seen) => seen,
            Err(error) => return Self::excuse(&error),
        };
        let bytes = words(number(&seen.bytes) + 1, self.tag());
        let writes = vec![Put::new(page.number(), 0, &bytes)];
        let reads = vec![fact(&page, &seen)];
        let act = Act::Commit { reads, writes, versions: vec![], token: None };
        self.intend(began, &act);
        let result = page.compare_and_update(seen.version, 0, &bytes);
        self.outcome(began, act, result.map(|version| vec![(page.number(), version.0)]));
    }

    /// From one account to another, all or nothing.
    fn pay(&mut self, began: (u64, u64, u64)) {
        let (from, to) = (self.below(BANK), self.below(BANK));
        if from == to {
            return;
        }
        let [from, to] = [from, to].map(|at| self.page(began.1, at).number());
        let tag = self.tag();
        let mut latest = None;
        let result: Result<(), Error> = self.region.transact(|tx| {
            let (mut reads, mut writes) = (Vec::new(), Vec::new());
            for (page, change) in [(from, 5_u64.wrapping_neg()), (to, 5)] {
                let before = tx.read(page)?;
                let version = tx.version(page).unwrap();
                reads.push(Fact::new(page, version.0, &before));
                let bytes = words(number(&before).wrapping_add(change), tag);
                tx.write(page, 0, &bytes)?;
                writes.push(Put::new(page, 0, &bytes));
            }
            let act = Act::Commit { reads, writes, versions: vec![], token: None };
            self.intend(began, &act);
            latest = Some(act);
            Ok(())
        });
        let Some(act) = latest else { return Self::excuse(&result.unwrap_err()) };
        let Act::Commit { reads, .. } = &act else { return };
        // Each commits on what it has read.
        let made = reads.iter().map(|read| (read.page, read.version + 1)).collect();
        self.outcome(began, act, result.map(|()| made));
    }

    /// All accounts at one moment.
    fn look(&mut self, began: (u64, u64, u64)) {
        let pages: Vec<u64> = (0..BANK).map(|at| self.page(began.1, at).number()).collect();
        let result: Result<Vec<Fact>, Error> = self.region.transact(|tx| {
            let bytes = tx.read_many(&pages)?;
            let fact = |(page, bytes): (&u64, &client::memory::Bytes)| {
                Fact::new(*page, tx.version(*page).unwrap().0, bytes)
            };
            Ok(pages.iter().zip(&bytes).map(fact).collect())
        });
        match result {
            Ok(pages) => {
                let of = |fact: &Fact| fact.bytes.as_deref().map_or(0, number);
                let sum = pages.iter().map(of).fold(0_u64, u64::wrapping_add);
                assert_eq!(sum, 0, "money was made, or lost: {pages:?}");
                self.told(began, Act::Read { pages });
            }
            Err(error) => Self::excuse(&error),
        }
    }

    fn lock(&mut self, began: (u64, u64, u64)) {
        let at = BANK + COUNTERS + self.below(LOCKED);
        let page = self.page(began.1, at);
        let wait = Duration::from_millis(self.below(2000));
        let mut guard = match page.lock_for(wait) {
            Ok(Some(guard)) => guard,
            Ok(None) => return,
            Err(error) => return Self::excuse(&error),
        };
        let seen = Fact::new(page.number(), guard.version().0, &guard);
        let token = guard.token().0;
        self.told(began, Act::Grant { page: seen.clone(), token, queued: None });
        let hold = if self.below(50) == 0 { 50_000 } else { 2000 };
        std::thread::park_timeout(Duration::from_micros(self.below(hold)));
        let (mut began, turn) = (self.begin(), began.1);
        began.1 = turn;
        if self.below(4) == 0 {
            match guard.rollback() {
                Ok(()) => self.told(began, Act::Release { page: page.number(), token }),
                Err(error) => Self::excuse(&error),
            }
            return;
        }
        let bytes = words(number(&guard) + 1, self.tag());
        guard.bytes_mut()[..16].copy_from_slice(&bytes);
        let writes = vec![Put::new(page.number(), 0, &bytes)];
        let act = Act::Commit { reads: vec![seen], writes, versions: vec![], token: Some(token) };
        self.intend(began, &act);
        let result = guard.commit();
        self.outcome(began, act, result.map(|version| vec![(page.number(), version.0)]));
    }

    /// What a watch tells of all pages of all turns.
    fn watch(mut self, stop: &AtomicBool) {
        let watch = loop {
            match self.region.watch(0..TURNS * PAGES) {
                Ok(watch) => break watch,
                Err(error) => Self::excuse(&error),
            }
            if stop.load(Ordering::SeqCst) {
                return;
            }
        };
        while !stop.load(Ordering::SeqCst) {
            match watch.next_within(Duration::from_millis(100)) {
                Some(Ok(Change::Page { page, version })) => {
                    let (number, _, begin) = self.begin();
                    let pages = vec![Fact::bare(page, version.0)];
                    self.told((number, page / PAGES, begin), Act::Seen { pages });
                }
                Some(Ok(Change::Resync)) | None => {}
                Some(Err(error)) => Self::excuse(&error),
            }
        }
    }
}

fn fact(page: &Page, seen: &Snapshot) -> Fact {
    Fact::new(page.number(), seen.version.0, &seen.bytes)
}

// The test's side.

/// The sharers of one region, and their files.
pub(crate) struct Sharing {
    pub(crate) orders: Orders,
    folder: PathBuf,
    sharers: u64,
    /// How far each file was read, and what of it is not judged yet, by turn.
    read: BTreeMap<PathBuf, u64>,
    lines: BTreeMap<u64, BTreeMap<(PathBuf, u64), Option<Op>>>,
    judged: u64,
    pub(crate) sum: Figures,
}

pub(crate) struct Process {
    pub(crate) child: Child,
    errors: PathBuf,
}

impl Sharing {
    /// `orders.who`, `seed` and `file` are each sharer's own.
    pub(crate) fn new(orders: Orders, folder: &Path) -> Self {
        let (read, lines) = (BTreeMap::new(), BTreeMap::new());
        let folder = folder.to_owned();
        Self { orders, folder, sharers: 0, read, lines, judged: 0, sum: Figures::default() }
    }

    /// Starts one more: `test` is the name of the test that calls `share`, `dress` what it is started
    /// under.
    pub(crate) fn start(&mut self, test: &str, dress: impl Fn(&Command) -> Command) -> Process {
        self.sharers += 1;
        let who = self.sharers;
        let file = self.folder.join(format!("sharer-{who}"));
        self.read.insert(file.clone(), 0);
        let orders = Orders { who, seed: self.orders.seed ^ who, file, ..self.orders.clone() };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--test-threads", "1"]);
        command.env(ENVIRONMENT, serde_json::to_string(&orders).unwrap());
        let mut command = dress(&command);
        let errors = self.folder.join(format!("errors-{who}"));
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(File::create(&errors).unwrap());
        Process { child: command.spawn().unwrap(), errors }
    }

    pub(crate) fn turn(&self) -> u64 {
        now().saturating_sub(self.orders.begun) / self.orders.turn
    }

    fn gather(&mut self) {
        for (path, from) in &mut self.read {
            let Ok(mut file) = File::open(path) else { continue };
            file.seek(SeekFrom::Start(*from)).unwrap();
            let mut new = Vec::new();
            file.read_to_end(&mut new).unwrap();
            // The last line of one that was killed may be cut off.
            let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for line in new[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let line: Line = serde_json::from_slice(line).unwrap();
                if line.turn < self.judged {
                    // It came too late: what it tells of was judged as unknown.
                    continue;
                }
                let turn = self.lines.entry(line.turn).or_default();
                turn.insert((path.clone(), line.number), line.op);
            }
            *from += whole as u64;
        }
    }

    /// Judges all turns before this one. `reader` sees what is there at last.
    pub(crate) fn judge_until(&mut self, turn: u64, reader: &Region) {
        self.gather();
        while let Some(entry) = self.lines.first_entry() {
            if *entry.key() >= turn {
                break;
            }
            let (turn, lines) = entry.remove_entry();
            self.judged = turn + 1;
            let mut ops: Vec<Op> = lines.into_values().flatten().collect();
            for at in 0..PAGES {
                let page = reader.page((turn % TURNS) * PAGES + at);
                let begin = now();
                let seen = page.read().unwrap();
                let act = Act::Read { pages: vec![fact(&page, &seen)] };
                ops.push(Op { who: 0, begin, end: Some(now()), act });
            }
            let history = History { page_size: PAGE, ops };
            let figures = verdict::judge(&history).unwrap_or_else(|violation| {
                let kept = std::env::temp_dir().join(format!("farcall-history-{}", now()));
                let all = serde_json::to_string(&history.ops).unwrap();
                fs::write(&kept, all).unwrap();
                let ops: Vec<_> = violation.ops.iter().map(|op| &history.ops[*op]).collect();
                panic!("turn {turn}: {violation}\n{ops:#?}\nall of it: {}", kept.display())
            });
            self.sum.ops += figures.ops;
            self.sum.commits += figures.commits;
            self.sum.transactions += figures.transactions;
            self.sum.grants += figures.grants;
            self.sum.unknown += figures.unknown;
            self.sum.proven += figures.proven;
        }
    }
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// It ends what it has begun.
    pub(crate) fn finish(mut self) {
        drop(self.child.stdin.take());
        let end = std::time::Instant::now() + super::PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(std::time::Instant::now() < end, "a sharer does not end");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        self.check();
    }

    /// It runs, or has ended well.
    #[track_caller]
    pub(crate) fn check(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let words = fs::read_to_string(&self.errors).unwrap_or_default();
            assert!(status.success(), "a sharer ended with {status}: {words}");
        }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        Command::new("kill").args(["-s", name, &pid]).output().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
