//! The side where a process arrives, and its life there.

use std::collections::VecDeque;

use wire::Message;
use wire::units::{Span, Time};
use wire::visit::{Alone, Built, Exited, Refused, Stage, Stopped, Wake, Woken};

use super::Terms;

#[derive(Clone, Debug)]
pub enum PadEvent {
    /// The image was whole, and a process stands ready.
    Built {
        pid: u32,
    },
    /// It cannot be built.
    Failed {
        reason: String,
    },
    /// The outcome of `Wake`: it runs, or never did and is gone.
    Awake,
    NotAwake {
        reason: String,
    },
    /// On the latest connection.
    Message(Message),
    /// The latest connection is over.
    Lost,
    /// Another connection of the same client: the one before is of no more use.
    Returned,
    /// The visitor was stopped by a signal, goes on, or has ended.
    Stopped {
        number: u8,
    },
    GoesOn,
    Ended(Exited),
    /// It has ended, and everything that it wrote was sent on the latest connection.
    AllSent,
    Tick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PadEffect {
    /// On the latest connection.
    Send(Message),
    /// `Awake` or `NotAwake` follows at once.
    Wake(Wake),
    /// About the visitor's streams and signals.
    Pass(Message),
    /// Whoever is on the latest connection is to be told of the streams anew.
    Resume,
    /// Nobody reads what it writes, until somebody comes back.
    Unread,
    /// Nobody is expected back: there is nothing more to read.
    Alone,
    /// Close the latest connection.
    HangUp,
    /// Whatever there is of a process here is killed and waited for, before anything else is done.
    End,
    Tell(Stage),
    /// There is nothing more to do.
    Leave,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Building,
    Built {
        pid: u32,
        until: Time,
    },
    Waking {
        pid: u32,
        wake: Wake,
    },
    Runs {
        pid: u32,
        alone: Alone,
        ended: Option<Exited>,
    },
    /// It never ran, which whoever asks is told for a while.
    Refused {
        reason: String,
        until: Time,
    },
    Over,
}

/// What a visitor whose client is away has noticed of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noticed {
    Nothing,
    Unread,
    Alone,
}

/// One pad. After each `handle` drain `poll_effect`, then sleep until `poll_timeout`.
#[derive(Clone, Debug)]
pub struct Pad {
    terms: Terms,
    state: State,
    /// Since when nobody is there, and what was done about it.
    away: Option<(Time, Noticed)>,
    /// When an end that nobody knows is forgotten.
    forget: Time,
    /// By which signal the visitor stands still.
    stopped: Option<u8>,
    effects: VecDeque<PadEffect>,
}

impl Pad {
    /// An image is coming.
    pub fn new(terms: Terms) -> Self {
        let effects = VecDeque::new();
        Self {
            terms,
            state: State::Building,
            away: None,
            forget: Time::NEVER,
            stopped: None,
            effects,
        }
    }

    pub fn handle(&mut self, now: Time, event: PadEvent) {
        match event {
            PadEvent::Built { pid } => {
                if self.state == State::Building {
                    let lease = self.terms.lease;
                    self.state = State::Built { pid, until: now + lease };
                    self.send(Message::Built(Built { pid, lease }));
                    self.effects.push_back(PadEffect::Tell(Stage::Built));
                }
            }
            PadEvent::Failed { reason } => self.refuse(now, reason),
            PadEvent::Awake => self.awake(),
            PadEvent::NotAwake { reason } => {
                if let State::Waking { .. } = self.state {
                    self.refuse(now, reason);
                }
            }
            PadEvent::Message(message) => self.message(now, message),
            PadEvent::Lost => self.lost(now),
            PadEvent::Returned => self.returned(now),
            PadEvent::Stopped { number } => {
                if let State::Runs { ended: None, .. } = self.state {
                    self.stopped = Some(number);
                    self.send(Message::Stopped(Stopped { number }));
                }
            }
            PadEvent::GoesOn => self.stopped = None,
            PadEvent::Ended(exited) => self.ended(now, exited),
            PadEvent::AllSent => {
                if let State::Runs { alone, ended: Some(exited), .. } = self.state {
                    self.forget = now + self.keeps(alone);
                    self.send(Message::Exited(exited));
                }
            }
            PadEvent::Tick => self.tick(now),
        }
    }

    fn message(&mut self, now: Time, message: Message) {
        match (&self.state, message) {
            (State::Built { pid, until }, Message::Wake(wake)) if now < *until => {
                self.state = State::Waking { pid: *pid, wake };
                // First: should the pad end right behind that, its node knows that it may have run.
                self.effects.push_back(PadEffect::Tell(Stage::Runs));
                self.effects.push_back(PadEffect::Wake(wake));
            }
            (State::Building | State::Built { .. }, _) => {
                self.refuse(now, "it came too late, or out of turn; try again".to_owned());
            }
            (
                State::Runs { .. },
                message @ (Message::Stdio(..)
                | Message::Taken(_)
                | Message::Closed(_)
                | Message::Resize(_)),
            ) => self.effects.push_back(PadEffect::Pass(message)),
            // Whoever knows the end says goodbye.
            (State::Runs { ended: Some(_), .. }, Message::Goodbye(_)) => self.leave(),
            (State::Runs { .. } | State::Waking { .. }, _) => {
                self.effects.push_back(PadEffect::HangUp);
                self.lost(now);
            }
            (State::Refused { .. } | State::Over, _) => {}
        }
    }

