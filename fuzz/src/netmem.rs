//! Messages of NetMem 0.2, from either side.
//!
//! A command is taken whole, however it is cut, and is put as it was read but for fields that mean
//! nothing; an answer that fits its question is put as it was read.

use bytes::{Bytes, BytesMut};
use wire::netmem::{Answer, Command, HEADER, Header, Type};

pub fn read(bytes: &[u8]) {
    for page in [4, 8, 40, 1 << 20] {
        commands(bytes, page);
        answer(bytes, page);
    }
}

fn commands(bytes: &[u8], page: u32) {
    let mut whole = BytesMut::from(bytes);
    // The same in crumbs.
    let (mut crumbs, mut fed) = (BytesMut::new(), 0);
    loop {
        let before = whole.len();
        let taken = Command::take(&mut whole, page);
        let piecemeal = loop {
            let piecemeal = Command::take(&mut crumbs, page);
            if piecemeal != Ok(None) || fed == bytes.len() {
                break piecemeal;
            }
            let end = bytes.len().min(fed + 5);
            crumbs.extend_from_slice(&bytes[fed..end]);
            fed = end;
        };
        assert_eq!(taken, piecemeal, "cut another way");
        let Ok(Some(command)) = taken else { return };
        assert!(before - whole.len() >= HEADER);
        let mut put = BytesMut::new();
        command.put(&mut put);
        if let Command::Unknown(header) = command {
            assert!(header.kind > Type::UPDATE);
            continue;
        }
        assert_eq!(Command::take(&mut put, page), Ok(Some(command)), "another command");
    }
}

fn answer(bytes: &[u8], page: u32) {
    let Some(header) = Header::peek(bytes) else { return };
    for asked in 0..=Type::UPDATE {
        let Ok(data) = Answer::data(&header, asked, page) else { continue };
        assert!(data == 0 || data == page, "{data} bytes");
        let Some(rest) = bytes.get(HEADER..HEADER + data as usize) else { continue };
        let answer = Answer::of(header, Bytes::copy_from_slice(rest));
        let mut put = BytesMut::new();
        answer.put(&mut put);
        let again =
            Header::peek(&put).map(|again| Answer::of(again, put.split_off(HEADER).freeze()));
        assert_eq!(again, Some(answer), "another answer");
    }
}
