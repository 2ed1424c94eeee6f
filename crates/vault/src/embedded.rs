//! The vault in a node's data folder: a store of its own, written by one thread.
//!
//! ```text
//! regions/cluster      the authority in whose certificates the owners' names stand
//! regions/store/       fjall: one journal for all regions, one keyspace for each
//! regions/water/ID     how far the region has surely come
//! ```
//!
//! Whatever has gathered while the last flush ran is written as one and flushed once (*group commit*).
//! A `sync` region is told after the flush; an `async` one after the write, and flushed within
//! `FLUSH`.
//!
//! Invariant: what was told is never silently missing or different afterwards. The store may cut its
//! journal where it finds it damaged, and go on; so all that it gives back is checked against the
//! sums of `Ledger` and the high-water files of `Water`, and what does not fit is refused by name.
//! A panic inside the store ends in a refusal too.

mod store;
mod journal;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, PersistMode};
use logic::regions::{Batch, Epoch, Event};
use wire::kept::{Head, HighWater, Item, Key, Stage};
use wire::name::Name;
use wire::region::{Create, Durability, Refusal, RegionId};

use store::{
    Fault, Loaded, guarded, keyspace_name, make_room, name_in, open_store, options, prepare, read,
};

use crate::ledger::{Changes, Ledger};
use crate::vault::{Outbox, Vault};
use crate::water::Water;

/// How long a commit of an `async` region may wait for the disk.
const FLUSH: Duration = Duration::from_millis(10);
/// Bytes of pages in one group: beyond, its first commits would wait for its last ones. Short groups let
/// clients of one go on while the next is written; where a flush takes long, fewer flushes matter more.
const GROUP_BYTES_MIN: usize = 160 << 10;
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Bytes that are surely written in a microsecond: a group may be as long as the flush before it took.
const WRITTEN: usize = 256;
const FAILED: &str = "the thread that keeps regions has failed, which is a bug of Farcall: please report \
                      it, and start the node again";

/// The embedded vault. Its regions are opened at once, in the background: `Opened` comes for each of
/// them without being asked for.
#[derive(Debug)]
pub struct Embedded {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    /// For what the thread cannot tell any more.
    outbox: Outbox,
    /// Nobody waits for regions that are still being read.
    is_ending: Arc<AtomicBool>,
}

enum Command {
    Make {
        id: RegionId,
        owner: Name,
        create: Create,
    },
    Open {
        name: Name,
    },
    Keep(Batch),
    Remove {
        id: RegionId,
    },
    Shut {
        id: RegionId,
    },
    Discard {
        name: Name,
    },
    /// A region was read, by another thread.
    Loaded {
        water: Box<Water>,
        found: Box<Result<Option<Loaded>, String>>,
    },
}

impl Embedded {
    /// The regions under `folder`, of the cluster with this authority.
    pub fn new(folder: PathBuf, cluster: String, outbox: Outbox) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let loader = commands.clone();
        let is_ending = Arc::new(AtomicBool::new(false));
        let keeper = Keeper::new(folder, outbox.clone(), Arc::clone(&is_ending));
        let run = move || keeper.run(&cluster, loader, &inbox);
        let thread = std::thread::Builder::new().name("vault".to_owned()).spawn(run)?;
        Ok(Self { commands: Some(commands), thread: Some(thread), outbox, is_ending })
    }

    fn command(&self, command: Command) {
        if let Some(commands) = &self.commands
            && let Err(mpsc::SendError(command)) = commands.send(command)
        {
            self.outbox.tell(unheard(command));
        }
    }
}

/// What to tell of a command that nobody will carry out.
fn unheard(command: Command) -> Option<Event> {
    let reason = FAILED.to_owned();
    match command {
        Command::Make { id, .. } => {
            Some(Event::Made { id, result: Err(Refusal::Unkept { reason }) })
        }
        Command::Open { name } | Command::Discard { name } => {
            Some(Event::Opened { name, result: Err(Refusal::Unkept { reason }) })
        }
        Command::Keep(batch) => Some(Event::Lost { id: batch.region, reason }),
        Command::Remove { id } => {
            Some(Event::Removed { id, result: Err(Refusal::Unkept { reason }) })
        }
        Command::Shut { .. } | Command::Loaded { .. } => None,
    }
}

impl Vault for Embedded {
    fn make(&self, id: RegionId, owner: Name, create: Create) {
        self.command(Command::Make { id, owner, create });
    }

