//! Who someone is: a name, a role, and the fingerprint of the certificate that says so.
//!
//! Elsewhere: making certificates (`credentials`), checking them (`tls`).

use crate::error::Error;
use std::fmt;
use std::str::FromStr;
pub use wire::name::Name;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

/// What a certificate's holder may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs tasks; speaks to other nodes.
    Node,
    /// Submits tasks.
    Client,
    /// Submits tasks and changes the cluster: tokens, drains.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Node, Self::Client, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| Error::BadRole { role: text.chars().take(ROLE_SHOWN_MAX).collect() })
    }
}

/// The name in every node's certificate. Nodes are trusted because the authority signed them, not
/// for where they answer, so one name serves all.
pub(crate) const NODE_DNS_NAME: &str = "node.farcall";

/// Letters of a text that was to be a role, in a message.
const ROLE_SHOWN_MAX: usize = 16;

/// BLAKE3 of a certificate's DER bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub fn of(der: &[u8]) -> Self {
        Self(*blake3::hash(der).as_bytes())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// The other end of a connection, once it has proved itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    pub name: Name,
    pub role: Role,
    /// Of its certificate; `None` on a Unix socket, where the kernel vouches instead.
    pub fingerprint: Option<Fingerprint>,
}

impl Peer {
    /// Reads name and role from a certificate that has been verified. The error is the word for
    /// what is missing.
    pub(crate) fn of_certificate(der: &[u8]) -> Result<Self, &'static str> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| "certificate")?;
        let subject = certificate.subject();
        let name = only(subject.iter_common_name()).and_then(|text| text.parse::<Name>().ok());
        let role = only(subject.iter_organizational_unit()).and_then(|text| text.parse().ok());
        Ok(Self {
            name: name.ok_or("name")?,
            role: role.ok_or("role")?,
            fingerprint: Some(Fingerprint::of(der)),
        })
    }
}

/// The text of an attribute that stands there exactly once.
fn only<'a>(
    mut attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Option<&'a str> {
    let text = attributes.next()?.as_str().ok()?;
    attributes.next().is_none().then_some(text)
}
