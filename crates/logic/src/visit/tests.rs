//! Every order in which a move can go: all deliveries, losses, kills and waits, of both machines.

use std::collections::{HashSet, VecDeque};

use wire::Message;
use wire::units::{Span, Time};
use wire::visit::{Alone, Exited, Wake};

use super::{Fate, Pad, PadEffect, PadEvent, Source, SourceEffect, SourceEvent, Terms};

const PID: u32 = 7;
const TERMS: Terms = Terms {
    lease: Span(2),
    pause: Span(2),
    doubt: Span(15),
    kept: Span(1000),
    waits: Span(40),
    away: Span(3),
};
const WAKE: Wake = Wake { alone: Alone::GoesOn, terminal: None };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Original {
    Frozen,
    /// Frozen, and not let go on by the kernel if its source is killed.
    Held,
    Runs,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visitor {
    None,
    /// Not an instruction has run.
    Built,
    Runs,
    Killed,
    /// It ran and was lost with its node.
    Lost,
}

/// One connection. Each side may learn late that it is cut; what is on its way may or may not arrive.
#[derive(Clone, Debug, Default)]
struct Connection {
    to_pad: VecDeque<Message>,
    to_source: VecDeque<Message>,
    source_is_on: bool,
    pad_is_on: bool,
    is_cut: bool,
}

#[derive(Clone, Debug)]
struct World {
    now: Time,
    /// How often time may pass while something could arrive.
    slow: u32,
    source: Source,
    source_lives: bool,
    pad: Pad,
    node_is_up: bool,
    pad_lives: bool,
    /// It was told that the visitor runs, and was not started anew since.
    node_knows: bool,
    original: Original,
    visitor: Visitor,
    wakes: u32,
    connection: Connection,
    /// The source wants another connection.
    asks: bool,
    cuts: u32,
    kills: u32,
    restarts: u32,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Build,
    FailToBuild,
    DeliverToPad,
    DeliverToSource,
    Cut,
    PadSeesCut,
    SourceSeesCut,
    AskReaches,
    AskFails,
    GiveUp,
    KillSource,
    KillNode,
    RestartNode,
    KillPad,
    KillVisitor,
    Wait,
}

use Step::*;
const STEPS: [Step; 16] = [
    Build,
    FailToBuild,
    DeliverToPad,
    DeliverToSource,
    Cut,
    PadSeesCut,
    SourceSeesCut,
    AskReaches,
    AskFails,
    GiveUp,
    KillSource,
    KillNode,
    RestartNode,
    KillPad,
    KillVisitor,
    Wait,
];

impl World {
    fn new(cuts: u32, kills: u32) -> Self {
        let connection =
            Connection { source_is_on: true, pad_is_on: true, ..Connection::default() };
        Self {
            now: Time(0),
            slow: 2,
            source: Source::new(TERMS, WAKE),
            source_lives: true,
            pad: Pad::new(TERMS),
            node_is_up: true,
            pad_lives: true,
            node_knows: false,
            original: Original::Frozen,
            visitor: Visitor::None,
            wakes: 0,
            connection,
            asks: false,
            cuts,
            kills,
            restarts: kills,
        }
    }

    /// What happens next, if it can.
    fn step(&self, step: Step, may_fail_to_wake: bool) -> Option<Self> {
        let mut this = self.clone();
        let built = this.visitor != Visitor::None;
        let is_live = |w: &Self| w.source_lives && w.source.fate().is_none();
        match step {
            Build if this.pad_lives && !built && !this.pad.is_over() => {
                this.visitor = Visitor::Built;
                this.tell_pad(PadEvent::Built { pid: PID }, may_fail_to_wake);
            }
            FailToBuild if this.pad_lives && !built && !this.pad.is_over() => {
                this.visitor = Visitor::Killed;
                this.tell_pad(PadEvent::Failed { reason: "no".into() }, may_fail_to_wake);
            }
            DeliverToPad if this.pad_lives && this.connection.pad_is_on => {
                let message = this.connection.to_pad.pop_front()?;
                this.tell_pad(PadEvent::Message(message), may_fail_to_wake);
            }
            DeliverToSource if is_live(&this) && this.connection.source_is_on => {
                let message = this.connection.to_source.pop_front()?;
                this.tell_source(SourceEvent::Message(message));
            }
            Cut if this.cuts > 0 && !this.connection.is_cut => {
                this.cuts -= 1;
                this.connection.is_cut = true;
            }
            PadSeesCut if this.pad_lives && this.connection.pad_is_on && this.connection.is_cut => {
                this.connection.pad_is_on = false;
                this.tell_pad(PadEvent::Lost, may_fail_to_wake);
            }
            SourceSeesCut
                if is_live(&this) && this.connection.source_is_on && this.connection.is_cut =>
            {
                this.connection.source_is_on = false;
                this.tell_source(SourceEvent::Lost);
            }
            AskReaches if is_live(&this) && this.asks && this.node_is_up => {
                this.asks = false;
                if this.pad_lives {
                    this.connection =
                        Connection { source_is_on: true, pad_is_on: true, ..Connection::default() };
                    this.tell_source(SourceEvent::Opened);
                    this.tell_pad(PadEvent::Returned, may_fail_to_wake);
                } else {
                    this.tell_source(match this.node_knows {
                        true => SourceEvent::Over { why: "it ran".to_owned() },
                        false => SourceEvent::Absent { why: "it never ran, or is lost".to_owned() },
                    });
                }
            }
            AskFails if is_live(&this) && this.asks && (!this.node_is_up || this.cuts > 0) => {
                this.cuts -= u32::from(this.node_is_up);
                this.asks = false;
                this.tell_source(SourceEvent::Lost);
            }
            GiveUp if is_live(&this) && this.kills > 0 => {
                this.kills -= 1;
                this.tell_source(SourceEvent::GivenUp { why: "enough".into() });
            }
            KillSource if is_live(&this) && this.kills > 0 => {
                this.kills -= 1;
                this.source_lives = false;
                this.connection.is_cut = true;
                // The kernel lets go what a dead tracer had, but what is held.
                if this.original == Original::Frozen {
                    this.original = Original::Runs;
                }
            }
            KillNode if this.node_is_up && this.kills > 0 => {
                this.kills -= 1;
                this.node_is_up = false;
                this.node_knows = false;
                this.pad_dies();
            }
            RestartNode if !this.node_is_up && this.restarts > 0 => {
                this.restarts -= 1;
                this.node_is_up = true;
            }
            KillPad if this.pad_lives && this.node_is_up && this.kills > 0 => {
                this.kills -= 1;
                this.pad_dies();
            }
            KillVisitor if this.pad_lives && this.kills > 0 && this.visitor == Visitor::Built => {
                this.kills -= 1;
                this.visitor = Visitor::Killed;
                this.tell_pad(PadEvent::Ended(Exited::Signal(9)), may_fail_to_wake);
            }
            Wait => {
                let source = if is_live(&this) { this.source.poll_timeout() } else { Time::NEVER };
                let pad = if this.pad_lives { this.pad.poll_timeout() } else { Time::NEVER };
                let next = source.min(pad);
                // A network may be slow, and is not slower than all patience together.
                let delivers = this.connection.source_is_on
                    && !this.connection.to_source.is_empty()
                    || this.connection.pad_is_on
                        && this.pad_lives
                        && !this.connection.to_pad.is_empty()
                    || this.asks && this.node_is_up;
                if next == Time::NEVER || (delivers && this.slow == 0) {
                    return None;
                }
                this.slow -= u32::from(delivers);
                this.now = next.max(this.now);
                if pad <= this.now {
                    this.tell_pad(PadEvent::Tick, may_fail_to_wake);
                }
                if source <= this.now {
                    this.tell_source(SourceEvent::Tick);
                }
            }
            _ => return None,
        }
        Some(this)
    }

    fn tell_pad(&mut self, event: PadEvent, may_fail_to_wake: bool) {
        self.pad.handle(self.now, event);
        while let Some(effect) = self.pad.poll_effect() {
            match effect {
                PadEffect::Send(message) => {
                    if self.connection.pad_is_on && !self.connection.is_cut {
                        self.connection.to_source.push_back(message);
                    }
                }
                PadEffect::Wake(_) => {
                    self.wakes += 1;
                    if may_fail_to_wake {
                        self.visitor = Visitor::Killed;
                        self.pad.handle(self.now, PadEvent::NotAwake { reason: "no".into() });
                    } else {
                        assert_eq!(self.visitor, Visitor::Built, "woken from what is not built");
                        self.visitor = Visitor::Runs;
                        self.pad.handle(self.now, PadEvent::Awake);
                    }
                }
                PadEffect::End => {
                    assert_ne!(self.visitor, Visitor::Runs, "a visitor that runs is killed");
                    self.visitor = Visitor::Killed;
                }
                PadEffect::HangUp => self.connection.is_cut = true,
                PadEffect::Leave => self.pad_dies(),
                PadEffect::Tell(stage) => match stage {
                    wire::visit::Stage::Runs => self.node_knows = true,
                    wire::visit::Stage::Refused => self.node_knows = false,
                    _ => {}
                },
                PadEffect::Pass(_) | PadEffect::Resume | PadEffect::Unread | PadEffect::Alone => {}
            }
        }
    }

    fn tell_source(&mut self, event: SourceEvent) {
        self.source.handle(self.now, event);
        while let Some(effect) = self.source.poll_effect() {
            match effect {
                SourceEffect::Send(message) => {
                    assert_ne!(self.original, Original::Frozen, "it could be let go by the kernel");
                    if self.connection.source_is_on && !self.connection.is_cut {
                        self.connection.to_pad.push_back(message);
                    }
                }
                SourceEffect::Hold => self.original = Original::Held,
                SourceEffect::GoOn => self.original = Original::Runs,
                SourceEffect::End => self.original = Original::Ended,
                SourceEffect::Ask => {
                    // The pad sees that the one before is closed when it sees it.
                    self.connection.source_is_on = false;
                    self.connection.is_cut = true;
                    self.asks = true;
                }
                SourceEffect::HangUp => {
                    self.connection.source_is_on = false;
                    self.connection.is_cut = true;
                    self.asks = false;
                }
            }
        }
    }

    fn pad_dies(&mut self) {
        self.pad_lives = false;
        self.connection.is_cut = true;
        self.visitor = match self.visitor {
            Visitor::Runs | Visitor::Lost => Visitor::Lost,
            Visitor::None | Visitor::Built | Visitor::Killed => Visitor::Killed,
        };
    }

    /// Never both; never neither; never twice.
    fn judge(&self) {
        let ran = matches!(self.visitor, Visitor::Runs | Visitor::Lost);
        assert!(self.wakes <= 1, "woken twice");
        assert!(
            !(self.original == Original::Runs && self.visitor == Visitor::Runs),
            "both: {self:?}"
        );
        assert!(self.original != Original::Ended || ran, "neither: {self:?}");
        match self.source.fate() {
            Some(Fate::Here { why }) => {
                assert_eq!(self.original, Original::Runs);
                // What ran there runs here again only where nobody is left who knows.
                assert!(self.visitor != Visitor::Lost || why.contains("lost"));
                assert!(!(ran && self.node_knows), "twice: {self:?}");
            }
            Some(Fate::There { pid }) => {
                assert_eq!((self.original, *pid), (Original::Ended, PID));
            }
            Some(Fate::Gone { .. }) => {
                assert_eq!((self.original, self.visitor), (Original::Ended, Visitor::Lost));
            }
            Some(Fate::Doubt) => assert_eq!(self.original, Original::Held),
            None if self.source_lives => {
                assert!(matches!(self.original, Original::Frozen | Original::Held), "{self:?}");
            }
            None => {}
        }
    }

    /// Nothing more happens by itself.
    fn judge_the_end(&self, kills: u32) {
        let places =
            u32::from(self.original == Original::Runs) + u32::from(self.visitor == Visitor::Runs);
        let lost_with_its_node = self.visitor == Visitor::Lost;
        if self.source_lives {
            assert!(self.source.fate().is_some(), "a source without an end: {self:?}");
        }
        let in_doubt = self.source.fate() == Some(&Fate::Doubt)
            || (!self.source_lives && self.original == Original::Held);
        if kills == 0 {
            assert_eq!((places, lost_with_its_node, in_doubt), (1, false, false), "{self:?}");
        } else if in_doubt {
            // Whole, stopped, and never beside itself.
            assert_eq!(self.original, Original::Held);
        } else {
            assert!(places == 1 || lost_with_its_node, "{self:?}");
        }
    }
}

/// All orders from here on; how many states there are, and how many ends.
fn explore(cuts: u32, kills: u32, may_fail_to_wake: bool) -> (usize, usize) {
    let mut seen = HashSet::new();
    let mut open = vec![World::new(cuts, kills)];
    let mut ends = 0;
    while let Some(world) = open.pop() {
        if !seen.insert(format!("{world:?}")) {
            continue;
        }
        world.judge();
        let next: Vec<World> =
            STEPS.iter().filter_map(|step| world.step(*step, may_fail_to_wake)).collect();
        // What is killed, cut or given up is somebody's doing: without that, is this an end?
        let goes_on = STEPS.iter().any(|step| {
            !matches!(
                step,
                Cut | GiveUp | KillSource | KillNode | RestartNode | KillPad | KillVisitor
            ) && world.step(*step, may_fail_to_wake).is_some()
        });
        if !goes_on {
            ends += 1;
            world.judge_the_end(kills);
        }
        open.extend(next);
    }
    (seen.len(), ends)
}

#[test]
fn a_process_runs_at_one_place_whatever_is_lost_on_the_way() {
    for may_fail in [false, true] {
        let (states, ends) = explore(3, 0, may_fail);
        assert!(states > 300 && ends > 10, "{states} states, {ends} ends: was anything tried?");
    }
}

#[test]
fn a_process_runs_at_one_place_whoever_is_killed() {
    for may_fail in [false, true] {
        let (states, ends) = explore(1, 2, may_fail);
        assert!(states > 3000 && ends > 100, "{states} states, {ends} ends: was anything tried?");
    }
}

#[test]
fn a_visitor_tells_its_end_to_whoever_comes_back_and_then_leaves() {
    let mut pad = Pad::new(TERMS);
    let now = Time(0);
    let drain = |pad: &mut Pad| std::iter::from_fn(|| pad.poll_effect()).collect::<Vec<_>>();
    pad.handle(now, PadEvent::Built { pid: PID });
    pad.handle(now, PadEvent::Message(Message::Wake(WAKE)));
    pad.handle(now, PadEvent::Awake);
    pad.handle(now, PadEvent::Lost);
    drain(&mut pad);
    // Nobody is told now.
    pad.handle(now, PadEvent::Ended(Exited::Code(3)));
    assert_eq!(drain(&mut pad), [PadEffect::Tell(wire::visit::Stage::Ended)]);
    let exited = PadEffect::Send(Message::Exited(Exited::Code(3)));
    pad.handle(now, PadEvent::Returned);
    assert!(!drain(&mut pad).contains(&exited), "what it wrote comes first");
    pad.handle(now, PadEvent::AllSent);
    assert_eq!(drain(&mut pad), [exited]);
    let goodbye = Message::Goodbye(wire::hello::Goodbye::Leaving);
    pad.handle(now, PadEvent::Message(goodbye));
    assert_eq!(drain(&mut pad), [PadEffect::Leave]);
}

#[test]
fn an_end_is_kept_until_somebody_hears_it_and_not_for_ever() {
    // Whether it ended before its client was away or after that.
    for ended_at in [0, 5] {
        for (alone, kept) in [(Alone::Ends, TERMS.waits), (Alone::GoesOn, TERMS.kept)] {
            let mut pad = Pad::new(TERMS);
            pad.handle(Time(0), PadEvent::Built { pid: PID });
            pad.handle(Time(0), PadEvent::Message(Message::Wake(Wake { alone, terminal: None })));
            pad.handle(Time(0), PadEvent::Awake);
            let ended = PadEvent::Ended(Exited::Code(3));
            let events =
                if ended_at == 0 { [ended, PadEvent::Lost] } else { [PadEvent::Lost, ended] };
            for event in events {
                pad.handle(Time(2), event);
            }
            while pad.poll_effect().is_some() {}
            let forgets = Time(2) + kept;
            pad.handle(Time(forgets.0 - 1), PadEvent::Tick);
            assert_eq!(pad.poll_effect(), None, "nobody has heard of it yet");
            assert_eq!(pad.poll_timeout(), forgets);
            // Who reads slowly what it wrote last is not hurried.
            let mut heard = pad.clone();
            heard.handle(Time(forgets.0 - 1), PadEvent::Returned);
            assert_eq!(heard.poll_timeout(), Time::NEVER);
            heard.handle(Time(forgets.0), PadEvent::AllSent);
            let said: Vec<_> = std::iter::from_fn(|| heard.poll_effect()).collect();
            assert_eq!(said.last(), Some(&PadEffect::Send(Message::Exited(Exited::Code(3)))));
            pad.handle(forgets, PadEvent::Tick);
            assert_eq!(pad.poll_effect(), Some(PadEffect::Leave));
        }
    }
}

#[test]
fn who_is_alone_ends_or_goes_on_as_was_asked() {
    for (alone, patience, wanted) in [
        (Alone::Ends, TERMS.away, vec![PadEffect::End, PadEffect::Leave]),
        (Alone::GoesOn, TERMS.waits, vec![PadEffect::Unread]),
    ] {
        let mut pad = Pad::new(TERMS);
        pad.handle(Time(0), PadEvent::Built { pid: PID });
        pad.handle(Time(0), PadEvent::Message(Message::Wake(Wake { alone, terminal: None })));
        pad.handle(Time(0), PadEvent::Awake);
        pad.handle(Time(1), PadEvent::Lost);
        while pad.poll_effect().is_some() {}
        assert_eq!(pad.poll_timeout(), Time(1) + patience);
        pad.handle(pad.poll_timeout(), PadEvent::Tick);
        assert_eq!(std::iter::from_fn(|| pad.poll_effect()).collect::<Vec<_>>(), wanted);
        if alone == Alone::GoesOn {
            // Its client may still come back to what it has to read.
            assert_eq!(pad.poll_timeout(), Time(1) + TERMS.kept);
            pad.handle(pad.poll_timeout(), PadEvent::Tick);
            assert_eq!(pad.poll_effect(), Some(PadEffect::Alone));
        }
        assert_eq!(pad.poll_timeout(), Time::NEVER);
    }
}

#[test]
fn who_takes_over_from_a_killed_source_asks_until_there_is_an_answer() {
    let drain = |source: &mut Source| -> Vec<SourceEffect> {
        std::iter::from_fn(|| source.poll_effect()).collect()
    };
    let woken = || SourceEvent::Message(Message::Woken(wire::visit::Woken { pid: PID }));
    let cases = [
        (woken(), SourceEffect::End, Fate::There { pid: PID }),
        (
            SourceEvent::Absent { why: "it never ran; look".to_owned() },
            SourceEffect::GoOn,
            Fate::Here { why: "it never ran; look".to_owned() },
        ),
        (
            SourceEvent::Over { why: "it ran, and is lost; look".to_owned() },
            SourceEffect::End,
            Fate::Gone { why: "it ran, and is lost; look".to_owned() },
        ),
    ];
    for (answer, effect, fate) in cases {
        let mut source = Source::after_another(Time(100), TERMS, WAKE);
        assert!(source.is_in_doubt() && source.poll_timeout() == Time(100));
        // Nothing is ever woken by who takes over.
        for at in [100, 102] {
            source.handle(Time(at), SourceEvent::Tick);
            assert_eq!(drain(&mut source), [SourceEffect::Ask]);
            source.handle(Time(at), SourceEvent::Lost);
            assert_eq!(drain(&mut source), [SourceEffect::HangUp]);
        }
        source.handle(Time(103), answer);
        assert!(drain(&mut source).contains(&effect));
        assert_eq!(source.fate(), Some(&fate));
    }
    let mut source = Source::after_another(Time(100), TERMS, WAKE);
    source.handle(Time(100) + TERMS.doubt, SourceEvent::Tick);
    assert!(!drain(&mut source).contains(&SourceEffect::GoOn));
    assert_eq!(source.fate(), Some(&Fate::Doubt));
}

#[test]
fn an_answer_has_its_whole_time_however_long_it_took_to_ask() {
    let mut source = Source::after_another(Time(0), TERMS, WAKE);
    source.handle(Time(0), SourceEvent::Tick);
    assert_eq!(source.poll_effect(), Some(SourceEffect::Ask));
    // The connection is there long after the pause is over.
    source.handle(Time(9), SourceEvent::Opened);
    source.handle(Time(10), SourceEvent::Tick);
    assert_eq!(source.poll_effect(), None, "who has just asked waits for the answer");
    assert_eq!(source.poll_timeout(), Time(9) + TERMS.pause);
}

#[test]
fn who_comes_back_hears_that_a_visitor_stands_still_and_not_that_it_did() {
    let mut pad = Pad::new(TERMS);
    let mut tell = |event| {
        pad.handle(Time(0), event);
        std::iter::from_fn(|| pad.poll_effect()).collect::<Vec<_>>()
    };
    tell(PadEvent::Built { pid: PID });
    tell(PadEvent::Message(Message::Wake(WAKE)));
    tell(PadEvent::Awake);
    tell(PadEvent::Lost);
    let stopped = PadEffect::Send(Message::Stopped(wire::visit::Stopped { number: 20 }));
    assert_eq!(tell(PadEvent::Stopped { number: 20 }), []);
    assert_eq!(tell(PadEvent::Returned).last(), Some(&stopped));
    tell(PadEvent::Lost);
    tell(PadEvent::GoesOn);
    assert!(!tell(PadEvent::Returned).contains(&stopped));
}
