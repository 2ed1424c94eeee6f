//! How a cluster grows: a node redeems the tokens that strangers show, and keeps a link to each
//! node that it was told to join.
//!
//! A token is redeemed where the authority's key lies, and nowhere else. A link that breaks is
//! dialled again after a pause that doubles; one that comes up resets the pause.
//!
//! Elsewhere: the newcomer's half (`client`), what neighbours tell each other (`logic`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::time::SystemTime;

use logic::LinkId;
use transport::token::Secret;
use transport::{Authority, Tokens};
use wire::join::{Join, Joined};
use wire::units::{Span, Time};

use crate::Error;

/// The port of a node that is named without one.
const PORT: u16 = 4114;
/// The first pause before a lost neighbour is dialled again.
const PAUSE: Span = Span::from_millis(100);
const PAUSE_MAX: Span = Span::from_secs(5);

/// Uses a token up and signs what the newcomer asks for. What fails for reasons that are this
/// node's own is told in general words: the other side is a stranger.
pub(crate) fn redeem(folder: &Path, join: &Join) -> Joined {
    let now = SystemTime::now();
    let signed = || {
        let authority = Authority::load(folder)?.ok_or_else(|| transport::Error::NoAuthority {
            folder: folder.to_owned(),
            wanted: "newcomers".to_owned(),
        })?;
        let name = join.name.as_str().parse::<transport::Name>()?;
        let role = Tokens::open(folder)?.redeem(&Secret(join.secret), now)?;
        let certificate = authority.sign(&join.request, role, &name, now)?;
        Ok((certificate, authority))
    };
    match signed() {
        Ok((certificate, authority)) => Joined::Welcome {
            certificate: certificate.to_vec(),
            authority: authority.certificate().to_vec(),
        },
        Err(error) => Joined::Refused { reason: words_for_a_stranger(&error) },
    }
}

fn words_for_a_stranger(error: &transport::Error) -> String {
    use transport::Error;
    match error {
        Error::TokenUnknown | Error::TokenExpired | Error::BadRequest { .. } => error.to_string(),
        Error::NoAuthority { .. } => {
            "this node cannot sign certificates; join the node where the token was printed".into()
        }
        _ => "the node cannot use its credentials; its own `farcall auth status` says why".into(),
    }
}

/// Where others can reach a listener: one that is bound to all addresses is told by the address
/// that this host uses to reach others.
pub(crate) fn reachable(listener: SocketAddr) -> SocketAddr {
    let (any, far): (IpAddr, IpAddr) = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
        }
        _ => return listener,
    };
    // Connecting a datagram socket sends nothing: the kernel only chooses the way.
    let chosen = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((far, 9))?;
        socket.local_addr()
    });
    // A private network may lead nowhere else: then any address of this host will do.
    let same_kind = |ip: &IpAddr| ip.is_ipv4() == any.is_ipv4();
    let own = || sys::network::addresses().ok()?.into_iter().find(same_kind);
    let ip = chosen.map(|address| address.ip()).ok().or_else(own);
    let ip = ip.unwrap_or(Ipv4Addr::LOCALHOST.into());
    SocketAddr::new(ip, listener.port())
}

/// The nodes that this one was told to join.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    all: Vec<Neighbour>,
}

#[derive(Debug)]
struct Neighbour {
    address: SocketAddr,
    state: State,
    pause: Span,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Away { until: Time },
    Dialled { link: LinkId, since: Time },
}

impl Neighbours {
    /// Finds the addresses of `HOST` or `HOST:PORT`.
    pub(crate) fn find(now: Time, names: &[String]) -> Result<Self, Error> {
        let mut all = Vec::new();
        for name in names {
            let wrong = |source| Error::Resolve { address: name.clone(), source };
            let has_port = name.rsplit_once(':').is_some_and(|(host, port)| {
                port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
            });
            let found = if has_port {
                name.to_socket_addrs()
            } else {
                (name.trim_matches(['[', ']']), PORT).to_socket_addrs()
            };
            let none = || std::io::ErrorKind::NotFound.into();
            let address = found.map_err(wrong)?.next().ok_or_else(none).map_err(wrong)?;
            all.push(Neighbour { address, state: State::Away { until: now }, pause: PAUSE });
        }
        Ok(Self { all })
    }

    pub(crate) fn poll_timeout(&self) -> Time {
        let due = |neighbour: &Neighbour| match neighbour.state {
            State::Away { until } => until,
            State::Dialled { .. } => Time::NEVER,
        };
        self.all.iter().map(due).min().unwrap_or(Time::NEVER)
    }

    /// Dials whom it is time to dial; `dial` says which link came of it.
    pub(crate) fn dial(&mut self, now: Time, mut dial: impl FnMut(SocketAddr) -> Option<LinkId>) {
        for neighbour in &mut self.all {
            if matches!(neighbour.state, State::Away { until } if until <= now) {
                match dial(neighbour.address) {
                    Some(link) => neighbour.state = State::Dialled { link, since: now },
                    None => neighbour.rest(now),
                }
            }
        }
    }

    /// A link is over; perhaps it was one of these.
    pub(crate) fn closed(&mut self, now: Time, closed: LinkId) {
        for neighbour in &mut self.all {
            if let State::Dialled { link, since } = neighbour.state
                && link == closed
            {
                // One that held for a while was no failure to connect.
                if now.since(since) > PAUSE_MAX {
                    neighbour.pause = PAUSE;
                }
                neighbour.rest(now);
            }
        }
    }
}

impl Neighbour {
    fn rest(&mut self, now: Time) {
        self.state = State::Away { until: now + self.pause };
        self.pause = Span((self.pause.0 * 2).min(PAUSE_MAX.0));
    }
}

#[cfg(test)]
mod tests;
