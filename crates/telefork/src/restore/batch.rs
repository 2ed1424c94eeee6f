//! System calls that the husk is to make, with what they point to, until they are made all at once.

use sys::process_memory;
use sys::ptrace::{Call, Remote, Stopped};

use crate::Error;

/// Calls that are made one after the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    calls: Vec<Planned>,
    data: Vec<u8>,
    /// Where in the data the address of other data belongs.
    pointers: Vec<(usize, Argument)>,
}

#[derive(Debug)]
struct Planned {
    number: i64,
    args: [Argument; 6],
    action: &'static str,
    need: Need,
}

/// An argument of a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Argument {
    Number(u64),
    /// So many bytes into the data of the batch.
    Data(usize),
}

/// Whether a call that fails is the end of the restoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Must,
    May,
}

impl From<u64> for Argument {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl Batch {
    /// Bytes that a call of this batch points to.
    pub(super) fn data(&mut self, bytes: &[u8]) -> Argument {
        let at = self.data.len();
        self.data.extend_from_slice(bytes);
        self.data.resize(self.data.len().next_multiple_of(16), 0);
        Argument::Data(at)
    }

    pub(super) fn words(&mut self, words: &[u64]) -> Argument {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.data(&bytes)
    }

    /// What `PR_SET_MM_MAP` takes: boundaries, where the auxiliary vector is and how long, and no file.
    pub(super) fn memory_map(
        &mut self,
        boundaries: &[u64; 11],
        vector: Argument,
        length: u32,
    ) -> Argument {
        self.pointers.push((self.data.len() + 88, vector));
        let no_file = u64::from(u32::MAX) << 32;
        self.words(&[&boundaries[..], &[0, u64::from(length) | no_file]].concat())
    }

    /// The number of a thread that `clone3` is to give it, and all else that it takes.
    pub(super) fn clone_arguments(&mut self, flags: u64, tid: i32) -> Argument {
        let number = self.words(&[tid as u64]);
        self.pointers.push((self.data.len() + 64, number));
        self.words(&[flags, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0])
    }

    /// What `recvmsg` takes for a byte with some descriptors: the whole, and where their numbers come.
    pub(super) fn message(&mut self, descriptors: usize) -> (Argument, Argument) {
        let byte = self.data(&[0]);
        let control = self.data(&vec![0; (MESSAGE_HEAD + 4 * descriptors).next_multiple_of(8)]);
        let pieces = self.data.len();
        self.pointers.push((pieces, byte));
        self.words(&[0, 1]);
        let message = self.data.len();
        self.pointers.extend([(message + 16, Argument::Data(pieces)), (message + 32, control)]);
        let len = (MESSAGE_HEAD + 4 * descriptors).next_multiple_of(8) as u64;
        (self.words(&[0, 0, 0, 1, 0, len, 0]), control)
    }

    /// Text with an end.
    pub(super) fn text(&mut self, text: &[u8]) -> Argument {
        self.data(&[text, &[0]].concat())
    }

    /// A call that must succeed. `action` says what it is for.
    pub(super) fn must(&mut self, action: &'static str, number: i64, args: &[Argument]) {
        self.put(action, number, args, Need::Must);
    }

    /// A call that does no harm where the kernel does not know it.
    pub(super) fn may(&mut self, action: &'static str, number: i64, args: &[Argument]) {
        self.put(action, number, args, Need::May);
    }

    fn put(&mut self, action: &'static str, number: i64, args: &[Argument], need: Need) {
        let mut all = [Argument::Number(0); 6];
        all[..args.len()].copy_from_slice(args);
        self.calls.push(Planned { number, args: all, action, need });
    }

    /// Whether it should be made before more is put.
    pub(super) fn is_full(&self) -> bool {
        self.data.len() > DATA_FULL
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Makes the calls and forgets them: their results, 0 for those that may fail and did.
    pub(super) fn run(&mut self, remote: &mut Remote<'_>) -> Result<Vec<u64>, Error> {
        let calls = self.placed(remote)?;
        let results = remote.run(&calls)?;
        self.check(results, remote.pid())
    }

    /// The same in another thread of the husk.
    pub(super) fn run_in(
        &mut self,
        thread: &mut Stopped,
        remote: &mut Remote<'_>,
    ) -> Result<Vec<u64>, Error> {
        let calls = self.placed(remote)?;
        let results = remote.run_in(thread, &calls)?;
        self.check(results, remote.pid())
    }

    /// The results, whatever they are.
    pub(super) fn try_run(
        &mut self,
        remote: &mut Remote<'_>,
    ) -> Result<Vec<std::io::Result<u64>>, Error> {
        let calls = self.placed(remote)?;
        *self = Self::default();
        Ok(remote.run(&calls)?)
    }

    /// What a call of the last batch has left in its data.
    pub(super) fn left(remote: &Remote<'_>, at: Argument, length: usize) -> Result<Vec<u8>, Error> {
        let Argument::Data(at) = at else { unreachable!("only data is left anywhere") };
        let mut bytes = vec![0; length];
        process_memory::read(remote.pid(), remote.scratch().start + at as u64, &mut bytes)?;
        Ok(bytes)
    }

    fn placed(&self, remote: &Remote<'_>) -> Result<Vec<Call>, Error> {
        let scratch = remote.scratch();
        assert!(self.data.len() as u64 <= scratch.end - scratch.start, "a batch was run too late");
        let place = |argument: Argument| match argument {
            Argument::Number(number) => number,
            Argument::Data(at) => scratch.start + at as u64,
        };
        let mut data = self.data.clone();
        for (at, to) in &self.pointers {
            data[*at..*at + 8].copy_from_slice(&place(*to).to_le_bytes());
        }
        process_memory::write(remote.pid(), scratch.start, &data)?;
        let call =
            |planned: &Planned| Call { number: planned.number, args: planned.args.map(place) };
        Ok(self.calls.iter().map(call).collect())
    }

    fn check(
        &mut self,
        results: Vec<std::io::Result<u64>>,
        pid: sys::Pid,
    ) -> Result<Vec<u64>, Error> {
        let calls = std::mem::take(self).calls;
        let mut good = Vec::with_capacity(results.len());
        for (result, Planned { action, need, .. }) in results.into_iter().zip(calls) {
            good.push(match result {
                Ok(value) => value,
                Err(_) if need == Need::May => 0,
                Err(source) => return Err(Error::Step { action, pid, source }),
            });
        }
        Ok(good)
    }
}

/// Bytes of `struct cmsghdr`.
pub(super) const MESSAGE_HEAD: usize = 16;

/// Bytes of data after which a batch is run: half of what there is room for.
const DATA_FULL: usize = 32 << 10;
