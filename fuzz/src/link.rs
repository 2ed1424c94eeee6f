//! A stream of bytes into the manners of one connection, on both sides of it.
//!
//! ```text
//! byte 0     bit 0: dialler or listener; bit 1: the listener refuses; bits 2..: seconds per piece
//! byte 1     bytes in a piece
//! the rest   frames
//! ```

use bytes::BytesMut;
use logic::link::{Effect, Link, Pass};
use wire::frame;
use wire::hello::{Goodbye, Hello, Purpose, Welcome};
use wire::limits::STRANGER_BODY_MAX;
use wire::units::{Span, Time};

/// It never panics; it is up at most once and down at most once, and then says nothing more.
pub fn converse(bytes: &[u8]) {
    let [choice, piece, stream @ ..] = bytes else { return };
    let mut now = Time(1);
    let pace = Span::from_secs(u64::from(choice >> 2));
    let dials = choice & 1 == 1;
    let link = if dials { Link::dial(now, hello()) } else { Link::listen(now) };
    let mut talk = Talk { link, refuses: choice & 2 == 2, ups: 0, is_down: false };
    talk.drain(now);

    let mut input = BytesMut::new();
    for piece in stream.chunks(usize::from(*piece).max(1)) {
        now = now + pace;
        talk.link.heard(now);
        input.extend_from_slice(piece);
        while let Ok(Some(frame)) = frame::take(&mut input, STRANGER_BODY_MAX) {
            let Ok((_, message)) = wire::decode(frame) else { return };
            let was_up = talk.link.is_up();
            let pass = talk.link.message(now, &message);
            assert!(pass == Pass::Taken || was_up, "{message:?} passed before the greeting");
            talk.drain(now);
        }
        if talk.link.poll_timeout() <= now {
            talk.link.tick(now);
            talk.drain(now);
        }
    }
    while !talk.is_down {
        now = talk.link.poll_timeout();
        assert_ne!(now, Time::NEVER, "a link that is not down watches the time");
        talk.link.tick(now);
        talk.drain(now);
    }
    assert_eq!(talk.link.poll_timeout(), Time::NEVER);
}

struct Talk {
    link: Link,
    refuses: bool,
    ups: u32,
    is_down: bool,
}

impl Talk {
    fn drain(&mut self, now: Time) {
        while let Some(effect) = self.link.poll_effect() {
            assert!(!self.is_down, "{effect:?} after the end");
            match effect {
                Effect::Send(message) => message.encode(0, &mut BytesMut::new()),
                Effect::Greeted(_) if self.refuses => self.link.refuse(Goodbye::Leaving),
                Effect::Greeted(_) => {
                    self.ups += 1;
                    self.link.welcome(now, welcome());
                }
                Effect::Up(_) => self.ups += 1,
                Effect::Down(_) => self.is_down = true,
            }
            assert!(self.ups <= 1, "greeted twice");
        }
    }
}

fn hello() -> Hello {
    let Ok(name) = "me".parse() else { unreachable!("a constant name") };
    Hello { agent: "fuzz".to_owned(), name, purpose: Purpose::Client }
}

fn welcome() -> Welcome {
    let Ok(node) = "node".parse() else { unreachable!("a constant name") };
    Welcome { agent: "fuzz".to_owned(), node, link: 1, slots: 1 }
}
