//! The loop: takes what happens next and hands it to whom it concerns; and what goes wrong.

use wire::units::{Span, Time};

use crate::client::{Client, node_called};
use crate::net::{End, Net, Piece, What};
use crate::node::Daemon;
use crate::plan::Fault;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) clients: Vec<Client>,
    pub(crate) nodes: Vec<Daemon>,
    /// Names given to nodes so far.
    named: usize,
    faults_until: Time,
}

impl World {
    pub(crate) fn new(net: Net) -> Self {
        let faults_until = net.now + net.plan.faults_for;
        let (nodes, clients) = (net.plan.nodes, net.plan.clients);
        let mut world =
            Self { net, clients: Vec::new(), nodes: Vec::new(), named: 0, faults_until };
        (0..nodes).for_each(|_| world.add_node());
        (0..clients).for_each(|_| world.add_client());
        world
    }

    pub(crate) fn add_node(&mut self) {
        self.named += 1;
        self.start_node(self.named - 1);
    }

    fn start_node(&mut self, number: usize) {
        let name = node_called(number);
        if self.net.addresses.contains_key(&name) {
            return;
        }
        // Each keeps a link to one that is older, so that the news of the cluster reach everyone.
        let neighbour = self.nodes.iter().find(|node| node.alive && node.name != name);
        let neighbour = neighbour.map(|node| node.name.clone());
        let at = self.nodes.len();
        self.nodes.push(Daemon::new(&mut self.net, at, name, neighbour));
    }

    pub(crate) fn add_client(&mut self) {
        let names: Vec<_> = self.net.addresses.keys().cloned().collect();
        let at = self.clients.len();
        self.clients.push(Client::new(&mut self.net, at, &names));
    }

    /// Lets everything happen that happens before `until`. `false`: a promise was broken.
    pub(crate) fn run_until(&mut self, until: Time) -> bool {
        while self.net.judge.violation().is_none() {
            let Some(what) = self.net.next(until) else { return true };
            self.happen(what);
        }
        false
    }

    fn happen(&mut self, what: What) {
        let Self { net, clients, nodes, .. } = self;
        match what {
            What::Arrive { connection, side } => match net.connections[connection].end(side) {
                End::Node(at) if nodes[at].stalled > net.now => net.at(nodes[at].stalled, what),
                end => {
                    let Some(piece) = net.arrive(connection, side) else { return };
                    match (end, piece) {
                        (End::Client(at), Piece::Bytes(bytes)) => {
                            clients[at].hear(net, connection, &bytes);
                        }
                        (End::Client(at), Piece::Closed) => clients[at].closed(net, connection),
                        (End::Node(at), Piece::Bytes(bytes)) => {
                            nodes[at].hear(net, connection, side, &bytes);
                        }
                        (End::Node(at), Piece::Closed) => nodes[at].closed(net, connection, side),
                    }
                }
            },
            What::Wake(End::Client(at)) if clients[at].alive => clients[at].wake(net),
            What::Wake(End::Node(at)) | What::Listen { node: at, .. }
                if nodes[at].stalled > net.now =>
            {
                net.at(nodes[at].stalled, what);
            }
            What::Wake(End::Node(at)) if nodes[at].alive => nodes[at].wake(net),
            What::Listen { node, worker, birth } if nodes[node].alive => {
                nodes[node].listen(net, worker, birth);
            }
            What::Step { node, worker, birth } if nodes[node].alive => {
                nodes[node].step(net, worker, birth);
            }
            What::Submit { client } if clients[client].alive => clients[client].submit(net),
            What::Cancel { client, task } if clients[client].alive => {
                clients[client].cancel(net, task);
            }
            What::StartNode { name } => self.start_node(name),
            What::Fault if net.now < self.faults_until => {
                let wait = net.random.below(2 * net.plan.fault_every.0);
                net.after(Span(wait), What::Fault);
                let Net { plan, random, .. } = net;
                if let Some(fault) = plan.fault(random) {
                    self.commit(fault);
                }
            }
            // Whoever it was for is gone.
            What::Wake(_)
            | What::Step { .. }
            | What::Listen { .. }
            | What::Submit { .. }
            | What::Cancel { .. }
            | What::Vault { .. }
            | What::Fault => {}
        }
    }

    // What goes wrong.

