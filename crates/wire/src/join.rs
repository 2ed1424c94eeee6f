//! A stranger with a token becomes a member: its request for a certificate, and the answer.
//!
//! The only conversation that needs no certificate. The stranger has checked the node's authority
//! against the fingerprint in the token; the node checks the one-time secret.

use serde::{Deserialize, Serialize};

use crate::name::Name;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    pub secret: [u8; 16],
    pub name: Name,
    /// A PKCS#10 certificate request, DER.
    pub request: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Joined {
    /// The new certificate and the authority's, DER.
    Welcome {
        certificate: Vec<u8>,
        authority: Vec<u8>,
    },
    Refused {
        reason: String,
    },
}
