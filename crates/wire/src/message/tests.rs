//! Every message comes back as it went, and no bytes make the decoder panic.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::limits::CONTROL_BODY_MAX;
use crate::name::{Hash, JobId, TaskName};
use crate::task::{Credit, Done, DoneHead, Input, Output, Run, RunHead, Status, Times};
use crate::units::Span;

#[track_caller]
fn check(message: Message) {
    let mut bytes = BytesMut::new();
    message.encode(9, &mut bytes);
    let frame = frame::take(&mut bytes, CONTROL_BODY_MAX).unwrap().unwrap();
    assert_eq!(decode(frame), Ok((9, message)));
    assert!(bytes.is_empty());
}

#[test]
fn messages_come_back_as_they_went() {
    let name: crate::name::Name = "node-1".parse().unwrap();
    let hash = Hash::of(b"x");
    check(Message::Version(2));
    check(Message::VersionAnswer { accepted: true });
    check(Message::Hello(hello::Hello {
        agent: "farcall 0.1.0".into(),
        name: name.clone(),
        purpose: hello::Purpose::Bulk { link: u64::MAX },
    }));
    check(Message::Goodbye(hello::Goodbye::Forbidden { reason: "no".into() }));
    check(Message::Ping);
    check(Message::Credit(Credit { limit: u64::MAX }));
    check(Message::Run(Run {
        head: RunHead {
            program: u32::MAX,
            attempt: u32::MAX,
            deadline: Span(u64::MAX),
            input: Input::Bulk(u64::MAX),
            name: TaskName { job: JobId(u64::MAX), task: u64::MAX },
        },
        inline: Bytes::from_static(b"input"),
    }));
    check(Message::Done(Done {
        head: DoneHead {
            status: Status::Finished { code: i32::MIN },
            ran: Span(u64::MAX),
            output: Output::Stream,
            times: Times {
                transfer: Span(u64::MAX),
                waited: Span(u64::MAX),
                began: Span(u64::MAX),
                worker: u32::MAX,
            },
        },
        inline: Bytes::from_static(b"output"),
    }));
    check(Message::Done(Done {
        head: DoneHead {
            status: Status::Crashed { signal: 11, stderr: "x".repeat(4000) },
            ran: Span(1),
            output: Output::Inline,
            times: Times::default(),
        },
        inline: Bytes::new(),
    }));
    check(Message::Put(blob::Put { hash, length: 3 }, Bytes::from_static(b"abc")));
    check(Message::Known(blob::Known { hash, here: false }));
    check(Message::Returned(task::Returned { channels: vec![1, 2, u64::MAX] }));
    check(Message::Members(member::Members {
        members: vec![member::Member {
            name,
            life: 1,
            addresses: vec!["[::1]:4114".into()],
            slots: 8,
            state: member::State::Leaving,
        }],
    }));
}

#[test]
fn bytes_after_a_message_are_refused() {
    let frame = Frame { kind: Kind::CREDIT, channel: 0, body: Bytes::from_static(&[1, 2]) };
    assert_eq!(decode(frame), Err(DecodeError::Malformed { kind: Kind::CREDIT, length: 2 }));
}

#[test]
fn a_name_that_is_none_is_refused_by_the_decoder() {
    for name in ["", ".", "-rf", "../x", "a b", "a\u{1b}[2J", &"x".repeat(65)] {
        assert!(name.parse::<crate::name::Name>().is_err(), "{name:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(kind: u8, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(Frame { kind, channel: 1, body: body.into() });
    }

    #[test]
    fn what_decodes_encodes_to_something_that_decodes_alike(
        kind in 0x10u8..0x64, body in proptest::collection::vec(any::<u8>(), 0..64)
    ) {
        if let Ok((channel, message)) = decode(Frame { kind, channel: 1, body: body.into() }) {
            let mut bytes = BytesMut::new();
            message.encode(channel, &mut bytes);
            let frame = frame::take(&mut bytes, u64::MAX).unwrap().unwrap();
            prop_assert_eq!(decode(frame), Ok((channel, message)));
        }
    }
}

#[test]
fn a_message_is_small_enough_to_be_passed_around() {
    assert!(
        size_of::<Message>() <= 192,
        "{} bytes: put what is large into a box",
        size_of::<Message>()
    );
}
