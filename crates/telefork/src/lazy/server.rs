//! Where the pages are: all are sent, and those that are waited for at once.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::panic;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use sys::pagemap::Pagemap;
use sys::{Pid, process_memory};
use wire::image::ImageId;
use wire::image::paging::{DONE, HEAD, Piece, REQUEST, Request};

use super::packing::Packing;
use super::ranges::Ranges;
use crate::Error;

/// Bytes that are read and sent at once: a fault over there waits while so many are put in place.
const PIECE: u64 = 128 << 10;

/// Memory that is searched for pages at once: some milliseconds, in which nobody's neighbours are sent.
const SCAN: u64 = 64 << 20;

/// Around a page that is waited for, so much is sent next: the thread will mostly want that, too.
const NEIGHBOURS: u64 = 64 << 10;

/// A window that follows on the last one is larger, up to this: somebody reads in order.
const NEIGHBOURS_MAX: u64 = 256 << 10;

/// The pages that an image left behind, in a process that stands still until all are sent.
#[derive(Debug)]
pub struct PageServer {
    pid: Pid,
    id: ImageId,
    left: Ranges,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    unsent: Ranges,
    /// What is to be sent before all the rest.
    wanted: VecDeque<Range<u64>>,
    is_all_sent: bool,
}

impl PageServer {
    /// Of what is present in these ranges of a process.
    pub fn new(pid: Pid, id: ImageId, left: impl IntoIterator<Item = Range<u64>>) -> Self {
        let left: Ranges = left.into_iter().collect();
        let state = State { unsent: left.clone(), wanted: VecDeque::new(), is_all_sent: false };
        Self { pid, id, left, state: Mutex::new(state) }
    }

    /// Sends all pages, those near a fault first, and the end.
    pub fn stream(&self, to: impl Write + Send) -> Result<(), Error> {
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                sys::thread::stand_back();
                self.stream_all(to)
            });
            sending.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    fn stream_all(&self, mut to: impl Write) -> Result<(), Error> {
        let pagemap = Pagemap::open(self.pid)?;
        let (mut buffer, mut packing) = (buffer(), Packing::where_it_helps());
        let mut cursor = 0;
        let mut present = VecDeque::new();
        loop {
            let wanted = self.lock().wanted.pop_front();
            if let Some(window) = wanted {
                for range in pagemap.look(window)?.own {
                    self.send_unsent(&range, &mut buffer, &mut packing, &mut to)?;
                }
            } else if let Some(piece) = take_piece(&mut present) {
                self.send_unsent(&piece, &mut buffer, &mut packing, &mut to)?;
            } else if let Some(window) = self.next_scan(cursor) {
                cursor = window.end;
                present = pagemap.look(window)?.own.into();
            } else {
                break;
            }
        }
        self.lock().is_all_sent = true;
        to.write_all(&Piece::End.encode()).and_then(|()| to.flush()).map_err(Error::Pages)
    }

    /// Bytes of the ranges that were left behind: at most so many are to be sent.
    pub fn left(&self) -> u64 {
        let mut bytes = 0;
        let mut at = 0;
        while let Some(range) = self.left.next(at) {
            bytes += range.end - range.start;
            at = range.end;
        }
        bytes
    }

    /// The same pages, in a copy of that process which stays when it is gone.
    #[must_use]
    pub fn in_twin(mut self, twin: Pid) -> Self {
        self.pid = twin;
        self
    }

    /// Answers who waits, until the connection ends. `true`: he has said that he has all that he needs.
    pub fn answer(&self, mut connection: impl Read + Write) -> Result<bool, Error> {
        match self.answer_all(&mut connection) {
            // Whoever has all pages needs no answer any more, even if he has asked.
            Err(Error::Pages(_)) if self.lock().is_all_sent => {
                let mut request = [0; REQUEST];
                while connection.read_exact(&mut request).is_ok() {
                    if request == DONE {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            answered => answered,
        }
    }

    fn answer_all(&self, mut connection: impl Read + Write) -> Result<bool, Error> {
        // Whoever waits does not wait for packing, too.
        let (mut buffer, mut packing) = (buffer(), Packing::never());
        let mut window = 0..0;
        loop {
            let mut request = [0; REQUEST];
            match connection.read_exact(&mut request) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(Error::Pages(error)),
            }
            if request == DONE {
                return Ok(true);
            }
            let request = Request::decode(&request).ok_or(Error::PageHead)?;
            let address = request.address;
            let asked = address..address + u64::from(request.len).min(NEIGHBOURS);
            if self.left.within(&asked) != [asked.clone()] {
                return Err(Error::NotLeft { address });
            }
            self.send(&asked, &mut buffer, &mut packing, &mut connection)?;
            connection.flush().map_err(Error::Pages)?;
            window = next_window(&window, address);
            let mut state = self.lock();
            state.unsent.take(&asked);
            state.wanted.push_back(window.clone());
        }
    }

    fn send_unsent(
        &self,
        range: &Range<u64>,
        buffer: &mut [u8],
        packing: &mut Packing,
        to: &mut impl Write,
    ) -> Result<(), Error> {
        let unsent = self.lock().unsent.take(range);
        unsent.iter().try_for_each(|part| self.send(part, buffer, packing, to))
    }

    /// One range, with its bytes, in as many pieces as it needs.
    fn send(
        &self,
        range: &Range<u64>,
        buffer: &mut [u8],
        packing: &mut Packing,
        to: &mut impl Write,
    ) -> Result<(), Error> {
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(PIECE) as usize;
            let bytes = &mut buffer[HEAD..HEAD + len];
            process_memory::read(self.pid, at, bytes)?;
            let piece = match bytes.iter().all(|&byte| byte == 0) {
                true => Piece::Zero { address: at, len: len as u32 },
                false => Piece::of(self.id, at, bytes),
            };
            packing.send(piece, &mut buffer[..HEAD + len], to).map_err(Error::Pages)?;
            at += len as u64;
        }
        Ok(())
    }

    /// What to look at next for pages that are there.
    fn next_scan(&self, cursor: u64) -> Option<Range<u64>> {
        let next = self.left.next(cursor)?;
        Some(next.start..next.end.min(next.start.saturating_add(SCAN)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn buffer() -> Vec<u8> {
    vec![0; HEAD + PIECE as usize]
}

/// The next piece of what is there.
fn take_piece(present: &mut VecDeque<Range<u64>>) -> Option<Range<u64>> {
    let first = present.front_mut()?;
    let piece = first.start..first.end.min(first.start + PIECE);
    first.start = piece.end;
    if first.is_empty() {
        present.pop_front();
    }
    Some(piece)
}

/// What to send next around a page that is waited for, by the window of the last such page.
fn next_window(last: &Range<u64>, address: u64) -> Range<u64> {
    if address == last.end {
        let len = (2 * (last.end - last.start)).clamp(NEIGHBOURS, NEIGHBOURS_MAX);
        return address..address.saturating_add(len);
    }
    let start = address - address % NEIGHBOURS;
    start..start.saturating_add(NEIGHBOURS)
}
