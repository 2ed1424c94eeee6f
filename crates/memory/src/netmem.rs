//! NetMem 0.2: both sides of a simple protocol for shared pages, in plain blocking calls.
//!
//! ```no_run
//! use farcall_memory::netmem::{Client, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new(6, 40)?; // six pages of 40 bytes; or `farcall node --netmem ADDR`
//! server.page(0).lock()?.unlock(&[7; 40])?;
//! let address = server.start(0)?;
//!
//! let mut client = Client::connect("127.0.0.1", address.port())?;
//! let mut page = client.lock_page(0)?; // nobody else has it now
//! page.data[0] += 1;
//! client.unlock_page(&mut page)?; // everybody can read it now
//!
//! let mut other = client.try_clone()?; // for another thread: one cache, a connection of its own
//! assert_eq!(other.read_page(0)?.data[0], 8);
//! # Ok(())
//! # }
//! ```
//!
//! There is no authentication and no encryption: whoever reaches the port reads and writes the pages.
//! Regions (`farcall node`, certificates) are the same pages with both.
//!
//! Elsewhere: the bytes (`wire::netmem`), what a server decides (`logic::netmem`, `logic::regions`).

mod server;
mod client;
mod error;

pub use client::{Client, Page, Params};
pub use error::{Error, error_message};
pub use server::{Locked, Server, ServerPage};
