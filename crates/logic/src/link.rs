//! Greets on one connection, and notices when the other side is gone.
//!
//! ```text
//! dialler    Silent --opened--> Greeting --WELCOME--> Up --silence--> Down
//! listener   Silent --VERSION-> Greeting --HELLO----> Up   (once `welcome` or `refuse` is called)
//! ```
//!
//! A link knows no tasks: once it is up, every message but heartbeat and farewell is its owner's.
//! Elsewhere: who may do what (`node`), dialling again (`dispatch`'s driver).

use std::collections::VecDeque;

use wire::Message;
use wire::hello::{Goodbye, Hello, VERSION, Welcome};
use wire::limits::{HEARTBEAT, HEARTBEATS_MISSED_MAX, STRANGER_PATIENCE};
use wire::units::Time;

#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    Send(Message),
    /// To the listener: someone introduced himself. Answer with `welcome` or `refuse`.
    Greeted(Hello),
    /// To the dialler: the node lets us in.
    Up(Welcome),
    /// The connection is to be closed, after what is queued has been sent.
    Down(Down),
}

/// Why a link is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Down {
    #[error("the other side said goodbye: {0:?}")]
    Goodbye(Goodbye),
    #[error("the other side did not introduce itself in time")]
    Mute,
    #[error("the other side fell silent")]
    Silent,
    #[error("the other side speaks another version of the protocol")]
    Version,
    #[error("the other side broke the protocol: {0}")]
    Protocol(&'static str),
}

/// What `message` tells the owner about who handles it.
#[derive(Debug, PartialEq, Eq)]
pub enum Pass {
    /// The link dealt with it.
    Taken,
    /// It is for the owner.
    On,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The listener before the version exchange.
    Silent {
        until: Time,
    },
    /// The listener before the introduction; the dialler before its welcome.
    Greeting {
        until: Time,
    },
    Up {
        missed: u32,
        next_ping: Time,
    },
    Down,
}

/// One connection's manners. After each call drain `poll_effect`, then sleep until `poll_timeout`.
#[derive(Debug)]
pub struct Link {
    dialler: Option<Hello>,
    state: State,
    effects: VecDeque<Effect>,
}

impl Link {
    /// A connection that we opened. The greeting is sent at once.
    pub fn dial(now: Time, hello: Hello) -> Self {
        let effects = [Message::Version(VERSION), Message::Hello(hello.clone())];
        Self {
            dialler: Some(hello),
            state: State::Greeting { until: now + STRANGER_PATIENCE },
            effects: effects.map(Effect::Send).into(),
        }
    }

    /// A connection that was opened to us.
    pub fn listen(now: Time) -> Self {
        let state = State::Silent { until: now + STRANGER_PATIENCE };
        Self { dialler: None, state, effects: VecDeque::new() }
    }

    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// It was opened from this side.
    pub fn was_dialled(&self) -> bool {
        self.dialler.is_some()
    }

    /// Something arrived: the other side lives. Cheap, once per read.
    pub fn heard(&mut self, now: Time) {
        if let State::Up { missed, next_ping } = &mut self.state {
            *missed = 0;
            *next_ping = now + HEARTBEAT;
        }
    }

    /// Looks at one message.
    pub fn message(&mut self, now: Time, message: &Message) -> Pass {
        match (&self.state, message) {
            (State::Up { .. }, Message::Ping) => self.send(Message::Pong),
            (State::Up { .. }, Message::Pong) => {}
            (State::Up { .. }, Message::Goodbye(Goodbye::Leaving)) => return Pass::On,
            (_, Message::Goodbye(goodbye)) => self.down(Down::Goodbye(goodbye.clone())),
            (State::Up { .. }, Message::Version(_) | Message::Hello(_) | Message::Welcome(_)) => {
                self.breach("a greeting on a link that is up");
            }
            (State::Up { .. }, _) => return Pass::On,
            (State::Silent { until }, Message::Version(VERSION)) => {
                self.state = State::Greeting { until: *until };
                self.send(Message::VersionAnswer { accepted: true });
            }
            (State::Silent { .. }, Message::Version(_)) => {
                self.send(Message::VersionAnswer { accepted: false });
                self.down(Down::Version);
            }
            (State::Silent { .. }, _) => self.breach("the version exchange must come first"),
            (State::Greeting { .. }, Message::Hello(hello)) if self.dialler.is_none() => {
                self.effects.push_back(Effect::Greeted(hello.clone()));
            }
            (State::Greeting { .. }, Message::VersionAnswer { accepted: true })
                if self.dialler.is_some() => {}
            (State::Greeting { .. }, Message::VersionAnswer { accepted: false })
                if self.dialler.is_some() =>
            {
                self.down(Down::Version);
            }
            (State::Greeting { .. }, Message::Welcome(welcome)) if self.dialler.is_some() => {
                self.up(now);
                self.effects.push_back(Effect::Up(welcome.clone()));
            }
            (State::Greeting { .. }, _) => self.breach("a message before the greeting was over"),
            (State::Down, _) => {}
        }
        Pass::Taken
    }

    /// The listener lets the other side in.
    pub fn welcome(&mut self, now: Time, welcome: Welcome) {
        self.up(now);
        self.send(Message::Welcome(welcome));
    }

    /// Either side ends the link with a reason.
    pub fn refuse(&mut self, goodbye: Goodbye) {
        self.send(Message::Goodbye(goodbye.clone()));
        self.down(Down::Goodbye(goodbye));
    }

    pub fn tick(&mut self, now: Time) {
        match &mut self.state {
            State::Silent { until } | State::Greeting { until } if now >= *until => {
                self.down(Down::Mute);
            }
            State::Up { missed, next_ping } if now >= *next_ping => {
                if *missed == HEARTBEATS_MISSED_MAX {
                    self.down(Down::Silent);
                } else {
                    *missed += 1;
                    *next_ping = now + HEARTBEAT;
                    self.send(Message::Ping);
                }
            }
            State::Silent { .. } | State::Greeting { .. } | State::Up { .. } | State::Down => {}
        }
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub fn poll_timeout(&self) -> Time {
        match self.state {
            State::Silent { until } | State::Greeting { until } => until,
            State::Up { next_ping, .. } => next_ping,
            State::Down => Time::NEVER,
        }
    }

    fn up(&mut self, now: Time) {
        self.state = State::Up { missed: 0, next_ping: now + HEARTBEAT };
    }

    fn breach(&mut self, what: &'static str) {
        self.send(Message::Goodbye(Goodbye::Protocol { reason: what.to_owned() }));
        self.down(Down::Protocol(what));
    }

    fn down(&mut self, why: Down) {
        if self.state != State::Down {
            self.state = State::Down;
            self.effects.push_back(Effect::Down(why));
        }
    }

    fn send(&mut self, message: Message) {
        self.effects.push_back(Effect::Send(message));
    }
}

#[cfg(test)]
mod tests;
