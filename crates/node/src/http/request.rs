//! What is made of a request's head: a page, or a refusal. No I/O.

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::limits::HTTP_HEAD_MAX;

/// Header lines of one request; collectors send fewer than ten.
const HEADERS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Misdirected,
    HeadTooLarge,
    Unavailable,
}

impl Status {
    pub(super) const ALL: [Self; 8] = [
        Self::Ok,
        Self::BadRequest,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Misdirected,
        Self::HeadTooLarge,
        Self::Unavailable,
    ];

    pub(super) fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Misdirected => 421,
            Self::HeadTooLarge => 431,
            Self::Unavailable => 503,
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::Misdirected => "Misdirected Request",
            Self::HeadTooLarge => "Request Header Fields Too Large",
            Self::Unavailable => "Service Unavailable",
        }
    }

    /// For people who look at it with a browser.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::BadRequest => "this is no request of HTTP/1.1 for a path on this node",
            Self::Forbidden => "web pages of others may not read this",
            Self::NotFound => "there are /metrics and /healthz",
            Self::MethodNotAllowed => "this is read-only: GET and HEAD",
            Self::Misdirected => {
                "ask for an IP address or localhost, or start the node with --http-name NAME"
            }
            Self::HeadTooLarge => "a request's head may have 4096 bytes",
            Self::Unavailable => "not available",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Contents,
    Metrics,
    Health,
    Refusal(Status),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) page: Page,
    pub(super) with_body: bool,
}

impl Answer {
    /// Never cached, never another type than it says, never for another origin, and the last one.
    pub(super) fn head(self, status: Status, length: usize) -> String {
        let allow = match status {
            Status::MethodNotAllowed => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        let kind = match self.page {
            Page::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Page::Contents | Page::Health | Page::Refusal(_) => "text/plain; charset=utf-8",
        };
        format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}\
             Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Cross-Origin-Resource-Policy: same-origin\r\n\r\n",
            status.code(),
            status.phrase()
        )
    }
}

/// `None`: more of the head is to come.
pub(super) fn judge(bytes: &[u8], names: &[String]) -> Option<Answer> {
    let refuse = |status| Some(Answer { page: Page::Refusal(status), with_body: true });
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) if bytes.len() < HTTP_HEAD_MAX => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return refuse(Status::HeadTooLarge);
        }
        Err(_) => return refuse(Status::BadRequest),
        Ok(httparse::Status::Complete(_)) => {}
    }
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return refuse(Status::BadRequest);
    };
    let mut hosts = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case("host"));
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_ours(host.value, names) => {}
        (Some(_), None) => return refuse(Status::Misdirected),
        // Health checks of old balancers; no browser is as old.
        (None, None) if request.version == Some(0) => {}
        (None, _) | (Some(_), Some(_)) => return refuse(Status::BadRequest),
    }
    // Only browsers say on behalf of which page they ask.
    if request.headers.iter().any(|header| header.name.eq_ignore_ascii_case("origin")) {
        return refuse(Status::Forbidden);
    }
    let with_body = match method {
        "GET" => true,
        "HEAD" => false,
        _ => return refuse(Status::MethodNotAllowed),
    };
    // A whole URL names a host once more: nobody needs that here.
    if !target.starts_with('/') {
        return refuse(Status::BadRequest);
    }
    let page = match target.split('?').next() {
        Some("/") => Page::Contents,
        Some("/metrics") => Page::Metrics,
        Some("/healthz") => Page::Health,
        _ => Page::Refusal(Status::NotFound),
    };
    Some(Answer { page, with_body })
}

/// `HOST[:PORT]` with a host that no web page can make its own.
fn is_ours(host: &[u8], names: &[String]) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    let is_port = |rest: &str| {
        rest.is_empty()
            || rest.strip_prefix(':').is_some_and(|port| {
                (1..=5).contains(&port.len()) && port.bytes().all(|digit| digit.is_ascii_digit())
            })
    };
    if let Some(inner) = host.strip_prefix('[') {
        let Some((address, rest)) = inner.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && is_port(rest);
    }
    let (name, rest) = host.split_at(host.find(':').unwrap_or(host.len()));
    let known = name.parse::<Ipv4Addr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|given| given.eq_ignore_ascii_case(name));
    known && is_port(rest)
}

#[cfg(test)]
mod tests;
