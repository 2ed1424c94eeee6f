//! Who may break a rule, and why. Data only: the rules are in `rules`.

/// The crates in which `unsafe` may be written, each with what it cannot do without.
pub const UNSAFE_CRATES: [(&str, &str); 5] = [
    ("sys", "wraps calls of the kernel"),
    ("heap", "places memory at fixed addresses"),
    ("worker", "calls the user's library through its C contract"),
    ("capi", "is called from C"),
    ("core-abi", "is the C contract of a compute core"),
];

/// Folders inside a crate that hold packages outside the workspace.
pub const NESTED_PACKAGES: [(&str, &str); 1] = [(
    "crates/bench/peers/",
    "each peer is a program of its own with its own lock file, built only when it is measured",
)];

/// The crates that are programs: they print, exit, and read arguments and environment.
pub const PROGRAM_CRATES: [&str; 4] = ["cli", "xtask", "bench", "tidy"];

/// A file of a library that may do what libraries do not.
#[derive(Debug)]
pub struct LibraryException {
    pub file: &'static str,
    /// The forbidden names, as `libraries_stay_silent` spells them.
    pub may: &'static [&'static str],
    pub reason: &'static str,
}

pub const LIBRARY_EXCEPTIONS: [LibraryException; 4] = [
    LibraryException {
        file: "crates/core-abi/src/export.rs",
        may: &["eprintln!"],
        reason: "is compiled into the user's core, whose standard error is the log of its task",
    },
    LibraryException {
        file: "crates/client/src/cluster.rs",
        may: &["env::var_os"],
        reason: "`Cluster::home` says where this user's credentials are",
    },
    LibraryException {
        file: "crates/client/src/local.rs",
        may: &["env::var", "env::var_os"],
        reason: "`Cluster::from_env` is asked to read the environment, by its name; \
                 `Cluster::local` looks for the `farcall` binary in FARCALL_BIN and PATH",
    },
    LibraryException {
        file: "crates/memory/src/view.rs",
        may: &["eprintln!", "process::abort"],
        reason: "memory that is lost and that the kernel does not take away: threads would wait for \
                 ever, or compute with what is others'",
    },
];

/// The crate that alone decodes bytes from outside, and what it does that with.
pub const CODECS: [&str; 1] = ["postcard"];

/// Files above the maximum, each with the reason why it is one subject.
pub const LONG_FILES: [(&str, &str); 0] = [];
