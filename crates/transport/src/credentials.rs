//! The user's authority, and the certificates it signs.
//!
//! | file in the folder | what | where |
//! |---|---|---|
//! | `authority.pem` | the authority's certificate | everywhere |
//! | `authority-key.pem` | the key that signs | only where the cluster was begun |
//! | `node.pem`, `client.pem`, `admin.pem` | certificate and key of one role | where that role runs |
//! | `tokens` | hashes of outstanding join secrets | beside the authority's key (`token`) |
//! | `lock` | serialises changes | |
//!
//! Every start that finds what it needs only reads. Otherwise it takes the lock, looks again and
//! makes what is missing, so two first starts at once agree. A folder without the authority's key
//! belongs to a machine that joined: it cannot make certificates and says so.
//!
//! Keys pass through as few buffers as possible, and those are wiped; the text of a key is read and
//! written here alone (`pem`). Not covered: what the cryptographic library keeps in its own heap.

use crate::error::Error;
use crate::files::{LockedFolder, PrivateFolder};
use crate::identity::{Fingerprint, NODE_DNS_NAME, Name, Peer, Role};
use crate::pem;
use crate::secrets::{self, Secrets};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::{Zeroize, Zeroizing};

const AUTHORITY_FILE: &str = "authority.pem";
const AUTHORITY_KEY_FILE: &str = "authority-key.pem";

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(20 * 365 * DAY.as_secs());
const CERTIFICATE_VALIDITY: Duration = Duration::from_secs(365 * DAY.as_secs());
/// A certificate this near to its end is renewed at the next start, where the key to do so is.
const RENEWAL: Duration = Duration::from_secs(30 * DAY.as_secs());
/// Hosts' clocks differ: a certificate made here must be valid there now.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

