//! What of the image's host must be here, too.
//!
//! Functions of the C library have chosen once and for all by what the processor could do, so all of it must be
//! here; more does no harm. Kernels may differ: what of them is in the process is the vDSO, which is
//! replaced. C libraries may differ: the process brings its own along, or it is a file that is compared.

use wire::image::host::{Architecture, Host, Leaf, Processor};

use super::Refusal;

/// Features that programs choose code by, as `cpuid` tells them, by the names of glibc and the kernel.
const FEATURES: [(u32, u32, Answer, u32, &str); 59] = [
    (1, 0, Answer::Ecx, 0, "SSE3"),
    (1, 0, Answer::Ecx, 1, "PCLMULQDQ"),
    (1, 0, Answer::Ecx, 9, "SSSE3"),
    (1, 0, Answer::Ecx, 12, "FMA"),
    (1, 0, Answer::Ecx, 13, "CMPXCHG16B"),
    (1, 0, Answer::Ecx, 19, "SSE4_1"),
    (1, 0, Answer::Ecx, 20, "SSE4_2"),
    (1, 0, Answer::Ecx, 22, "MOVBE"),
    (1, 0, Answer::Ecx, 23, "POPCNT"),
    (1, 0, Answer::Ecx, 25, "AES"),
    (1, 0, Answer::Ecx, 26, "XSAVE"),
    (1, 0, Answer::Ecx, 27, "OSXSAVE"),
    (1, 0, Answer::Ecx, 28, "AVX"),
    (1, 0, Answer::Ecx, 29, "F16C"),
    (1, 0, Answer::Ecx, 30, "RDRAND"),
    (7, 0, Answer::Ebx, 0, "FSGSBASE"),
    (7, 0, Answer::Ebx, 3, "BMI1"),
    (7, 0, Answer::Ebx, 5, "AVX2"),
    (7, 0, Answer::Ebx, 8, "BMI2"),
    (7, 0, Answer::Ebx, 9, "ERMS"),
    (7, 0, Answer::Ebx, 11, "RTM"),
    (7, 0, Answer::Ebx, 16, "AVX512F"),
    (7, 0, Answer::Ebx, 17, "AVX512DQ"),
    (7, 0, Answer::Ebx, 18, "RDSEED"),
    (7, 0, Answer::Ebx, 19, "ADX"),
    (7, 0, Answer::Ebx, 21, "AVX512_IFMA"),
    (7, 0, Answer::Ebx, 23, "CLFLUSHOPT"),
    (7, 0, Answer::Ebx, 24, "CLWB"),
    (7, 0, Answer::Ebx, 28, "AVX512CD"),
    (7, 0, Answer::Ebx, 29, "SHA"),
    (7, 0, Answer::Ebx, 30, "AVX512BW"),
    (7, 0, Answer::Ebx, 31, "AVX512VL"),
    (7, 0, Answer::Ecx, 1, "AVX512_VBMI"),
    (7, 0, Answer::Ecx, 4, "OSPKE"),
    (7, 0, Answer::Ecx, 5, "WAITPKG"),
    (7, 0, Answer::Ecx, 6, "AVX512_VBMI2"),
    (7, 0, Answer::Ecx, 8, "GFNI"),
    (7, 0, Answer::Ecx, 9, "VAES"),
    (7, 0, Answer::Ecx, 10, "VPCLMULQDQ"),
    (7, 0, Answer::Ecx, 11, "AVX512_VNNI"),
    (7, 0, Answer::Ecx, 12, "AVX512_BITALG"),
    (7, 0, Answer::Ecx, 14, "AVX512_VPOPCNTDQ"),
    (7, 0, Answer::Ecx, 22, "RDPID"),
    (7, 0, Answer::Ecx, 27, "MOVDIRI"),
    (7, 0, Answer::Ecx, 28, "MOVDIR64B"),
    (7, 0, Answer::Edx, 8, "AVX512_VP2INTERSECT"),
    (7, 0, Answer::Edx, 14, "SERIALIZE"),
    (7, 0, Answer::Edx, 22, "AMX_BF16"),
    (7, 0, Answer::Edx, 23, "AVX512_FP16"),
    (7, 0, Answer::Edx, 24, "AMX_TILE"),
    (7, 0, Answer::Edx, 25, "AMX_INT8"),
    (7, 1, Answer::Eax, 4, "AVX_VNNI"),
    (7, 1, Answer::Eax, 5, "AVX512_BF16"),
    (0x8000_0001, 0, Answer::Ecx, 0, "LAHF64_SAHF64"),
    (0x8000_0001, 0, Answer::Ecx, 5, "LZCNT"),
    (0x8000_0001, 0, Answer::Ecx, 6, "SSE4A"),
    (0x8000_0001, 0, Answer::Ecx, 8, "PREFETCHW"),
    (0x8000_0001, 0, Answer::Ecx, 16, "FMA4"),
    (0x8000_0001, 0, Answer::Edx, 27, "RDTSCP"),
];

