//! The daemon's part for visits: connections to pads, and what becomes of pads.

use logic::node::Event;
use logic::{LinkId, VisitId};
use wire::units::Time;
use wire::visit::{Begin, Lane, Stage};

use super::Daemon;

impl Daemon {
    pub(super) fn begin_visit(
        &mut self,
        now: Time,
        visit: VisitId,
        connection: LinkId,
        begin: &Begin,
    ) {
        let registry = self.poll.registry();
        let connection = self.links.remove(registry, connection);
        let begun = connection
            .is_some_and(|connection| self.workers.begin_visit(registry, visit, connection, begin));
        if !begun {
            self.node.handle(now, Event::VisitEnded { visit });
        }
    }

    pub(super) fn return_to_visit(
        &mut self,
        visit: VisitId,
        connection: LinkId,
        lane: Option<Lane>,
    ) {
        if let Some(connection) = self.links.remove(self.poll.registry(), connection) {
            self.workers.return_to_visit(visit, connection, lane);
        }
    }

    pub(super) fn pad_said(&mut self, now: Time, visit: VisitId) {
        if let Some(stage) = self.workers.visit_stage(visit) {
            self.node.handle(now, Event::VisitCame { visit, stage });
        }
    }

    pub(super) fn pad_exit(&mut self, now: Time, visit: VisitId) {
        // What it said last counts.
        self.pad_said(now, visit);
        if self.workers.visit_ended(self.poll.registry(), visit) {
            self.node.handle(now, Event::VisitEnded { visit });
        }
    }

    /// What only the kernel knows of visitors.
    pub(super) fn complete_visits(&self, visits: &mut wire::visit::Visits) {
        // Before it is built, a pad's child may be another one.
        for visit in visits.visits.iter_mut().filter(|visit| visit.stage != Stage::Arriving) {
            let pid = self.workers.visitor(VisitId(visit.number));
            visit.pid = pid.map_or(0, |pid| pid.0.unsigned_abs());
        }
    }
}
