//! The side that a process leaves.

use std::collections::VecDeque;

use wire::Message;
use wire::units::Time;
use wire::visit::Wake;

use super::Terms;

#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// On the latest connection.
    Message(Message),
    /// The connection that was asked for is there: the answer comes over it.
    Opened,
    /// The latest connection is over, or could not be made.
    Lost,
    /// The node has no such visit, and says what it knows of it.
    Absent {
        why: String,
    },
    /// The visit ran there, and is no more.
    Over {
        why: String,
    },
    /// The image cannot be sent to its end, or nobody wants the move any more.
    GivenUp {
        why: String,
    },
    Tick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEffect {
    /// On the latest connection.
    Send(Message),
    /// The original must not go on from here, whatever becomes of the source itself.
    Hold,
    /// The original goes on.
    GoOn,
    /// The original has moved: nothing of it may ever run again.
    End,
    /// Close the connection and make another one, with `Return`.
    Ask,
    /// Close the connection.
    HangUp,
}

/// Where the process is when all is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Here {
        why: String,
    },
    There {
        pid: u32,
    },
    /// It ran there, and has ended: here it must not run again.
    Gone {
        why: String,
    },
    /// Nobody could be asked: it is stopped here, and may run there.
    Doubt,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The image is on its way.
    Sending,
    /// `WAKE` was sent.
    Waking {
        until: Time,
        doubt: Time,
    },
    /// Another connection is being made or waits for the answer; `next` is when to try again.
    Asking {
        next: Time,
        is_open: bool,
        doubt: Time,
    },
    Over(Fate),
}

/// The source of one move. After each `handle` drain `poll_effect`, then sleep until `poll_timeout`.
#[derive(Clone, Debug)]
pub struct Source {
    terms: Terms,
    wake: Wake,
    state: State,
    effects: VecDeque<SourceEffect>,
}

impl Source {
    /// The original is frozen, and its image on its way.
    pub fn new(terms: Terms, wake: Wake) -> Self {
        Self { terms, wake, state: State::Sending, effects: VecDeque::new() }
    }

    /// `WAKE` may have been sent by another one, who is no more: what became of it is asked.
    pub fn after_another(now: Time, terms: Terms, wake: Wake) -> Self {
        let state = State::Asking { next: now, is_open: false, doubt: now + terms.doubt };
        Self { terms, wake, state, effects: VecDeque::new() }
    }

    pub fn handle(&mut self, now: Time, event: SourceEvent) {
        match (&self.state, event) {
            (State::Over(_), _) => {}
            (State::Sending, SourceEvent::Message(Message::Built(_))) => {
                self.effects.push_back(SourceEffect::Hold);
                self.effects.push_back(SourceEffect::Send(Message::Wake(self.wake)));
                let (until, doubt) = (now + self.terms.pause, now + self.terms.doubt);
                self.state = State::Waking { until, doubt };
            }
            (_, SourceEvent::Message(Message::Refused(refused))) => self.here(refused.reason),
            (State::Sending, SourceEvent::Message(_)) => {
                self.here("the node broke the protocol; compare the versions".to_owned());
            }
            (State::Sending, SourceEvent::Lost) => {
                self.here("the node hung up; see what it says of itself".to_owned());
            }
            (State::Sending | State::Asking { .. }, SourceEvent::Absent { why }) => self.here(why),
            (State::Sending, SourceEvent::GivenUp { why } | SourceEvent::Over { why }) => {
                self.here(why);
            }
            // What it has done there it must not do once more.
            (State::Asking { .. }, SourceEvent::Over { why }) => {
                self.effects.push_back(SourceEffect::HangUp);
                self.effects.push_back(SourceEffect::End);
                self.state = State::Over(Fate::Gone { why });
            }
            (State::Sending | State::Waking { .. }, SourceEvent::Opened) => {}
            // However long it took to make: the answer has its whole time.
            (State::Asking { doubt, .. }, SourceEvent::Opened) => {
                let next = now + self.terms.pause;
                self.state = State::Asking { next, is_open: true, doubt: *doubt };
            }
            (State::Sending, SourceEvent::Tick) => {}
            (
                State::Waking { .. } | State::Asking { .. },
                SourceEvent::Message(Message::Woken(woken)),
            ) => {
                self.effects.push_back(SourceEffect::End);
                self.state = State::Over(Fate::There { pid: woken.pid });
            }
            // What it says else is no answer: it is asked.
            (
                State::Waking { doubt, .. },
                SourceEvent::Lost
                | SourceEvent::Absent { .. }
                | SourceEvent::Over { .. }
                | SourceEvent::Message(_),
            ) => {
                self.ask(now, *doubt);
            }
            (State::Waking { until, doubt }, SourceEvent::Tick) if now >= *until => {
                self.ask(now, *doubt);
            }
            (State::Asking { next, doubt, .. }, SourceEvent::Lost | SourceEvent::Message(_)) => {
                self.effects.push_back(SourceEffect::HangUp);
                self.state = State::Asking { next: *next, is_open: false, doubt: *doubt };
            }
            (State::Asking { doubt, .. }, SourceEvent::Tick) if now >= *doubt => self.doubt(),
            (State::Asking { next, doubt, .. }, SourceEvent::Tick) if now >= *next => {
                self.ask(now, *doubt);
            }
            (State::Waking { .. } | State::Asking { .. }, SourceEvent::Tick) => {}
            (State::Waking { .. } | State::Asking { .. }, SourceEvent::GivenUp { .. }) => {
                self.doubt()
            }
        }
    }

    pub fn poll_effect(&mut self) -> Option<SourceEffect> {
        self.effects.pop_front()
    }

    pub fn poll_timeout(&self) -> Time {
        match &self.state {
            State::Sending | State::Over(_) => Time::NEVER,
            State::Waking { until, .. } => *until,
            State::Asking { next, doubt, .. } => (*next).min(*doubt),
        }
    }

    /// `None`: it is not known yet.
    pub fn fate(&self) -> Option<&Fate> {
        match &self.state {
            State::Over(fate) => Some(fate),
            State::Sending | State::Waking { .. } | State::Asking { .. } => None,
        }
    }

    /// `WAKE` may have been sent, and what became of it is not known.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self.state, State::Waking { .. } | State::Asking { .. })
    }

    fn ask(&mut self, now: Time, doubt: Time) {
        self.effects.push_back(SourceEffect::Ask);
        self.state = State::Asking { next: now + self.terms.pause, is_open: true, doubt };
    }

    fn here(&mut self, why: String) {
        self.effects.push_back(SourceEffect::HangUp);
        self.effects.push_back(SourceEffect::GoOn);
        self.state = State::Over(Fate::Here { why });
    }

    fn doubt(&mut self) {
        self.effects.push_back(SourceEffect::HangUp);
        self.state = State::Over(Fate::Doubt);
    }
}