/// The states of `XCR0`, by their bits.
const STATES: [(u32, &str); 10] = [
    (0, "x87"),
    (1, "SSE"),
    (2, "AVX"),
    (3, "MPX bounds"),
    (4, "MPX control"),
    (5, "AVX-512 masks"),
    (6, "AVX-512 upper halves"),
    (7, "AVX-512 upper registers"),
    (9, "protection keys"),
    (18, "AMX tiles"),
];

#[derive(Clone, Copy, Debug)]
enum Answer {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// Whether what a process has come to rely on there is here.
pub fn compare(image: &Host, here: &Host) -> Result<(), Refusal> {
    if image.architecture != here.architecture {
        return Err(Refusal::Architecture);
    }
    if image.page_size != here.page_size {
        return Err(Refusal::PageSize { image: image.page_size, here: here.page_size });
    }
    match image.architecture {
        Architecture::X86_64 => features(&image.processor, &here.processor),
        Architecture::Aarch64 => Err(Refusal::Architecture),
    }
}

fn features(image: &Processor, here: &Processor) -> Result<(), Refusal> {
    for (leaf, subleaf, answer, bit, feature) in FEATURES {
        let has = |processor| answered(processor, leaf, subleaf, answer) & (1 << bit) != 0;
        if has(image) && !has(here) {
            return Err(Refusal::Feature { feature });
        }
    }
    Ok(())
}

/// Whether vector registers that hold these states (bits of `XCR0`) can be loaded here as they are.
pub(super) fn states(used: u64, image: &Processor, here: &Processor) -> Result<(), Refusal> {
    for bit in (0..u64::BITS).filter(|bit| used & (1 << bit) != 0) {
        let known = STATES.iter().find(|(known, _)| *known == bit);
        let state = known.map_or("a state of registers unknown to this build", |(_, state)| state);
        if bit > 1 && here.states & (1 << bit) == 0 {
            return Err(Refusal::State { state });
        }
        // Those of the first two bits are laid out as ever.
        let layout = |processor| leaf(processor, 0xd, bit).map(|leaf| (leaf.eax, leaf.ebx));
        if bit > 1 && layout(image) != layout(here) {
            return Err(Refusal::StateLayout { state });
        }
    }
    Ok(())
}

fn answered(processor: &Processor, number: u32, subleaf: u32, answer: Answer) -> u32 {
    leaf(processor, number, subleaf).map_or(0, |leaf| match answer {
        Answer::Eax => leaf.eax,
        Answer::Ebx => leaf.ebx,
        Answer::Ecx => leaf.ecx,
        Answer::Edx => leaf.edx,
    })
}

fn leaf(processor: &Processor, number: u32, subleaf: u32) -> Option<&Leaf> {
    processor.leaves.iter().find(|leaf| leaf.leaf == number && leaf.subleaf == subleaf)
}
