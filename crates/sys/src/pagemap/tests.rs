//! Own memory, whose pages are touched here and there, is looked at both ways.

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use super::*;

/// Anonymous memory that ends with this.
struct Memory {
    at: std::ptr::NonNull<libc::c_void>,
    len: usize,
}

impl Memory {
    fn new(pages: usize, file: Option<&File>) -> Self {
        let len = pages * page_size() as usize;
        let open = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let size = len.try_into().unwrap();
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        let at = match file {
            // SAFETY: a new mapping at an address that the kernel chooses touches nobody's memory.
            None => unsafe { mmap_anonymous(None, size, open, flags) },
            // SAFETY: as above; the file has no name, so that nobody cuts it short.
            Some(file) => unsafe { mmap(None, size, open, flags, file, 0) },
        };
        let memory = Self { at: at.unwrap(), len };
        memory.advise(libc::MADV_NOHUGEPAGE, 0..pages);
        memory
    }

    fn advise(&self, advice: i32, pages: Range<usize>) -> i32 {
        let page = page_size() as usize;
        let at = self.at.as_ptr().wrapping_byte_add(pages.start * page);
        // SAFETY: the pages are of this mapping, to whose bytes nobody has a reference.
        unsafe { libc::madvise(at, pages.len() * page, advice) }
    }

    fn write(&self, page: usize) {
        let at = self.at.as_ptr().cast::<u8>().wrapping_add(page * page_size() as usize);
        // SAFETY: it is in the mapping, which can be written and is ours alone.
        unsafe { at.write_volatile(7) };
    }

    fn read(&self, page: usize) -> u8 {
        let at = self.at.as_ptr().cast::<u8>().wrapping_add(page * page_size() as usize);
        // SAFETY: it is in the mapping, which can be read and is ours alone.
        unsafe { at.read_volatile() }
    }

    fn range(&self) -> Range<u64> {
        let start = self.at.as_ptr() as u64;
        start..start + self.len as u64
    }

    /// Numbers of pages, as ranges.
    #[track_caller]
    fn told(&self, map: &Pagemap) -> Vec<Range<u64>> {
        self.numbers(map.look(self.range()).unwrap().own)
    }

    fn numbers(&self, found: Vec<Range<u64>>) -> Vec<Range<u64>> {
        let (start, page) = (self.range().start, page_size());
        found.into_iter().map(|it| (it.start - start) / page..(it.end - start) / page).collect()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody has a reference to it.
        unsafe { munmap(self.at, self.len) }.unwrap();
    }
}

fn both_ways() -> [Pagemap; 2] {
    let (scanned, read) = (Pagemap::open(Pid::own()).unwrap(), Pagemap::open(Pid::own()).unwrap());
    read.way.set(Way::EachPage);
    [scanned, read]
}

fn scans(map: &Pagemap) -> bool {
    map.scan(4096..8192, 0, &mut Found::default()).is_ok()
}

#[test]
fn pages_that_were_written_are_told_and_no_others() {
    let memory = Memory::new(2000, None);
    for page in [0, 1, 2, 900, 1999] {
        memory.write(page);
    }
    for map in both_ways() {
        assert_eq!(memory.told(&map), [0..3, 900..901, 1999..2000]);
    }
}

#[test]
fn more_ranges_than_are_asked_for_at_once_are_all_told() {
    let memory = Memory::new(4000, None);
    for page in (0..4000).step_by(2) {
        memory.write(page);
    }
    for map in both_ways() {
        let told = memory.told(&map);
        assert!(told.iter().cloned().eq((0..4000).step_by(2).map(|page| page..page + 1)));
    }
}

#[test]
fn pages_of_a_private_file_are_told_once_they_are_written() {
    let folder = std::env::temp_dir();
    let file = crate::files::unnamed_in(&folder).unwrap();
    file.set_len(10 * page_size()).unwrap();
    let memory = Memory::new(10, Some(&file));
    for page in 0..10 {
        memory.read(page);
    }
    memory.write(4);
    for map in both_ways() {
        assert_eq!(memory.told(&map), std::slice::from_ref(&(4..5)));
    }
}

#[test]
fn pages_that_were_only_read_are_the_kernels_zeros() {
    let memory = Memory::new(10, None);
    memory.read(3);
    memory.write(7);
    let [scanned, read] = both_ways();
    if scans(&scanned) {
        assert_eq!(memory.told(&scanned), std::slice::from_ref(&(7..8)));
    }
    assert!(memory.told(&read).contains(&(7..8)));
}

#[test]
fn guards_are_told_and_are_no_content() {
    const MADV_GUARD_INSTALL: i32 = 102;
    let memory = Memory::new(20, None);
    memory.write(0);
    memory.write(9);
    if memory.advise(MADV_GUARD_INSTALL, 5..8) != 0 {
        eprintln!("skipped: this kernel has no guard pages in the middle of memory");
        return;
    }
    let [scanned, _] = both_ways();
    assert_eq!(memory.told(&scanned), [0..1, 9..10]);
    let alone = memory.numbers(scanned.guards(memory.range()).unwrap());
    let beside = memory.numbers(scanned.look(memory.range()).unwrap().guards);
    assert_eq!(alone, beside, "looked for alone, and with all else");
    for map in both_ways() {
        assert_eq!(memory.told(&map), [0..1, 9..10]);
        let guards = map.look(memory.range()).unwrap().guards;
        assert_eq!(memory.numbers(guards), std::slice::from_ref(&(5..8)));
    }
}

#[test]
fn a_huge_reservation_costs_what_is_in_it() {
    // 64 GiB: page by page it would take seconds.
    let memory = Memory::new(16 << 20, None);
    memory.write(0);
    memory.write(9 << 20);
    let [scanned, _] = both_ways();
    if !scans(&scanned) {
        eprintln!("skipped: this kernel does not tell ranges");
        return;
    }
    assert_eq!(memory.told(&scanned), [0..1, 9 << 20..(9 << 20) + 1]);
}
