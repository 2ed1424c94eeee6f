//! A blocking connection that speaks in lines and counted bytes, as the stores' protocols do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// More than any answer to one burst of questions needs at once.
const BUFFER: usize = 256 << 10;

pub(super) struct Line {
    input: BufReader<TcpStream>,
    socket: TcpStream,
    /// What leaves with the next `flush`.
    pub(super) output: Vec<u8>,
    line: Vec<u8>,
}

impl Line {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let input = BufReader::with_capacity(BUFFER, socket.try_clone()?);
        Ok(Self { input, socket, output: Vec::new(), line: Vec::new() })
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// The next line, without its end.
    pub(super) fn line(&mut self) -> io::Result<&[u8]> {
        self.line.clear();
        self.input.read_until(b'\n', &mut self.line)?;
        match self.line.strip_suffix(b"\r\n") {
            Some(line) => Ok(line),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The next `count` bytes, into `bytes`.
    pub(super) fn take(&mut self, count: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.resize(count, 0);
        self.input.read_exact(bytes)
    }

    /// Passes over the end of a line.
    pub(super) fn end_of_line(&mut self) -> io::Result<()> {
        let mut end = [0; 2];
        self.input.read_exact(&mut end)
    }
}
