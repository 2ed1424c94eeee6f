//! `farcall auth`: this user's credentials, and how other machines get theirs.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use client::Cluster;
use transport::{Authority, Credentials, Name, Role, Token, Tokens};

use crate::codes;
use crate::errors::{Complaint, complaint};
use crate::terminal;
use crate::values::{duration, spell};

const TOKEN_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Make credentials, and let other machines have theirs
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  farcall auth init                                on the first machine
  farcall auth token --role node                   there, for each new node
  farcall auth join host-a --token farcall1-…      on a machine that will submit tasks
  farcall auth status")]
pub(crate) enum Auth {
    /// Begin a cluster: make the authority of this user, and a client's certificate
    #[command(after_help = "Example:\n  farcall auth init")]
    Init(Init),
    /// Print a join token: a secret that gets one machine a certificate, once
    #[command(after_help = "\
Examples:
  farcall auth token                            for a machine that submits tasks
  farcall auth token --role node --for 1h       for one that runs them")]
    Token(NewToken),
    /// Get a certificate for this machine, to submit tasks to a cluster
    #[command(after_help = "\
Examples:
  farcall auth join host-a --token farcall1-…
  ssh host-a farcall auth token | farcall auth join host-a --token -")]
    Join(Join),
    /// Show which credentials this machine has
    #[command(after_help = "Example:\n  farcall auth status")]
    Status,
}

#[derive(Args)]
pub(crate) struct Init {
    /// The name in the client's certificate [default: client]
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
}

#[derive(Args)]
pub(crate) struct NewToken {
    /// What its user becomes: client, node or admin
    #[arg(long, value_name = "ROLE", default_value = "client")]
    role: Role,
    /// How long it is good
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = duration)]
    validity: Duration,
}

#[derive(Args)]
pub(crate) struct Join {
    /// The node to show the token to, HOST[:PORT]
    #[arg(value_name = "ADDR")]
    address: String,
    /// What `farcall auth token` printed; `-` reads it from standard input
    #[arg(long, value_name = "T")]
    token: String,
    /// The name in the certificate [default: the name of the host]
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
}

impl Auth {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let home = Cluster::home();
        let text = match self {
            Self::Init(init) => init.run(&home)?,
            Self::Token(token) => token.run(&home)?,
            Self::Join(join) => join.run(&home)?,
            Self::Status => status(&home)?,
        };
        terminal::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Init {
    fn run(self, home: &Path) -> anyhow::Result<String> {
        let now = SystemTime::now();
        let name = self.name.map_or_else(|| "client".parse(), Ok)?;
        let authority = Authority::load_or_create(home, now)?;
        let own = Credentials::load_or_create(home, Role::Client, &name, now)?;
        Ok(format!(
            "The credentials of this user are in {}.\n\
             authority {}\n\
             client    {}\n\
             Start a node with: farcall node\n",
            home.display(),
            authority.fingerprint(),
            own.name()
        ))
    }
}

impl NewToken {
    fn run(self, home: &Path) -> anyhow::Result<String> {
        if self.validity > TOKEN_MAX {
            return Err(complaint(&codes::E0106, "a token is good for 30 days at most")
                .help("print one when it is needed, for --for 10m")
                .into());
        }
        let now = SystemTime::now();
        let authority = Authority::load_or_create(home, now)?;
        let tokens = Tokens::open(home)?;
        let token = tokens.issue(authority.fingerprint(), self.role, self.validity, now)?;
        if std::io::stdout().is_terminal() {
            let command = match self.role {
                Role::Node => "farcall node --join ADDR --token",
                Role::Client | Role::Admin => "farcall auth join ADDR --token",
            };
            eprintln!("Good once, for {}. On the other machine:", spell(self.validity));
            eprintln!("  {command} {token}");
        }
        Ok(format!("{token}\n"))
    }
}

impl Join {
    fn run(self, home: &Path) -> anyhow::Result<String> {
        let token = read_token(&self.token)?;
        let name = self.name.map_or_else(crate::config::host_name, Ok)?;
        let own = client::join(&self.address, &token, &name, home)?;
        let next = match own.role() {
            Role::Node => format!("farcall node --join {}", self.address),
            Role::Client | Role::Admin => format!("farcall status --nodes {}", self.address),
        };
        Ok(format!("This machine is now the {} {}.\nTry: {next}\n", own.role(), own.name()))
    }
}

fn status(home: &Path) -> anyhow::Result<String> {
    let mut text = format!("folder      {}\n", home.display());
    let authority = Authority::load(home)?;
    let mut own = Vec::new();
    for role in Role::ALL {
        own.extend(Credentials::load(home, role)?);
    }
    match (&authority, own.first()) {
        (Some(authority), _) => {
            writeln!(text, "authority   {} (its key is here)", authority.fingerprint())?;
        }
        (None, Some(own)) => {
            writeln!(text, "authority   {} (its key is elsewhere)", own.authority())?;
        }
        (None, None) => {
            text += "no credentials\n";
            text += "Begin a cluster with: farcall auth init\n";
            text += "Join one with: farcall auth join ADDR --token T\n";
        }
    }
    for own in own {
        let left = own.valid_until().duration_since(SystemTime::now());
        let left =
            left.map_or("has expired".to_owned(), |left| format!("valid for {}", spell(left)));
        writeln!(text, "{:<11} {}, {left}", own.role().as_str(), own.name())?;
    }
    Ok(text)
}

/// A token as it was typed, or the first line of standard input.
pub(crate) fn read_token(text: &str) -> anyhow::Result<Token> {
    if text != "-" {
        return Ok(text.parse()?);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().parse()?)
}

/// A token makes what it was printed for.
pub(crate) fn check_role(token: &Token, wanted: &[Role]) -> Result<(), Complaint> {
    if wanted.contains(&token.role) {
        return Ok(());
    }
    let wanted = wanted.first().copied().unwrap_or(Role::Client);
    Err(complaint(&codes::E0107, format!("this token makes a {}, not a {wanted}", token.role))
        .help(format!("print another one with `farcall auth token --role {wanted}`")))
}
