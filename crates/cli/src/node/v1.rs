//! What `farcall node` is told of the worker socket protocol v1.
//!
//! That protocol knows no certificates: who reaches the node runs what it likes there. So it is off
//! unless asked for, and stays on this host unless insisted on.

use std::time::Duration;

use clap::Args;
use node::WorkerV1;
use wire::units::Span;

use crate::codes;
use crate::endpoint::endpoint;
use crate::errors::{Complaint, complaint};
use crate::values;

/// A message of more bytes is refused, unless told otherwise.
const PAYLOAD_MAX: u64 = 1 << 30;

#[derive(Args, Default)]
#[command(next_help_heading = "Worker socket protocol v1 (no certificates; off unless asked for)")]
pub(super) struct Flags {
    /// Serve controllers of protocol v1 at HOST:PORT or unix:PATH; may be given several times
    #[arg(long, value_name = "ADDR")]
    worker_v1: Vec<String>,
    /// Dial a controller of protocol v1, again and again, and serve it; may be given several times
    #[arg(long, value_name = "ADDR")]
    worker_v1_connect: Vec<String>,
    /// Let others than this host's users (TCP) and this user (Unix socket) run what they like here
    #[arg(long)]
    worker_v1_anyone: bool,
    /// Largest message of protocol v1 [default: 1G]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    worker_v1_payload_max: Option<u64>,
    /// How long a job of protocol v1 may run, and a core may load [default: no limit, and 30s]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    worker_v1_time_limit: Option<Duration>,
    /// How much memory a core of protocol v1 may use [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    worker_v1_memory: Option<u64>,
}

/// The same in the file of `--config`.
pub(super) struct Written {
    pub(super) listen: Vec<String>,
    pub(super) connect: Vec<String>,
    pub(super) anyone: bool,
    pub(super) payload_max: Option<String>,
    pub(super) time_limit: Option<String>,
    pub(super) memory: Option<String>,
}

impl Flags {
    pub(super) fn gather(self, written: Written) -> Result<WorkerV1, Complaint> {
        let size = |flag: Option<u64>, text: &Option<String>, name: &str| match (flag, text) {
            (None, Some(text)) => values::size(text).map(Some).map_err(|what| wrong(&what, name)),
            (flag, _) => Ok(flag),
        };
        let payload_max = size(self.worker_v1_payload_max, &written.payload_max, "payload_max")?;
        let memory = size(self.worker_v1_memory, &written.memory, "memory")?;
        let time = match (self.worker_v1_time_limit, &written.time_limit) {
            (None, Some(text)) => {
                Some(values::duration(text).map_err(|what| wrong(&what, "time_limit"))?)
            }
            (flag, _) => flag,
        };
        let anyone = self.worker_v1_anyone || written.anyone;
        let place = |text: &String| endpoint(text, anyone, "--worker-v1-anyone");
        let listen = either(self.worker_v1, written.listen);
        let connect = either(self.worker_v1_connect, written.connect);
        Ok(WorkerV1 {
            listen: listen.iter().map(place).collect::<Result<_, _>>()?,
            connect: connect.iter().map(place).collect::<Result<_, _>>()?,
            payload_max: payload_max.unwrap_or(PAYLOAD_MAX),
            memory: memory.unwrap_or(0),
            time: time.map_or(Span(0), Span::from),
            anyone,
        })
    }
}

pub(super) fn either<T>(flags: Vec<T>, written: Vec<T>) -> Vec<T> {
    if flags.is_empty() { written } else { flags }
}

fn wrong(what: &str, name: &str) -> Complaint {
    complaint(&codes::E0403, what).help(format!("correct `worker_v1_{name}` in the file"))
}
