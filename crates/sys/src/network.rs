//! Addresses of this host.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::Error;

/// The addresses of the interfaces that are up, but for loopback and those that only mean something
/// on one wire (link-local).
pub fn addresses() -> Result<Vec<IpAddr>, Error> {
    let listed = getifaddrs().map_err(Error::kernel("list this host's addresses"))?;
    let up = listed.filter(|interface| {
        interface.flags.contains(InterfaceFlags::IFF_UP)
            && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
        four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
    };
    let local = |ip: &IpAddr| match ip {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    };
    let addresses = up.filter_map(|interface| ip(interface.address?));
    Ok(addresses.filter(|ip| !local(ip)).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_address_of_this_host_is_loopback() {
        let addresses = super::addresses().unwrap();
        assert!(addresses.iter().all(|ip| !ip.is_loopback()), "{addresses:?}");
    }
}
