//! What a pad needs of a process that was built: its number, and that it wakes.

use std::io::Read;

use sys::Pid;
use wire::image::Reader;

/// A process that stands ready and has not run an instruction. Dropped, nothing of it is left. It has the
/// pad's own 0, 1 and 2 for its standard streams, and is the pad's child, in a process group of its own: in the
/// pad's, which nobody in its session looks after, the kernel would drop the signals that stop programs.
pub trait Built {
    fn pid(&self) -> Pid;
    /// It runs; or it never will, and is gone.
    fn wake(self: Box<Self>) -> Result<(), String>;
}

/// Makes a process of the image that comes.
pub type Build = fn(&mut dyn Read) -> Result<Box<dyn Built>, String>;

/// Reads an image to its end. Whatever is wrong with it is said by name.
pub fn check(from: &mut dyn Read) -> Result<telefork::Description, String> {
    let mut reader = Reader::new(from).map_err(|error| chain(&error))?;
    let Some(reader) = &mut reader else { return Err("no image came; try again".to_owned()) };
    let (description, mut next) =
        telefork::Description::take(reader).map_err(|error| chain(&error))?;
    let mut piece = vec![0; 64 * 1024];
    while next.is_some() {
        while reader.left() > 0 {
            let count = reader.left().min(piece.len() as u64) as usize;
            reader.read(&mut piece[..count]).map_err(|error| chain(&error))?;
        }
        next = reader.next_section().map_err(|error| chain(&error))?;
    }
    Ok(description)
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
