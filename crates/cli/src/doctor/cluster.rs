//! Configuration and nodes: which files count, which nodes run here, and whether the named ones
//! answer.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use client::{Cluster, NodeReport};
use transport::{Credentials, Fingerprint, Role};

use super::findings::{Finding, Good, Mark, Section, found, quoted};
use super::listeners;
use crate::cluster::Nodes;
use crate::config::{self, Config};
use crate::node::{Node, Settings};
use crate::values::{count, spell};

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Clocks that differ by more are worth a word, and by an hour they break new certificates.
const CLOCKS_APART: u64 = 60;
const CLOCKS_BROKEN: u64 = 3600;

/// What `ports` is to look at.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where nodes are, or should be.
    pub(super) nodes: Vec<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
    /// Everything else that a node here listens at.
    pub(super) others: Vec<SocketAddr>,
    pub(super) authority: Option<Fingerprint>,
}

pub(super) fn look(
    nodes: &Nodes,
    file: Option<&Path>,
    settings: &anyhow::Result<Settings>,
) -> (Section, Known) {
    let mut section = Section::new("Configuration and nodes", &[Good::Cluster]);
    let mut known = Known::default();
    let mut sockets = config::own_sockets();
    match settings {
        Err(error) => {
            let what = format!("the node's settings cannot be used: {error:#}");
            section.add(found(Mark::Fail, what).breaks(Good::Tasks).remedy("farcall node --help"));
        }
        Ok(settings) => {
            section.findings.extend(origins(settings, file));
            known.nodes.extend(&settings.listen);
            known.http = settings.http.as_ref().map(|http| http.address);
            sockets.extend(settings.socket.clone());
            let load = |&role: &Role| Credentials::load(&settings.home, role).ok().flatten();
            let own = Role::ALL.iter().find_map(load);
            known.authority = own.map(|own| own.authority());
        }
    }
    section.findings.extend(written());
    sockets.sort();
    sockets.dedup();
    let mut alive = false;
    for socket in &sockets {
        alive |= here(socket, &mut section, &mut known);
    }
    if !alive {
        section.add(found(Mark::Note, "no node of this user runs here").remedy("farcall node"));
    }
    match named(nodes) {
        Err(error) => section.add(
            found(Mark::Fail, format!("{error:#}"))
                .breaks(Good::Cluster)
                .remedy("farcall explain E0403"),
        ),
        Ok((_, named)) if named.is_empty() => {}
        Ok((from, named)) => {
            let what = format!("{} named by {from}", count(named.len() as u64, "node"));
            section.add(found(Mark::Ok, what));
            known
                .nodes
                .extend(named.iter().filter_map(|node| client::address(node).ok().flatten()));
            let home = Cluster::home();
            let shows = |role| Credentials::load(&home, role).is_ok_and(|own| own.is_some());
            if shows(Role::Client) || shows(Role::Admin) {
                ask_all(&named, &home, &mut section);
            } else {
                // Asking would make one where the authority's key is; here nothing is made.
                let what = "no certificate of a client is here to ask them with";
                section
                    .add(found(Mark::Warn, what).breaks(Good::Cluster).remedy("farcall auth init"));
            }
        }
    }
    known.nodes.sort();
    known.nodes.dedup();
    (section, known)
}

/// What a node that is started here would do, and where that is said.
fn origins(settings: &Settings, file: Option<&Path>) -> Option<Finding> {
    let plain = Settings::gather(Node::with_config(None)).ok()?;
    let from = |is_plain: bool| match file {
        Some(file) if !is_plain => format!("({})", file.display()),
        _ => "(default)".to_owned(),
    };
    let listen: Vec<String> = settings.listen.iter().map(SocketAddr::to_string).collect();
    let what = format!(
        "a node that is started here listens at {} {}, keeps its files in {} {}, has {} {}, and \
         its keys are in {} {}",
        listen.join(" and "),
        from(settings.listen == plain.listen),
        settings.data.display(),
        from(settings.data == plain.data),
        count(settings.slots.into(), "slot"),
        from(settings.slots == plain.slots),
        settings.home.display(),
        from(settings.home == plain.home),
    );
    Some(found(Mark::Ok, what))
}

/// `config.toml` of this user.
fn written() -> Option<Finding> {
    match Config::read() {
        // Told by `named`.
        Err(_) => None,
        Ok((_, path)) if path.exists() => {
            Some(found(Mark::Ok, format!("{} is read", path.display())))
        }
        Ok((_, path)) => Some(found(Mark::Ok, format!("no {}: defaults count", path.display()))),
    }
}

/// The nodes that commands use, and where that is said.
fn named(nodes: &Nodes) -> anyhow::Result<(&'static str, Vec<String>)> {
    let from = match (nodes.nodes.is_empty(), std::env::var_os("FARCALL_NODES")) {
        (false, _) => "--nodes",
        (true, Some(value)) if !value.is_empty() => "FARCALL_NODES",
        (true, _) => "config.toml",
    };
    Ok((from, nodes.named()?))
}

