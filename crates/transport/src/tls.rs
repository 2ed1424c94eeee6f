//! The TLS configurations: what each side shows, and what it accepts of the other.
//!
//! | side | shows | accepts |
//! |---|---|---|
//! | dial | its certificate | a chain to its authority, for `node.farcall` |
//! | join | nothing | a chain to the authority whose fingerprint the token names, for `node.farcall` |
//! | listen | its certificate | a chain to its authority, or no certificate at all: a stranger |
//!
//! TLS 1.3 only, one application protocol, no resumption and no early data.

use crate::credentials::Credentials;
use crate::error::Error;
use crate::identity::{Fingerprint, NODE_DNS_NAME};
use crate::session::Session;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};
use std::sync::Arc;

/// The application protocol that both sides must name (ALPN).
pub(crate) const PROTOCOL: &[u8] = b"farcall/2";

/// How this side dials.
#[derive(Clone)]
pub struct DialTls(Arc<ClientConfig>);

/// How this side answers.
#[derive(Clone)]
pub struct ListenTls(Arc<ServerConfig>);

impl DialTls {
    /// Dials nodes of the same authority, showing our certificate.
    pub fn new(credentials: &Credentials) -> Result<Self, Error> {
        let config = builder()?
            .with_root_certificates(roots(credentials.authority_certificate())?)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.key())));
        Ok(Self::finish(config))
    }

    /// Dials as a stranger, for the join conversation alone: the node must belong to the authority
    /// whose certificate has this fingerprint, which came with the token.
    pub fn join(authority: Fingerprint) -> Result<Self, Error> {
        let verifier = JoinVerifier { authority, provider: provider() };
        let config = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self::finish(config))
    }

    fn finish(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        // Every node has the same name: saying it in the clear helps nobody.
        config.enable_sni = false;
        Self(Arc::new(config))
    }

    pub(crate) fn session(&self) -> Result<Session, Error> {
        let session = UnbufferedClientConnection::new(self.0.clone(), node_name())
            .map_err(|source| Error::Tls { action: "begin a TLS session", source })?;
        Ok(Session::Dialled(Box::new(session)))
    }
}

impl ListenTls {
    /// Answers with our certificate. A peer without one is let in as a stranger, whom
    /// `Connection::peer` does not name.
    pub fn new(credentials: &Credentials) -> Result<Self, Error> {
        let roots = Arc::new(roots(credentials.authority_certificate())?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .allow_unauthenticated()
            .build()
            .map_err(|error| Error::Tls {
                action: "use the authority's certificate",
                source: rustls::Error::General(error.to_string()),
            })?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| Error::Tls { action: "configure TLS 1.3", source })?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.key())));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn session(&self) -> Result<Session, Error> {
        let session = UnbufferedServerConnection::new(self.0.clone())
            .map_err(|source| Error::Tls { action: "begin a TLS session", source })?;
        Ok(Session::Accepted(Box::new(session)))
    }
}

#[cfg(test)]
impl DialTls {
    /// Sends everything in records of 32 bytes.
    pub(crate) fn crumble(&mut self) {
        Arc::make_mut(&mut self.0).max_fragment_size = Some(32);
    }
}

#[cfg(test)]
impl ListenTls {
    /// Sends everything in records of 32 bytes, and tickets after the handshake.
    pub(crate) fn crumble(&mut self) {
        let config = Arc::make_mut(&mut self.0);
        config.max_fragment_size = Some(32);
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
        config.send_tls13_tickets = 4;
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| Error::Tls { action: "configure TLS 1.3", source })
}

fn roots(authority: &CertificateDer<'static>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.clone())
        .map_err(|source| Error::Tls { action: "use the authority's certificate", source })?;
    Ok(roots)
}

/// AES-128-GCM first: it is the fastest here, and 128 bits are enough.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..aws_lc_rs::default_provider()
    })
}

fn node_name() -> ServerName<'static> {
    ServerName::try_from(NODE_DNS_NAME).expect("a constant that is a DNS name")
}

/// Trusts the authority that the token names, and through it the node, by all the usual rules.
#[derive(Debug)]
struct JoinVerifier {
    authority: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for JoinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| Fingerprint::of(certificate) == self.authority)
            .ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
