//! What `farcall node` is told of NetMem.
//!
//! That protocol knows no certificates: who reaches the port reads and writes the region. So it is off
//! unless asked for, and stays on this host unless insisted on.

use std::net::ToSocketAddrs;

use clap::Args;
use node::NetMem;
use wire::limits::{PAGE_SIZE_MAX, PAGE_SIZE_MIN};
use wire::name::Name;

use super::v1::either;
use crate::codes;
use crate::errors::{Complaint, complaint};

/// The region that is served unless another is named.
const REGION: &str = "netmem";
const PAGES: u32 = 64;
const PAGE_SIZE: u32 = 4096;

#[derive(Args, Default)]
#[command(next_help_heading = "NetMem 0.2 (no certificates; off unless asked for)")]
pub(super) struct NetMemFlags {
    /// Serve a region's pages with NetMem at HOST:PORT; may be given several times. The region is
    /// made if there is none of the name [default region: netmem]
    #[arg(long, value_name = "ADDR[=REGION]")]
    netmem: Vec<String>,
    /// Pages of a region that is made for NetMem [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    netmem_pages: Option<u32>,
    /// Bytes of a NetMem page, any number up to 1 MiB: the first ones of the region's page, which has a
    /// power of two [default: 4096 where the region is made, else its own]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE_SIZE_MAX)))]
    netmem_page_size: Option<u32>,
    /// Let others than this host's users read and write those pages
    #[arg(long)]
    netmem_anyone: bool,
}

/// The same in the file of `--config`.
pub(super) struct Written {
    pub(super) netmem: Vec<String>,
    pub(super) pages: Option<u32>,
    pub(super) page_size: Option<u32>,
    pub(super) anyone: bool,
}

impl NetMemFlags {
    pub(super) fn gather(self, written: Written) -> Result<Vec<NetMem>, Complaint> {
        let pages = self.netmem_pages.or(written.pages).unwrap_or(PAGES);
        let length = self.netmem_page_size.or(written.page_size);
        if !(1..=i32::MAX as u32).contains(&pages) {
            return Err(wrong("netmem_pages", format!("{pages} pages: it is 1 or more")));
        }
        if length.is_some_and(|length| !(1..=PAGE_SIZE_MAX).contains(&length)) {
            let what = format!("a page has from 1 to {PAGE_SIZE_MAX} bytes");
            return Err(wrong("netmem_page_size", what));
        }
        let anyone = self.netmem_anyone || written.anyone;
        let page_size = length.unwrap_or(PAGE_SIZE).next_power_of_two().max(PAGE_SIZE_MIN);
        let serve = |text: &String| {
            let (place, region) = text.split_once('=').unwrap_or((text, REGION));
            let region: Name = region.parse().map_err(|error: wire::name::NameError| {
                complaint(&codes::E0102, format!("{region:?} is no name of a region"))
                    .note(error.to_string())
                    .help("write --netmem ADDR=REGION, like 127.0.0.1:10001=genes")
            })?;
            Ok(NetMem { address: address(place, anyone)?, region, length, pages, page_size })
        };
        either(self.netmem, written.netmem).iter().map(serve).collect()
    }
}

fn address(text: &str, anyone: bool) -> Result<std::net::SocketAddr, Complaint> {
    let wrong = |note: String| {
        complaint(&codes::E0101, format!("{text:?} is no address to serve NetMem at"))
            .note(note)
            .help("write HOST:PORT, like 127.0.0.1:10001")
    };
    let mut found = text.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    let address = found.next().ok_or_else(|| wrong("no such host".to_owned()))?;
    if !address.ip().is_loopback() && !anyone {
        return Err(complaint(&codes::E0108, format!("NetMem at {text} is open to others"))
            .note("NetMem knows no certificates: whoever reaches that address reads and writes the pages")
            .help(format!("write --netmem 127.0.0.1:{}, or add --netmem-anyone", address.port())));
    }
    Ok(address)
}

fn wrong(name: &str, what: String) -> Complaint {
    complaint(&codes::E0403, what).help(format!("correct `{name}` in the file"))
}