    fn commit(&mut self, fault: Fault) {
        let Self { net, clients, nodes, .. } = self;
        let longest = self.faults_until.since(net.now).min(Span::from_secs(30));
        let until =
            net.now + net.random.span(Span::from_millis(1), longest.max(Span::from_millis(1)));
        let alive: Vec<usize> = (0..nodes.len()).filter(|&at| nodes[at].alive).collect();
        let Some(&node) = alive.get(net.random.index(alive.len())) else { return };
        let client = net.random.index(clients.len());
        match fault {
            Fault::Break | Fault::Swallow => {
                let open = net.open_connections();
                let Some(&connection) = open.get(net.random.index(open.len())) else { return };
                let known = &net.connections[connection];
                for end in [known.dialler, known.listener] {
                    if let End::Node(at) = end {
                        net.judge.excuses.hurt.insert(nodes[at].name.clone());
                    }
                }
                net.note_fault(fault, connection, 0, net.now);
                if fault == Fault::Break { net.reset(connection) } else { net.swallow(connection) }
            }
            Fault::Partition => {
                let (from, to) = (End::Client(client), End::Node(node));
                net.note_fault(fault, client, node, until);
                match net.random.below(3) {
                    0 => net.cut(from, to, until),
                    1 => net.cut(to, from, until),
                    _ => {
                        net.cut(from, to, until);
                        net.cut(to, from, until);
                    }
                }
                net.judge.excuses.slowed = true;
            }
            Fault::Stall => {
                net.note_fault(fault, node, 0, until);
                nodes[node].stalled = until;
                net.judge.excuses.slowed = true;
            }
            Fault::Slow => {
                net.note_fault(fault, node, 0, until);
                nodes[node].slow = until;
                net.judge.excuses.slowed = true;
                return;
            }
            Fault::CrashNode => {
                net.note_fault(fault, node, 0, until);
                nodes[node].die();
                let name = nodes[node].name.clone();
                net.addresses.remove(&name);
                if net.random.below(4) == 0 {
                    net.power_off(End::Node(node));
                } else {
                    net.close_all(End::Node(node));
                }
                let old = (0..self.named).find(|&number| node_called(number) == name);
                match (net.random.below(3), old) {
                    (0, _) => {
                        net.at(until, What::StartNode { name: self.named });
                        self.named += 1;
                    }
                    (1, Some(old)) => net.at(until, What::StartNode { name: old }),
                    _ => {}
                }
            }
            // The first one sees the run through.
            Fault::CrashClient if client > 0 && clients[client].alive => {
                net.note_fault(fault, client, 0, net.now);
                clients[client].go(net);
                return;
            }
            Fault::CrashClient => return,
            Fault::Join => {
                if alive.len() < 6 {
                    net.note_fault(fault, 0, 0, net.now);
                    self.add_node();
                }
                return;
            }
            Fault::Leave => {
                if nodes[node].stalled <= net.now && !nodes[node].leaving {
                    net.note_fault(fault, node, 0, net.now);
                    net.judge.excuses.nodes_went = true;
                    nodes[node].leave(net);
                }
                return;
            }
            Fault::LoseBlobs => {
                net.note_fault(fault, node, 0, net.now);
                nodes[node].lose_blobs();
                return;
            }
            Fault::KillWorker => {
                let workers = nodes[node].workers_alive();
                let Some(&worker) = workers.get(net.random.index(workers.len())) else { return };
                net.note_fault(fault, node, worker as usize, net.now);
                net.judge.excuses.workers_killed = true;
                net.judge.excuses.unloadable = true;
                nodes[node].kill_worker(net, worker);
                return;
            }
        }
        self.net.judge.excuses.nodes_went = true;
        self.net.judge.excuses.hurt.insert(self.nodes[node].name.clone());
    }

    /// From now on nothing goes wrong any more, and there is a node.
    pub(crate) fn calm(&mut self) {
        let now = self.net.now;
        for node in &mut self.nodes {
            node.stalled = node.stalled.min(now);
            node.slow = node.slow.min(now);
        }
        self.net.plan.stillborn = 0;
        self.net.plan.disk_full = 0;
        if !self.nodes.iter().any(Daemon::is_useful) {
            self.add_node();
        }
        // Whoever knew only nodes that are gone is told, as by an operator.
        let names: Vec<_> = self.net.addresses.keys().cloned().collect();
        for client in &mut self.clients {
            names.iter().for_each(|name| client.learn(now, name.clone()));
        }
        for client in 0..self.clients.len() {
            self.net.after(Span(0), What::Wake(End::Client(client)));
        }
    }
}
