//! Where this node's regions outlive it: what the machine wants kept goes to a vault, and a vault's news
//! come back with a wake-up of the loop.
//!
//! The embedded vault is opened with the node if it has anything, else with the first region that is
//! made for it: a node without durable regions has no store, no thread and no file for them.
//!
//! Elsewhere: when a commit may be answered (`logic::regions`), vaults themselves (crate `vault`).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use logic::regions::{Effect, Event};
use mio::Waker;
use vault::{Embedded, Etcd, Outbox, Vault};
use wire::name::Name;
use wire::region::{Durability, Refusal, RegionId};
use wire::units::{Span, Time};

use crate::options::Options;

/// Different things that are said of regions; beyond, the log says nothing new.
const WARNINGS_MAX: usize = 256;

/// The vaults of a node.
#[derive(Debug)]
pub(crate) struct Vaults {
    events: Receiver<Event>,
    outbox: Outbox,
    folder: PathBuf,
    cluster: String,
    embedded: Option<Embedded>,
    etcd: Option<Etcd>,
    /// Which vault each region is in, and what it is called.
    regions: HashMap<RegionId, (Durability, Name)>,
    /// Regions that were asked for, and not all vaults have said yet whether they have them.
    opening: HashMap<Name, Opening>,
    tell: fn(&str),
    warned: HashSet<String>,
}

#[derive(Debug)]
struct Opening {
    /// Vaults that have not answered.
    waiting: usize,
    /// What one of them said that has the region, or cannot tell.
    refusal: Option<Refusal>,
}

impl Vaults {
    /// Of a node in the cluster with this authority; `clock` is that of its machines.
    pub(crate) fn new(
        options: &Options,
        cluster: &str,
        waker: Arc<Waker>,
        clock: fn() -> Time,
    ) -> io::Result<Self> {
        let (sender, events) = channel();
        let wake = move || {
            // The loop is there as long as the vaults are.
            let _ = waker.wake();
        };
        let outbox = Outbox::new(sender, Arc::new(wake));
        let etcd = (!options.etcd.is_empty()).then(|| {
            // In this order: should this process be stopped between, leases seem over too early.
            let now = clock();
            let base = Instant::now();
            let clock = move |at: Instant| now + Span::from(at.saturating_duration_since(base));
            let (members, node) = (options.etcd.clone(), options.name.clone());
            Etcd::new(members, node, cluster, outbox.clone(), Arc::new(clock))
        });
        let mut this = Self {
            events,
            outbox,
            folder: options.data.join("regions"),
            cluster: cluster.to_owned(),
            embedded: None,
            etcd: etcd.transpose()?,
            regions: HashMap::new(),
            opening: HashMap::new(),
            tell: options.warn,
            warned: HashSet::new(),
        };
        if fs::symlink_metadata(&this.folder).is_ok() {
            this.embedded()?;
        }
        Ok(this)
    }

    /// The durabilities that one of them keeps.
    pub(crate) fn keeps(&self) -> Vec<Durability> {
        let replicated = self.etcd.is_some().then_some(Durability::Replicated);
        [Durability::Async, Durability::Sync].into_iter().chain(replicated).collect()
    }

    /// Whether another node may become home of regions that are here, so that the time of a request must
    /// be read after its bytes: this process may have been stopped between.
    pub(crate) fn may_be_deposed(&self) -> bool {
        self.etcd.is_some()
    }

