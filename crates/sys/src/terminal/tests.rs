//! A pseudo-terminal of this host, from both of its ends.

use std::io::{Read, Write};

use super::*;

#[test]
fn a_terminal_has_the_size_and_the_modes_that_it_was_given() {
    let Pair { mut near, mut terminal, path } = open(None).unwrap();
    assert!(path.exists() && std::io::IsTerminal::is_terminal(&terminal));
    set_size(&near, 7, 99).unwrap();
    assert_eq!(size(&terminal).unwrap(), (7, 99));
    let before = modes(&terminal).unwrap();
    assert_eq!(before.signal(3), Some(libc::SIGINT));
    assert_eq!(before.signal(b'a'), None);
    let raw = before.raw(false);
    set_modes(&terminal, &raw).unwrap();
    // Seen from the other end too.
    assert_eq!(modes(&near).unwrap(), raw);
    assert_eq!(raw.signal(3), None);
    near.write_all(b"\x03x").unwrap();
    let mut read = [0; 2];
    terminal.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"\x03x");
    assert!(raw.sane().shapes_output() && raw.sane().signal(3).is_some());
    assert!(foreground(&terminal).is_none_or(|group| group != Pid::own()));
}
