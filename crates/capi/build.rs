//! Gives the shared library the name under which programs look for it.

#![forbid(unsafe_code)]

fn main() {
    // The number changes when programs have to be compiled anew.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libfarcall.so.0");
    println!("cargo::rerun-if-changed=build.rs");
}
