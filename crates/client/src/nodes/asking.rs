//! Asks nodes about tasks and jobs, and keeps what they answer.

use logic::LinkId;
use wire::Message;
use wire::job::{Jobs, Why, WhyAsk};
use wire::name::TaskName;

use super::{Life, Node, Nodes};

impl Nodes {
    /// Asks those that are up about a task, and about jobs.
    pub(crate) fn ask_why(&mut self, name: TaskName) {
        self.nodes.iter_mut().for_each(|node| node.why = None);
        self.ask(&Message::WhyAsk(WhyAsk { name }));
    }

    pub(crate) fn ask_jobs(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.jobs = None);
        self.ask(&Message::JobsAsk);
    }

    pub(super) fn ask(&mut self, question: &Message) {
        for at in 0..self.nodes.len() {
            if self.is_up(at) {
                self.send(LinkId(at as u32), 0, question);
            }
        }
    }

    pub(super) fn is_up(&self, at: usize) -> bool {
        matches!(&self.nodes[at].life, Life::Linked(_, link) if link.is_up())
    }

    /// Everybody who is up has said what he knows of the task.
    pub(crate) fn know_why(&self) -> bool {
        (0..self.nodes.len()).all(|at| self.nodes[at].why.is_some() || !self.is_up(at))
    }

    pub(crate) fn know_jobs(&self) -> bool {
        (0..self.nodes.len()).all(|at| self.nodes[at].jobs.is_some() || !self.is_up(at))
    }

    /// What was answered, with the nodes' names.
    pub(crate) fn whys(&mut self) -> Vec<(String, Why)> {
        let answer = |node: &mut Node| Some((node.name.as_ref()?.to_string(), node.why.take()?));
        self.nodes.iter_mut().filter_map(answer).collect()
    }

    pub(crate) fn jobs(&mut self) -> Vec<Jobs> {
        self.nodes.iter_mut().filter_map(|node| node.jobs.take()).collect()
    }

    /// Where nodes are reached.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let there = self.nodes.iter().filter(|node| !matches!(node.life, Life::Gone));
        there.map(|node| node.target.to_string()).collect()
    }
}
