//! Regions of a cluster: found, made, opened, dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use memory::line::Target as Way;
use memory::{Error, Guide, Region, RegionOptions, RegionReport};
use wire::Message;
use wire::name::Name;
use wire::region::{About, Refusal};

use crate::Cluster;
use crate::driver::{Owner, Shared};
use crate::nodes::{Question, Target};

/// How long nodes may take to say what regions they have, and to make one (a disk, or etcd, may have to
/// agree).
const PATIENCE: Duration = Duration::from_secs(3);
const PATIENCE_MAKING: Duration = Duration::from_secs(20);

impl Cluster {
    /// Opens the region of this name. Nodes that have none of it are of no concern; where two have one
    /// each, `NAME@NODE` says which is meant. The region keeps the cluster, and so its nodes on this
    /// machine, for as long as it is used.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = farcall::Cluster::connect(["host-a", "host-b"])?;
    /// let genes = cluster.memory("genes")?;
    /// println!("{} pages on {}", genes.pages(), genes.node());
    /// # Ok(())
    /// # }
    /// ```
    pub fn memory(&self, name: &str) -> Result<Region, Error> {
        let (name, node) = split(name)?;
        let cluster = self.owner().clone();
        if let Some(reason) = cluster.unlinked() {
            return Err(Error::Unfound { region: name.to_string(), reason });
        }
        let (_, me) = cluster.state().nodes.credentials();
        Region::open(Arc::new(Finder { cluster, node }), me, name)
    }

    /// Makes a region and opens it. [`Error::Exists`] if its node has one of this name.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = farcall::Cluster::local()?;
    /// use farcall::{Durability, RegionOptions};
    /// let options = RegionOptions::new(1000).durability(Durability::Sync);
    /// let genes = cluster.create_memory("genes", &options)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_memory(&self, name: &str, options: &RegionOptions) -> Result<Region, Error> {
        let (name, node) = split(name)?;
        let node = node.or_else(|| options.node.clone());
        let shared = self.driver();
        let until = Some(Instant::now() + PATIENCE);
        let wanted = node.as_deref();
        let found = shared.wait_for(until, |state| state.nodes.find_up(wanted));
        let unfound = |reason: String| Error::Unfound { region: name.to_string(), reason };
        let at = found.ok_or_else(|| match wanted {
            Some(node) => unfound(format!("no node of the name {node} is up")),
            None => unfound("no node is up".to_owned()),
        })?;
        let create = options.create(name.clone());
        let question = shared.submit(|state| state.nodes.create_region(at, create));
        let node = shared.state().nodes.name_of(at);
        match answer(shared, question, &name, &node)? {
            Message::RegionCreated(created) => match created.result {
                Ok(_) => self.memory(&format!("{name}@{node}")),
                Err(refusal) => Err(Error::refused(name.as_str(), &node, refusal)),
            },
            other => Err(unexpected(&node, &other)),
        }
    }

    /// Opens the region of this name, or makes it if no node has one: on the node that `options` name,
    /// else on the one with the lowest name of those that are up, so that programs which do so at the
    /// same time make the same one.
    ///
    /// Programs that do not see the same nodes can make one each. Whoever notices that drops its own, if
    /// that was never written, for the one on the node of the lowest name. Where even that cannot be, or
    /// the other node was not seen at all, there are two, which later is [`Error::Ambiguous`]; naming a
    /// node rules it out.
    pub fn memory_or_create(&self, name: &str, options: &RegionOptions) -> Result<Region, Error> {
        let full = match (&options.node, name.contains('@')) {
            (Some(node), false) => format!("{name}@{node}"),
            (Some(_) | None, _) => name.to_owned(),
        };
        match self.memory(&full) {
            Err(error) if error.is_gone() => {}
            result => return result,
        }
        let (name, node) = split(&full)?;
        if node.is_some() {
            return match self.create_memory(&full, options) {
                Err(Error::Exists { .. }) => self.memory(&full),
                result => result,
            };
        }
        // All nodes were asked, so it is known which are up.
        let lowest = {
            let state = self.driver().state();
            state.nodes.lowest_up().map(|at| state.nodes.name_of(at))
        };
        let chosen = RegionOptions { node: lowest, ..options.clone() };
        let region = match self.create_memory(&full, &chosen) {
            Err(Error::Exists { .. }) => return self.memory(&full),
            result => result?,
        };
        self.agree(&name, region)
    }

    /// The region that was made, or the one that somebody else made on a node of a lower name meanwhile.
    fn agree(&self, name: &Name, own: Region) -> Result<Region, Error> {
        let told = ask(self.driver(), PATIENCE);
        let found = told.into_iter().filter_map(|(_, node, regions)| {
            let about = regions.into_iter().find(|about| about.name == *name)?;
            Some((node, about.written))
        });
        let mut found: Vec<(Name, u64)> = found.collect();
        found.sort();
        let own_node = own.node();
        let is_own = |(node, _): &&(Name, u64)| node.as_str() == own_node;
        let written = found.iter().find(is_own).map_or(0, |(_, written)| *written);
        match found.first() {
            Some((lowest, _)) if lowest.as_str() != own_node && written == 0 => {
                drop(own);
                self.drop_memory(&format!("{name}@{own_node}"))?;
                self.memory(&format!("{name}@{lowest}"))
            }
            Some(_) | None => Ok(own),
        }
    }

    /// What regions the nodes have that this user may use, by name.
    pub fn regions(&self, timeout: Duration) -> Vec<RegionReport> {
        let told = ask(self.driver(), timeout);
        let reports = told.into_iter().flat_map(|(_, node, regions)| {
            regions.into_iter().map(move |about| RegionReport::new(node.as_str(), about))
        });
        let mut reports: Vec<RegionReport> = reports.collect();
        reports.sort_by(|one, other| (&one.name, &one.node).cmp(&(&other.name, &other.node)));
        reports
    }

    /// Drops a region: its pages are gone, and whoever has it open is told. Its owner may, and an admin.
    pub fn drop_memory(&self, name: &str) -> Result<(), Error> {
        let (name, node) = split(name)?;
        let shared = self.driver();
        let at = match find(shared, &name, node.as_deref())? {
            Some(at) => at,
            // It may be in a vault that several nodes have, and nobody's at the moment.
            None => {
                let wanted = node.as_deref();
                let first = shared.state().nodes.find_up(wanted);
                first.ok_or(Error::NoSuchRegion { region: name.to_string() })?
            }
        };
        let question = shared.submit(|state| state.nodes.drop_region(at, name.clone()));
        let node = shared.state().nodes.name_of(at);
        match answer(shared, question, &name, &node)? {
            Message::RegionDropped(dropped) => {
                dropped.result.map_err(|refusal| Error::refused(name.as_str(), &node, refusal))
            }
            other => Err(unexpected(&node, &other)),
        }
    }
}

