//! Says whether a file can be a compute core, before any of its code runs.

use std::fs::File;

use object::read::{Object, ObjectSegment, ObjectSymbol, ObjectSymbolTable, ReadCache};
use object::{Architecture, BinaryFormat, ObjectKind};

use crate::Error;

/// The name of a function that a core exports.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Function(pub(super) &'static str);

pub(super) const INIT: Function = Function("worker_init");
pub(super) const RUN_JOB: Function = Function("worker_run_job");
pub(super) const FREE_OUTDATA: Function = Function("worker_free_outdata");

const HERE: Architecture = if cfg!(target_arch = "x86_64") {
    Architecture::X86_64
} else if cfg!(target_arch = "aarch64") {
    Architecture::Aarch64
} else if cfg!(target_arch = "riscv64") {
    Architecture::Riscv64
} else {
    panic!("Farcall does not know the name of this architecture")
};

/// A whole ELF shared object for this machine, with the three functions.
pub(super) fn check(file: &File, name: &str) -> Result<(), Error> {
    let core = || name.to_owned();
    let size = match file.metadata() {
        Ok(metadata) => metadata.len(),
        Err(source) => return Err(Error::Unreadable { core: core(), source }),
    };
    // Reads only the parts that are looked at.
    let cache = ReadCache::new(file);
    let object =
        object::File::parse(&cache).map_err(|source| Error::NotLibrary { core: core(), source })?;

    if object.format() != BinaryFormat::Elf || object.kind() != ObjectKind::Dynamic {
        let found = match object.kind() {
            ObjectKind::Executable => "an executable",
            ObjectKind::Relocatable => "an object file",
            ObjectKind::Core => "a core dump",
            _ => "of a kind that cannot be loaded",
        };
        return Err(Error::NotShared { core: core(), found });
    }
    if object.architecture() != HERE
        || object.is_little_endian() != cfg!(target_endian = "little")
        || object.sub_architecture().is_some()
    {
        let built_for = format!("{:?}", object.architecture());
        return Err(Error::OtherMachine { core: core(), built_for, here: std::env::consts::ARCH });
    }
    // The loader maps what is missing all the same, and the first touch is a SIGBUS.
    let end = object.segments().map(|segment| segment.file_range());
    let end = end.map(|(start, length)| start.saturating_add(length)).max().unwrap_or(0);
    if end > size {
        return Err(Error::CutOff { core: core(), size, wanted: end });
    }

    // A library without section headers has no table to be found here; `dlsym` looks then.
    let Some(table) = object.dynamic_symbol_table() else { return Ok(()) };
    let mut missing = vec![INIT, RUN_JOB, FREE_OUTDATA];
    for symbol in table.symbols().filter(|symbol| symbol.is_definition()) {
        missing.retain(|function| symbol.name() != Ok(function.0));
    }
    match missing.first() {
        Some(function) => Err(Error::MissingFunction { core: core(), function: function.0 }),
        None => Ok(()),
    }
}
