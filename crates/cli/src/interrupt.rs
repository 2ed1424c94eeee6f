//! Ctrl-C during a job: its tasks are cancelled everywhere, then the command ends.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::Cluster;
use signal_hook::consts::{SIGINT, SIGTERM};

/// The status of a program that SIGINT ended, as shells see it.
const STATUS: u8 = 130;
/// How long nodes may take to say that everything is cancelled.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the user has asked to stop. Ends with the job: the cluster is not held any longer.
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
    cluster: Arc<Mutex<Option<Cluster>>>,
}

impl Interrupt {
    /// From now on Ctrl-C, or SIGTERM, cancels all tasks of the cluster. A second one ends the
    /// command at once; so does a node that does not answer.
    pub(crate) fn watch(cluster: &Cluster) -> std::io::Result<Self> {
        let (mut heard, signals) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(SIGINT, signals.try_clone()?)?;
        signal_hook::low_level::pipe::register(SIGTERM, signals)?;
        let asked = Arc::new(AtomicBool::new(false));
        let cluster = Arc::new(Mutex::new(Some(cluster.clone())));
        let this = Self { asked: asked.clone(), cluster: cluster.clone() };
        std::thread::Builder::new().name("ctrl-c".into()).spawn(move || {
            let mut byte = [0; 1];
            if heard.read_exact(&mut byte).is_err() {
                return;
            }
            asked.store(true, Ordering::SeqCst);
            if let Some(cluster) = cluster.lock().unwrap_or_else(PoisonError::into_inner).take() {
                cluster.cancel_all();
            }
            let _ = heard.set_read_timeout(Some(PATIENCE));
            let _ = heard.read_exact(&mut byte);
            std::process::exit(STATUS.into());
        })?;
        Ok(this)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// The tasks are done; what follows can still be interrupted.
    pub(crate) fn forget_cluster(&self) {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// For the inputs' iterator, which lives elsewhere.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        self.asked.clone()
    }

    pub(crate) fn status() -> ExitCode {
        ExitCode::from(STATUS)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.forget_cluster();
    }
}