/// Waits until a node has answered.
fn answer(
    shared: &Shared,
    question: Question,
    region: &Name,
    node: &str,
) -> Result<Message, Error> {
    let until = Some(Instant::now() + PATIENCE_MAKING);
    let settled = shared.wait_for(until, |state| {
        state.nodes.is_answered(question).then(|| state.nodes.take_answer(question))
    });
    match settled {
        Some(Some(message)) => Ok(message),
        Some(None) => {
            let (region, why) = (region.to_string(), "its link was lost".to_owned());
            Err(Error::Unknown { region, node: node.to_owned(), why })
        }
        None => {
            // What it says later is nobody's.
            shared.state().nodes.take_answer(question);
            Err(Error::Silent { node: node.to_owned(), seconds: PATIENCE_MAKING.as_secs() })
        }
    }
}

fn unexpected(node: &str, answer: &Message) -> Error {
    let what = format!("an answer to another question: {answer:?}");
    Error::Protocol { node: node.to_owned(), what }
}

/// `NAME` or `NAME@NODE`.
fn split(text: &str) -> Result<(Name, Option<String>), Error> {
    let (name, node) = match text.split_once('@') {
        Some((name, node)) => (name, Some(node.to_owned())),
        None => (text, None),
    };
    let name = name.parse::<Name>().map_err(|source| Error::Name { source })?;
    Ok((name, node))
}

/// Places of nodes, what they are called, and the regions that they have.
type Told = Vec<(usize, Name, Vec<About>)>;

