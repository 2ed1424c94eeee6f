//! Asks nodes about regions, has them made and dropped, and keeps what they answer.

use logic::LinkId;
use wire::Message;
use wire::name::Name;
use wire::region::{About, Create, Drop, Refusal, Regions};

use super::{Life, Nodes, Target};

/// What a node said of regions.
#[derive(Default)]
pub(crate) struct Said {
    regions: Option<Regions>,
    created: Option<Result<About, Refusal>>,
    dropped: Option<Result<(), Refusal>>,
}

impl Nodes {
    /// Asks those that are up what regions they have.
    pub(crate) fn ask_regions(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.said.regions = None);
        self.ask(&Message::RegionsAsk);
    }

    /// Everybody who is up has said what regions it has.
    pub(crate) fn know_regions(&self) -> bool {
        (0..self.nodes.len()).all(|at| self.nodes[at].said.regions.is_some() || !self.is_up(at))
    }

    /// What was answered, with the nodes.
    pub(crate) fn told_regions(&self) -> Vec<(usize, Name, Vec<About>)> {
        let told = self.nodes.iter().enumerate().filter_map(|(at, node)| {
            Some((at, node.name.clone()?, node.said.regions.as_ref()?.regions.clone()))
        });
        told.collect()
    }

    /// The node of this name that is up; the first that is, if none is named.
    pub(crate) fn find_up(&self, name: Option<&str>) -> Option<usize> {
        (0..self.nodes.len()).find(|&at| {
            let own = self.nodes[at].name.as_ref().map(Name::as_str);
            self.is_up(at) && (name.is_none() || own == name)
        })
    }

    /// All that are up.
    pub(crate) fn all_up(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&at| self.is_up(at)).collect()
    }

    /// What a node is called, and where it listens.
    pub(crate) fn name_of(&self, at: usize) -> String {
        self.nodes[at]
            .name
            .as_ref()
            .map_or_else(|| self.nodes[at].target.to_string(), Name::to_string)
    }

    pub(crate) fn target_of(&self, at: usize) -> Target {
        self.nodes[at].target.clone()
    }

    /// Nodes by where they listen.
    pub(crate) fn at_target(&self, target: &Target) -> Option<usize> {
        self.by_target.get(target).copied()
    }

    pub(crate) fn create_region(&mut self, at: usize, create: Create) {
        self.nodes[at].said.created = None;
        self.send(LinkId(at as u32), 0, &Message::RegionCreate(create));
    }

    /// What became of it; nothing while the node is up and silent.
    pub(crate) fn created_region(&mut self, at: usize) -> Option<Option<Result<About, Refusal>>> {
        match self.nodes[at].said.created.take() {
            Some(result) => Some(Some(result)),
            None => (!self.is_linked(at)).then_some(None),
        }
    }

    pub(crate) fn drop_region(&mut self, at: usize, name: Name) {
        self.nodes[at].said.dropped = None;
        self.send(LinkId(at as u32), 0, &Message::RegionDrop(Drop { name }));
    }

    /// The same of a region that was to be dropped.
    pub(crate) fn dropped_region(&mut self, at: usize) -> Option<Option<Result<(), Refusal>>> {
        match self.nodes[at].said.dropped.take() {
            Some(result) => Some(Some(result)),
            None => (!self.is_linked(at)).then_some(None),
        }
    }

    fn is_linked(&self, at: usize) -> bool {
        matches!(self.nodes[at].life, Life::Linked(..))
    }

    /// A node speaks of regions.
    pub(super) fn hear_of_regions(&mut self, at: usize, message: Message) {
        let said = &mut self.nodes[at].said;
        match message {
            Message::Regions(regions) => said.regions = Some(regions),
            Message::RegionCreated(created) => said.created = Some(created.result),
            Message::RegionDropped(dropped) => said.dropped = Some(dropped.result),
            _ => {}
        }
    }

    pub(crate) fn credentials(&self) -> (Option<transport::DialTls>, Name) {
        (self.tls.clone(), self.me.clone())
    }
}
