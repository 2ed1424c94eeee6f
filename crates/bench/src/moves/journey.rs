//! A process goes from here to a pad, which is a process of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use sys::process::{Spawn, Stderr, inherited};
use telefork::capture::Frozen;
use telefork::restore::{Memory, Restore};
use wire::image::{ImageId, Reader, Writer};

use super::subject::{Lines, Subject, pipe};
use super::{Moves, PATIENCE};
use crate::error::Error;
use crate::ours::ours;
use crate::setting::Setting;

/// What carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Unix,
    Tcp,
}

/// Numbers of the pad's connections.
const STREAM: i32 = 3;
const FAULTS: i32 = 4;

/// Said by the pad when the process is there and does not run, and to it when it may.
const BUILT: u8 = 1;
const WAKE: u8 = 2;

/// Microseconds for which a process of so many MiB stood still that moved.
pub(super) fn travel_still(
    moves: &Moves<'_>,
    args: &[&str],
    mib: u64,
    memory: Memory,
    over: Over,
) -> Result<f64, Error> {
    moves.program.warm(2 * mib + 256)?;
    let subject = moves.program.start(args)?;
    travel(moves.setting, subject, memory, over, |there| {
        let [_, still] = there.said("woke")?;
        Ok(still as f64 / 1e3)
    })
}

/// Moves a process, and hears what it says over there; then ends it.
pub(super) fn travel<T>(
    setting: &Setting,
    subject: Subject,
    memory: Memory,
    over: Over,
    hear: impl FnOnce(&mut Lines) -> Result<T, Error>,
) -> Result<T, Error> {
    let (stream, far_stream) = connection(over)?;
    let (faults, far_faults) = connection(over)?;
    let (mut said, output) = pipe()?;
    let kind = if memory == Memory::Whole { "whole" } else { "following" };
    let spawn = Spawn {
        args: vec!["pad".into(), kind.into()],
        descriptors: vec![(far_stream, STREAM), (far_faults, FAULTS), (output, 1)],
        stderr: Stderr::Inherit,
        ..Spawn::new(&setting.executable)
    };
    let mut pad = spawn.start().map_err(ours("start a pad"))?;
    let heard = send(&subject, memory, &stream, &faults, || hear(&mut said));
    let ended = pad.kill_tree().and_then(|()| pad.wait()).map_err(ours("end a pad"));
    let heard = heard?;
    ended?;
    Ok(heard)
}

/// Sends it; it runs over there, and its pages follow, while `hear` hears it.
fn send<T>(
    subject: &Subject,
    memory: Memory,
    mut stream: &UnixStream,
    faults: &UnixStream,
    hear: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let failed = |error: telefork::Error| ours("send a process")(error);
    let mut built = [0];
    // The pad is there before the process is stopped.
    stream.read_exact(&mut built).map_err(Error::kernel("hear a pad"))?;
    let mut frozen = Frozen::freeze(subject.pid(), PATIENCE).map_err(failed)?;
    let description = frozen.describe().map_err(failed)?;
    let mut writer = Writer::new(stream, ImageId(u64::from(std::process::id())));
    description.put(&mut writer).map_err(failed)?;
    let server = match memory {
        Memory::Whole => {
            frozen.send(&description, &mut writer).map_err(failed)?;
            None
        }
        Memory::Following => Some(frozen.send_ahead(&description, &mut writer).map_err(failed)?),
    };
    writer.finish().map_err(|error| failed(error.into()))?;
    stream.read_exact(&mut built).map_err(Error::kernel("hear a pad"))?;
    stream.write_all(&[WAKE]).map_err(Error::kernel("wake a process"))?;
    thread::scope(|scope| {
        let answering = server.as_ref().map(|server| {
            let streaming = scope.spawn(|| server.stream(stream));
            (streaming, scope.spawn(|| server.answer(faults)))
        });
        let heard = hear();
        // What has not come by now is not needed.
        for connection in [stream, faults] {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        if let Some((streaming, answering)) = answering {
            let _ = (streaming.join(), answering.join());
        }
        frozen.end().map_err(failed)?;
        heard
    })
}

/// The pad: the other end of `travel`, started with its connections.
pub fn pad(memory: Memory) -> anyhow::Result<()> {
    let mut stream = UnixStream::from(inherited(STREAM)?);
    let faults = UnixStream::from(inherited(FAULTS)?);
    stream.write_all(&[BUILT])?;
    let Some(mut reader) = Reader::new(&stream)? else { return Ok(()) };
    let restore = Restore { memory, ..Restore::default() };
    let built = restore.build(&mut reader)?;
    stream.write_all(&[BUILT])?;
    stream.read_exact(&mut [0])?;
    let awake = built.wake()?;
    if let Some(left) = awake.left {
        // The measurement is over when the other side closes: then nothing of it is missed.
        let _ = left.follow(&stream, &faults, || {
            let _ = sys::process::kill_tree(awake.pid);
        });
    }
    // It is ended with this, or before.
    let _ = telefork::wait_for_exit(awake.pid);
    Ok(())
}

fn connection(over: Over) -> Result<(UnixStream, OwnedFd), Error> {
    match over {
        Over::Unix => {
            let pair = UnixStream::pair().map_err(Error::kernel("pair sockets"));
            pair.map(|(near, far)| (near, far.into()))
        }
        Over::Tcp => {
            let connect = || {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let near = TcpStream::connect(listener.local_addr()?)?;
                let (far, _) = listener.accept()?;
                near.set_nodelay(true)?;
                far.set_nodelay(true)?;
                // Reading and writing is the same of any socket.
                Ok((UnixStream::from(OwnedFd::from(near)), OwnedFd::from(far)))
            };
            connect().map_err(Error::kernel("connect on loopback"))
        }
    }
}
