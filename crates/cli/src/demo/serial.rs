//! The same work in one process, one tile after the other: what the cluster is compared with.
//!
//! The core is foreign code, so it runs in a process of its own here, too: this program once more,
//! as `farcall demo-serial`. Tiles go to its standard input, pixels come from its standard output,
//! each with its length (u64, little-endian) before it.

use std::io::{self, BufWriter, Read, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;

use super::scene::Scene;
use super::{TILE, TRACER, blank, check_size};
use crate::codes;
use crate::errors::complaint;
use crate::progress::Progress;

/// No input or output of a tile is longer.
const LENGTH_MAX: u64 = 1 << 30;

/// Draws the scene in one process.
pub(super) fn draw(scene: &Scene) -> anyhow::Result<Vec<u8>> {
    let tiles = scene.tiles(TILE);
    let mut child = Command::new("/proc/self/exe")
        .arg("demo-serial")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start this program once more")?;
    let (Some(stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        unreachable!("both were asked for");
    };
    let mut picture = blank(scene);
    let progress = Progress::new("serial", Some(tiles.len() as u64));
    let drawn = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stdin = BufWriter::new(stdin);
            for tile in &tiles {
                // A child that is gone is noticed at its output.
                if put(&mut stdin, &scene.encode(*tile)).is_err() {
                    return;
                }
            }
        });
        for tile in &tiles {
            let pixels =
                take(&mut stdout)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            check_size(*tile, &pixels)?;
            scene.place(*tile, &pixels, &mut picture);
            progress.one_more();
        }
        anyhow::Ok(())
    });
    progress.finish();
    if drawn.is_err() {
        // It may still be waiting for more.
        let _ = child.kill();
    }
    let status = child.wait().context("cannot wait for the serial process")?;
    drawn.map_err(|error| {
        complaint(&codes::E0405, "the picture was not drawn in one process")
            .note(format!("{error}; the process ended with {status}"))
            .help("run `farcall demo --quick` to see whether a smaller picture can be drawn")
    })?;
    Ok(picture)
}

/// `farcall demo-serial`. Of no use by hand.
pub(crate) fn serve() -> anyhow::Result<ExitCode> {
    let mut library = sys::files::in_memory("tracer")?;
    library.write_all(TRACER)?;
    let mut core = worker::core::Core::load(&library, "tracer")?;
    let mut stdin = io::stdin().lock();
    let mut stdout = io::stdout().lock();
    while let Some(mut input) = take(&mut stdin)? {
        let (code, pixels) = core.run(&mut input, <[u8]>::to_vec)?;
        anyhow::ensure!(code == 0, "the core returned {code}");
        put(&mut stdout, &pixels)?;
        stdout.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn put(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)
}

/// The next bytes; `None` at the end.
fn take(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u64::from_le_bytes(length);
    if length > LENGTH_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}
