//! What of this host a process relies on: told with an image, and compared where it is to wake.

use sys::maps::{self, Content, Mapping};
use sys::{Pid, cpu, pagemap, process_memory};
use wire::image::host::{Architecture, BuildId, Host, Leaf, Processor, Vdso};
use wire::name::Hash;

use crate::{Error, elf};

/// Bytes that are believed to be a vDSO; kernels have 4 to 16 KiB of it.
const VDSO_MAX: u64 = 1 << 20;

/// This host, as processes that are started now see it.
pub fn here() -> Result<Host, Error> {
    of(Pid::own(), &maps::mappings(Pid::own())?, None)
}

/// This host, as a stopped process with these mappings sees it, and the C library that it has loaded.
pub fn of(pid: Pid, mappings: &[Mapping], c_library: Option<BuildId>) -> Result<Host, Error> {
    let kernel_path = "/proc/sys/kernel/osrelease";
    let kernel = std::fs::read_to_string(kernel_path).map_err(Error::file("read", kernel_path))?;
    let vdso = vdso(pid, mappings)?;
    let leaf = |found: cpu::Leaf| {
        let [eax, ebx, ecx, edx] = found.answer;
        Leaf { leaf: found.leaf, subleaf: found.subleaf, eax, ebx, ecx, edx }
    };
    Ok(Host {
        architecture: Architecture::X86_64,
        page_size: pagemap::page_size() as u32,
        kernel: kernel.trim().to_owned(),
        vdso: Vdso { hash: Hash::of(&vdso), symbols: elf::exported(&vdso) },
        processor: Processor {
            model: cpu::model(),
            leaves: cpu::leaves().into_iter().map(leaf).collect(),
            states: cpu::kept_states(),
            capabilities: Vec::new(),
        },
        c_library,
    })
}

/// All bytes of a process's vDSO; none where the kernel has none.
fn vdso(pid: Pid, mappings: &[Mapping]) -> Result<Vec<u8>, Error> {
    let Some(vdso) = mappings.iter().find(|mapping| mapping.content == Content::Vdso) else {
        return Ok(Vec::new());
    };
    let len = (vdso.range.end - vdso.range.start).min(VDSO_MAX);
    let mut bytes = vec![0; len as usize];
    process_memory::read(pid, vdso.range.start, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
