//! The signals that end tasks, by name: what each says, and why it usually comes.

/// One signal.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Signal {
    pub(crate) number: i32,
    pub(crate) name: &'static str,
    /// A word or two, for lines of failures.
    pub(crate) short: &'static str,
    pub(crate) cause: &'static str,
}

/// Linux on x86-64; those that end a process unless it is prepared for them.
pub(crate) const ALL: [Signal; 15] = [
    signal(1, "SIGHUP", "hang-up", "Somebody sent it: a task has no terminal that could hang up."),
    signal(2, "SIGINT", "interrupt", "Somebody sent it: Ctrl-C does not reach a worker."),
    signal(3, "SIGQUIT", "quit", "Somebody sent it: a task has no terminal."),
    signal(
        4,
        "SIGILL",
        "illegal instruction",
        "The library was compiled for a newer processor (-march=native on another host), or a C++ function ended without a return.",
    ),
    signal(5, "SIGTRAP", "trap", "A breakpoint was left in, or a check of the compiler's failed."),
    signal(
        6,
        "SIGABRT",
        "abort",
        "An assert failed, a C++ exception was not caught, or the heap was found damaged; the last lines of standard error say which.",
    ),
    signal(
        7,
        "SIGBUS",
        "bus error",
        "A file that is mapped was cut short, or shared memory ran out.",
    ),
    signal(8, "SIGFPE", "arithmetic error", "A division of an integer by zero, most often."),
    signal(
        9,
        "SIGKILL",
        "killed",
        "The kernel ran out of memory, or somebody killed the worker. What the node kills for a limit is reported as that limit, not as this.",
    ),
    signal(
        11,
        "SIGSEGV",
        "segmentation fault",
        "A pointer to nowhere, the end of an array passed by, or a stack that is too deep.",
    ),
    signal(13, "SIGPIPE", "broken pipe", "It wrote to a pipe or socket whose reader was gone."),
    signal(15, "SIGTERM", "terminated", "Somebody sent it: a node ends its workers otherwise."),
    signal(
        24,
        "SIGXCPU",
        "processor time",
        "A limit on processor time that the library set for itself, or that the host sets.",
    ),
    signal(25, "SIGXFSZ", "file too large", "A file grew beyond the largest one that is allowed."),
    signal(
        31,
        "SIGSYS",
        "forbidden system call",
        "It made a system call that the jail, or the host, forbids.",
    ),
];

const fn signal(
    number: i32,
    name: &'static str,
    short: &'static str,
    cause: &'static str,
) -> Signal {
    Signal { number, name, short, cause }
}

pub(crate) fn of(number: i32) -> Option<&'static Signal> {
    ALL.iter().find(|signal| signal.number == number)
}

/// By `SIGSEGV`, `segv` or `11`.
pub(crate) fn find(text: &str) -> Option<&'static Signal> {
    let text = text.trim().to_ascii_uppercase();
    let named = |signal: &&Signal| {
        signal.name == text
            || signal.name.strip_prefix("SIG") == Some(text.as_str())
            || signal.number.to_string() == text
    };
    ALL.iter().find(named)
}
