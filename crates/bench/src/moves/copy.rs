//! The raw reference: as many bytes from one process to another, into huge pages, and nothing else.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::subject::{Program, pipe_in};
use crate::error::Error;

/// Microseconds of a copy of so many MiB over a Unix socket.
pub(super) fn raw(program: &Program, mib: u64) -> Result<f64, Error> {
    let (from, to) = UnixStream::pair().map_err(Error::kernel("pair sockets"))?;
    let size = mib.to_string();
    let (mut start, input) = pipe_in()?;
    let _sender = program.start_with(&["raw-send", &size], vec![(from.into(), 3), (input, 0)])?;
    let (mut ready, input) = pipe_in()?;
    let mut receiver =
        program.start_with(&["raw-receive", &size], vec![(to.into(), 3), (input, 0)])?;
    let mut value = 0;
    // The first warms what the second is measured with.
    for _ in 0..2 {
        for order in [&mut ready, &mut start] {
            order.write_all(b"go\n").map_err(Error::kernel("order a copy"))?;
        }
        [value] = receiver.said("received")?;
    }
    Ok(value as f64 / 1e3)
}