/// The key that says who belongs to the cluster.
pub struct Authority {
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Authority {
    /// Loads the authority of this folder, making folder and authority at first use. Fails with
    /// `NoAuthority` on a machine that joined someone else's.
    pub fn load_or_create(folder: &Path, now: SystemTime) -> Result<Self, Error> {
        let folder = PrivateFolder::create(folder)?;
        match Self::read(&folder)? {
            Some(authority) => Ok(authority),
            None => Self::read_or_create(&folder, &folder.lock()?, now),
        }
    }

    /// Loads the authority of this folder, if its key is here.
    pub fn load(folder: &Path) -> Result<Option<Self>, Error> {
        PrivateFolder::open(folder)?.map_or(Ok(None), |folder| Self::read(&folder))
    }

    fn read(folder: &PrivateFolder) -> Result<Option<Self>, Error> {
        let Some(certificate) = read_authority(folder)? else { return Ok(None) };
        let path = folder.path().join(AUTHORITY_KEY_FILE);
        let damaged = |what| Error::Damaged { path: path.clone(), what };
        // Before the file's text and its key are in memory, and until the text is wiped: locals are
        // dropped in the opposite order.
        let mut secrets = Secrets::hold();
        let Some(text) = folder.read(AUTHORITY_KEY_FILE)? else { return Ok(None) };
        let der = pem::private_key(&text).ok_or_else(|| damaged("it holds no private key"))?;
        secrets.keep(&der);
        let key = PrivateKeyDer::try_from(&der[..])
            .ok()
            .and_then(|der| KeyPair::try_from(&der).ok())
            .ok_or_else(|| damaged("it holds no private key"))?;
        let this = Self { key, certificate };
        let (_, parsed) = X509Certificate::from_der(&this.certificate)
            .map_err(|_| damaged("its certificate does not parse"))?;
        if parsed.public_key().subject_public_key.data != this.key.public_key_raw() {
            return Err(damaged("its key is not that of authority.pem"));
        }
        Ok(Some(this))
    }

    fn read_or_create(
        folder: &PrivateFolder,
        locked: &LockedFolder<'_>,
        now: SystemTime,
    ) -> Result<Self, Error> {
        if let Some(authority) = Self::read(folder)? {
            return Ok(authority);
        }
        if read_authority(folder)?.is_some() {
            let wanted = "a new certificate".to_owned();
            return Err(Error::NoAuthority { folder: folder.path().to_owned(), wanted });
        }
        let authority = Self::create(now)?;
        let text = pem::write(authority.key.serialized_der(), pem::PRIVATE_KEY);
        // The key first: a crash in between leaves a key that nothing refers to, and the next start
        // replaces it.
        locked.replace(AUTHORITY_KEY_FILE, text.as_bytes())?;
        let text = pem::write(&authority.certificate, pem::CERTIFICATE);
        locked.replace(AUTHORITY_FILE, text.as_bytes())?;
        Ok(authority)
    }

    /// Makes an authority that no folder knows: for embedded clusters and tests.
    pub fn create(now: SystemTime) -> Result<Self, Error> {
        let failed = |source| Error::Certificate { action: "make an authority", source };
        let key = secrets::generate().map_err(failed)?;
        // Part of the key in the name, so that two authorities are never taken for one another.
        let mark = &Fingerprint::of(key.der_bytes()).to_string()[..16];
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("farcall authority {mark}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        set_validity(&mut params, now, AUTHORITY_VALIDITY);
        let certificate = params.self_signed(&key).map_err(failed)?.der().clone();
        Ok(Self { key, certificate })
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Signs a request from `make_csr`. The request proves that its sender holds the key; role and
    /// name come from the caller, whatever the request says of itself.
    pub fn sign(
        &self,
        csr: &[u8],
        role: Role,
        name: &Name,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, Error> {
        let csr = CertificateSigningRequestDer::from(csr);
        let request = CertificateSigningRequestParams::from_der(&csr)
            .map_err(|source| Error::BadRequest { source })?;
        self.certify(&request.public_key, role, name, now, CERTIFICATE_VALIDITY)
    }

    /// Makes a key and its certificate, without any file.
    pub fn issue(&self, role: Role, name: &Name, now: SystemTime) -> Result<Credentials, Error> {
        let request = make_csr(name)?;
        let certificate = self.certify(&request.key, role, name, now, CERTIFICATE_VALIDITY)?;
        request.finish(certificate, self.certificate.clone())
    }

    pub(crate) fn certify(
        &self,
        key: &impl PublicKeyData,
        role: Role,
        name: &Name,
        now: SystemTime,
        validity: Duration,
    ) -> Result<CertificateDer<'static>, Error> {
        let failed = |source| Error::Certificate { action: "sign a certificate", source };
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key).map_err(failed)?;
        let names = match role {
            Role::Node => vec![NODE_DNS_NAME.to_owned()],
            Role::Client | Role::Admin => Vec::new(),
        };
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationalUnitName, role.as_str());
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match role {
            Role::Node => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
            Role::Client | Role::Admin => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, validity);
        Ok(params.signed_by(key, &issuer).map_err(failed)?.der().clone())
    }
}

/// A key whose certificate is still to come, and the request for it.
pub struct Request {
    key: KeyPair,
    csr: Vec<u8>,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// Makes a key and a request for its certificate: what a machine that joins sends.
pub fn make_csr(name: &Name) -> Result<Request, Error> {
    let failed = |source| Error::Certificate { action: "make a certificate request", source };
    let key = secrets::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name.as_str());
    let csr = params.serialize_request(&key).map_err(failed)?.der().to_vec();
    Ok(Request { key, csr })
}

impl Request {
    /// The request in DER, to be sent.
    pub fn csr(&self) -> &[u8] {
        &self.csr
    }

    /// Joins the key with the certificate that came back.
    pub fn finish(
        &self,
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
    ) -> Result<Credentials, Error> {
        let mut der = PrivateKeyDer::try_from(self.key.serialize_der()).map_err(|_| {
            let source = rcgen::Error::CouldNotParseKeyPair;
            Error::Certificate { action: "encode a key", source }
        })?;
        let credentials = Credentials::new(certificate, authority, &der);
        der.zeroize();
        credentials
    }

