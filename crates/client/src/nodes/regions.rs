//! Asks nodes about regions, has them made and dropped, and keeps what they answer.
//!
//! Each question has a number, which is the channel that it goes over: threads that ask at the same time
//! get their own answers, and an answer that nobody waits for any more is nobody's.

use std::collections::HashMap;

use logic::LinkId;
use wire::Message;
use wire::name::Name;
use wire::region::{Create, Drop};

use super::{Life, Nodes, Target};

/// What a node was asked about regions.
#[derive(Default)]
pub(crate) struct Said {
    /// The number of the latest question.
    latest: u64,
    /// The answers to questions whose askers still wait, by their numbers.
    answers: HashMap<u64, Option<Message>>,
}

/// A question to one node. Whoever asked takes the answer, or that there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) at: usize,
    number: u64,
}

impl Nodes {
    /// Asks those that are up what regions they have.
    pub(crate) fn ask_regions(&mut self) -> Vec<Question> {
        let up = self.all_up();
        up.into_iter().map(|at| self.put(at, &Message::RegionsAsk)).collect()
    }

    /// Asks those that are up for their visitors.
    pub(crate) fn ask_visits(&mut self) -> Vec<Question> {
        let up = self.all_up();
        up.into_iter().map(|at| self.put(at, &Message::VisitsAsk)).collect()
    }

    pub(crate) fn create_region(&mut self, at: usize, create: Create) -> Question {
        self.put(at, &Message::RegionCreate(create))
    }

    pub(crate) fn drop_region(&mut self, at: usize, name: Name) -> Question {
        self.put(at, &Message::RegionDrop(Drop { name }))
    }

    fn put(&mut self, at: usize, question: &Message) -> Question {
        let said = &mut self.nodes[at].said;
        said.latest += 1;
        let number = said.latest;
        said.answers.insert(number, None);
        self.send(LinkId(at as u32), number, question);
        Question { at, number }
    }

    /// It was answered, or never will be.
    pub(crate) fn is_answered(&self, question: Question) -> bool {
        let node = &self.nodes[question.at];
        let is_there = matches!(node.said.answers.get(&question.number), Some(Some(_)));
        is_there || !matches!(node.life, Life::Linked(..))
    }

    /// Nobody waits for the answer after this.
    pub(crate) fn take_answer(&mut self, question: Question) -> Option<Message> {
        self.nodes[question.at].said.answers.remove(&question.number).flatten()
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

    /// The one of them with the lowest name: who chooses so chooses as others do.
    pub(crate) fn lowest_up(&self) -> Option<usize> {
        let named = self.all_up().into_iter().filter(|at| self.nodes[*at].name.is_some());
        named.min_by_key(|at| self.nodes[*at].name.as_ref())
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

    /// Where all nodes listen that another host can reach.
    pub(crate) fn targets_beyond(&self) -> Vec<Target> {
        let all = self.nodes.iter().flat_map(|node| [Some(&node.target), node.other.as_ref()]);
        all.flatten().filter(|target| matches!(target, Target::Tcp(_))).cloned().collect()
    }

    /// Nodes by where they listen.
    pub(crate) fn at_target(&self, target: &Target) -> Option<usize> {
        self.by_target.get(target).copied()
    }

    /// A node speaks of regions.
    pub(super) fn hear_of_regions(&mut self, at: usize, number: u64, message: Message) {
        if let Some(answer) = self.nodes[at].said.answers.get_mut(&number) {
            *answer = Some(message);
        }
    }

    pub(crate) fn credentials(&self) -> (Option<transport::DialTls>, Name) {
        (self.tls.clone(), self.me.clone())
    }
}
