//! Whatever several sessions ask, in whatever order, against a home that is too simple to be wrong.
//!
//! The model keeps whole pages in a list and a queue per page, and looks through everything each time.

use std::collections::VecDeque;

use super::*;

const PAGES: u64 = 4;

/// Numbers that look random; the seed is printed when something fails.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

#[derive(Clone)]
struct ModelPage {
    version: u64,
    bytes: Vec<u8>,
    /// Who has it, for which request, with which token.
    holder: Option<(LinkId, u64, u64)>,
    queue: VecDeque<(LinkId, u64, Request, Vec<u8>)>,
}

struct Model {
    pages: Vec<ModelPage>,
    token: u64,
    answers: Vec<(LinkId, u64, Sent)>,
}

impl Model {
    fn answer(&mut self, link: LinkId, number: u64, answer: Answer, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.answers.push((link, number, Sent::Answer(answer, bytes)));
    }

    fn page(&mut self, page: PageNo) -> &mut ModelPage {
        &mut self.pages[page.0 as usize]
    }

    fn ask(&mut self, link: LinkId, number: u64, request: Request, bytes: &[u8]) {
        match request {
            Request::Read { page, known } => {
                let page = self.page(page).clone();
                let version = Version(page.version);
                if version == known {
                    self.answer(link, number, Answer::Unchanged { version }, &[]);
                } else {
                    self.answer(link, number, Answer::Page { version }, &page.bytes);
                }
            }
            Request::Lock { page, known, wait } => {
                if self.page(page).holder.is_none() {
                    self.token += 1;
                    let token = self.token;
                    self.page(page).holder = Some((link, number, token));
                    let page = self.page(page).clone();
                    let version = Version(page.version);
                    let bytes = if version == known { Vec::new() } else { page.bytes };
                    self.answer(
                        link,
                        number,
                        Answer::Locked { token: Token(token), version },
                        &bytes,
                    );
                } else if wait == Some(Span(0)) {
                    self.answer(link, number, Answer::Busy, &[]);
                } else {
                    self.page(page).queue.push_back((link, number, request, bytes.to_vec()));
                }
            }
            Request::Unlock { page, token, commit } => {
                let holds = |&(holder, _, of): &(LinkId, u64, u64)| (holder, of) == (link, token.0);
                if !self.page(page).holder.as_ref().is_some_and(holds) {
                    let refusal = Refusal::StaleToken { page };
                    return self.answer(link, number, Answer::Refused(refusal), &[]);
                }
                match commit {
                    Commit::Nothing | Commit::Unawaited => {
                        self.answer(link, number, Answer::Released, &[]);
                    }
                    Commit::Bytes { offset } => {
                        let version = self.write(page, offset, bytes);
                        self.answer(link, number, Answer::Committed { version }, &[]);
                    }
                }
                self.release(page);
            }
            Request::Update { page, offset, if_version, at_least: _ } => {
                let based_on: Vec<_> =
                    if_version.map(|version| (page, version)).into_iter().collect();
                if self.conflicts(link, number, &based_on) {
                    return;
                }
                if self.page(page).holder.is_some() {
                    self.page(page).queue.push_back((link, number, request, bytes.to_vec()));
                    return;
                }
                let version = self.write(page, offset, bytes);
                self.answer(link, number, Answer::Committed { version }, &[]);
            }
            Request::Transact { ref reads, ref writes } => {
                if self.conflicts(link, number, reads) {
                    return;
                }
                let locked = writes.iter().find(|write| self.page(write.page).holder.is_some());
                if let Some(write) = locked {
                    let (page, bytes) = (write.page, bytes.to_vec());
                    self.page(page).queue.push_back((link, number, request, bytes));
                    return;
                }
                let before: Vec<u64> = self.pages.iter().map(|page| page.version).collect();
                let mut at = 0;
                let mut versions: Vec<(PageNo, Version)> = Vec::new();
                for write in writes {
                    let end = at + write.length as usize;
                    self.write(write.page, write.offset, &bytes[at..end]);
                    at = end;
                    let version = before[write.page.0 as usize] + 1;
                    self.page(write.page).version = version;
                    if !versions.iter().any(|(page, _)| *page == write.page) {
                        versions.push((write.page, Version(version)));
                    }
                }
                let versions = versions.into_iter().map(|(_, version)| version).collect();
                self.answer(link, number, Answer::Transacted { versions }, &[]);
            }
            other => panic!("{other:?}"),
        }
    }

    fn conflicts(&mut self, link: LinkId, number: u64, reads: &[(PageNo, Version)]) -> bool {
        let (mut pages, mut bytes) = (Vec::new(), Vec::new());
        for &(page, based_on) in reads {
            let now = self.page(page).clone();
            if based_on.0 > now.version {
                let refusal = Refusal::VersionAhead { page, version: Version(now.version) };
                self.answer(link, number, Answer::Refused(refusal), &[]);
                return true;
            }
            if based_on.0 < now.version {
                pages.push((page, Version(now.version)));
                bytes.extend(now.bytes);
            }
        }
        if pages.is_empty() {
            return false;
        }
        self.answer(link, number, Answer::Conflict { pages }, &bytes);
        true
    }

    fn write(&mut self, page: PageNo, offset: u32, new: &[u8]) -> Version {
        let page = self.page(page);
        page.bytes[offset as usize..offset as usize + new.len()].copy_from_slice(new);
        page.version += 1;
        Version(page.version)
    }

    fn release(&mut self, page: PageNo) {
        self.page(page).holder = None;
        while self.page(page).holder.is_none()
            && let Some((link, number, request, bytes)) = self.page(page).queue.pop_front()
        {
            self.ask(link, number, request, &bytes);
        }
    }

