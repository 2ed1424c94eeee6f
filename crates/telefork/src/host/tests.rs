use super::*;

#[test]
fn a_host_tells_of_its_vdso_and_its_processor() {
    let host = here().unwrap();
    assert_eq!(host, here().unwrap(), "it tells the same each time, on whichever processor");
    assert_eq!(host.page_size, 4096);
    assert!(!host.kernel.is_empty() && !host.kernel.contains('\n'));
    let offset = |name: &str| {
        let found = host.vdso.symbols.iter().find(|symbol| symbol.name == name);
        found.unwrap_or_else(|| panic!("{name} is not among {:?}", host.vdso.symbols)).offset
    };
    assert_eq!(offset("clock_gettime"), offset("__vdso_clock_gettime"));
    assert!(offset("__vdso_getcpu") < 1 << 20);
    // The processor has SSE2 (leaf 1, edx, bit 26), as each with 64 bits does; the kernel keeps it (bit 1).
    let first = host.processor.leaves.iter().find(|leaf| leaf.leaf == 1).unwrap();
    assert!(first.edx & 1 << 26 != 0);
    assert!(host.processor.states == 0 || host.processor.states & 2 != 0);
}
