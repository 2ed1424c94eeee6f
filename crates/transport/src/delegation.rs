//! What a copy of a client shows of itself: a key and a certificate of its own, for a day.
//!
//! They are made where the authority's key is, under the client's name, and travel beside the copy's memory,
//! never in it.

use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use wire::delegation::Delegation;
use zeroize::{Zeroize, Zeroizing};

use crate::credentials::{Authority, Credentials, DAY};
use crate::error::Error;
use crate::identity::{Name, Role};
use crate::secrets;

/// How long a copy may link to nodes. A day: there is nobody who could take a certificate back.
pub const DELEGATION_VALIDITY: Duration = DAY;

impl Authority {
    /// A key and a client's certificate for it, as the bytes that a copy is handed on.
    pub fn delegate(&self, name: &Name, now: SystemTime) -> Result<Zeroizing<Vec<u8>>, Error> {
        let failed =
            |source| Error::Certificate { action: "make a certificate for a copy", source };
        let mut key = secrets::generate().map_err(failed)?;
        let certificate =
            self.certify(&key, Role::Client, name, now, DELEGATION_VALIDITY)?.to_vec();
        let authority = self.certificate().to_vec();
        let mut delegation =
            Delegation::Given { certificate, authority, key: key.serialized_der().to_vec() };
        key.zeroize();
        let encoded = delegation.encode().map(Zeroizing::new);
        wipe(&mut delegation);
        encoded.map_err(|_| failed(rcgen::Error::CouldNotParseCertificate))
    }
}

impl Credentials {
    /// What was handed on, without its length. The inner error is why nothing was.
    pub fn of_delegation(body: &[u8]) -> Result<Result<Self, String>, Error> {
        let damaged = || Error::Damaged {
            path: "standard input".into(),
            what: "it is not what a copy is handed on",
        };
        let mut delegation = Delegation::decode(body).map_err(|_| damaged())?;
        let read = match &delegation {
            Delegation::Withheld { reason } => Ok(Err(reason.clone())),
            Delegation::Given { certificate, authority, key } => {
                let [certificate, authority] =
                    [certificate, authority].map(|der| CertificateDer::from(der.clone()));
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(&key[..]));
                Self::new(certificate, authority, &key).map(Ok)
            }
        };
        wipe(&mut delegation);
        read
    }
}

fn wipe(delegation: &mut Delegation) {
    if let Delegation::Given { key, .. } = delegation {
        key.zeroize();
    }
}

#[cfg(test)]
mod tests;
