//! A session of a region, on a connection that says what it likes.

use bytes::Bytes;
use transport::Role;
use wire::Message;
use wire::hello::Purpose;
use wire::region::{
    Admission, Answer, Ask, Attach, Audience, Create, Durability, PageNo, Refusal, Request,
    SessionId, Style, Version,
};

use super::raw::Raw;
use super::target::Target;

pub(crate) fn create(region: &str, page_size: u32, pages: u64) -> Create {
    Create {
        name: region.parse().unwrap(),
        page_size,
        pages,
        durability: Durability::None,
        style: Style::Transactional,
        audience: Audience::Cluster,
    }
}

#[track_caller]
pub(crate) fn make(target: &Target, create: Create) -> Result<(), Refusal> {
    let (mut raw, _) = target.client("ann");
    make_on(&mut raw, create)
}

#[track_caller]
pub(crate) fn make_on(raw: &mut Raw, create: Create) -> Result<(), Refusal> {
    raw.put_message(5, &Message::RegionCreate(create));
    raw.find(|message| match message {
        Message::RegionCreated(created) => Some(created.result.clone().map(|_| ())),
        _ => None,
    })
}

pub(crate) struct Session {
    pub(crate) raw: Raw,
    pub(crate) number: u64,
    /// Requests up to this one were answered.
    pub(crate) answered: u64,
}

impl Session {
    /// Not attached yet.
    #[track_caller]
    pub(crate) fn greet(target: &Target, role: Role, who: &str) -> Self {
        let mut raw = target.peer(role, who);
        raw.greet(Purpose::Memory);
        Self { raw, number: 0, answered: 0 }
    }

    #[track_caller]
    pub(crate) fn open(target: &Target, who: &str, region: &str, session: u64) -> Self {
        let mut this = Self::greet(target, Role::Client, who);
        this.attach(region, session).unwrap();
        this
    }

    #[track_caller]
    pub(crate) fn attach(&mut self, region: &str, session: u64) -> Result<Admission, Refusal> {
        let attach = Attach { region: region.parse().unwrap(), session: SessionId(session) };
        self.raw.put_message(0, &Message::Attach(attach));
        self.raw.find(|message| match message {
            Message::Attached(attached) => Some(attached.result.clone()),
            _ => None,
        })
    }

    /// Sends a request; returns its number.
    pub(crate) fn send(&mut self, request: Request, bytes: &[u8]) -> u64 {
        self.number += 1;
        let ask = Ask { answered: self.answered, request };
        let message = Message::Request(ask, Bytes::copy_from_slice(bytes));
        self.raw.put_message(self.number, &message);
        self.number
    }

    /// The next answer to anything.
    #[track_caller]
    pub(crate) fn next_answer(&mut self) -> (u64, Answer, Bytes) {
        loop {
            match self.raw.next().expect("the connection ended before") {
                (channel, Message::Answer(answer, bytes)) => return (channel, answer, bytes),
                (_, Message::Goodbye(goodbye)) => panic!("{goodbye:?}"),
                _ => {}
            }
        }
    }

    #[track_caller]
    pub(crate) fn answer_to(&mut self, number: u64) -> (Answer, Bytes) {
        loop {
            let (channel, answer, bytes) = self.next_answer();
            if channel == number {
                return (answer, bytes);
            }
        }
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, request: Request, bytes: &[u8]) -> (Answer, Bytes) {
        let number = self.send(request, bytes);
        self.answer_to(number)
    }

    #[track_caller]
    pub(crate) fn refused(&mut self, request: Request, bytes: &[u8]) -> Refusal {
        match self.ask(request, bytes).0 {
            Answer::Refused(refusal) => refusal,
            answer => panic!("it was answered: {answer:?}"),
        }
    }

    /// The version and the bytes of a page.
    #[track_caller]
    pub(crate) fn page(&mut self, page: u64) -> (u64, Bytes) {
        match self.ask(Request::Read { page: PageNo(page), known: Version(0) }, &[]) {
            (Answer::Page { version }, bytes) => (version.0, bytes),
            (answer, _) => panic!("{answer:?}"),
        }
    }
}
