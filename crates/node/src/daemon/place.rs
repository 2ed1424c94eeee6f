//! Where the loop and a worker run: as `logic::near` decides.

use logic::near;

use super::Daemon;
use crate::links::Link;

impl Daemon {
    /// Moves the loop and a worker, as far as the kernel lets us; nothing depends on it but speed.
    pub(super) fn place(&mut self, effect: near::Effect) {
        let Some(anywhere) = &self.anywhere else { return };
        match effect {
            near::Effect::Follow { link, worker } => {
                let arrives = |link: &mut Link| sys::cpu::incoming(&*link.connection);
                let arrives = self.links.get_mut(link).and_then(arrives);
                let here = arrives.or_else(sys::cpu::current);
                let Some(here) = here.and_then(|here| anywhere.only(here)) else { return };
                let _ = here.assign(sys::Pid(0));
                if let Some(pid) = self.workers.pid(worker) {
                    let _ = here.assign(sys::Pid(pid));
                    self.moved = Some(worker);
                }
            }
            near::Effect::Spread => {
                let _ = anywhere.assign(sys::Pid(0));
                let moved = self.moved.take().and_then(|worker| self.workers.pid(worker));
                if let Some(pid) = moved {
                    let _ = anywhere.assign_all(sys::Pid(pid));
                }
            }
        }
    }
}