    fn open(&self, name: Name) {
        self.command(Command::Open { name });
    }

    fn keep(&self, batch: Batch) {
        self.command(Command::Keep(batch));
    }

    fn remove(&self, id: RegionId) {
        self.command(Command::Remove { id });
    }

    fn shut(&self, id: RegionId) {
        self.command(Command::Shut { id });
    }

    fn discard(&self, name: Name) {
        self.command(Command::Discard { name });
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Keeper {
    folder: PathBuf,
    outbox: Outbox,
    /// None before it is open, and after it has failed.
    store: Option<Database>,
    /// Why nothing can be kept any more.
    failure: Option<String>,
    regions: HashMap<RegionId, Region>,
    /// Regions with commits that are to be written.
    gathered: BTreeSet<RegionId>,
    /// Regions that are being read.
    loading: HashMap<RegionId, Name>,
    /// Regions that are there and cannot be trusted, or not be read.
    refused: HashMap<RegionId, (Name, String)>,
    /// What is being made just now.
    making: Option<RegionId>,
    is_ending: Arc<AtomicBool>,
    /// Since when something is written that is not flushed.
    unflushed: Option<Instant>,
    /// Bytes of pages in the next group.
    group_max: usize,
}

struct Region {
    keyspace: Keyspace,
    ledger: Ledger,
    water: Water,
    /// What was gathered and not written yet.
    changes: Changes,
    /// Commits were written that the high-water file does not know yet.
    is_unmarked: bool,
}

impl Keeper {
    fn new(folder: PathBuf, outbox: Outbox, is_ending: Arc<AtomicBool>) -> Self {
        Self {
            folder,
            outbox,
            store: None,
            failure: None,
            regions: HashMap::new(),
            gathered: BTreeSet::new(),
            loading: HashMap::new(),
            refused: HashMap::new(),
            making: None,
            is_ending,
            unflushed: None,
            group_max: GROUP_BYTES_MIN,
        }
    }

    fn run(mut self, cluster: &str, loader: Sender<Command>, inbox: &Receiver<Command>) {
        self.survive(|this| this.start(cluster, loader));
        loop {
            let command = match self.unflushed {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => inbox.recv_timeout(FLUSH.saturating_sub(since.elapsed())),
            };
            match command {
                Ok(command) => self.survive(|this| this.turn(command, inbox)),
                Err(RecvTimeoutError::Timeout) => self.survive(Self::flush),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.survive(Self::flush);
    }

    /// Should this panic, then all that wait are told, and whoever comes afterwards.
    fn survive(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        if let Some(id) = self.making.take() {
            let result = Err(Refusal::Unkept { reason: FAILED.to_owned() });
            self.outbox.tell([Event::Made { id, result }]);
        }
        self.fail(FAILED.to_owned());
    }

    /// Everything that waits, commits of any region as one group.
    fn turn(&mut self, first: Command, inbox: &Receiver<Command>) {
        let mut gathered = 0;
        let mut next = Some(first);
        while let Some(command) = next.take() {
            match command {
                Command::Keep(batch) => {
                    gathered += batch.written.iter().map(|page| page.bytes.len()).sum::<usize>();
                    self.gather(batch);
                }
                // What follows a commit finds it kept.
                other => {
                    self.write();
                    gathered = 0;
                    self.carry_out(other);
                }
            }
            if gathered < self.group_max {
                next = inbox.try_recv().ok();
            }
        }
        self.write();
        if self.unflushed.is_some_and(|since| since.elapsed() >= FLUSH) {
            self.flush();
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Keep(batch) => self.gather(batch),
            Command::Make { id, owner, create } => {
                self.making = Some(id);
                let result = self.make(id, owner, create);
                self.making = None;
                self.outbox.tell([Event::Made { id, result }]);
            }
            Command::Open { name } => self.open(name),
            Command::Remove { id } => {
                let result = self.remove(id);
                self.outbox.tell([Event::Removed { id, result }]);
            }
            Command::Shut { id } => self.shut(id),
            Command::Discard { name } => self.discard(&name),
            Command::Loaded { water, found } => {
                self.loaded(*water, *found);
                self.settle();
            }
        }
    }

    // 1. Opening what is there.

    fn start(&mut self, cluster: &str, loader: Sender<Command>) {
        let store = self.folder.join("store");
        let opened = prepare(&self.folder, cluster)
            .and_then(|()| open_store(&store).map_err(|fault| fault.at(&store)));
        let listed = Water::list(&self.folder.join("water"));
        let (waters, unreadable) = match listed {
            Ok(listed) => listed,
            Err(error) if opened.is_ok() => {
                return self.fail(Fault::from(error).at(&self.folder.join("water")));
            }
            Err(_) => Default::default(),
        };
        match opened {
            Ok(store) => {
                self.store = Some(store.clone());
                self.refuse_unmarked(&store, &waters, &unreadable);
                let is_leaving = |water: &Water| water.mark.stage == Stage::Leaving;
                let (leaving, waters): (Vec<_>, _) = waters.into_iter().partition(is_leaving);
                leaving.into_iter().for_each(|water| self.leave_or_refuse(water));
                let waters = self.refuse_doubles(waters);
                for water in &waters {
                    self.loading.insert(water.mark.id, water.mark.name.clone());
                }
                self.settle();
                let is_ending = Arc::clone(&self.is_ending);
                std::thread::spawn(move || load(&store, waters, &loader, &is_ending));
            }
            Err(reason) => {
                for water in waters {
                    self.refuse(water.mark.name.clone(), water.mark.id, reason.clone());
                }
                self.fail(reason);
            }
        }
    }

    /// Regions of the store whose high-water file is damaged or gone.
    fn refuse_unmarked(
        &mut self,
        store: &Database,
        waters: &[Water],
        unreadable: &[(PathBuf, String)],
    ) {
        let marked: Vec<_> = waters.iter().map(|water| keyspace_name(water.mark.id)).collect();
        for kept in store.list_keyspace_names() {
            let kept: &str = &kept;
            if marked.iter().any(|name| name == kept) {
                continue;
            }
            let (Ok(id), path) =
                (u64::from_str_radix(kept, 16), self.folder.join("water").join(kept))
            else {
                continue;
            };
            let why = match unreadable.iter().find(|(at, _)| *at == path) {
                Some((_, why)) => format!("`{}` is damaged: {why}", path.display()),
                None => format!("`{}` is gone", path.display()),
            };
            let reason =
                format!("{why}, so nobody can tell whether commits are missing; {}", self.remedy());
            let keyspace = guarded(|| store.keyspace(kept, options));
            let name = keyspace.ok().and_then(|keyspace| name_in(&keyspace));
            // So that it is told, and can be dropped.
            let name = name.or_else(|| format!("unknown-{kept}").parse().ok());
            let Some(name) = name else { continue };
            self.refuse(name, RegionId(id), reason);
        }
    }

    /// Regions that are there under one name: nobody can tell which of them is meant. Gives the others
    /// back. One that was being made takes no name from another.
    fn refuse_doubles(&mut self, waters: Vec<Water>) -> Vec<Water> {
        let mut there = HashMap::<Name, Vec<PathBuf>>::new();
        for water in waters.iter().filter(|water| water.mark.stage == Stage::There) {
            there.entry(water.mark.name.clone()).or_default().push(water.path().to_owned());
        }
        let (doubles, single): (Vec<_>, Vec<_>) = waters.into_iter().partition(|water| {
            water.mark.stage == Stage::There && there[&water.mark.name].len() > 1
        });
        for water in doubles {
            let HighWater { name, id, .. } = water.mark;
            let paths: Vec<_> =
                there[&name].iter().map(|path| format!("`{}`", path.display())).collect();
            let reason = format!(
                "{} are of one name, and nobody can tell which is meant; {}",
                paths.join(" and "),
                self.remedy()
            );
            self.refuse(name, id, reason);
        }
        single
    }

    /// All that is there was found whole: what was cut off the journal was nothing that had been told.
    fn settle(&self) {
        if self.loading.is_empty() && self.refused.is_empty() && self.failure.is_none() {
            // If they stay, the next start tries again.
            let _ = journal::forget_copies(&self.folder.join("store"));
        }
    }

    fn loaded(&mut self, mut water: Water, found: Result<Option<Loaded>, String>) {
        let HighWater { id, name, stage, .. } = water.mark.clone();
        if self.loading.remove(&id).is_none() {
            // The store has failed meanwhile.
            return;
        }
        let store = self.folder.join("store");
        let store = store.display();
        let Loaded { keyspace, ledger, mut opened } = match (found, stage) {
            (_, Stage::Leaving) => return self.leave_or_refuse(water),
            (Ok(Some(_)), Stage::Making) if self.is_taken(&name) => {
                return self.leave_or_refuse(water);
            }
            // It was never made: nobody was told otherwise. Perhaps its keyspace is there without the
            // first record.
            (Ok(None) | Err(_), Stage::Making) => {
                self.leave_or_refuse(water);
                if !self.is_taken(&name) && self.reason(&name).is_none() {
                    let result = Err(Refusal::NoSuchRegion);
                    self.outbox.tell([Event::Opened { name, result }]);
                }
                return;
            }
            (Ok(Some(loaded)), Stage::Making | Stage::There) => loaded,
            (Ok(None), Stage::There) => {
                let reason = format!(
                    "the store in `{store}` was damaged and has lost it; {}",
                    self.remedy()
                );
                return self.refuse(name, id, reason);
            }
            (Err(why), _) => {
                let reason = format!("the store in `{store}` is damaged: {why}; {}", self.remedy());
                return self.refuse(name, id, reason);
            }
        };
        if ledger.region.create.name != name {
            let path = water.path().display();
            let reason = format!(
                "`{path}` says `{name}`, and the store in `{store}` another name; {}",
                self.remedy()
            );
            return self.refuse(name, id, reason);
        }
        let Head { epoch, sequence, .. } = ledger.head;
        if (epoch, sequence) < (water.mark.epoch, water.mark.sequence) {
            let reason = format!(
                "the store in `{store}` was damaged and has lost commits: it ends with {sequence} of \
                 opening {epoch}, and by `{}` {} of opening {} was kept; {}",
                water.path().display(),
                water.mark.sequence,
                water.mark.epoch,
                self.remedy()
            );
            return self.refuse(name, id, reason);
        }

        if stage == Stage::Making
            && let Err(error) = water.enter(Stage::There)
        {
            return self.refuse(name, id, Fault::from(error).at(water.path()));
        }
        let changes = Changes::new();
        let mut region = Region { keyspace, ledger, water, changes, is_unmarked: true };
        region.ledger.head.epoch += 1;
        opened.epoch = Epoch { number: region.ledger.head.epoch };
        self.regions.insert(id, region);
        self.commit(PersistMode::SyncAll, &[id]);
        if self.regions.contains_key(&id) {
            self.outbox.tell([Event::Opened { name, result: Ok(Box::new(opened)) }]);
        }
    }

    fn open(&mut self, name: Name) {
        if self.is_taken(&name) {
            // `Opened` has been told, or will be.
            return;
        }
        let reason = self.reason(&name).cloned().or_else(|| self.failure.clone());
        let refusal = reason.map_or(Refusal::NoSuchRegion, |reason| Refusal::Unkept { reason });
        self.outbox.tell([Event::Opened { name, result: Err(refusal) }]);
    }

    /// Whether a region of this name is open, or about to be.
    fn is_taken(&self, name: &Name) -> bool {
        let mut open = self.regions.values().map(|region| &region.water.mark.name);
        open.any(|open| open == name) || self.loading.values().any(|loading| loading == name)
    }

    /// Why there is a region of this name that is not opened.
    fn reason(&self, name: &Name) -> Option<&String> {
        let (_, reason) = self.refused.values().find(|(refused, _)| refused == name)?;
        Some(reason)
    }

    // 2. Making and removing.

    fn make(&mut self, id: RegionId, owner: Name, create: Create) -> Result<Epoch, Refusal> {
        let unkept = |reason| Refusal::Unkept { reason };
        let store = match (&self.store, &self.failure) {
            (Some(store), None) => store.clone(),
            (_, failure) => return Err(unkept(failure.clone().unwrap_or_default())),
        };
        if let Some(reason) = self.reason(&create.name) {
            return Err(unkept(reason.clone()));
        }
        if self.is_taken(&create.name) {
            return Err(Refusal::Exists);
        }

        let ledger = Ledger::new(id, owner, create.clone(), 1);
        let mark = HighWater { name: create.name, id, stage: Stage::Making, epoch: 1, sequence: 0 };
        let folder = self.folder.join("water");
        let water =
            Water::create(&folder, mark).map_err(|error| unkept(Fault::from(error).at(&folder)))?;
        let made = guarded(|| store.keyspace(&keyspace_name(id), options));
        let keyspace = match made {
            Ok(keyspace) => keyspace,
            Err(fault) => {
                // If it cannot even leave, its name is held.
                let _ = self.leave(water);
                return Err(unkept(fault.at(&self.folder.join("store"))));
            }
        };
        let mut changes = Changes::new();
        changes.insert(Key::Region, Some(Item::Region(ledger.region.clone())));
        let region = Region { keyspace, ledger, water, changes, is_unmarked: true };
        self.regions.insert(id, region);
        self.commit(PersistMode::SyncAll, &[id]);

        let Some(region) = self.regions.get_mut(&id) else {
            return Err(unkept(self.failure.clone().unwrap_or_default()));
        };
        match region.water.enter(Stage::There) {
            Ok(()) => Ok(Epoch { number: 1 }),
            Err(error) => {
                let _ = self.remove(id);
                Err(unkept(Fault::from(error).at(&folder)))
            }
        }
    }

    fn remove(&mut self, id: RegionId) -> Result<(), Refusal> {
        let Some(region) = self.regions.remove(&id) else {
            return Err(Refusal::Unkept { reason: "its vault has lost it".to_owned() });
        };
        self.leave(region.water).map_err(|reason| Refusal::Unkept { reason })
    }

    fn shut(&mut self, id: RegionId) {
        if let Some(region) = self.regions.remove(&id) {
            let name = region.ledger.region.create.name;
            let reason =
                "this node has too many regions to open it; drop one, start the node again";
            self.refused.insert(id, (name, reason.to_owned()));
        }
    }

    /// What cannot leave the store now does so when it is opened next, since its file says so.
    fn discard(&mut self, name: &Name) {
        let refused = self.refused.iter().filter(|(_, (refused, _))| refused == name);
        for id in refused.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.refused.remove(&id);
            if let (None, Some(failure)) = (&self.store, &self.failure) {
                // It may be another process's, or another cluster's.
                let reason = format!("it was not dropped, and is there still: {failure}");
                self.refuse(name.clone(), id, reason);
                continue;
            }
            let folder = self.folder.join("water");
            match Water::leaving(&folder, name.clone(), id) {
                Ok(water) => self.leave_or_refuse(water),
                Err(error) => self.refuse(name.clone(), id, Fault::from(error).at(&folder)),
            }
        }
    }

    /// Should it fail half-way, the rest is done when the store is opened next. Until then its name is
    /// free, unless its file could not say that it leaves.
    fn leave(&mut self, mut water: Water) -> Result<(), String> {
        if let Err(error) = water.enter(Stage::Leaving) {
            let reason = Fault::from(error).at(water.path());
            let refused = (water.mark.name.clone(), reason.clone());
            self.refused.insert(water.mark.id, refused);
            return Err(reason);
        }
        let (Some(store), None) = (&self.store, &self.failure) else { return Ok(()) };
        let kept = keyspace_name(water.mark.id);
        let gone = guarded(|| {
            if store.keyspace_exists(&kept) {
                store.delete_keyspace(store.keyspace(&kept, options)?)?;
            }
            Ok(())
        });
        if gone.is_ok() {
            let _ = water.remove();
        }
        Ok(())
    }

    fn leave_or_refuse(&mut self, water: Water) {
        let HighWater { name, id, .. } = water.mark.clone();
        if let Err(reason) = self.leave(water) {
            self.refuse(name, id, reason);
        }
    }

    // 3. Keeping.

    fn gather(&mut self, batch: Batch) {
        // Of a region that was lost or removed, more may be on its way.
        let Some(region) = self.regions.get_mut(&batch.region) else { return };
        let id = batch.region;
        match region.ledger.commit(batch, &mut region.changes) {
            Ok(()) => {
                self.gathered.insert(id);
            }
            Err(out_of_order) => {
                let reason = format!("{out_of_order}; that is a bug of Farcall: please report it");
                self.lose(id, reason);
            }
        }
    }

    /// Writes what was gathered, and tells. One flush is for all, if anybody waits for it.
    fn write(&mut self) {
        let gathered = mem::take(&mut self.gathered);
        let regions: Vec<_> =
            gathered.into_iter().filter(|id| self.regions.contains_key(id)).collect();
        if regions.is_empty() {
            return;
        }
        let begun = Instant::now();
        let waits = |id| self.regions[id].ledger.region.create.durability == Durability::Sync;
        let mode =
            if regions.iter().any(waits) { PersistMode::SyncData } else { PersistMode::Buffer };
        self.commit(mode, &regions);
        let took = usize::try_from(begun.elapsed().as_micros()).unwrap_or(usize::MAX);
        self.group_max = took.saturating_mul(WRITTEN).clamp(GROUP_BYTES_MIN, GROUP_BYTES_MAX);
        let kept = |id: RegionId| {
            let sequence = self.regions.get(&id)?.ledger.head.sequence;
            Some(Event::Kept { id, sequence })
        };
        let news: Vec<_> = regions.into_iter().filter_map(kept).collect();
        self.outbox.tell(news);
    }

    /// Whoever could not be kept is no more among `regions` afterwards.
    fn commit(&mut self, mode: PersistMode, regions: &[RegionId]) {
        let Some(store) = self.store.clone() else { return };
        let mut batch = store.batch().durability(Some(mode));
        for id in regions {
            let Some(region) = self.regions.get_mut(id) else { continue };
            region.is_unmarked = true;
            for (key, item) in mem::take(&mut region.changes) {
                match item {
                    Some(item) => batch.insert(&region.keyspace, key.to_bytes(), item.encode(*id)),
                    None => batch.remove(&region.keyspace, key.to_bytes()),
                }
            }
            let head = region.ledger.head_item();
            batch.insert(&region.keyspace, head.key().to_bytes(), head.encode(*id));
        }
        let keyspaces: Vec<_> =
            regions.iter().filter_map(|id| Some(self.regions.get(id)?.keyspace.clone())).collect();
        let written = guarded(|| {
            make_room(&store, &keyspaces)?;
            batch.commit()
        });
        if let Err(fault) = written {
            return self.fail(fault.at(&self.folder.join("store")));
        }
        match mode {
            PersistMode::Buffer => {
                self.unflushed.get_or_insert_with(Instant::now);
            }
            PersistMode::SyncData | PersistMode::SyncAll => self.mark(),
        }
    }

    fn flush(&mut self) {
        if self.unflushed.is_none() {
            return;
        }
        let Some(store) = self.store.clone() else { return };
        match guarded(|| store.persist(PersistMode::SyncData)) {
            Ok(()) => self.mark(),
            Err(fault) => self.fail(fault.at(&self.folder.join("store"))),
        }
    }

    /// All that was written is on the disk: the high-water files may say so.
    fn mark(&mut self) {
        self.unflushed = None;
        let mut failed = Vec::new();
        for (id, region) in self.regions.iter_mut().filter(|(_, region)| region.is_unmarked) {
            let head = region.ledger.head;
            match region.water.rise(head.epoch, head.sequence) {
                Ok(()) => region.is_unmarked = false,
                Err(error) => failed.push((*id, Fault::from(error).at(region.water.path()))),
            }
        }
        for (id, reason) in failed {
            self.lose(id, reason);
        }
    }

    // 4. When something cannot be kept.

    fn lose(&mut self, id: RegionId, reason: String) {
        if let Some(region) = self.regions.remove(&id) {
            let name = region.ledger.region.create.name;
            self.refused.insert(id, (name, reason.clone()));
            self.outbox.tell([Event::Lost { id, reason }]);
        }
    }

    /// The store takes nothing any more, for any region.
    fn fail(&mut self, reason: String) {
        self.unflushed = None;
        self.failure = Some(reason.clone());
        for id in self.regions.keys().copied().collect::<Vec<_>>() {
            self.lose(id, reason.clone());
        }
        for (id, name) in mem::take(&mut self.loading) {
            self.refuse(name, id, reason.clone());
        }
    }

    fn refuse(&mut self, name: Name, id: RegionId, reason: String) {
        let result = Err(Refusal::Unkept { reason: reason.clone() });
        self.refused.insert(id, (name.clone(), reason));
        self.outbox.tell([Event::Opened { name, result }]);
    }

    fn remedy(&self) -> String {
        let folder = self.folder.display();
        format!("end this node and put a backup of `{folder}` in its place, or drop the region")
    }
}

/// Reads regions one after the other, on a thread of its own, so that those that are open already need
/// not wait.
fn load(store: &Database, waters: Vec<Water>, keeper: &Sender<Command>, is_ending: &AtomicBool) {
    for water in waters {
        let found = guarded(|| read(store, water.mark.id, is_ending))
            .map_err(|fault| fault.to_string())
            .and_then(|read| read);
        if is_ending.load(Ordering::Relaxed) {
            return;
        }
        let command = Command::Loaded { water: Box::new(water), found: Box::new(found) };
        if keeper.send(command).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
