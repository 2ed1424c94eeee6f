use std::process::Command;

use super::*;

#[test]
fn the_build_id_is_the_one_that_the_linker_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("a.c"), folder.path().join("a"));
    std::fs::write(&source, "int main(void) { return 0; }").unwrap();
    for (option, want) in [
        (
            "-Wl,--build-id=0x0123456789abcdef",
            Some(vec![1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]),
        ),
        ("-Wl,--build-id=none", None),
    ] {
        let mut compiler = Command::new("cc");
        compiler.arg(option).arg("-o").args([&program, &source]);
        assert!(compiler.status().unwrap().success());
        let file = File::open(&program).unwrap();
        assert_eq!(build_id(&file), want.map(BuildId));
    }
}

#[test]
fn what_is_no_program_has_no_build_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    let program = std::fs::read("/proc/self/exe").unwrap();
    // Cut short at any place, or with any byte of its head changed, it is not read beyond its end.
    let mut some: Vec<Vec<u8>> = (0..200)
        .map(|at| {
            let mut some = program[..4096].to_vec();
            some[at] ^= 0xff;
            some
        })
        .collect();
    some.extend((0..300).map(|len| program[..len].to_vec()));
    for bytes in some {
        std::fs::write(&path, bytes).unwrap();
        let _ = build_id(&File::open(&path).unwrap());
    }
    std::fs::write(&path, "a text").unwrap();
    assert_eq!(build_id(&File::open(&path).unwrap()), None);
}
