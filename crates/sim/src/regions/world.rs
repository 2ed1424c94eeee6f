//! The loop of a run of regions: takes what happens next and hands it to whom it concerns; and what
//! goes wrong.

use std::collections::BTreeMap;

use verdict::Act;
use wire::limits::SESSION_KEPT;
use wire::units::{Span, Time};

use crate::net::{End, Piece, What};
use crate::regions::PATIENCE;
use crate::regions::client::Client;
use crate::regions::home::{HOME, Home};
use crate::regions::pages::PAGES;
use crate::regions::plan::Trouble;
use crate::regions::scene::Scene;
use crate::trace::Line;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scene: Scene,
    home: Home,
    clients: Vec<Client>,
    faults_until: Time,
    barriers: u64,
}

impl World {
    pub(crate) fn new(mut scene: Scene) -> Self {
        let home = Home::new(&mut scene);
        let clients = (0..scene.plan.clients).map(|at| Client::new(&mut scene, at)).collect();
        let faults_until = scene.net.now + scene.plan.faults_for;
        Self { scene, home, clients, faults_until, barriers: 0 }
    }

    fn alive(&mut self) -> impl Iterator<Item = &mut Client> {
        self.clients.iter_mut().filter(|client| client.alive)
    }

    /// Lets everything happen that happens before `until`. `false`: a promise was broken.
    pub(crate) fn run_until(&mut self, until: Time) -> bool {
        while self.scene.net.judge.violation().is_none() {
            let Some(what) = self.scene.net.next(until) else { return true };
            self.happen(what);
        }
        false
    }

    /// Waits for something that must come.
    pub(crate) fn ends(&mut self, name: &str, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.scene.net.now + PATIENCE;
        while !done(self) {
            if self.scene.net.now >= until {
                let mut waiting = self.clients.iter().filter(|client| client.alive);
                let waiting = waiting.find(|client| !client.is_idle()).map(Client::waits_for);
                self.scene.net.judge.fail(format!("{name} never ended: {waiting:?}"));
            }
            let step = self.scene.net.now + Span::from_millis(100);
            if !self.run_until(step) {
                return false;
            }
        }
        true
    }

    pub(crate) fn idle(&self) -> bool {
        self.clients.iter().filter(|client| client.alive).all(Client::is_idle)
    }

    fn happen(&mut self, what: What) {
        let Self { scene, home, clients, .. } = self;
        match what {
            What::Arrive { connection, side } => {
                let end = scene.net.connections[connection].end(side);
                let stalled = match end {
                    End::Client(at) => clients[at].stalled,
                    End::Node(_) => home.stalled,
                };
                if stalled > scene.net.now {
                    return scene.net.at(stalled, what);
                }
                let Some(piece) = scene.net.arrive(connection, side) else { return };
                match (end, piece) {
                    (End::Client(at), piece) if clients[at].alive => match piece {
                        Piece::Bytes(bytes) => clients[at].hear(scene, connection, &bytes),
                        Piece::Closed => clients[at].closed(scene, connection),
                    },
                    (End::Node(_), piece) if home.alive => match piece {
                        Piece::Bytes(bytes) => home.hear(scene, connection, &bytes),
                        Piece::Closed => home.closed(scene, connection),
                    },
                    _ => {}
                }
            }
            What::Wake(End::Client(at)) if clients[at].stalled > scene.net.now => {
                scene.net.at(clients[at].stalled, what);
            }
            What::Wake(End::Client(at)) if clients[at].alive => clients[at].wake(scene),
            What::Wake(End::Node(_)) | What::Vault { .. } if home.stalled > scene.net.now => {
                scene.net.at(home.stalled, what);
            }
            What::Wake(End::Node(_)) if home.alive => home.wake(scene),
            What::Vault { life, .. } => home.group_done(scene, life),
            What::StartNode { .. } => home.start(scene),
            What::Fault if scene.net.now < self.faults_until => {
                let wait = scene.net.random.below(2 * scene.plan.fault_every.0);
                scene.net.after(Span(wait), What::Fault);
                if let Some(trouble) = scene.plan.trouble(&mut scene.net.random) {
                    self.commit(trouble);
                }
            }
            What::Wake(_)
            | What::Step { .. }
            | What::Listen { .. }
            | What::Submit { .. }
            | What::Cancel { .. }
            | What::Fault => {}
        }
    }

    // What goes wrong.

