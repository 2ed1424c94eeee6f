//! Regions: made, opened, listed, grown, dropped.

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;

use client::memory::{Durability, Region, RegionOptions, RegionReport};

use crate::border::{give, handle, patience, place, put, text};
use crate::cluster::farcall_cluster;
use crate::status::farcall_status::{self, FARCALL_OK};
use crate::status::{Failure, free, guard};

/// Bytes of a name with its zero.
pub const FARCALL_NAME_SIZE: usize = 65;

/// What is left of a region's commits when its node dies.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum farcall_durability {
    /// Nothing: the region ends with its node.
    FARCALL_DURABILITY_NONE = 0,
    /// All but those of the last moments.
    FARCALL_DURABILITY_ASYNC = 1,
    /// All: each is on the disk before it is answered.
    FARCALL_DURABILITY_SYNC = 2,
    /// All, whatever node dies: each is in etcd before it is answered.
    FARCALL_DURABILITY_REPLICATED = 3,
}

use farcall_durability::*;

/// What a region is to be. All zero but `pages` is a good beginning.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct farcall_region_options {
    /// How many pages it has; it can grow.
    pub pages: u64,
    /// Bytes of a page: a power of two from 64 to 1048576; 0 stands for 4096.
    pub page_size: u32,
    /// One of farcall_durability.
    pub durability: u32,
    /// Not 0: for memory that is mapped coherently (farcall_map_coherent), and nothing else.
    pub coherent: c_int,
    /// Not 0: for its owner and admins alone.
    pub is_private: c_int,
    /// The node that has it; null: the first that is up.
    pub node: *const c_char,
}

/// What a region is, and who uses it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct farcall_region_info {
    pub name: [c_char; FARCALL_NAME_SIZE],
    /// The node that has it.
    pub node: [c_char; FARCALL_NAME_SIZE],
    /// Who made it.
    pub owner: [c_char; FARCALL_NAME_SIZE],
    pub page_size: u32,
    pub pages: u64,
    /// One of farcall_durability.
    pub durability: u32,
    /// 1 if it is coherent.
    pub coherent: c_int,
    /// 1 if it is its owner's alone.
    pub is_private: c_int,
    /// Pages that were ever written: only they take memory.
    pub written: u64,
    /// Commits so far.
    pub commits: u64,
    pub sessions: u32,
    pub watches: u32,
    /// Locks that are held, and requests that wait for one.
    pub locks: u32,
    pub waiting: u32,
    /// Coherent pages that went from one session to another.
    pub moves: u64,
}

/// An opened region: one connection, one cache. It may be used by several threads at once.
pub struct farcall_region(pub(crate) Region);

/// Opens a region, NAME or NAME@NODE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_region_open(
    cluster: Option<&farcall_cluster>,
    name: *const c_char,
    region: Option<&mut MaybeUninit<*mut farcall_region>>,
) -> farcall_status {
    guard(|| {
        let region = place(region)?;
        // SAFETY: the header asks for a text that ends with a zero; it is the caller's for the whole call.
        let name = unsafe { text(name, "region's name") }?;
        give(region, farcall_region(handle(cluster, "cluster")?.0.memory(name)?));
        Ok(FARCALL_OK)
    })
}

/// Makes a region and opens it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_region_create(
    cluster: Option<&farcall_cluster>,
    name: *const c_char,
    options: Option<&farcall_region_options>,
    region: Option<&mut MaybeUninit<*mut farcall_region>>,
) -> farcall_status {
    guard(|| {
        let region = place(region)?;
        // SAFETY: the header asks for a text that ends with a zero; it is the caller's for the whole call.
        let name = unsafe { text(name, "region's name") }?;
        // SAFETY: the same is asked of the node's name in the options.
        let options = unsafe { wanted(options) }?;
        let cluster = &handle(cluster, "cluster")?.0;
        give(region, farcall_region(cluster.create_memory(name, &options)?));
        Ok(FARCALL_OK)
    })
}

/// Opens a region, and makes it first if there is none of this name. Several programs may do so at once:
/// all of them get the same region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_region_open_or_create(
    cluster: Option<&farcall_cluster>,
    name: *const c_char,
    options: Option<&farcall_region_options>,
    region: Option<&mut MaybeUninit<*mut farcall_region>>,
) -> farcall_status {
    guard(|| {
        let region = place(region)?;
        // SAFETY: the header asks for a text that ends with a zero; it is the caller's for the whole call.
        let name = unsafe { text(name, "region's name") }?;
        // SAFETY: the same is asked of the node's name in the options.
        let options = unsafe { wanted(options) }?;
        let cluster = &handle(cluster, "cluster")?.0;
        give(region, farcall_region(cluster.memory_or_create(name, &options)?));
        Ok(FARCALL_OK)
    })
}

