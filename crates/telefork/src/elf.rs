//! What a program, a library or the vDSO says of itself.

use std::fs::File;

use object::read::ReadCache;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSymbol, elf};
use wire::image::host::{BuildId, Symbol};

/// The most bytes of notes that are read: a build id is one of a few dozen bytes.
const NOTES_MAX: u64 = 1 << 16;

/// The most bytes that are taken as a build id; linkers write 8 to 32.
const BUILD_ID_MAX: usize = 64;

/// The name that a linker has given to this build, if it is a 64-bit program or library and has one.
pub(crate) fn build_id(file: &File) -> Option<BuildId> {
    let data = &ReadCache::new(file);
    let header = elf::FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    for segment in header.program_headers(endian, data).ok()? {
        if segment.p_filesz(endian) > NOTES_MAX {
            continue;
        }
        let Ok(Some(mut notes)) = segment.notes(endian, data) else { continue };
        while let Ok(Some(note)) = notes.next() {
            let is_build_id =
                note.name() == elf::ELF_NOTE_GNU && note.n_type(endian) == elf::NT_GNU_BUILD_ID;
            if is_build_id && (1..=BUILD_ID_MAX).contains(&note.desc().len()) {
                return Some(BuildId(note.desc().to_vec()));
            }
        }
    }
    None
}

/// The functions that a loaded object exports, by their names.
pub(crate) fn exported(bytes: &[u8]) -> Vec<Symbol> {
    let Ok(file) = ElfFile64::<Endianness>::parse(bytes) else { return Vec::new() };
    let functions = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition() && symbol.kind() == object::SymbolKind::Text);
    let mut found: Vec<Symbol> = functions
        .filter_map(|symbol| {
            Some(Symbol { name: symbol.name().ok()?.to_owned(), offset: symbol.address() })
        })
        .collect();
    found.sort_by(|one, next| one.name.cmp(&next.name));
    found
}

#[cfg(test)]
mod tests;
