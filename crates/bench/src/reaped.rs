//! Child processes that are not left behind.

use std::process::Child;
use std::time::{Duration, Instant};

/// How long a child may take to end by itself, after its input did.
const PATIENCE: Duration = Duration::from_secs(1);

/// A child that ends when its input does. Close that first: keep this field behind the input.
pub(crate) struct Reaped(pub(crate) Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.0.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        // It hangs. Both calls fail only if it has just ended, which is what they are for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