    fn awake(&mut self) {
        let State::Waking { pid, wake } = self.state else { return };
        self.state = State::Runs { pid, alone: wake.alone, ended: None };
        self.send(Message::Woken(Woken { pid }));
        self.effects.push_back(PadEffect::Resume);
    }

    fn lost(&mut self, now: Time) {
        match &self.state {
            // Whoever sent it must never think that it runs here, and it never will.
            State::Building | State::Built { .. } => {
                self.effects.push_back(PadEffect::End);
                self.leave();
            }
            State::Waking { .. } | State::Runs { ended: None, .. } => {
                self.away = self.away.or(Some((now, Noticed::Nothing)));
            }
            State::Runs { alone, ended: Some(_), .. } => {
                self.away = self.away.or(Some((now, Noticed::Nothing)));
                self.forget = self.forget.min(now + self.keeps(*alone));
            }
            State::Refused { .. } => self.leave(),
            State::Over => {}
        }
    }

    fn returned(&mut self, now: Time) {
        self.away = None;
        match self.state.clone() {
            State::Building | State::Built { .. } => {
                self.refuse(now, "its connection was lost before it was woken; try again".into());
            }
            State::Waking { .. } => {}
            State::Runs { pid, ended, .. } => {
                self.forget = Time::NEVER;
                self.send(Message::Woken(Woken { pid }));
                self.effects.push_back(PadEffect::Resume);
                // Who was away when it stopped has not heard it. Its end comes behind what it wrote.
                if let (None, Some(number)) = (ended, self.stopped) {
                    self.send(Message::Stopped(Stopped { number }));
                }
            }
            State::Refused { reason, .. } => self.send(Message::Refused(Refused { reason })),
            State::Over => {}
        }
    }

    fn ended(&mut self, now: Time, exited: Exited) {
        match &mut self.state {
            State::Runs { alone, ended: ended @ None, .. } => {
                *ended = Some(exited);
                let alone = *alone;
                self.effects.push_back(PadEffect::Tell(Stage::Ended));
                if self.away.is_some() {
                    self.forget = now + self.keeps(alone);
                }
            }
            // Killed from outside: it will not run.
            State::Building | State::Built { .. } => {
                self.refuse(now, "it was ended while it waited; try again".to_owned());
            }
            State::Runs { .. } | State::Waking { .. } | State::Refused { .. } | State::Over => {}
        }
    }

    fn tick(&mut self, now: Time) {
        match &self.state {
            State::Built { until, .. } if now >= *until => {
                self.refuse(now, "nobody woke it in time; try again".to_owned());
            }
            State::Refused { until, .. } if now >= *until => self.leave(),
            State::Runs { ended: Some(_), .. } if now >= self.forget => self.leave(),
            State::Runs { alone, ended: None, .. } => {
                let (Some((since, noticed)), true) = (self.away, now >= self.next_of_away(*alone))
                else {
                    return;
                };
                match (alone, noticed) {
                    (Alone::Ends, _) => {
                        self.effects.push_back(PadEffect::End);
                        self.leave();
                    }
                    (Alone::GoesOn, Noticed::Nothing) => {
                        self.away = Some((since, Noticed::Unread));
                        self.effects.push_back(PadEffect::Unread);
                    }
                    (Alone::GoesOn, Noticed::Unread | Noticed::Alone) => {
                        self.away = Some((since, Noticed::Alone));
                        self.effects.push_back(PadEffect::Alone);
                    }
                }
            }
            _ => {}
        }
    }

    pub fn poll_effect(&mut self) -> Option<PadEffect> {
        self.effects.pop_front()
    }

    pub fn poll_timeout(&self) -> Time {
        match &self.state {
            State::Built { until, .. } | State::Refused { until, .. } => *until,
            State::Runs { ended: Some(_), .. } => self.forget,
            State::Runs { alone, ended: None, .. } => self.next_of_away(*alone),
            State::Building | State::Waking { .. } | State::Over => Time::NEVER,
        }
    }

    /// When a visitor notices, or notices more, that its client is away.
    fn next_of_away(&self, alone: Alone) -> Time {
        match (alone, self.away) {
            (_, None) | (Alone::GoesOn, Some((_, Noticed::Alone))) => Time::NEVER,
            (Alone::Ends, Some((since, _))) => since + self.terms.away,
            (Alone::GoesOn, Some((since, Noticed::Nothing))) => since + self.terms.waits,
            (Alone::GoesOn, Some((since, Noticed::Unread))) => since + self.terms.kept,
        }
    }

    /// How long an end is kept: who would have been ended has a client that does not try for long.
    fn keeps(&self, alone: Alone) -> Span {
        match alone {
            Alone::Ends => self.terms.waits,
            Alone::GoesOn => self.terms.kept,
        }
    }

    /// Whatever comes now is of no concern.
    pub fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused { .. })
    }

    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// It is dead before anybody hears that it does not run.
    fn refuse(&mut self, now: Time, reason: String) {
        self.effects.push_back(PadEffect::End);
        // It was told that it may have run.
        if let State::Waking { .. } = self.state {
            self.effects.push_back(PadEffect::Tell(Stage::Refused));
        }
        self.send(Message::Refused(Refused { reason: reason.clone() }));
        self.state = State::Refused { reason, until: now + self.terms.lease };
    }

    fn send(&mut self, message: Message) {
        if self.away.is_none() {
            self.effects.push_back(PadEffect::Send(message));
        }
    }

    fn leave(&mut self) {
        self.state = State::Over;
        self.effects.push_back(PadEffect::Leave);
    }
}