/// A Unix socket where a node may listen. Whether one does.
fn here(socket: &PathBuf, section: &mut Section, known: &mut Known) -> bool {
    let shown = socket.display();
    if socket.symlink_metadata().is_err() {
        return false;
    }
    let stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            let what = format!("{shown} was left behind by a node that is gone");
            section.add(found(Mark::Warn, what).remedy(format!("rm {}", quoted(socket))));
            return false;
        }
        Err(error) => {
            let what = format!("{shown} cannot be used: {error}");
            section.add(found(Mark::Warn, what).remedy(format!("ls -l {}", quoted(socket))));
            return false;
        }
    };
    let pid = sys::socket::peer_credentials(&stream).map(|peer| peer.pid);
    drop(stream);
    // The kernel tells the node who we are; without credentials none can be made by asking.
    let report = match ask(&shown.to_string(), Path::new("/dev/null")) {
        Ok(report) => report,
        Err(why) => {
            let what = format!("a node has {shown}, but does not answer: {why}");
            section.add(found(Mark::Fail, what).breaks(Good::Tasks).remedy("farcall status"));
            return true;
        }
    };
    let NodeReport { agent, up, slots, members, .. } = &report;
    let name = members.first().map_or("?", |member| member.name.as_str());
    let slots = count((*slots).into(), "slot");
    let what = format!("the node {name} runs here: {agent}, {slots}, up for {}", spell(*up));
    section.add(found(Mark::Ok, what));
    let told: Vec<SocketAddr> = members
        .first()
        .map(|own| own.addresses.iter().filter_map(|at| at.parse().ok()).collect())
        .unwrap_or_default();
    let listens = pid.ok().and_then(|pid| listeners::of(pid.0)).unwrap_or_else(|| told.clone());
    for address in listens {
        if told.iter().any(|told| told.port() == address.port()) {
            // The default address is only a guess where the real ones are known.
            known.nodes.retain(|guess| guess.port() == address.port() || *guess != config::LISTEN);
            known.nodes.push(address);
        } else if known.http.is_none_or(|http| http.port() != address.port()) {
            known.others.push(address);
        }
    }
    true
}

/// All at once: one that is silent takes ten seconds.
fn ask_all(named: &[String], home: &Path, section: &mut Section) {
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = named.iter().map(|node| scope.spawn(|| ask(node, home))).collect();
        asked.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for (node, answer) in named.iter().zip(answers) {
        match answer.unwrap_or_else(|_| Err("the question failed".to_owned())) {
            Err(why) => {
                let what = format!("{node} does not answer: {why}");
                section.add(
                    found(Mark::Fail, what).breaks(Good::Cluster).remedy("farcall explain E0201"),
                );
            }
            Ok(report) => {
                let slots = count(report.slots.into(), "slot");
                section.add(found(Mark::Ok, format!("{node} answers: {}, {slots}", report.agent)));
                section.findings.extend(clocks(node, &report, SystemTime::now()));
            }
        }
    }
}

fn ask(node: &str, home: &Path) -> Result<NodeReport, String> {
    let failed = |error: client::Error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text += &format!(": {cause}");
            source = cause.source();
        }
        text
    };
    let cluster = Cluster::connect_with([node], home).map_err(failed)?;
    // It tells of others, too; it was the first to be asked.
    let first = cluster.status(PATIENCE).into_iter().next();
    first.ok_or_else(|| "it said nothing".to_owned())?.report
}

/// A node's clock at its start was what it says; how long ago that is, both sides agree on.
fn clocks(node: &str, report: &NodeReport, now: SystemTime) -> Option<Finding> {
    let theirs = report.started + report.up;
    let (apart, which) = match theirs.duration_since(now) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let what = format!("the clock of {node} is {} {which} this one", spell(apart));
    match apart.as_secs() {
        0..CLOCKS_APART => None,
        CLOCKS_APART..CLOCKS_BROKEN => {
            Some(found(Mark::Warn, what).remedy("timedatectl set-ntp true"))
        }
        _ => Some(found(Mark::Fail, what).breaks(Good::Cluster).remedy("timedatectl set-ntp true")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(apart: i64, mark: Option<Mark>) {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let report = NodeReport {
            agent: String::new(),
            up: Duration::from_secs(500),
            started: start,
            slots: 1,
            visitors: 0,
            clients: Vec::new(),
            workers: Vec::new(),
            blobs: 0,
            blob_bytes: 0,
            members: Vec::new(),
        };
        let now = start + Duration::from_secs(500_u64.strict_sub_signed(apart));
        let told = clocks("a", &report, now).map(|finding| finding.mark);
        assert_eq!(told, mark, "{apart} s");
    }

    #[test]
    fn clocks_may_differ_a_little() {
        check(0, None);
        check(30, None);
        check(-30, None);
        check(300, Some(Mark::Warn));
        check(-300, Some(Mark::Warn));
        check(-7200, Some(Mark::Fail));
    }
}
