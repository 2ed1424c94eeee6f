//! Memory of a child that waits, and of this process.

use std::process::{Child, Command, Stdio};

use super::*;
use crate::maps::{self, Mapping};

/// A child that waits for its input to end, which it does when this is dropped.
struct Waiting(Child);

impl Waiting {
    fn start() -> Self {
        Self(Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid(self.0.id() as i32)
    }

    /// Its maps once it runs the program.
    fn maps(&self) -> Vec<Mapping> {
        let exe = std::fs::canonicalize("/bin/cat").unwrap();
        for _ in 0..1_000_000 {
            let maps = maps::mappings(self.pid()).unwrap();
            let runs = |mapping: &Mapping| {
                mapping.path().is_some_and(|(path, _)| path == exe.as_os_str().as_encoded_bytes())
            };
            if maps.iter().any(runs) && maps.iter().any(|map| map.content == maps::Content::Stack) {
                return maps;
            }
            std::thread::yield_now();
        }
        panic!("the child never became its program");
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn a_program_in_memory_is_what_it_is_on_disk_and_its_code_can_be_changed() {
    let child = Waiting::start();
    let maps = child.maps();
    let code = maps.iter().find(|map| map.permissions.execute && map.path().is_some()).unwrap();
    let len = (code.range.end - code.range.start) as usize;
    let mut bytes = vec![0; len];
    read(child.pid(), code.range.start, &mut bytes).unwrap();
    let (path, _) = code.path().unwrap();
    let file = std::fs::read(str::from_utf8(path).unwrap()).unwrap();
    let from = code.offset as usize;
    let on_disk = &file[from..file.len().min(from + len)];
    assert_eq!(&bytes[..on_disk.len()], on_disk);
    // It is mapped without the right to write.
    assert!(!code.permissions.write);
    let at = code.range.start + 4090;
    write(child.pid(), at, b"over two pages").unwrap();
    let mut back = [0; 14];
    read(child.pid(), at, &mut back).unwrap();
    assert_eq!(&back, b"over two pages");
    write(child.pid(), at, &bytes[4090..4104]).unwrap();
}

#[test]
fn scattered_pieces_are_copied_in_order_and_empty_ones_are_nothing() {
    let source: Vec<u8> = (0..200_000_u32).map(|at| (at * 7 % 251) as u8).collect();
    let start = source.as_ptr().addr() as u64;
    // More than the kernel takes at once.
    let piece = |at: u64| Piece { at: start + at * 61 % 190_000, len: (at % 5 * 13) as usize };
    let pieces: Vec<Piece> = (0..5000).map(piece).collect();
    let mut found = vec![0; total(&pieces).unwrap()];
    read_pieces(Pid::own(), &pieces, &mut found).unwrap();
    let bytes = |piece: &Piece| &source[(piece.at - start) as usize..][..piece.len];
    let want: Vec<u8> = pieces.iter().flat_map(bytes).copied().collect();
    assert_eq!(found, want);
    read_pieces(Pid::own(), &[], &mut []).unwrap();
    write(Pid::own(), 8, &[]).unwrap();
}

#[test]
fn pages_without_any_right_can_be_read_and_written() {
    let len = std::num::NonZeroUsize::new(3 * 4096).unwrap();
    let flags = nix::sys::mman::MapFlags::MAP_PRIVATE;
    let open = nix::sys::mman::ProtFlags::PROT_READ | nix::sys::mman::ProtFlags::PROT_WRITE;
    // SAFETY: new memory at a place of the kernel's choice is nobody else's.
    let memory = unsafe { nix::sys::mman::mmap_anonymous(None, len, open, flags) }.unwrap();
    let at = memory.as_ptr().addr() as u64;
    write(Pid::own(), at, &[7; 3 * 4096]).unwrap();
    let middle = std::ptr::NonNull::new(memory.as_ptr().wrapping_byte_add(4096)).unwrap();
    let none = nix::sys::mman::ProtFlags::PROT_NONE;
    // SAFETY: the page is of the memory above, which nothing but the kernel touches.
    unsafe { nix::sys::mman::mprotect(middle, 4096, none) }.unwrap();
    let mut bytes = vec![0; 3 * 4096];
    read(Pid::own(), at, &mut bytes).unwrap();
    assert_eq!(bytes, [7; 3 * 4096]);
    write(Pid::own(), at, &[9; 3 * 4096]).unwrap();
    read(Pid::own(), at, &mut bytes).unwrap();
    assert_eq!(bytes, [9; 3 * 4096]);
    // SAFETY: the memory was mapped above and is forgotten here.
    unsafe { nix::sys::mman::munmap(memory, len.get()) }.unwrap();
    let error = read(Pid::own(), at, &mut bytes).unwrap_err();
    assert!(error.to_string().contains(&format!("at {at:#x}")), "{error}");
}

#[test]
fn a_hole_is_an_error_that_names_its_address() {
    let child = Waiting::start();
    let maps = child.maps();
    let stack = maps.iter().find(|map| map.content == maps::Content::Stack).unwrap();
    let end = stack.range.end;
    let mut bytes = [0; 8192];
    let error = read(child.pid(), end - 4096, &mut bytes).unwrap_err();
    assert!(matches!(error, Error::Memory { at, .. } if at == end), "{error}");
    let error = write(child.pid(), u64::MAX - 4, &[0; 64]).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
    let pid = child.pid();
    drop(child);
    assert!(read(pid, end - 4096, &mut bytes).unwrap_err().is_gone());
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_tracer_changes_code_word_by_word_where_no_file_may_be_written() {
    let child = Waiting::start();
    let maps = child.maps();
    let code = maps.iter().find(|map| map.permissions.execute && map.path().is_some()).unwrap();
    let tracee =
        crate::ptrace::Tracee::seize(child.pid(), std::time::Duration::from_secs(10)).unwrap();
    let mut before = [0; 40];
    read(child.pid(), code.range.start, &mut before).unwrap();
    for (from, len) in [(3, 2), (8, 8), (13, 22), (7, 1)] {
        let new: Vec<u8> = (0..len).map(|at| 0x90 ^ at as u8).collect();
        let at = code.range.start + from as u64;
        assert_eq!(poke(child.pid(), at, &new).unwrap(), len);
        let mut want = before;
        want[from..from + len].copy_from_slice(&new);
        let mut found = [0; 40];
        read(child.pid(), code.range.start, &mut found).unwrap();
        assert_eq!(found, want);
        poke(child.pid(), at, &before[from..from + len]).unwrap();
    }
    assert!(poke(child.pid(), 8, b"nowhere").is_err());
    tracee.detach().unwrap();
}
