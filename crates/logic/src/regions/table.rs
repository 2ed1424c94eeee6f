//! The pages of a region: only those that were written take memory.
//!
//! A tree of three levels, so that neither a page far out nor the millionth one costs more than
//! another: no table is ever copied into a larger one.

use bytes::{Bytes, BytesMut};
use wire::region::PageNo;

/// Pages of a leaf, and leaves of a branch.
const LEAF: u64 = 64;
const BRANCH: u64 = 512;

/// A page that was written.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// 0 where the page was never written.
    pub version: u64,
    /// Of the commit that wrote it.
    pub sequence: u64,
    pub bytes: Bytes,
    /// How often it was written.
    pub traffic: u64,
}

type Leaf = Box<[Page]>;
type Branch = Box<[Option<Leaf>]>;

#[derive(Debug, Default)]
pub(super) struct Table {
    root: Vec<Option<Branch>>,
    written: u64,
    /// Bytes of the tree itself.
    overhead: u64,
}

impl Table {
    /// The page, if it was ever written.
    pub(super) fn get(&self, page: PageNo) -> Option<&Page> {
        let (root, branch, leaf) = place(page);
        let page = &self.root.get(root)?.as_ref()?[branch].as_ref()?[leaf];
        (page.version != 0).then_some(page)
    }

    /// How many bytes the tree grows by when the page is written, at most.
    pub(super) fn growth(&self, page: PageNo) -> u64 {
        if self.get(page).is_some() {
            return 0;
        }
        let (root, branch, _) = place(page);
        match self.root.get(root) {
            Some(Some(branches)) if branches[branch].is_some() => 0,
            Some(Some(_)) => LEAF_BYTES,
            Some(None) => LEAF_BYTES + BRANCH_BYTES,
            None => {
                let more = (root + 1 - self.root.len()) as u64 * size_of::<Option<Branch>>() as u64;
                LEAF_BYTES + BRANCH_BYTES + more
            }
        }
    }

    /// The place of the page, which is about to be written.
    pub(super) fn entry(&mut self, page: PageNo) -> &mut Page {
        let (root, branch, leaf) = place(page);
        if self.root.len() <= root {
            self.overhead += ((root + 1 - self.root.len()) * size_of::<Option<Branch>>()) as u64;
            self.root.resize_with(root + 1, || None);
        }
        let overhead = &mut self.overhead;
        let branches = self.root[root].get_or_insert_with(|| {
            *overhead += BRANCH_BYTES;
            (0..BRANCH).map(|_| None).collect()
        });
        let pages = branches[branch].get_or_insert_with(|| {
            *overhead += LEAF_BYTES;
            (0..LEAF).map(|_| Page::default()).collect()
        });
        let page = &mut pages[leaf];
        self.written += u64::from(page.version == 0);
        page
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn overhead(&self) -> u64 {
        self.overhead
    }
}

const LEAF_BYTES: u64 = LEAF * size_of::<Page>() as u64;
const BRANCH_BYTES: u64 = BRANCH * size_of::<Option<Leaf>>() as u64;

fn place(PageNo(page): PageNo) -> (usize, usize, usize) {
    ((page / LEAF / BRANCH) as usize, (page / LEAF % BRANCH) as usize, (page % LEAF) as usize)
}

impl Page {
    /// Puts `new` from `offset` on in place of what was there. The bytes stay in an allocation of
    /// their own; it is a new one only while somebody still reads the old one.
    pub(super) fn put(&mut self, size: usize, offset: usize, new: &[u8]) {
        let old = std::mem::take(&mut self.bytes);
        if old.is_empty() && new.len() < size {
            let mut bytes = BytesMut::zeroed(size);
            bytes[offset..offset + new.len()].copy_from_slice(new);
            self.bytes = bytes.freeze();
            return;
        }
        self.bytes = match old.try_into_mut() {
            Ok(mut bytes) if bytes.len() == size => {
                bytes[offset..offset + new.len()].copy_from_slice(new);
                bytes.freeze()
            }
            Ok(_) | Err(_) if new.len() == size => Bytes::copy_from_slice(new),
            Ok(old) => changed(&old, offset, new),
            Err(old) => changed(&old, offset, new),
        };
    }
}

fn changed(old: &[u8], offset: usize, new: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(old);
    bytes[offset..offset + new.len()].copy_from_slice(new);
    bytes.freeze()
}
