//! A machine without credentials gets some: it shows a token to a node and keeps the certificate
//! that comes back.
//!
//! ```text
//! this side                               node
//!   TLS: the authority that the token names, no certificate of our own
//!   VERSION, HELLO (join), JOIN    ->
//!                                  <-     VERSION, WELCOME, JOINED
//! ```
//!
//! Elsewhere: printing tokens and redeeming them (`transport`), the node's half (`node`).

use std::path::Path;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token as Source};
use transport::{Connection, Credentials, DialTls, Fingerprint, ReadOutcome, Token, make_csr};
use wire::Message;
use wire::hello::{Hello, Purpose, VERSION};
use wire::join::{Join, Joined};
use wire::limits::CONTROL_BODY_MAX;

use crate::Error;
use crate::cluster::resolve;
use crate::error::chain;
use crate::nodes::Target;

/// How long the whole conversation may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Joins a cluster: shows `token` to the node at `address`, gets a certificate for `name` and keeps
/// it in `folder`, for this start and later ones. The token says for which role; it is used up.
pub fn join(
    address: &str,
    token: &Token,
    name: &transport::Name,
    folder: &Path,
) -> Result<Credentials, Error> {
    let credentials = |source| Error::Credentials { source };
    let refused = |reason: String| Error::Join { address: address.to_owned(), reason };
    let request = make_csr(name).map_err(credentials)?;
    let Ok(name) = name.as_str().parse::<wire::name::Name>() else {
        unreachable!("a certificate's name is a name: {name}")
    };
    let agent = concat!("farcall ", env!("CARGO_PKG_VERSION")).to_owned();
    let secret = token.secret.0;
    let words = [
        Message::Version(VERSION),
        Message::Hello(Hello { agent, name: name.clone(), purpose: Purpose::Join }),
        Message::Join(Join { secret, name, request: request.csr().to_vec() }),
    ];
    let tls = DialTls::join(token.authority).map_err(credentials)?;
    let (certificate, authority) = match converse(address, &tls, &words)? {
        Joined::Welcome { certificate, authority } => (certificate, authority),
        Joined::Refused { reason } => return Err(refused(reason)),
    };
    if Fingerprint::of(&authority) != token.authority {
        return Err(refused("it sent another authority than the token names".to_owned()));
    }
    request.finish_in(folder, certificate.into(), authority.into()).map_err(credentials)
}

/// Says everything at once and waits for the answer.
fn converse(address: &str, tls: &DialTls, words: &[Message]) -> Result<Joined, Error> {
    let kernel = |source| Error::Kernel { action: "wait for a node's answer", source };
    let Target::Tcp(target) = resolve(address)? else {
        let reason = "a token is shown over TCP; programs of the same user need none".to_owned();
        return Err(Error::Join { address: address.to_owned(), reason });
    };
    let failed = |error: transport::Error| {
        if error.is_refusal() {
            return Error::Credentials { source: error };
        }
        Error::Unreachable { attempts: format!("{address} ({})", chain(&error)) }
    };
    let mut connection = Connection::dial(target, tls).map_err(failed)?;
    for message in words {
        message.encode(0, connection.output());
    }
    let mut poll = Poll::new().map_err(kernel)?;
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut connection, Source(0), both).map_err(kernel)?;
    let mut events = Events::with_capacity(8);
    let until = Instant::now() + PATIENCE;
    let late = || Error::Unreachable { attempts: format!("{address} (no answer)") };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        match poll.poll(&mut events, Some(left)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            result => result.map_err(kernel)?,
        }
        for event in &events {
            connection.observe(event);
        }
        loop {
            let outcome = connection.read().map_err(failed)?;
            if let Some(joined) = answer(&mut connection, address)? {
                connection.close();
                return Ok(joined);
            }
            match outcome {
                ReadOutcome::More => {}
                ReadOutcome::Drained => break,
                ReadOutcome::Closed => return Err(late()),
            }
        }
        connection.flush().map_err(failed)?;
    }
}

/// The answer, once it is there.
fn answer(connection: &mut Connection, address: &str) -> Result<Option<Joined>, Error> {
    let broken = |reason: String| Error::Unreachable { attempts: format!("{address} ({reason})") };
    loop {
        let frame = wire::frame::take(connection.input(), CONTROL_BODY_MAX);
        let Some(frame) = frame.map_err(|error| broken(error.to_string()))? else {
            return Ok(None);
        };
        match wire::decode(frame).map_err(|error| broken(error.to_string()))?.1 {
            Message::Joined(joined) => return Ok(Some(joined)),
            Message::Goodbye(goodbye) => {
                return Err(broken(format!("it said goodbye: {goodbye:?}")));
            }
            // The greeting.
            _ => {}
        }
    }
}
