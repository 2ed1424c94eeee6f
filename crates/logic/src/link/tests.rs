//! Two links talk to each other without a wire between them.

use wire::hello::Purpose;

use super::*;

fn hello() -> Hello {
    Hello { agent: "test".into(), name: "me".parse().unwrap(), purpose: Purpose::Client }
}

fn sent(link: &mut Link) -> (Vec<Message>, Vec<Effect>) {
    let (mut messages, mut rest) = (Vec::new(), Vec::new());
    while let Some(effect) = link.poll_effect() {
        match effect {
            Effect::Send(message) => messages.push(message),
            other => rest.push(other),
        }
    }
    (messages, rest)
}

fn up() -> (Link, Link) {
    let (mut a, mut b) = (Link::dial(Time(0), hello()), Link::listen(Time(0)));
    for message in sent(&mut a).0 {
        assert_eq!(b.message(Time(1), &message), Pass::Taken);
    }
    let (mut answers, greeted) = sent(&mut b);
    assert_eq!(greeted, [Effect::Greeted(hello())]);
    let node = "node".parse().unwrap();
    b.welcome(Time(1), Welcome { agent: "test".into(), node, link: 7, slots: 2 });
    answers.extend(sent(&mut b).0);
    for message in answers {
        assert_eq!(a.message(Time(2), &message), Pass::Taken);
    }
    assert!(matches!(sent(&mut a).1[..], [Effect::Up(_)]));
    (a, b)
}

#[test]
fn a_greeting_takes_one_round_trip() {
    let (a, b) = up();
    assert!(a.is_up() && b.is_up());
}

#[test]
fn a_silent_peer_is_asked_and_then_lost() {
    let (mut a, _) = up();
    let mut pings = 0;
    loop {
        a.tick(a.poll_timeout());
        match a.poll_effect() {
            Some(Effect::Send(Message::Ping)) => pings += 1,
            other => break assert_eq!(other, Some(Effect::Down(Down::Silent))),
        }
    }
    assert_eq!(pings, HEARTBEATS_MISSED_MAX);
}

#[test]
fn another_version_is_answered_in_its_own_words() {
    let mut link = Link::listen(Time(0));
    link.message(Time(0), &Message::Version(1));
    let (sent, rest) = sent(&mut link);
    assert_eq!(sent, [Message::VersionAnswer { accepted: false }]);
    assert_eq!(rest, [Effect::Down(Down::Version)]);
}

#[test]
fn a_message_out_of_order_ends_the_link() {
    for early in [Message::Ping, Message::StatusAsk, Message::Hello(hello())] {
        let mut link = Link::listen(Time(0));
        link.message(Time(0), &early);
        let (_, rest) = sent(&mut link);
        assert!(matches!(rest[..], [Effect::Down(Down::Protocol(_))]), "{early:?}");
    }
}

#[test]
fn a_stranger_who_says_nothing_is_sent_away() {
    let mut link = Link::listen(Time(0));
    link.tick(link.poll_timeout());
    assert_eq!(link.poll_effect(), Some(Effect::Down(Down::Mute)));
}