    /// As `finish`, and keeps the result in `folder` for later starts. Refuses a folder that
    /// belongs to another authority.
    pub fn finish_in(
        &self,
        folder: &Path,
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
    ) -> Result<Credentials, Error> {
        let credentials = self.finish(certificate, authority)?;
        let folder = PrivateFolder::create(folder)?;
        let locked = folder.lock()?;
        match read_authority(&folder)? {
            Some(present) if present != credentials.authority => {
                return Err(Error::OtherAuthority { folder: folder.path().to_owned() });
            }
            Some(_) => (),
            None => {
                let text = pem::write(&credentials.authority, pem::CERTIFICATE);
                locked.replace(AUTHORITY_FILE, text.as_bytes())?;
            }
        }
        self.store(&locked, &credentials)?;
        Ok(credentials)
    }

    fn store(&self, locked: &LockedFolder<'_>, credentials: &Credentials) -> Result<(), Error> {
        let certificate = pem::write(&credentials.key.cert[0], pem::CERTIFICATE);
        let key = pem::write(self.key.serialized_der(), pem::PRIVATE_KEY);
        let mut text = Zeroizing::new(String::with_capacity(certificate.len() + key.len()));
        text.push_str(&certificate);
        text.push_str(&key);
        locked.replace(&role_file(credentials.role()), text.as_bytes())
    }
}

/// What one process shows of itself: certificate, key, and the authority it trusts.
#[derive(Clone)]
pub struct Credentials {
    key: CertifiedKey,
    authority: CertificateDer<'static>,
    own: Peer,
    valid_until: SystemTime,
}

impl Credentials {
    /// Loads this folder's credentials for `role`, making what is missing at first use: the folder,
    /// the authority, the certificate. A certificate for another name, or near its end, is replaced
    /// where the authority's key is; on a machine that joined, it is used as it is until it ends:
    /// compare `name()`.
    pub fn load_or_create(
        folder: &Path,
        role: Role,
        name: &Name,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let folder = PrivateFolder::create(folder)?;
        let fits = |found: &Self| found.name() == name && found.valid_until > now + RENEWAL;
        if let Some(found) = Self::read(&folder, role)?
            && fits(&found)
        {
            return Ok(found);
        }
        let locked = folder.lock()?;
        let found = Self::read(&folder, role)?;
        let authority = match (found, Authority::read_or_create(&folder, &locked, now)) {
            (Some(found), _) if fits(&found) => return Ok(found),
            (_, Ok(authority)) => authority,
            (Some(found), Err(Error::NoAuthority { .. })) if found.valid_until > now => {
                return Ok(found);
            }
            (_, Err(Error::NoAuthority { folder, .. })) => {
                return Err(Error::NoAuthority { folder, wanted: format!("role {role}") });
            }
            (_, Err(error)) => return Err(error),
        };
        let request = make_csr(name)?;
        let certificate = authority.certify(&request.key, role, name, now, CERTIFICATE_VALIDITY)?;
        let credentials = request.finish(certificate, authority.certificate.clone())?;
        request.store(&locked, &credentials)?;
        Ok(credentials)
    }

    /// Loads this folder's credentials for `role`, if they are there. They may have expired.
    pub fn load(folder: &Path, role: Role) -> Result<Option<Self>, Error> {
        PrivateFolder::open(folder)?.map_or(Ok(None), |folder| Self::read(&folder, role))
    }