/// # Safety
///
/// The node's name is null, or a text that ends with a zero and stays as it is for the time of the call.
unsafe fn wanted(options: Option<&farcall_region_options>) -> Result<RegionOptions, Failure> {
    let given = handle(options, "region's options")?;
    let mut options = RegionOptions::new(given.pages);
    if given.page_size != 0 {
        options = options.page_size(given.page_size);
    }
    options = options.durability(match given.durability {
        0 => Durability::None,
        1 => Durability::Async,
        2 => Durability::Sync,
        3 => Durability::Replicated,
        other => return Err(Failure::argument(format!("there is no durability {other}"))),
    });
    if given.coherent != 0 {
        options = options.coherent();
    }
    if given.is_private != 0 {
        options = options.private();
    }
    if !given.node.is_null() {
        // SAFETY: what this function asks of its caller.
        let node = unsafe { text(given.node, "node's name") }?;
        options = options.on(node);
    }
    Ok(options)
}

/// Frees a region; null is nothing. The region stays where it is, as do locks and watches that were made
/// with it.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_region_free(region: Option<Box<farcall_region>>) {
    free(region);
}

/// Drops a region with all that it holds, NAME or NAME@NODE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_region_drop(
    cluster: Option<&farcall_cluster>,
    name: *const c_char,
) -> farcall_status {
    guard(|| {
        // SAFETY: the header asks for a text that ends with a zero; it is the caller's for the whole call.
        let name = unsafe { text(name, "region's name") }?;
        handle(cluster, "cluster")?.0.drop_memory(name)?;
        Ok(FARCALL_OK)
    })
}

/// Lets a region grow to so many pages; it never shrinks. How many it has then goes to `now`, unless that
/// is null.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_region_grow(
    region: Option<&farcall_region>,
    pages: u64,
    now: Option<&mut MaybeUninit<u64>>,
) -> farcall_status {
    guard(|| {
        put(now, handle(region, "region")?.0.grow(pages)?);
        Ok(FARCALL_OK)
    })
}

/// What a region is, and who uses it.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_region_stat(
    region: Option<&farcall_region>,
    info: Option<&mut MaybeUninit<farcall_region_info>>,
) -> farcall_status {
    guard(|| {
        let region = &handle(region, "region")?.0;
        put(info, told(&region.stat()?));
        Ok(FARCALL_OK)
    })
}

/// Bytes of a page; 0 for null.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_region_page_size(region: Option<&farcall_region>) -> u32 {
    region.map_or(0, |region| region.0.page_size() as u32)
}

/// Pages of a region, as far as is known here; 0 for null.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_region_pages(region: Option<&farcall_region>) -> u64 {
    region.map_or(0, |region| region.0.pages())
}

/// Writes the first `capacity` regions of the cluster to `infos`, and how many there are to `count`.
/// Nodes may take `wait_ms` to answer. `infos` may be null if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_regions(
    cluster: Option<&farcall_cluster>,
    wait_ms: i64,
    infos: *mut farcall_region_info,
    capacity: usize,
    count: Option<&mut MaybeUninit<usize>>,
) -> farcall_status {
    guard(|| {
        let cluster = &handle(cluster, "cluster")?.0;
        if capacity > 0 && infos.is_null() {
            return Err(Failure::argument("the place for the regions is null"));
        }
        let wait = patience(wait_ms).ok_or_else(|| Failure::argument("wait for some time"))?;
        let reports = cluster.regions(wait);
        for (at, report) in reports.iter().take(capacity).enumerate() {
            let info = told(report);
            // SAFETY: `at` is below `capacity`, and the header asks for room for so many.
            let place = unsafe { infos.add(at) };
            // SAFETY: the place is the caller's, who uses it for nothing else during the call.
            unsafe { place.write(info) };
        }
        put(count, reports.len());
        Ok(FARCALL_OK)
    })
}

fn told(about: &RegionReport) -> farcall_region_info {
    farcall_region_info {
        name: letters(&about.name),
        node: letters(&about.node),
        owner: letters(&about.owner),
        page_size: about.page_size,
        pages: about.pages,
        durability: match about.durability {
            Durability::None => FARCALL_DURABILITY_NONE,
            Durability::Async => FARCALL_DURABILITY_ASYNC,
            Durability::Sync => FARCALL_DURABILITY_SYNC,
            Durability::Replicated => FARCALL_DURABILITY_REPLICATED,
        } as u32,
        coherent: c_int::from(about.is_coherent),
        is_private: c_int::from(about.is_private),
        written: about.written,
        commits: about.commits,
        sessions: about.sessions,
        watches: about.watches,
        locks: about.locks,
        waiting: about.waiting,
        moves: about.moves,
    }
}

/// Names have at most 64 letters, all of them ASCII.
fn letters(name: &str) -> [c_char; FARCALL_NAME_SIZE] {
    let mut letters = [0; FARCALL_NAME_SIZE];
    for (letter, byte) in letters[..FARCALL_NAME_SIZE - 1].iter_mut().zip(name.bytes()) {
        *letter = byte as c_char;
    }
    letters
}
