//! A blocking connection that speaks in lines and counted bytes, as the stores' protocols do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, StreamOwned};

use crate::error::Error;
use crate::raw::tls::trusting;

/// More than any answer to one burst of questions needs at once.
const BUFFER: usize = 256 << 10;

pub(super) struct Line {
    stream: BufReader<Stream>,
    /// What leaves with the next `flush`.
    pub(super) output: Vec<u8>,
    line: Vec<u8>,
}

enum Stream {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Line {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        dial(address).map(Stream::Tcp).map(Self::over)
    }

    /// The same with TLS 1.3; the server shows this certificate.
    pub(super) fn connect_tls(
        address: SocketAddr,
        certificate: CertificateDer<'static>,
    ) -> Result<Self, Error> {
        let socket = dial(address).map_err(Error::kernel("connect to a peer"))?;
        let stream = StreamOwned::new(trusting(certificate)?, socket);
        Ok(Self::over(Stream::Tls(Box::new(stream))))
    }

    fn over(stream: Stream) -> Self {
        let stream = BufReader::with_capacity(BUFFER, stream);
        Self { stream, output: Vec::new(), line: Vec::new() }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self.stream.get_mut() {
            Stream::Tcp(stream) => stream.write_all(&self.output)?,
            Stream::Tls(stream) => stream.write_all(&self.output)?,
        }
        self.output.clear();
        Ok(())
    }

    /// The next line, without its end.
    pub(super) fn line(&mut self) -> io::Result<&[u8]> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line)?;
        match self.line.strip_suffix(b"\r\n") {
            Some(line) => Ok(line),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The next `count` bytes, into `bytes`.
    pub(super) fn take(&mut self, count: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.resize(count, 0);
        self.stream.read_exact(bytes)
    }

    /// Passes over the end of a line.
    pub(super) fn end_of_line(&mut self) -> io::Result<()> {
        let mut end = [0; 2];
        self.stream.read_exact(&mut end)
    }
}

fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}
