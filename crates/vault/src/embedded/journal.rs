//! The store's journals as they lie on the disk, looked at before the store opens them: it cuts off
//! what it cannot read, and keeps no copy.
//!
//! ```text
//! 1 COUNT:u32 NUMBER:u64           a batch begins
//! 2 …  or  4 KEYSPACE:u64          COUNT items
//! 3 CHECKSUM:u64 "FJL\x03"         it ends: the checksum is of its items
//! 0 0 0 …                          room behind the last batch
//! ```
//!
//! A power cut may leave holes in the last batches, which nobody was told of. The store takes some of
//! them for damage and goes no further, so everything from the first batch on that is not whole is cut
//! off here. Had it been acknowledged, the high-water files would know; so what is cut off is kept
//! beside the journal until all regions are found whole.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEARING: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";
/// What the name of a copy has behind that of its journal, before the offset that it was cut off at.
const COPY: &str = ".from-";
const BUFFER: usize = 1 << 16;

/// Makes the last journal of a store end with a whole batch. The others were complete on the disk
/// before the next one was begun: what is wrong with them is damage, which is left as it is: the first such is given back.
pub(super) fn mend(store: &Path) -> io::Result<Option<PathBuf>> {
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let mut journals = files(store, |name| name.ends_with(".jnl"))?;
    journals.sort_by_key(number);
    let last = journals.len().saturating_sub(1);
    for (at, journal) in journals.into_iter().enumerate() {
        let Extent { whole, written } = measure(&journal)?;
        if whole == written {
            continue;
        }
        if at < last {
            return Ok(Some(journal));
        }
        copy(&journal, whole..written)?;
        File::open(store)?.sync_all()?;
        let file = File::options().write(true).open(&journal)?;
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(None)
}

/// All regions are whole: nobody needs what was cut off.
pub(super) fn forget_copies(store: &Path) -> io::Result<()> {
    files(store, |name| name.contains(COPY))?.into_iter().try_for_each(fs::remove_file)
}

fn files(store: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(store)?.map(|entry| entry.map(|entry| entry.path()));
    let is_wanted =
        |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted);
    Ok(paths.collect::<io::Result<Vec<_>>>()?.into_iter().filter(is_wanted).collect())
}

/// On the disk when this returns, but for the folder's entry. Earlier copies stay.
fn copy(journal: &Path, part: std::ops::Range<u64>) -> io::Result<()> {
    let mut from = File::open(journal)?;
    from.seek(SeekFrom::Start(part.start))?;
    let mut copies = 0;
    let mut to = loop {
        let mut name = journal.as_os_str().to_owned();
        name.push(format!("{COPY}{}.{copies}", part.start));
        match File::create_new(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => copies += 1,
            made => break made?,
        }
    };
    io::copy(&mut from.take(part.end - part.start), &mut to)?;
    to.sync_all()
}

/// Where the batches of a journal end.
struct Extent {
    /// Up to here they are whole.
    whole: u64,
    /// Behind this are zeros alone.
    written: u64,
}

fn measure(journal: &Path) -> io::Result<Extent> {
    let mut reader = BufReader::with_capacity(BUFFER, File::open(journal)?);
    let mut whole = 0;
    while let Some(length) = batch(&mut reader)? {
        whole += length;
    }
    reader.seek(SeekFrom::Start(whole))?;
    let (mut written, mut at) = (whole, whole);
    let zeros = vec![0; BUFFER];
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(Extent { whole, written });
        }
        if bytes != &zeros[..bytes.len()]
            && let Some(last) = bytes.iter().rposition(|byte| *byte != 0)
        {
            written = at + last as u64 + 1;
        }
        let length = bytes.len();
        at += length as u64;
        reader.consume(length);
    }
}

/// The length of the batch that is next; none where there is no whole one.
fn batch(reader: &mut impl Read) -> io::Result<Option<u64>> {
    match whole_batch(reader) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        found => found,
    }
}

fn whole_batch(reader: &mut impl Read) -> io::Result<Option<u64>> {
    let [START, count @ ..] = take::<5>(reader)? else { return Ok(None) };
    let number = take::<8>(reader)?;
    let mut length = 1 + count.len() + number.len();
    let mut sum = Xxh3::new();
    for _ in 0..u32::from_le_bytes(count) {
        let [kind] = take(reader)?;
        sum.update(&[kind]);
        let rest = match kind {
            ITEM => {
                // The kinds of the value and of its compression, of which there is none; the keyspace;
                // and how long key and value are, and how long the value is here.
                let head = take::<20>(reader)?;
                sum.update(&head);
                let [.., k0, k1, _, _, _, _, v0, v1, v2, v3] = head;
                length += head.len();
                u64::from(u16::from_le_bytes([k0, k1]))
                    + u64::from(u32::from_le_bytes([v0, v1, v2, v3]))
            }
            CLEARING => 8,
            _ => return Ok(None),
        };
        let rest = usize::try_from(rest).expect("less than 5 GiB");
        add(reader, rest, &mut sum)?;
        length += 1 + rest;
    }
    let [END, wanted @ ..] = take::<9>(reader)? else { return Ok(None) };
    let trailer = take::<4>(reader)?;
    length += 1 + wanted.len() + trailer.len();
    let is_whole = trailer == TRAILER && sum.digest() == u64::from_le_bytes(wanted);
    Ok(is_whole.then_some(length as u64))
}

fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn add(reader: &mut impl Read, length: usize, sum: &mut Xxh3) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut left = length;
    while left > 0 {
        let some = left.min(buffer.len());
        reader.read_exact(&mut buffer[..some])?;
        sum.update(&buffer[..some]);
        left -= some;
    }
    Ok(())
}
