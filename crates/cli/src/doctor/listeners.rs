//! At which TCP addresses a process listens, as the kernel tells: what it was told to do is one
//! thing, what it does another.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `None` where the kernel does not show another user's descriptors.
pub(super) fn of(pid: i32) -> Option<Vec<SocketAddr>> {
    let mut inodes = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
    }
    // Of its network namespace, which may not be ours.
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let listening = text.lines().filter_map(parse);
        found.extend(listening.filter(|(_, inode)| inodes.contains(inode)).map(|(at, _)| at));
    }
    Some(found)
}

/// `SL: LOCAL:PORT REMOTE:PORT STATE … INODE`, addresses as words of this processor's order.
fn parse(line: &str) -> Option<(SocketAddr, u64)> {
    const LISTENS: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    if fields.nth(1)? != LISTENS {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let word = |at: usize| {
        let text = address.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            let bytes: [u8; 16] = words.try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some((SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?), inode))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{of, parse};

    #[test]
    fn own_listeners_are_found() {
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = of(sys::Pid::own().0).unwrap();
        assert!(found.contains(&four.local_addr().unwrap()), "{found:?}");
        if let Ok(six) = TcpListener::bind("[::1]:0") {
            let found = of(sys::Pid::own().0).unwrap();
            assert!(found.contains(&six.local_addr().unwrap()), "{found:?}");
        }
        drop(four);
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "",
            "  sl  local_address rem_address   st tx_queue",
            "0: 0100007F:1012 x 0A",
            "0: zz:zz a 0A a a a a 5",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