fn ask(shared: &Shared, timeout: Duration) -> Told {
    let until = Some(Instant::now() + timeout);
    shared.wait_for(until, |state| state.nodes.are_settled().then_some(()));
    let questions = shared.submit(|state| state.nodes.ask_regions());
    shared.wait_for(until, |state| {
        questions.iter().all(|question| state.nodes.is_answered(*question)).then_some(())
    });
    let mut state = shared.state();
    let mut told = Told::new();
    for question in questions {
        let answer = state.nodes.take_answer(question);
        let name = state.nodes.name_of(question.at).parse::<Name>();
        if let (Some(Message::Regions(regions)), Ok(name)) = (answer, name) {
            told.push((question.at, name, regions.regions));
        }
    }
    told
}

/// The node that has the region; none if nobody says so.
fn find(shared: &Shared, region: &Name, node: Option<&str>) -> Result<Option<usize>, Error> {
    let told = ask(shared, PATIENCE);
    let has = |(at, name, regions): &(usize, Name, Vec<About>)| {
        let is_meant = node.is_none_or(|node| node == name.as_str());
        (is_meant && regions.iter().any(|about| about.name == *region))
            .then_some((*at, name.clone()))
    };
    let found: Vec<(usize, Name)> = told.iter().filter_map(has).collect();
    match &found[..] {
        [] => Ok(None),
        [(at, _)] => Ok(Some(*at)),
        several => {
            let names: Vec<String> = several.iter().map(|(_, name)| name.to_string()).collect();
            Err(Error::Ambiguous { region: region.to_string(), nodes: names.join(", ") })
        }
    }
}

/// Looks regions up in a cluster, which stays for as long as the region does.
struct Finder {
    cluster: Arc<Owner>,
    node: Option<String>,
}

impl Guide for Finder {
    fn home(&self, region: &Name, before: Option<&Way>) -> Result<Way, Error> {
        let shared: &Shared = &self.cluster;
        if let Some(at) = find(shared, region, self.node.as_deref())? {
            return way(shared, at);
        }
        // Nobody has it open. Where it was it may come back; and a region that is kept in etcd is opened
        // by whichever node is asked for it.
        let (candidates, credentials) = {
            let state = shared.state();
            let wanted = self.node.as_deref();
            let is_meant = |at: &usize| wanted.is_none_or(|node| state.nodes.name_of(*at) == node);
            let up: Vec<usize> = state.nodes.all_up().into_iter().filter(is_meant).collect();
            let all = up.into_iter().map(|at| state.nodes.target_of(at)).collect::<Vec<_>>();
            (all, state.nodes.credentials())
        };
        let (_, me) = credentials;
        for target in candidates {
            let at = shared.state().nodes.at_target(&target);
            let Some(at) = at else { continue };
            let way = way(shared, at)?;
            if opens(&way, &me, region) {
                return Ok(way);
            }
        }
        match (before, &self.node) {
            (Some(before), _) => Ok(before.clone()),
            (None, Some(node)) if shared.state().nodes.find_up(Some(node)).is_none() => {
                let reason = format!("no node of the name {node} is up");
                Err(Error::Unfound { region: region.to_string(), reason })
            }
            (None, _) => Err(Error::NoSuchRegion { region: region.to_string() }),
        }
    }
}

/// The node opens the region for whoever asks.
fn opens(way: &Way, me: &Name, region: &Name) -> bool {
    let Ok((mut line, _)) = memory::line::Line::dial(way, me, PATIENCE) else { return false };
    let session = wire::region::SessionId(transport::random_u64());
    let attach = wire::region::Attach { region: region.clone(), session };
    let result = line.attach(attach, PATIENCE_MAKING);
    line.put(1, &memory::line::detach());
    let _ = line.flush();
    line.close();
    matches!(result, Ok(Ok(_) | Err(Refusal::NotYours)))
}

pub(crate) fn way(shared: &Shared, at: usize) -> Result<Way, Error> {
    if let Some(reason) = shared.unlinked() {
        return Err(Error::Unfound { region: String::new(), reason });
    }
    let state = shared.state();
    match (state.nodes.target_of(at), state.nodes.credentials().0) {
        (Target::Unix(path), _) => Ok(Way::Unix(path)),
        (Target::Tcp(address), Some(tls)) => Ok(Way::Tcp(address, tls)),
        (Target::Tcp(address), None) => {
            let reason = format!("there are no credentials for the node at {address}");
            Err(Error::Unfound { region: String::new(), reason })
        }
    }
}