    pub(crate) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Make { id, owner, create } => {
                self.regions.insert(id, (create.durability, create.name.clone()));
                match self.vault(create.durability) {
                    Ok(vault) => vault.make(id, owner, create),
                    Err(refusal) => self.outbox.tell([Event::Made { id, result: Err(refusal) }]),
                }
            }
            Effect::Open { name } => self.open(name),
            Effect::Remove { id } => {
                let found = self.regions.remove(&id).map(|(durability, _)| self.vault(durability));
                match found {
                    Some(Ok(vault)) => vault.remove(id),
                    Some(Err(refusal)) => {
                        self.outbox.tell([Event::Removed { id, result: Err(refusal) }]);
                    }
                    None => {
                        let result = Err(Refusal::NoSuchRegion);
                        self.outbox.tell([Event::Removed { id, result }]);
                    }
                }
            }
            Effect::Shut { id } => {
                if let Some((durability, _)) = self.regions.remove(&id)
                    && let Ok(vault) = self.vault(durability)
                {
                    vault.shut(id);
                }
            }
            Effect::Discard { name } => {
                let vaults =
                    [self.embedded.as_ref().map(as_vault), self.etcd.as_ref().map(as_vault)];
                for vault in vaults.into_iter().flatten() {
                    vault.discard(name.clone());
                }
            }
            Effect::Keep(batch) => {
                if let Some(&(durability, _)) = self.regions.get(&batch.region)
                    && let Ok(vault) = self.vault(durability)
                {
                    vault.keep(batch);
                }
            }
            Effect::Send { .. } | Effect::SendLater { .. } | Effect::Close { .. } => {
                unreachable!("the node makes its own of these")
            }
        }
    }

    pub(crate) fn news(&mut self) -> Option<Event> {
        loop {
            let event = self.events.try_recv().ok()?;
            match &event {
                Event::Opened { name, result } => match result {
                    Ok(opened) => {
                        let found = (opened.create.durability, name.clone());
                        self.regions.insert(opened.id, found);
                        self.opening.remove(name);
                    }
                    Err(refusal) => {
                        let Some(refusal) = self.refused(name, refusal.clone()) else {
                            continue;
                        };
                        if let Refusal::Unkept { reason } = &refusal {
                            self.warn(format!("region `{name}` cannot be opened: {reason}"));
                        }
                        return Some(Event::Opened { name: name.clone(), result: Err(refusal) });
                    }
                },
                Event::Made { id, result: Err(_) } => {
                    self.regions.remove(id);
                }
                Event::Lost { id, reason } => {
                    if let Some((_, name)) = self.regions.remove(id) {
                        self.warn(format!("region `{name}` is lost: {reason}"));
                    }
                }
                _ => (),
            }
            return Some(event);
        }
    }

    /// What the vaults together say of a region that one of them does not open, as soon as that is known.
    fn refused(&mut self, name: &Name, refusal: Refusal) -> Option<Refusal> {
        let is_here = refusal != Refusal::NoSuchRegion;
        match self.opening.get_mut(name) {
            Some(Opening { waiting, refusal: first }) if *waiting > 1 => {
                // Another vault may have it.
                *waiting -= 1;
                if is_here {
                    first.get_or_insert(refusal);
                }
                None
            }
            Some(_) => {
                let first = self.opening.remove(name).and_then(|opening| opening.refusal);
                Some(first.unwrap_or(refusal))
            }
            // Nobody asked, or another vault has said enough.
            None => is_here.then_some(refusal),
        }
    }

    /// What whoever runs this node should look into, once each.
    fn warn(&mut self, words: String) {
        if self.warned.len() < WARNINGS_MAX && self.warned.insert(words.clone()) {
            (self.tell)(&words);
        }
    }

    /// Asks every vault.
    fn open(&mut self, name: Name) {
        let vaults = [self.embedded.as_ref().map(as_vault), self.etcd.as_ref().map(as_vault)];
        let vaults: Vec<_> = vaults.into_iter().flatten().collect();
        let opening = Opening { waiting: vaults.len(), refusal: None };
        self.opening.insert(name.clone(), opening);
        if vaults.is_empty() {
            let result = Err(Refusal::NoSuchRegion);
            return self.outbox.tell([Event::Opened { name, result }]);
        }
        for vault in vaults {
            vault.open(name.clone());
        }
    }

    fn vault(&mut self, durability: Durability) -> Result<&dyn Vault, Refusal> {
        if durability != Durability::Replicated {
            let failed = |error: io::Error| Refusal::Unkept { reason: error.to_string() };
            return self.embedded().map(as_vault).map_err(failed);
        }
        let none =
            || Refusal::NoVault { reason: "this node was started without --etcd".to_owned() };
        self.etcd.as_ref().map(as_vault).ok_or_else(none)
    }

    fn embedded(&mut self) -> io::Result<&Embedded> {
        if self.embedded.is_none() {
            let (folder, cluster) = (self.folder.clone(), self.cluster.clone());
            self.embedded = Some(Embedded::new(folder, cluster, self.outbox.clone())?);
        }
        match &self.embedded {
            Some(embedded) => Ok(embedded),
            None => unreachable!("it was just made"),
        }
    }
}

fn as_vault(vault: &impl Vault) -> &dyn Vault {
    vault
}

#[cfg(test)]
mod tests;
