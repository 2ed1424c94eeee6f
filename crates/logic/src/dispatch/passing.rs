//! A large program on its way to the nodes: what `spread` decides, as messages.

use wire::Message;
use wire::blob::{Fetch, Fetched, Lend, Lent};
use wire::name::{Hash, Name};
use wire::task::Program;
use wire::units::Time;

use super::nodes::Stage;
use super::spread::{Spread, Step};
use super::{Dispatch, Effect, Queue};
use crate::LinkId;

/// Times that a program is sent again to a node that had it, without a task that went well there in
/// between: more is not bad luck but a disk, or a cache, that is too small for what it is asked to
/// hold.
pub(super) const CLEARED_MAX: u32 = 100;

impl Dispatch {
    pub(super) fn upload(&mut self, link: LinkId, program: usize, hash: Hash) {
        self.stage(link, program, Stage::Uploading);
        self.effects.push_back(Effect::Upload { link, channel: program as u64, hash });
    }

    /// Sends the bytes of a large program a step further.
    pub(super) fn spread(&mut self, now: Time, program: usize) {
        let Queue { program: Program::Core { library, .. }, .. } = &self.programs[program];
        let hash = *library;
        while let Some(spread) = &mut self.programs[program].spread {
            match spread.next(now) {
                Some(Step::Upload(link)) => self.upload(link, program, hash),
                Some(Step::Lend { from, to }) => {
                    let Some(name) = self.node(to).map(|node| Name::clone(&node.name)) else {
                        continue;
                    };
                    let message = Message::Lend(Lend { hash, to: name });
                    let channel = u64::from(to.0) << 32 | program as u64;
                    self.effects.push_back(Effect::Send { link: from, channel, message });
                }
                None => break,
            }
        }
        let due = |queue: &Queue| queue.spread.as_ref().map_or(Time::NEVER, Spread::due);
        self.spread_due = self.spread_due.min(due(&self.programs[program]));
    }

    /// Whoever waited for the bytes until now has waited long enough.
    pub(super) fn spread_late(&mut self, now: Time) {
        self.spread_due = Time::NEVER;
        for program in 0..self.programs.len() {
            if self.programs[program].spread.is_some() {
                self.spread(now, program);
            }
        }
    }

    pub(super) fn spread_without(&mut self, now: Time, link: LinkId) {
        for program in 0..self.programs.len() {
            if let Some(spread) = &mut self.programs[program].spread {
                spread.gone(now, link);
                self.spread(now, program);
            }
        }
    }

    /// A node lets another one have a program, or has not got it any more.
    pub(super) fn lent(&mut self, now: Time, from: LinkId, channel: u64, lent: Lent) {
        let (program, to) = (channel as u32 as usize, LinkId((channel >> 32) as u32));
        let Some(Some(spread)) = self.programs.get(program).map(|queue| &queue.spread) else {
            return;
        };
        let Lent { hash, permit } = lent;
        let length = spread.length();
        if !spread.is_lent(from, to) || !self.expects(to, program, &hash, Stage::Coming) {
            return;
        }
        let source = self.node(from).map(|node| Name::clone(&node.name));
        if let (Some(permit), Some(from)) = (permit, source) {
            let message = Message::Fetch(Fetch { hash, length, from, permit });
            self.effects.push_back(Effect::Send { link: to, channel: program as u64, message });
        } else {
            self.fetch_failed(to, program);
            self.spread(now, program);
        }
    }

    fn fetch_failed(&mut self, to: LinkId, program: usize) {
        let Queue { program: Program::Core { library, .. }, spread, .. } =
            &mut self.programs[program];
        let hash = *library;
        if spread.as_mut().is_some_and(|spread| spread.failed(to)) {
            self.upload(to, program, hash);
        }
    }

    /// A node says that it has not got any more what was defined there: it is asked anew, and sent
    /// what it needs. Tasks that waited for it come back by themselves.
    pub(super) fn cleared_away(&mut self, now: Time, link: LinkId, hash: &Hash) {
        for program in 0..self.programs.len() {
            let Program::Core { library, .. } = &self.programs[program].program;
            let is_ready = |node: &mut super::Node| matches!(node.stage(program), Stage::Ready(_));
            if library != hash || !self.node(link).is_some_and(is_ready) {
                continue;
            }
            if let Some(spread) = &mut self.programs[program].spread {
                spread.gone(now, link);
            }
            if self.node(link).is_some_and(|node| node.clear(program) > CLEARED_MAX) {
                let reason = format!("it cleared its library away {CLEARED_MAX} times");
                self.refuse(link, program, reason);
            } else {
                self.stage(link, program, Stage::Unknown);
                self.offer(link);
            }
            self.spread(now, program);
        }
    }

    /// A program came to a node from another, or did not.
    pub(super) fn fetched(&mut self, now: Time, link: LinkId, program: usize, fetched: Fetched) {
        let came = fetched.failed.is_none();
        // It may come after all while the client is sending it already.
        let expected = self.expects(link, program, &fetched.hash, Stage::Coming)
            || came && self.expects(link, program, &fetched.hash, Stage::Uploading);
        if expected && came {
            self.define(link, program);
            self.spread(now, program);
        } else if expected {
            self.fetch_failed(link, program);
            self.spread(now, program);
        }
    }
}
