//! A node's part for controllers: between their machine and `slots`.

use wire::name::{Name, TaskName};
use wire::task::{Input, RunHead, Status};
use wire::units::{Span, Time};

use super::{Effect, Node};
use crate::controllers::{self, Appetite};
use crate::slots::Finished;
use crate::{LinkId, Payload, slots};

impl Node {
    pub(super) fn controller_up(&mut self, link: LinkId, owner: Name) {
        self.controllers.link_up(link);
        self.slots.link_up(link, owner.clone());
        self.controller_owners.insert(link, owner);
        if self.leaving.is_some() {
            self.controllers.leave();
        }
    }

    /// Its connection is gone. `false`: it was none.
    pub(super) fn controller_down(&mut self, now: Time, link: LinkId) -> bool {
        let Some(owner) = self.controller_owners.remove(&link) else { return false };
        self.controllers.link_down(link);
        self.slots.link_down(now, link);
        self.effects.push_back(Effect::OwnerGone { owner });
        true
    }

    /// What to do with what a controller sends.
    pub fn appetite(&mut self, link: LinkId) -> Appetite {
        self.controllers.appetite(link)
    }

    /// Whether a controller has exchanged versions.
    pub fn is_open(&self, link: LinkId) -> bool {
        self.controllers.is_open(link)
    }

    /// Brings what controllers ask for to `slots`, and their answers to the driver.
    pub(super) fn drain_controllers(&mut self, now: Time) {
        while let Some(effect) = self.controllers.poll_effect() {
            match effect {
                controllers::Effect::Bind { link, bound, program } => {
                    let controllers::Options { memory, time } = self.options.controllers;
                    let made = self.slots.bind(now, link, bound, program, memory, time);
                    if let Err(refused) = made {
                        self.controllers.bound(link, bound, Err(refused.to_string()));
                    }
                }
                controllers::Effect::Unbind { link } => self.slots.unbind(now, link),
                controllers::Effect::Run { link, channel, input } => {
                    let kind = match &input {
                        Payload::Inline(_) | Payload::Stream => Input::Inline,
                        Payload::Buffer { length, .. } => Input::Bulk(*length),
                    };
                    let deadline = self.options.controllers.time;
                    // Jobs of this protocol have no names by which they could be asked for.
                    let name = TaskName::default();
                    let head = RunHead { program: 0, attempt: 1, deadline, input: kind, name };
                    let run = self.slots.run(now, link, channel, head, input, Span(0));
                    if let Err(breach) = run {
                        let status = Status::Refused { reason: breach.to_string() };
                        let finished = Finished { status, ..Finished::cancelled() };
                        self.controllers.done(link, channel, finished);
                    }
                }
                controllers::Effect::Release { buffer } => {
                    self.effects.push_back(Effect::Worker(slots::Effect::Release { buffer }));
                }
                other => self.effects.push_back(Effect::Controller(other)),
            }
        }
    }
}
