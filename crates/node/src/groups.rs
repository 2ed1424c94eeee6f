//! The control groups of a node's workers: one for each, beneath one of the node's own.
//!
//! ```text
//!  the group that the node was started in
//!    farcall-NAMESPACE-PID-START          its workers' groups, and no process
//!      1  2  3 …                          one worker each: limits, counts, its death
//!    farcall-NAMESPACE-PID-START-node     the node itself, where version 2 wants it out of the way
//! ```
//!
//! The name says whose they are, so that a node removes what a dead one left behind. What the host
//! does not let us limit is said once at the start; elsewhere (`logic::slots`, the jail) it is
//! watched or left.

use std::process;

use sys::Pid;
use sys::cgroup::{CONTROLLERS, Controller, Group};
use worker::jail::policy::{CPU_PERCENT_STRICT, PROCESSES_MAX_STRICT, PROCESSES_MAX_USER};

use crate::options::Jail;

const PREFIX: &str = "farcall-";
const NODE: &str = "-node";

pub(crate) struct Groups {
    jail: Jail,
    name: String,
    /// Where the node was started.
    above: Group,
    /// Where the node went, if it had to.
    aside: Option<Group>,
    /// Above those of the workers. `None`: there are no groups.
    all: Option<Group>,
    /// Groups whose last process has not quite ended.
    ending: Vec<Group>,
}

impl Groups {
    /// Makes the node's group, and removes what dead nodes have left. `notice` is told what the
    /// host does not let us do.
    pub(crate) fn open(jail: Jail, notice: fn(&str)) -> Self {
        let above = match jail {
            Jail::None => Group::default(),
            Jail::User | Jail::Strict => Group::own().unwrap_or_default(),
        };
        let name = name_of(Pid(process::id() as i32)).unwrap_or_default();
        let (aside, all, ending) = (None, None, Vec::new());
        let mut groups = Self { jail, name, above, aside, all, ending };
        if jail == Jail::None || groups.name.is_empty() {
            return groups;
        }
        groups.sweep();
        let (mut all, refused) = groups.above.make_child(&groups.name);
        let mut why = refused.first().map(|error| chain(error));
        for controller in CONTROLLERS {
            if all.version(controller).is_none() {
                continue;
            }
            if let Err(error) = groups.count(controller, &all) {
                why = why.or_else(|| Some(chain(&error)));
                all.give_up(controller);
            }
        }
        let why = why.unwrap_or_else(|| "the host has no control group for it".to_owned());
        for controller in CONTROLLERS {
            if all.version(controller).is_none()
                && let Some(what) = gap(controller, jail)
            {
                notice(&format!("{what}: {why}"));
            }
        }
        groups.all = (!all.is_nowhere()).then_some(all);
        groups
    }

    /// Has a controller count in the groups of the workers.
    fn count(&mut self, controller: Controller, all: &Group) -> Result<(), sys::Error> {
        let aside = format!("{}{NODE}", self.name);
        self.above.count_beneath(controller, &aside, &mut self.aside)?;
        all.count_children(controller)
    }

    /// The kernel keeps the limits of memory: nobody has to measure.
    pub(crate) fn limit_memory(&self) -> bool {
        let all = self.all.as_ref();
        all.is_some_and(|all| all.version(Controller::Memory).is_some())
    }

    /// A group for one worker. `memory` is in bytes, 0 is no limit.
    pub(crate) fn make(&mut self, number: u64, memory: u64) -> Result<Option<Group>, sys::Error> {
        self.end();
        let Some(all) = &self.all else { return Ok(None) };
        let (group, refused) = all.make_child(&number.to_string());
        let limited = match refused.into_iter().next() {
            Some(error) => Err(error),
            None => self.limit(&group, memory),
        };
        match limited {
            Ok(()) => Ok(Some(group)),
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }

    fn limit(&self, group: &Group, memory: u64) -> Result<(), sys::Error> {
        if memory > 0 {
            group.limit_memory(memory)?;
        }
        match self.jail {
            Jail::None => Ok(()),
            Jail::User => group.limit_pids(PROCESSES_MAX_USER),
            Jail::Strict => {
                group.limit_pids(PROCESSES_MAX_STRICT)?;
                group.limit_cpu(CPU_PERCENT_STRICT)
            }
        }
    }

    /// The worker has ended: what it started ends as well.
    pub(crate) fn let_go(&mut self, group: Group) {
        let _ = group.kill();
        self.ending.push(group);
        self.end();
    }

    fn end(&mut self) {
        self.ending.retain(|group| !group.remove());
    }

    /// Removes everything, as far as it is empty.
    pub(crate) fn close(&mut self) {
        self.end();
        if self.all.take().is_some() {
            self.above.sweep(&self.name);
        }
        if let Some(aside) = self.aside.take() {
            self.above.come_back(Some(aside), &[]);
        }
    }

    /// Removes the groups of nodes that are no more, and kills what they left in them.
    fn sweep(&self) {
        for found in self.above.children().into_iter().filter(|name| name.starts_with(PREFIX)) {
            let whose = found.strip_suffix(NODE).unwrap_or(&found);
            let pid = whose.split('-').nth(2).and_then(|pid| pid.parse().ok());
            let (Some(pid), Some(own)) = (pid, namespace()) else { continue };
            // In another pid namespace numbers mean other processes: those are not ours to judge.
            let is_ours = whose.starts_with(&format!("{PREFIX}{own}-"));
            if is_ours && name_of(Pid(pid)).as_deref() != Some(whose) {
                self.above.sweep(&found);
            }
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.close();
    }
}

fn namespace() -> Option<u64> {
    sys::proc::pid_namespace().ok()
}

/// A name that no other process has had since the host was started; of one that is there, and not
/// only waits to be waited for.
fn name_of(pid: Pid) -> Option<String> {
    sys::proc::kinship(pid).ok().filter(|kin| !kin.is_dead)?;
    let started = sys::proc::started(pid).ok()?;
    Some(format!("{PREFIX}{}-{pid}-{started}", namespace()?))
}

/// What it means that something cannot be limited; `None` if this level does not want it.
fn gap(controller: Controller, jail: Jail) -> Option<&'static str> {
    match (controller, jail) {
        (_, Jail::None) | (Controller::Cpu, Jail::User) => None,
        (Controller::Memory, _) => Some("tasks' memory is measured every 20 ms, not limited"),
        (Controller::Pids, Jail::User) => {
            Some("processes are not limited for each worker, but by user")
        }
        (Controller::Pids, Jail::Strict) => {
            Some("processes are limited for each worker by its user namespace, not by a group")
        }
        (Controller::Cpu, Jail::Strict) => Some("a worker can use every core of the host"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