    /// What `Detach` leads to: nobody waits for its locks, and it waits for nobody's.
    fn detach(&mut self, link: LinkId) {
        for page in 0..PAGES {
            let of_locks = |request: &Request| matches!(request, Request::Lock { .. });
            let queue = &mut self.page(PageNo(page)).queue;
            queue.retain(|(who, _, request, _)| *who != link || !of_locks(request));
        }
        for page in 0..PAGES {
            if self.page(PageNo(page)).holder.is_some_and(|(holder, ..)| holder == link) {
                self.release(PageNo(page));
            }
        }
        for page in 0..PAGES {
            self.page(PageNo(page)).queue.retain(|(who, ..)| *who != link);
        }
    }
}

fn some_request(dice: &mut Dice, model: &mut Model, link: LinkId) -> (Request, Vec<u8>) {
    let page = PageNo(dice.roll(PAGES));
    let now = model.page(page).version;
    // Mostly the present version, sometimes one before or after.
    let version = |dice: &mut Dice, now: u64| match dice.roll(8) {
        0 => now.saturating_sub(1),
        1 => now + 1,
        _ => now,
    };
    let known = Version(version(dice, now));
    let byte = dice.roll(256) as u8;
    match dice.roll(12) {
        0 | 1 => (Request::Read { page, known }, Vec::new()),
        2 => (Request::Lock { page, known, wait: Some(Span(0)) }, Vec::new()),
        3 | 4 => (Request::Lock { page, known, wait: None }, Vec::new()),
        5..=7 => {
            let held = model.page(page).holder;
            let token = match held {
                Some((holder, _, token)) if holder == link || dice.roll(4) == 0 => token,
                _ => dice.roll(model.token + 2),
            };
            let (token, offset) = (Token(token), dice.roll(60) as u32);
            match dice.roll(3) {
                0 => (Request::Unlock { page, token, commit: Commit::Nothing }, Vec::new()),
                1 => (Request::Unlock { page, token, commit: Commit::Unawaited }, Vec::new()),
                _ => {
                    let commit = Commit::Bytes { offset };
                    (Request::Unlock { page, token, commit }, vec![byte; 4])
                }
            }
        }
        8 | 9 => {
            let if_version = (dice.roll(2) == 0).then_some(known);
            let offset = dice.roll(60) as u32;
            let length = if dice.roll(5) == 0 { PAGE } else { 4 };
            let offset = if length == PAGE { 0 } else { offset };
            let at_least = Version(0);
            (Request::Update { page, offset, if_version, at_least }, vec![byte; length])
        }
        _ => {
            let mut reads = Vec::new();
            for _ in 0..dice.roll(3) {
                let page = PageNo(dice.roll(PAGES));
                let now = model.page(page).version;
                reads.push((page, Version(version(dice, now))));
            }
            let mut writes = Vec::new();
            for _ in 0..1 + dice.roll(3) {
                let (page, offset) = (PageNo(dice.roll(PAGES)), dice.roll(60) as u32);
                writes.push(Write { page, offset, length: 4 });
            }
            let bytes = (0..writes.len() * 4).map(|_| dice.roll(256) as u8).collect();
            (Request::Transact { reads, writes }, bytes)
        }
    }
}

#[test]
fn any_requests_in_any_order_do_what_the_simplest_home_does() {
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let mut home = Home::with(Options::default(), create(PAGES, Durability::None));
        let page =
            ModelPage { version: 1, bytes: vec![0; PAGE], holder: None, queue: VecDeque::new() };
        let token = 1 << 44;
        let mut model = Model { pages: vec![page; PAGES as usize], token, answers: Vec::new() };
        let mut sessions = 100;
        for step in 0..400 {
            let link = [ANN, BOB, CAT][dice.roll(3) as usize];
            let happened;
            let sent = if dice.roll(60) == 0 {
                // It is over, and begins anew.
                happened = "detaches".to_owned();
                let (_, mut sent) = home.ask(link, Request::Detach, &[]);
                sent.retain(|(_, _, sent)| {
                    *sent != answered(Answer::Done) && *sent != answered(Answer::Busy)
                });
                model.detach(link);
                // Its own answers reach nobody that still cares.
                sent.retain(|(to, ..)| *to != link);
                model.answers.retain(|(to, ..)| *to != link);
                sessions += 1;
                home.attach(link, sessions);
                sent
            } else {
                let (request, bytes) = some_request(&mut dice, &mut model, link);
                happened = format!("{request:?}");
                let (number, sent) = home.ask(link, request.clone(), &bytes);
                model.ask(link, number, request, &bytes);
                sent
            };
            let want = std::mem::take(&mut model.answers);
            assert_eq!(sent, want, "seed {seed}, step {step}: {link:?} {happened}");
        }
        for page in 0..PAGES {
            let (version, bytes) = home.reads(CAT, page);
            let want = model.page(PageNo(page));
            assert_eq!((version, &bytes[..]), (want.version, &want.bytes[..]), "seed {seed}");
        }
        // All of them gone, nothing is left.
        for link in [ANN, BOB, CAT] {
            home.ask(link, Request::Detach, &[]);
        }
        home.attach(ANN, 99);
        let Answer::Stat(about) = home.answer(ANN, Request::Stat, &[]).0 else { panic!() };
        assert_eq!((about.locks, about.waiting, about.sessions), (0, 0, 1), "seed {seed}");
        assert_eq!(home.regions.figures().bytes, {
            let pages = about.written * PAGE as u64;
            pages + home.regions.regions[0].table.overhead()
        });
    }
}
