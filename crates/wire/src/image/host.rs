//! What of a host a process has already come to rely on. A destination compares it first, before any
//! byte of memory.

use serde::{Deserialize, Serialize};

use crate::name::Hash;

/// What a processor's registers and instructions look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architecture {
    X86_64,
    Aarch64,
}

/// The features of the host that an image was taken on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub architecture: Architecture,
    /// Bytes of a page: what all page numbers of the image count.
    pub page_size: u32,
    /// The kernel's release, as `uname -r` says it.
    pub kernel: String,
    pub vdso: Vdso,
    pub processor: Processor,
    /// Of the C library that the program has loaded, if it has one.
    pub c_library: Option<BuildId>,
}

/// The kernel's code in every process. Its bytes lie among the pages, since they may have to be taken
/// along; here is what tells whether they must.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vdso {
    /// Of all its bytes.
    pub hash: Hash,
    pub symbols: Vec<Symbol>,
}

/// A function that a vDSO exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbol {
    pub name: String,
    /// From the beginning of the vDSO.
    pub offset: u64,
}

/// What a processor can do: resolved functions of the C library have already chosen by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processor {
    /// For people.
    pub model: String,
    /// Of x86-64: what `cpuid` answers; empty elsewhere.
    pub leaves: Vec<Leaf>,
    /// Of x86-64: which states the kernel saves (XCR0).
    pub states: u64,
    /// Elsewhere: the hardware capabilities of the auxiliary vector.
    pub capabilities: Vec<u64>,
}

/// One answer of `cpuid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    pub leaf: u32,
    pub subleaf: u32,
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// What a linker wrote into a program to name its build.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BuildId(pub Vec<u8>);
