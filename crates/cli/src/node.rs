//! `farcall node`: one host's daemon.
//!
//! Flags win over the file of `--config`, which wins over the defaults (`settings`). Elsewhere: the
//! daemon itself (`node`), the newcomer's half of joining (`client`).

mod settings;
mod netmem;
mod v1;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use node::{Options, Started, WorkerCommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use sys::files::Purpose;
use transport::{Credentials, Name, Role};

use crate::auth;
use crate::codes;
use crate::errors::{self, Complaint, complaint, file, reason};
use crate::terminal;
pub(crate) use settings::Node;
pub(crate) use settings::Settings;

impl Node {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        // Each client and each worker needs a few; what the host allows is enough or is all there is.
        let _ = sys::limits::raise_open_files();
        let embedded = self.embedded;
        let settings = Settings::gather(self)?;
        let stop = stopper(embedded)?;
        fs::create_dir_all(&settings.data).map_err(|e| file("make folder", &settings.data, &e))?;
        let _lock = lock(&settings.data)?;
        let credentials = credentials(&settings)?;
        let name = credentials.as_ref().map_or(settings.name.as_str(), |own| own.name().as_str());
        let name: wire::name::Name = name.parse()?;
        let socket = match &settings.socket {
            Some(socket) => open_socket(socket, settings.socket_is_default)?,
            None => None,
        };
        if !embedded {
            warn_of_loopback(&settings);
        }
        let options = Options {
            name: name.clone(),
            slots: settings.slots,
            listen: settings.listen,
            socket: socket.clone(),
            http: settings.http,
            join: settings.join,
            data: settings.data,
            jail: settings.jail,
            worker: WorkerCommand {
                program: "/proc/self/exe".into(),
                args: vec![OsString::from("worker")],
                environment: std::env::vars_os().collect(),
            },
            credentials,
            credentials_folder: settings.home,
            notice: |gap| eprintln!("note: the jail is not complete: {gap}"),
            warn: |words| eprint!("{}", errors::warning(&codes::E0221, words)),
            grace: settings.grace.into(),
            worker_v1: settings.worker_v1,
            netmem: settings.netmem,
            netmem_refused: |words| eprint!("{}", errors::warning(&codes::E0223, words)),
            stop,
        };
        node::run(options, |started| {
            // A node serves on though nobody reads this.
            let _ = terminal::say(&if embedded {
                ready(started)
            } else {
                greeting(name.as_str(), settings.slots, started, socket.as_deref())
            });
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What the owner of an embedded node reads.
fn ready(started: &Started) -> String {
    let addresses: Vec<String> = started.addresses.iter().map(SocketAddr::to_string).collect();
    format!("ready {}\n", addresses.join(" "))
}

fn greeting(name: &str, slots: u32, started: &Started, socket: Option<&Path>) -> String {
    let slots = crate::values::count(slots.into(), "slot");
    let mut text = format!("node {name} is up with {slots}\n");
    for address in &started.addresses {
        text += &format!("listening at {address}\n");
    }
    if let Some(socket) = socket {
        text += &format!("listening at {}\n", socket.display());
    }
    for place in &started.worker_v1 {
        text += &format!("worker protocol v1 at {place}\n");
    }
    for (address, region) in &started.netmem {
        text += &format!("netmem at {address} serves region {region}\n");
    }
    if let Some(address) = started.addresses.first() {
        text += &format!("see it with: farcall status --nodes {address}\n");
        text += "let others in with: farcall auth token\n";
    }
    if let Some(address) = started.http {
        text += &format!("metrics at http://{address}/metrics\n");
    }
    text
}

/// The socket on which the node is asked to stop: by SIGTERM or SIGINT, or, if it is embedded, by
/// the end of its standard input.
fn stopper(embedded: bool) -> anyhow::Result<UnixStream> {
    let (stop, stopper) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, stopper.try_clone()?)?;
    if !embedded {
        signal_hook::low_level::pipe::register(SIGINT, stopper)?;
        return Ok(stop);
    }
    // Ctrl-C reaches everything in a terminal; what it means is its owner's to decide.
    signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false)))?;
    std::thread::spawn(move || {
        let mut stopper = stopper;
        let mut bytes = [0; 64];
        while std::io::stdin().read(&mut bytes).is_ok_and(|count| count > 0) {}
        let _ = stopper.write_all(&[0, 0]);
    });
    Ok(stop)
}

/// Two nodes in one folder would delete each other's files.
fn lock(data: &Path) -> Result<File, Complaint> {
    let path = data.join("lock");
    let open = File::open(data)
        .and_then(|data| sys::files::open_in(&data, "lock", Purpose::Append).map_err(reason));
    let lock = open.map_err(|error| file("open", &path, &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(complaint(
            &codes::E0214,
            format!("another node uses the folder {}", data.display()),
        )
        .help("give this one a name of its own with --name")),
        Err(fs::TryLockError::Error(error)) => Err(file("lock", &path, &error)),
    }
}

/// Who this node is. A token gets it a certificate, once; later starts find it in the folder.
fn credentials(settings: &Settings) -> anyhow::Result<Option<Credentials>> {
    let (home, now) = (&settings.home, SystemTime::now());
    let present = Credentials::load(home, Role::Node)?;
    let name = match &present {
        Some(own) if settings.name_is_default => own.name().clone(),
        _ => settings.name.clone(),
    };
    if let (Some(token), Some(address)) = (&settings.token, settings.join.first())
        && present.as_ref().is_none_or(|own| own.valid_until() <= now)
    {
        let token = auth::read_token(token)?;
        auth::check_role(&token, &[Role::Node])?;
        return Ok(Some(client::join(address, &token, &name, home)?));
    }
    if settings.listen.is_empty() && settings.join.is_empty() {
        return Ok(None);
    }
    let own = Credentials::load_or_create(home, Role::Node, &name, now)?;
    if *own.name() != name {
        return Err(other_name(&own, &name).into());
    }
    Ok(Some(own))
}

fn other_name(own: &Credentials, wanted: &Name) -> Complaint {
    complaint(
        &codes::E0309,
        format!("this node's certificate is for {}, not for {wanted}", own.name()),
    )
    .note("it joined a cluster under that name, and cannot sign another one itself")
    .help(format!("leave --name away, or write --name {}", own.name()))
}

/// A Unix socket that nobody listens at. Where the default one is taken, there is none.
fn open_socket(path: &Path, is_default: bool) -> anyhow::Result<Option<std::path::PathBuf>> {
    if UnixStream::connect(path).is_ok() {
        if is_default {
            return Ok(None);
        }
        return Err(complaint(
            &codes::E0211,
            format!("another node listens at {}", path.display()),
        )
        .help("choose another path with --socket")
        .into());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| file("make folder", folder, &error))?;
    }
    Ok(Some(path.to_owned()))
}

/// A node that joins another host's, and that nobody there can reach.
fn warn_of_loopback(settings: &Settings) {
    let is_far = |address: &String| {
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        ip.map_or(host != "localhost", |ip| !ip.is_loopback())
    };
    if settings.join.iter().any(is_far) && settings.listen.iter().all(|at| at.ip().is_loopback()) {
        let code = &codes::E0215;
        eprintln!("warning[{}]: clients on other hosts cannot reach this node", code.code);
        eprintln!("  note: it listens on loopback only");
        eprintln!("  help: add --listen 0.0.0.0:4114");
        eprint!("{}", errors::more([code]));
    }
}
