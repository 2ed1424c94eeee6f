//! TLS 1.3 with AES-128-GCM over a blocking socket, for the raw references and for Redis.
//!
//! The certificate is made for the one connection and crosses it in the clear, before the
//! handshake: this measures encryption, it protects nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::error::Error;

pub(crate) const NAME: &str = "localhost";
/// No certificate of ours comes near this.
const CERTIFICATE_MAX: usize = 16 << 10;

/// The server's side, up to the end of the handshake.
pub(super) fn accept(
    mut socket: TcpStream,
) -> Result<StreamOwned<ServerConnection, TcpStream>, Error> {
    let own = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let certificate = own.cert.der().clone();
    let length = (certificate.len() as u32).to_le_bytes();
    socket.write_all(&length).map_err(Error::kernel("send a certificate"))?;
    socket.write_all(&certificate).map_err(Error::kernel("send a certificate"))?;

    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused("take TLS 1.3"))?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(refused("take a certificate"))?;
    config.send_tls13_tickets = 0;
    let mut connection =
        ServerConnection::new(Arc::new(config)).map_err(refused("accept a connection"))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(Error::kernel("shake hands"))?;
    }
    Ok(StreamOwned::new(connection, socket))
}

/// The client's side. The first read shakes hands.
pub(super) fn connect(
    mut socket: TcpStream,
) -> Result<StreamOwned<ClientConnection, TcpStream>, Error> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).map_err(Error::kernel("receive a certificate"))?;
    let length = (u32::from_le_bytes(length) as usize).min(CERTIFICATE_MAX);
    let mut certificate = vec![0; length];
    socket.read_exact(&mut certificate).map_err(Error::kernel("receive a certificate"))?;

    trusting(CertificateDer::from(certificate))
        .map(|connection| StreamOwned::new(connection, socket))
}

/// A client's connection to a server that shows this certificate.
pub(crate) fn trusting(certificate: CertificateDer<'static>) -> Result<ClientConnection, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(refused("trust a certificate"))?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused("take TLS 1.3"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(NAME).expect("a valid DNS name");
    ClientConnection::new(Arc::new(config), name).map_err(refused("open a connection"))
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(provider)
}

fn refused(action: &'static str) -> impl FnOnce(rustls::Error) -> Error {
    move |source| Error::Tls { action, source }
}
