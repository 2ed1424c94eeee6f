//! A peer's server on loopback: found, started, ended.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::folder::Folder;

/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server. It ends with this value, and its folder after it.
pub(crate) struct Server {
    child: Child,
    _folder: Folder,
}

/// A program that a distribution packages.
pub(crate) struct Packaged {
    pub(crate) what: &'static str,
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

impl Packaged {
    /// Starts it with these arguments and waits until it accepts connections at `address`. `{}` in an
    /// argument is a folder of its own.
    pub(crate) fn start(&self, address: SocketAddr, arguments: &[&str]) -> Result<Server, Error> {
        let found = find(self.program).ok_or_else(|| Error::Absent {
            what: self.what,
            why: format!("not installed: apt-get install {}", self.package),
        })?;
        let folder = Folder::new().map_err(Error::kernel("make a folder"))?;
        let path = folder.path().to_string_lossy().into_owned();
        let log = folder.path().join("log");
        let output = File::create(&log).map_err(Error::kernel("make a file"))?;
        let errors = output.try_clone().map_err(Error::kernel("make a file"))?;
        let child = Command::new(found)
            .args(arguments.iter().map(|argument| argument.replace("{}", &path)))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(Error::kernel("start a peer's server"))?;
        let mut server = Server { child, _folder: folder };
        match server.listens(address) {
            true => Ok(server),
            false => Err(Error::Absent { what: self.what, why: last_line(&log) }),
        }
    }
}

impl Server {
    fn listens(&mut self, address: SocketAddr) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            match TcpStream::connect(address) {
                Ok(_) => return true,
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing that it holds is to be kept. Both calls fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Distributions put servers where only an administrator's shell looks.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::split_paths(&path).collect::<Vec<_>>();
    let folders = named.iter().map(PathBuf::as_path).chain([Path::new("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("it does not start: {}", line.trim()),
        None => "it does not start and does not say why".to_owned(),
    }
}

/// What a peer said that makes no sense here.
pub(crate) fn nonsense(who: &'static str, answer: impl std::fmt::Debug) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{who} says {answer:?}"))
}
