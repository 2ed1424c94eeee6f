//! The TLS half of a connection, without its socket: records to plaintext and back.
//!
//! rustls' unbuffered interface decrypts in the caller's buffer, so bytes are copied once on the
//! way in, from the record to the caller's `BytesMut`. Every step is "give it bytes, obey the state
//! it answers with"; this file is that obedience and decides nothing else.

use bytes::BytesMut;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

/// Largest plaintext of one TLS record.
pub(crate) const RECORD_MAX: usize = 16 * 1024;

/// What a record adds to its plaintext: header, content type, tag.
pub(crate) const RECORD_OVERHEAD: usize = 5 + 1 + 16;

/// Room kept free for a key update that rustls puts before a record on its own.
pub(crate) const KEY_UPDATE_ROOM: usize = 256;

/// One end of a TLS conversation.
pub(crate) enum Session {
    Dialled(Box<UnbufferedClientConnection>),
    Accepted(Box<UnbufferedServerConnection>),
}

/// What to encrypt.
#[derive(Clone, Copy)]
pub(crate) enum What<'a> {
    Data(&'a [u8]),
    Goodbye,
}

/// What `Session::decrypt` did.
pub(crate) struct Decrypted {
    /// Bytes at the front of `records` that are used up.
    pub(crate) consumed: usize,
    /// The peer said goodbye: nothing follows.
    pub(crate) closed: bool,
}

impl Session {
    pub(crate) fn is_handshaking(&self) -> bool {
        match self {
            Self::Dialled(session) => session.is_handshaking(),
            Self::Accepted(session) => session.is_handshaking(),
        }
    }

    /// The application protocol that both sides agreed on.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Dialled(session) => session.alpn_protocol(),
            Self::Accepted(session) => session.alpn_protocol(),
        }
    }

    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match self {
            Self::Dialled(session) => session.peer_certificates(),
            Self::Accepted(session) => session.peer_certificates(),
        }
    }

    /// Decrypts the whole records in `records` and appends their plaintext to `input`. What the
    /// handshake wants to say is appended to `outgoing`, also when this fails: then it is the alert
    /// that tells the peer why.
    pub(crate) fn decrypt(
        &mut self,
        records: &mut [u8],
        input: &mut BytesMut,
        outgoing: &mut Vec<u8>,
    ) -> Result<Decrypted, rustls::Error> {
        match self {
            Self::Dialled(session) => decrypt(&mut **session, records, input, outgoing),
            Self::Accepted(session) => decrypt(&mut **session, records, input, outgoing),
        }
    }

    /// Encrypts into `records` and returns the length written; 0 while the handshake is not over.
    /// `records` must hold it with its overhead and `KEY_UPDATE_ROOM`. `partial` is what the last
    /// `decrypt` left: the session remembers places in it, even to write.
    pub(crate) fn encrypt(
        &mut self,
        what: What<'_>,
        partial: &mut [u8],
        records: &mut [u8],
    ) -> Result<usize, rustls::Error> {
        match self {
            Self::Dialled(session) => encrypt(&mut **session, what, partial, records),
            Self::Accepted(session) => encrypt(&mut **session, what, partial, records),
        }
    }
}

/// What rustls gives both ends, but under no common trait.
trait Process {
    type Data;
    /// It holds encoded messages for the peer.
    fn has_queued(&self) -> bool;
    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8])
    -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Process for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn has_queued(&self) -> bool {
        self.wants_write()
    }
    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

impl Process for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn has_queued(&self) -> bool {
        self.wants_write()
    }
    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

fn decrypt<P: Process>(
    session: &mut P,
    records: &mut [u8],
    input: &mut BytesMut,
    outgoing: &mut Vec<u8>,
) -> Result<Decrypted, rustls::Error> {
    let mut done = Decrypted { consumed: 0, closed: false };
    loop {
        let UnbufferedStatus { mut discard, state } =
            session.process(&mut records[done.consumed..]);
        let finished = match state {
            Err(error) => {
                queue_alert(session, &mut records[done.consumed + discard..], outgoing);
                return Err(error);
            }
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    input.extend_from_slice(record.payload);
                }
                false
            }
            Ok(ConnectionState::EncodeTlsData(mut handshake)) => {
                append(outgoing, |room| handshake.encode(room));
                false
            }
            // `outgoing` is sent in order before anything else, so it counts as sent.
            Ok(ConnectionState::TransmitTlsData(handshake)) => {
                handshake.done();
                false
            }
            Ok(ConnectionState::PeerClosed) => {
                done.closed = true;
                false
            }
            // Early data is off in both configurations, so there is none to read; and what rustls
            // may add later cannot be obeyed without knowing it.
            Ok(_) => true,
        };
        done.consumed += discard;
        if finished {
            return Ok(done);
        }
    }
}

/// After a failure rustls holds an alert for the peer; without it the peer sees a bare cut.
fn queue_alert<P: Process>(session: &mut P, rest: &mut [u8], outgoing: &mut Vec<u8>) {
    // Alerts come out before `rest` is looked at, and it must not be looked at any more.
    while session.has_queued() {
        match session.process(rest).state {
            Ok(ConnectionState::EncodeTlsData(mut alert)) => {
                append(outgoing, |room| alert.encode(room));
            }
            _ => return,
        }
    }
}

fn encrypt<P: Process>(
    session: &mut P,
    what: What<'_>,
    partial: &mut [u8],
    records: &mut [u8],
) -> Result<usize, rustls::Error> {
    let mut written = 0;
    loop {
        let UnbufferedStatus { discard, state } = session.process(partial);
        assert!(discard == 0, "decrypt left something to do");
        match state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                let room = &mut records[written..];
                let result = match what {
                    What::Data(plaintext) => traffic.encrypt(plaintext, room),
                    What::Goodbye => traffic.queue_close_notify(room),
                };
                return match result {
                    Ok(n) => Ok(written + n),
                    Err(EncryptError::EncryptExhausted) => Err(rustls::Error::EncryptError),
                    Err(EncryptError::InsufficientSize(size)) => {
                        unreachable!("callers leave room for {} bytes", size.required_size)
                    }
                };
            }
            // A key update that rustls decided on: it goes before the data, in the same write.
            ConnectionState::EncodeTlsData(mut handshake) => {
                match handshake.encode(&mut records[written..]) {
                    Ok(n) => written += n,
                    Err(error) => unreachable!("callers leave room for a key update: {error}"),
                }
            }
            ConnectionState::TransmitTlsData(handshake) => handshake.done(),
            ConnectionState::PeerClosed => (),
            _ => return Ok(written),
        }
    }
}

/// Grows `outgoing` by what `encode` writes.
fn append(outgoing: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let start = outgoing.len();
    let mut room = 2 * 1024;
    loop {
        outgoing.resize(start + room, 0);
        match encode(&mut outgoing[start..]) {
            Ok(n) => return outgoing.truncate(start + n),
            Err(EncodeError::InsufficientSize(size)) => room = size.required_size,
            Err(EncodeError::AlreadyEncoded) => return outgoing.truncate(start),
        }
    }
}
