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
    /// The visitor was stopped by a signal, goes on, or has ended and everything that it wrote was sent.
    Stopped {
        number: u8,
    },
    GoesOn,
    Ended(Exited),
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
    /// Nobody reads what it writes any more.
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

/// One pad. After each `handle` drain `poll_effect`, then sleep until `poll_timeout`.
#[derive(Clone, Debug)]
pub struct Pad {
    terms: Terms,
    state: State,
    /// Since when nobody is there, and whether the streams know.
    away: Option<(Time, bool)>,
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
            State::Waking { .. } | State::Runs { .. } => {
                self.away = self.away.or(Some((now, false)));
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
                self.send(Message::Woken(Woken { pid }));
                self.effects.push_back(PadEffect::Resume);
                match (ended, self.stopped) {
                    (Some(exited), _) => self.send(Message::Exited(exited)),
                    // Who was away when it stopped has not heard it.
                    (None, Some(number)) => self.send(Message::Stopped(Stopped { number })),
                    (None, None) => {}
                }
            }
            State::Refused { reason, .. } => self.send(Message::Refused(Refused { reason })),
            State::Over => {}
        }
    }

    fn ended(&mut self, now: Time, exited: Exited) {
        match &mut self.state {
            State::Runs { ended: ended @ None, .. } => {
                *ended = Some(exited);
                self.effects.push_back(PadEffect::Tell(Stage::Ended));
                self.forget = now + self.terms.kept;
                self.send(Message::Exited(exited));
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
                let Some((since, told)) = self.away else { return };
                if now < since + self.patience(*alone) || told {
                    return;
                }
                match alone {
                    Alone::Ends => {
                        self.effects.push_back(PadEffect::End);
                        self.leave();
                    }
                    Alone::GoesOn => {
                        self.away = Some((since, true));
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
            State::Runs { alone, ended: None, .. } => match self.away {
                Some((since, false)) => since + self.patience(*alone),
                Some((_, true)) | None => Time::NEVER,
            },
            State::Building | State::Waking { .. } | State::Over => Time::NEVER,
        }
    }

    /// How long its client may be away. Of one that goes on alone nothing is lost for as long as its client
    /// tries to come back: until then it waits with what it writes.
    fn patience(&self, alone: Alone) -> Span {
        match alone {
            Alone::Ends => self.terms.away,
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
