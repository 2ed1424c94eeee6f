//! Addresses of the worker socket protocol v1, which stays on this host unless insisted on.

use std::net::ToSocketAddrs;
use std::path::PathBuf;

use node::Endpoint;

use crate::codes;
use crate::errors::{Complaint, complaint};

/// Reads `HOST:PORT` or `unix:PATH`. Another host is meant only where `anyone` may come.
pub(crate) fn endpoint(text: &str, anyone: bool, flag: &str) -> Result<Endpoint, Complaint> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Endpoint::Unix(PathBuf::from(path)));
    }
    let wrong = |note: String| {
        complaint(&codes::E0101, format!("{text:?} is no address of protocol v1"))
            .note(note)
            .help("write HOST:PORT, like 127.0.0.1:4115, or unix:PATH")
    };
    let mut found = text.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    let address = found.next().ok_or_else(|| wrong("no such host".to_owned()))?;
    if !address.ip().is_loopback() && !anyone {
        return Err(complaint(&codes::E0108, format!("{text} is not on this host"))
            .note("protocol v1 knows no certificates: whoever is there is trusted")
            .help(format!("use a tunnel to a loopback address, or insist with {flag}")));
    }
    Ok(Endpoint::Tcp(address))
}