    fn commit(&mut self, trouble: Trouble) {
        let Self { scene, home, clients, .. } = self;
        let net = &mut scene.net;
        let longest = self.faults_until.since(net.now).max(Span::from_millis(2));
        // Around a lease, and sometimes much longer.
        let most = if net.random.below(4) == 0 { longest } else { Span::from_secs(8) };
        let until = net.now + net.random.span(Span::from_millis(1), most.min(longest));
        let at = net.random.index(clients.len());
        let mut note = |name, a| net.note(Line::Fault { name, a, b: 0, until: until.0 });
        match trouble {
            Trouble::Break | Trouble::Swallow => {
                note("break or swallow", at);
                let open = net.open_connections();
                let Some(&connection) = open.get(net.random.index(open.len())) else { return };
                if trouble == Trouble::Break {
                    net.reset(connection);
                } else {
                    net.swallow(connection);
                }
            }
            Trouble::Partition => {
                note("partition", at);
                let ways = net.random.below(3);
                if ways != 0 {
                    net.cut(End::Client(at), HOME, until);
                }
                if ways != 1 {
                    net.cut(HOME, End::Client(at), until);
                }
            }
            Trouble::StallClient => {
                note("stall client", at);
                clients[at].stalled = until;
            }
            Trouble::StallHome => {
                note("stall home", 0);
                home.stalled = until;
            }
            Trouble::CrashClient if clients[at].alive && clients.len() < 12 => {
                note("crash client", at);
                clients[at].die(scene);
                let new = Client::new(scene, clients.len());
                clients.push(new);
            }
            Trouble::CrashClient => {}
            Trouble::CrashHome => {
                if home.alive {
                    note("crash home", 0);
                    home.die(scene);
                    home.stalled = Time(0);
                    scene.net.at(until, What::StartNode { name: 0 });
                }
            }
            Trouble::SlowVault => {
                note("slow vault", 0);
                scene.plan.disk = Span((scene.plan.disk.0 * 4).min(Span::from_secs(1).0));
            }
        }
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn calm(&mut self) {
        let now = self.scene.net.now;
        self.home.stalled = self.home.stalled.min(now);
        self.scene.plan.patience = Span(SESSION_KEPT.0 / 2);
        for client in &mut self.clients {
            client.stalled = client.stalled.min(now);
            client.set_patience(Span(SESSION_KEPT.0 / 2));
        }
    }

    // The end of a run.

    pub(crate) fn arrive(&mut self, _round: u64) {
        self.check_barrier();
        self.barriers += 1;
        let parties = self.alive().count() as u32;
        let Self { scene, clients, .. } = self;
        for client in clients.iter_mut().filter(|client| client.alive) {
            client.arrive(scene, 5, parties);
            scene.net.after(Span(0), What::Wake(End::Client(client.at)));
        }
    }

    /// Nobody passes before all are there, and all pass together.
    fn check_barrier(&mut self) {
        if self.barriers == 0 {
            return;
        }
        let clients = self.clients.iter().filter(|client| client.alive);
        let passed: Vec<_> = clients.map(|client| client.work.passed).collect();
        let begun = passed.iter().flatten().map(|passed| passed.begin).max();
        let ended = passed.iter().flatten().map(|passed| passed.end).min();
        let rounds: BTreeMap<u64, ()> =
            passed.iter().flatten().map(|passed| (passed.round, ())).collect();
        if passed.iter().any(Option::is_none) || begun > ended || rounds.len() != 1 {
            self.scene.net.judge.fail(format!("a barrier was passed like this: {passed:?}"));
        }
    }

    /// Everybody reads everything once more.
    pub(crate) fn look(&mut self) {
        self.check_barrier();
        let Self { scene, clients, .. } = self;
        for client in clients.iter_mut().filter(|client| client.alive) {
            client.look(scene);
            scene.net.after(Span(0), What::Wake(End::Client(client.at)));
        }
    }

    pub(crate) fn leave_open(&mut self) {
        let Self { scene, clients, .. } = self;
        clients.iter_mut().for_each(|client| client.leave_open(scene));
    }

    /// The highest version of each page that anybody has read.
    pub(crate) fn last_versions(&self) -> BTreeMap<u64, u64> {
        let mut last = BTreeMap::new();
        for op in &self.scene.ops {
            let Act::Read { pages } = &op.act else { continue };
            for fact in pages {
                let known: &mut u64 = last.entry(fact.page).or_default();
                *known = fact.version.max(*known);
            }
        }
        last
    }

    /// Every watch has told its client the last version of each page.
    pub(crate) fn check_watches(&mut self, last: &BTreeMap<u64, u64>) {
        let Self { scene, clients, .. } = self;
        for client in clients.iter().filter(|client| client.alive) {
            for page in 0..PAGES {
                let last = last.get(&page).copied().unwrap_or(0);
                let known = client.known.get(&page).copied().unwrap_or(0);
                if known != last {
                    let what =
                        format!("its watch ends at version {known} of page {page}, not at {last}");
                    return client.fail(&mut scene.net, &what);
                }
            }
        }
    }
}
