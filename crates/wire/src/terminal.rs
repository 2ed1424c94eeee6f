//! What a terminal makes of its bytes: in an image, and from a pad.

use serde::{Deserialize, Serialize};

/// The kernel's `termios`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modes {
    /// Of input, output, the line and its editing.
    pub flags: [u32; 4],
    pub discipline: u8,
    pub characters: [u8; 19],
}