    /// `None` also where the certificate is of an authority that has been replaced since.
    fn read(folder: &PrivateFolder, role: Role) -> Result<Option<Self>, Error> {
        let file = role_file(role);
        let damaged = |what| Error::Damaged { path: folder.path().join(&file), what };
        // Before the file's text and its key are in memory: dropped after both of them.
        let mut secrets = Secrets::hold();
        let Some(text) = folder.read(&file)? else { return Ok(None) };
        let Some(authority) = read_authority(folder)? else { return Ok(None) };
        let certificate = certificate(&text).ok_or_else(|| damaged("it holds no certificate"))?;
        if !is_signed_by(&certificate, &authority) {
            return Ok(None);
        }
        let der = pem::private_key(&text).ok_or_else(|| damaged("it holds no private key"))?;
        secrets.keep(&der);
        drop(text);
        // `new` holds them itself.
        drop(secrets);
        let key =
            PrivateKeyDer::try_from(&der[..]).map_err(|_| damaged("it holds no private key"))?;
        let credentials = Self::new(certificate, authority, &key);
        let credentials =
            credentials.map_err(|_| damaged("certificate and key do not fit together"))?;
        if credentials.role() != role {
            return Err(damaged("its certificate is for another role"));
        }
        Ok(Some(credentials))
    }

    pub(crate) fn new(
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
        key: &PrivateKeyDer<'_>,
    ) -> Result<Self, Error> {
        let unnamed = |missing| Error::PeerUnnamed { peer: "the authority".into(), missing };
        let own = Peer::of_certificate(&certificate).map_err(unnamed)?;
        if !is_signed_by(&certificate, &authority) {
            return Err(unnamed("signature"));
        }
        let valid_until = expiry(&certificate).ok_or(unnamed("validity"))?;
        secrets::remember(key);
        let action = "use a key and its certificate";
        let failed = |source| Error::Tls { action, source };
        let signer = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(key).map_err(failed)?;
        // The authority goes along in the chain: a machine that joins knows only its fingerprint.
        let key = CertifiedKey::new(vec![certificate, authority.clone()], signer);
        key.keys_match().map_err(failed)?;
        Ok(Self { key, authority, own, valid_until })
    }

    pub fn name(&self) -> &Name {
        &self.own.name
    }

    pub fn role(&self) -> Role {
        self.own.role
    }

    /// The end of the certificate's validity.
    pub fn valid_until(&self) -> SystemTime {
        self.valid_until
    }

    /// Of the authority that both sides trust.
    pub fn authority(&self) -> Fingerprint {
        Fingerprint::of(&self.authority)
    }

    pub fn authority_certificate(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    pub(crate) fn key(&self) -> CertifiedKey {
        self.key.clone()
    }

    /// Believes another authority than the one that signed.
    #[cfg(test)]
    pub(crate) fn trust(&mut self, authority: CertificateDer<'static>) {
        self.authority = authority;
    }

    /// Shows another authority in the chain than the one that signed.
    #[cfg(test)]
    pub(crate) fn show(&mut self, authority: CertificateDer<'static>) {
        self.key.cert[1] = authority;
    }
}

/// Who it is, never the key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("own", &self.own).finish_non_exhaustive()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("is", &self.fingerprint()).finish_non_exhaustive()
    }
}

fn role_file(role: Role) -> String {
    format!("{role}.pem")
}

fn read_authority(folder: &PrivateFolder) -> Result<Option<CertificateDer<'static>>, Error> {
    let Some(text) = folder.read(AUTHORITY_FILE)? else { return Ok(None) };
    certificate(&text).map(Some).ok_or_else(|| Error::Damaged {
        path: folder.path().join(AUTHORITY_FILE),
        what: "it holds no certificate",
    })
}

/// The first certificate of a PEM file.
fn certificate(text: &[u8]) -> Option<CertificateDer<'static>> {
    Some(CertificateDer::from(pem::section(text, pem::CERTIFICATE)?.to_vec()))
}

fn is_signed_by(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> bool {
    let parsed = (X509Certificate::from_der(certificate), X509Certificate::from_der(authority));
    let (Ok((_, certificate)), Ok((_, authority))) = parsed else { return false };
    certificate.issuer() == authority.subject()
        && certificate.verify_signature(Some(authority.public_key())).is_ok()
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, validity: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + validity;
}

#[cfg(test)]
mod tests;
