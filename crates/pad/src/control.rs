//! The node's end of a pad: the socket over which connections come, and why a pad ends early.

use std::io;
use std::os::unix::net::UnixStream;

use sys::socket::recv_with_fds;
use worker::jail;

/// Why a pad ends early. Its client sees that it does.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the pad cannot be jailed")]
    Jail(#[from] jail::Error),
    #[error("cannot {action}")]
    Kernel { action: &'static str, source: io::Error },
    #[error("the node gave the pad no connection")]
    NoConnection,
}

pub(crate) fn kernel(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Kernel { action, source }
}

/// The next connection that the node gives us, and what it is for; `None`: it has hung up.
pub(crate) fn connection(control: &UnixStream) -> Result<Option<(u8, UnixStream)>, Error> {
    let mut what = [0; 1];
    let (count, mut descriptors) =
        recv_with_fds(control, &mut what, 1).map_err(kernel("take a connection"))?;
    let socket = descriptors.pop().filter(|_| count > 0).map(UnixStream::from);
    Ok(socket.map(|socket| (what[0], socket)))
}
