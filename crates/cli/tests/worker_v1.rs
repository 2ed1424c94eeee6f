//! The worker socket protocol v1, byte for byte, against the real program.
//!
//! The protocol's text leaves 33 points open. How each is settled is behaviour with a test, whose name
//! begins with its number (`settling_17_…`); what has to work is rows with a test each (`dc_3_…`).
//!
//! ```text
//!  v1/settlings.rs    1 to 33, seen from a controller
//!  v1/rows.rs         DC-1 to DC-9, long and many jobs, several peers, limits of the node
//!  v1/bounds.rs       what peers can take of a node
//!  v1/cores.rs        cores that misbehave
//!  v1/controllers.rs  the other side: `farcall controller-v1`
//! ```

#![forbid(unsafe_code)]

mod support;
mod v1;
