//! What a stranger meets at an address: for checks of one's own ports, and nothing else.
//!
//! The one place that believes whatever certificate is shown to it. What it says there is what
//! anyone could say, and what it hears is only counted and shown: no secret may pass through here.
//! It blocks, for a time that its caller bounds.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::credentials::Authority;
use crate::error::Error;
use crate::identity::{Fingerprint, NODE_DNS_NAME, Role};
use crate::tls::{PROTOCOL, provider};

/// What is heard is kept up to here, and counted beyond.
const HEARD_MAX: usize = 16 * 1024;
/// Whoever says so much to a stranger has been listened to for long enough.
const RECEIVED_MAX: u64 = 1 << 20;

/// As whom a stranger comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disguise {
    /// Without TLS.
    Plain,
    /// TLS, and no certificate.
    NoCertificate,
    /// TLS, and a certificate of an authority of its own.
    ForeignCertificate,
}

/// What came of it.
#[derive(Debug)]
pub struct Met {
    /// Bytes that came over the socket, those of TLS included.
    pub received: u64,
    /// What was said to us, without TLS; its beginning, if it is long.
    pub heard: Vec<u8>,
    /// The other side ended the connection.
    pub closed: bool,
    /// How long that took, or how long we waited for it in vain.
    pub after: Duration,
    /// Our side of a TLS handshake was over. The other side may have thought differently.
    pub encrypted: bool,
    /// Of the last certificate that was shown.
    pub authority: Option<Fingerprint>,
}

/// Connects, says something, and listens until the other side hangs up, or for so long.
pub fn meet(
    address: SocketAddr,
    disguise: Disguise,
    says: &[u8],
    patience: Duration,
) -> Result<Met, Error> {
    let begin = Instant::now();
    let unreachable = |source| Error::Unreachable { peer: address, source };
    let stream = TcpStream::connect_timeout(&address, patience).map_err(unreachable)?;
    let mut meeting = Meeting { stream, begin, patience, met: Met::nothing() };
    match disguise {
        Disguise::Plain => meeting.plainly(says),
        Disguise::NoCertificate | Disguise::ForeignCertificate => {
            let config = Arc::new(config(disguise)?);
            let name = ServerName::try_from(NODE_DNS_NAME).expect("a constant that is a DNS name");
            let tls = ClientConnection::new(config, name)
                .map_err(|source| Error::Tls { action: "begin a TLS session", source })?;
            meeting.encrypted(tls, says);
        }
    }
    meeting.met.after = begin.elapsed();
    let _ = meeting.stream.shutdown(Shutdown::Both);
    Ok(meeting.met)
}

impl Met {
    fn nothing() -> Self {
        let (received, heard, after) = (0, Vec::new(), Duration::ZERO);
        Self { received, heard, closed: false, after, encrypted: false, authority: None }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let room = HEARD_MAX.saturating_sub(self.heard.len());
        self.heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

struct Meeting {
    stream: TcpStream,
    begin: Instant,
    patience: Duration,
    met: Met,
}

impl Meeting {
    fn plainly(&mut self, says: &[u8]) {
        // A side that hangs up while we speak has answered, too.
        let _ = self.stream.set_write_timeout(Some(self.patience));
        let _ = self.stream.write_all(says);
        let mut bytes = [0; 4096];
        while let Some(count) = self.read(&mut bytes) {
            self.met.hear(&bytes[..count]);
        }
    }

    fn encrypted(&mut self, mut tls: ClientConnection, says: &[u8]) {
        let _ = self.stream.set_write_timeout(Some(self.patience));
        let mut said = false;
        let mut bytes = [0; 4096];
        loop {
            if !tls.is_handshaking() && !said {
                said = true;
                self.met.encrypted = true;
                let shown = tls.peer_certificates().and_then(<[_]>::last);
                self.met.authority = shown.map(|certificate| Fingerprint::of(certificate));
                let _ = tls.writer().write_all(says);
            }
            while tls.wants_write() && tls.write_tls(&mut self.stream).is_ok() {}
            let Some(count) = self.read(&mut bytes) else { return };
            let mut rest = &bytes[..count];
            while !rest.is_empty() {
                let fed = tls.read_tls(&mut rest);
                if fed.is_err() || tls.process_new_packets().is_err() {
                    // Refused in the words of TLS, or no TLS at all. It may still hang up by itself.
                    let _ = tls.write_tls(&mut self.stream);
                    while self.read(&mut bytes).is_some() {}
                    return;
                }
                let mut plain = [0; 4096];
                while let Ok(count @ 1..) = tls.reader().read(&mut plain) {
                    self.met.hear(&plain[..count]);
                }
            }
        }
    }

    /// `None`: the other side has hung up, said far too much, or the time is over.
    fn read(&mut self, bytes: &mut [u8]) -> Option<usize> {
        loop {
            let left = self.patience.checked_sub(self.begin.elapsed());
            let left = left.filter(|left| !left.is_zero())?;
            let _ = self.stream.set_read_timeout(Some(left));
            match self.stream.read(bytes) {
                Ok(0) => self.met.closed = true,
                Ok(count) => {
                    self.met.received += count as u64;
                    return (self.met.received <= RECEIVED_MAX).then_some(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let waits = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
                    self.met.closed = !waits.contains(&error.kind());
                }
            }
            return None;
        }
    }
}

fn config(disguise: Disguise) -> Result<ClientConfig, Error> {
    let failed = |source| Error::Tls { action: "configure TLS 1.3", source };
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = match disguise {
        Disguise::Plain | Disguise::NoCertificate => config.with_no_client_auth(),
        Disguise::ForeignCertificate => {
            let now = SystemTime::now();
            let own = Authority::create(now)?.issue(Role::Admin, &"stranger".parse()?, now)?;
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.key())))
        }
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.enable_sni = false;
    Ok(config)
}

/// Believes everything: it is the others' behaviour that is looked at.
struct Gullible;

impl fmt::Debug for Gullible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gullible")
    }
}

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
