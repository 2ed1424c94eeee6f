//! `farcall node`: one host's daemon.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use clap::{Args, ValueEnum};
use node::{Jail, Options, WorkerCommand};
use transport::{Credentials, Role};
use wire::units::Span;

/// Offer this host's cores to the cluster
#[derive(Args)]
pub(crate) struct Node {
    /// Address to listen at with TLS; may be given several times [default: 127.0.0.1:4114]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Tasks at a time [default: one for each core]
    #[arg(long, value_name = "N")]
    slots: Option<u32>,
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "user")]
    jail: JailLevel,
    /// Listen at a Unix socket for programs of the same user
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// End when standard input ends
    #[arg(long, hide = true)]
    embedded: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum JailLevel {
    None,
    User,
}

impl Node {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (stop, stopper) = UnixStream::pair()?;
        if self.embedded {
            std::thread::spawn(move || {
                let mut stopper = stopper;
                let mut bytes = [0; 64];
                while std::io::stdin().read(&mut bytes).is_ok_and(|count| count > 0) {}
                let _ = stopper.write_all(&[0, 0]);
            });
        } else {
            signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, stopper)?;
        }
        let name = self.name.unwrap_or_else(|| "node".to_owned());
        let home = self.home.context("--home is needed")?;
        let needs_keys = !self.listen.is_empty();
        let credentials = if needs_keys {
            let name = name.parse()?;
            Some(Credentials::load_or_create(&home, Role::Node, &name, SystemTime::now())?)
        } else {
            None
        };
        let options = Options {
            name: name.parse()?,
            slots: self.slots.unwrap_or_else(|| sys::cpu::usable().get() as u32),
            listen: self.listen,
            socket: self.socket,
            join: Vec::new(),
            data: self.data.context("--data is needed")?,
            jail: match self.jail {
                JailLevel::None => Jail::None,
                JailLevel::User => Jail::User,
            },
            worker: WorkerCommand {
                program: "/proc/self/exe".into(),
                args: vec![OsString::from("worker")],
                environment: std::env::vars_os().collect(),
            },
            credentials,
            credentials_folder: home,
            grace: Span::from_secs(10),
            stop,
        };
        node::run(options, |started| {
            let addresses: Vec<String> =
                started.addresses.iter().map(SocketAddr::to_string).collect();
            println!("ready {}", addresses.join(" "));
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
