//! How a specimen travels: captured here, built and woken by another process, the pad, and ended here.
//!
//! The pad is this test program, started once more. It is the parent of what it wakes, gives it its standard
//! streams, and ends as that ends.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use farcall_telefork::call::wait_for_exit;
use farcall_telefork::capture::{Frozen, Sent};
use farcall_telefork::restore::{Memory, Restore, VdsoChoice};
use farcall_telefork::{Description, Error};
use sys::Pid;
use wire::image::descriptor::{Descriptor, Opened};
use wire::image::{ImageId, Reader, Writer};

use crate::run::{PATIENCE, Run, state, until};
use crate::table::Kind;

/// Where the pad finds the image: a file, or a socket that it comes through.
const IMAGE: &str = "SPECIMEN_IMAGE";
const FOREIGN: &str = "SPECIMEN_FOREIGN";
const LAZY: &str = "SPECIMEN_LAZY";

/// The smallest that can follow.
const PAGE: u64 = 4096;

/// Whose vDSO it finds where it wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vdso {
    Same,
    Other,
}

/// `None` of one that has come to its own end. Fails with the words of a refusal.
pub(crate) fn freeze(pid: Pid) -> Result<Option<(Frozen, Description)>, String> {
    let mut frozen = match Frozen::freeze(pid, PATIENCE) {
        Ok(frozen) => frozen,
        Err(_) if state(pid) == 'Z' => return Ok(None),
        Err(error) => panic!("{error}"),
    };
    let description = match frozen.describe() {
        Ok(description) => description,
        Err(error @ Error::Mapping { .. }) => return Err(error.to_string()),
        Err(error) => panic!("{error}"),
    };
    refuse(&description.descriptors)?;
    Ok(Some((frozen, description)))
}

/// Fails with the reasons of all that cannot travel.
fn refuse(descriptors: &[Descriptor]) -> Result<(), String> {
    let reasons = descriptors.iter().filter_map(|descriptor| match &descriptor.what {
        Opened::Unsupported { why, .. } => Some(format!("{}: {why}", descriptor.number)),
        _ => None,
    });
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() { Ok(()) } else { Err(reasons.join("\n")) }
}

/// Fails where nobody takes it.
pub(crate) fn put<W: Write>(
    frozen: &Frozen,
    description: &Description,
    to: W,
) -> Result<(Sent, W), Error> {
    let mut writer = Writer::new(to, ImageId(1));
    description.put(&mut writer)?;
    let sent = frozen.send(description, &mut writer)?;
    Ok((sent, writer.finish()?))
}

/// It is ended here once it is whole there, and only then woken. Refused there, it goes on here.
pub(crate) fn move_away(run: &mut Run, vdso: Vdso) -> Result<(), String> {
    let Some((frozen, description)) = freeze(run.pid)? else { return run.check_skipped() };
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut pad = start_pad(run, &socket, vdso, Memory::Whole);
    let (mut connection, _) = listener.accept().unwrap();
    let put = put(&frozen, &description, BufWriter::new(&connection));
    let is_taken = put.is_ok_and(|(_, mut to)| to.flush().is_ok());
    let mut pid = [0; 4];
    if !is_taken || connection.read_exact(&mut pid).is_err() {
        pad.wait().unwrap();
        frozen.release().unwrap();
        return Err(fs::read_to_string(run.path("refused")).unwrap());
    }
    frozen.end().unwrap();
    connection.write_all(b"!").unwrap();
    connection.read_exact(&mut [0]).unwrap();
    run.goes_on_as(Pid(i32::from_ne_bytes(pid)), pad);
    Ok(())
}

/// It wakes there while its memory is still here, stands still here until all of that is over, and then ends.
pub(crate) fn move_lazily(run: &mut Run) -> Result<(), String> {
    let Some((frozen, description)) = freeze(run.pid)? else { return run.check_skipped() };
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut pad = start_pad(run, &socket, Vdso::Same, Memory::Following);
    let (mut connection, _) = listener.accept().unwrap();
    let mut writer = Writer::new(BufWriter::new(&connection), ImageId(1));
    let put = description.put(&mut writer).and_then(|()| {
        let server = frozen.send_ahead(&description, &mut writer)?;
        writer.finish()?;
        Ok(server)
    });
    let mut pid = [0; 4];
    let (Ok(server), Ok(())) = (put, connection.read_exact(&mut pid)) else {
        pad.wait().unwrap();
        frozen.release().unwrap();
        return Err(fs::read_to_string(run.path("refused")).unwrap());
    };
    let [stream, faults] = [(); 2].map(|()| listener.accept().unwrap().0);
    connection.write_all(b"!").unwrap();
    let is_whole = thread::scope(|scope| {
        let answering = scope.spawn(|| server.answer(&faults));
        // One that ends early wants no more.
        drop(server.stream(&stream));
        stream.shutdown(Shutdown::Write).unwrap();
        connection.read_exact(&mut [0]).unwrap();
        let _ = faults.shutdown(Shutdown::Both);
        answering.join().unwrap()
    });
    frozen.end().unwrap();
    if server.left() > 0 && !matches!(is_whole, Ok(true)) {
        return Err(format!("not all of its memory followed it: {is_whole:?}"));
    }
    let told = fs::read_to_string(run.path("followed")).unwrap_or_default();
    let bytes: u64 = told.parse().unwrap_or(0);
    // One that comes to its own end may come to it before its memory does.
    if bytes < PAGE && run.kind == Kind::Checking {
        return Err(format!("it woke with all its memory: {bytes} bytes followed"));
    }
    run.goes_on_as(Pid(i32::from_ne_bytes(pid)), pad);
    Ok(())
}

/// It is ended here before anybody has read its image.
pub(crate) fn by_file(run: &mut Run) -> Result<(), String> {
    let Some((frozen, description)) = freeze(run.pid)? else { return run.check_skipped() };
    let place = tempfile::tempdir().unwrap();
    let image = place.path().join("image");
    let file = BufWriter::new(File::create(&image).unwrap());
    let (_, mut to) = put(&frozen, &description, file).unwrap();
    to.flush().unwrap();
    frozen.end().unwrap();
    run.bury();
    let _ = fs::remove_file(run.path("woken"));
    let mut pad = start_pad(run, &image, Vdso::Same, Memory::Whole);
    let mut pid = None;
    until("it is woken or refused", || {
        let text = fs::read_to_string(run.path("woken")).unwrap_or_default();
        pid = text.trim().parse().ok();
        pid.is_some() || run.path("refused").exists()
    });
    let Some(pid) = pid else {
        pad.wait().unwrap();
        return Err(fs::read_to_string(run.path("refused")).unwrap());
    };
    run.goes_on_as(Pid(pid), pad);
    Ok(())
}

fn start_pad(run: &mut Run, image: &Path, vdso: Vdso, memory: Memory) -> Child {
    let output = run.next_output();
    let mut pad = Command::new(std::env::current_exe().unwrap());
    pad.args(["--exact", "a_pad_wakes_what_it_is_sent", "--nocapture", "--test-threads=1"]);
    pad.env(IMAGE, image).current_dir(run.path(""));
    pad.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    if vdso == Vdso::Other {
        pad.env(FOREIGN, "1");
    }
    if memory == Memory::Following {
        pad.env(LAZY, "1");
    }
    pad.spawn().unwrap()
}

/// What the pad does. Does nothing in a test run that is none.
pub(crate) fn be_the_pad() {
    let Some(image) = std::env::var_os(IMAGE) else { return };
    let image = Path::new(&image);
    let mut connection = UnixStream::connect(image).ok();
    let from: Box<dyn Read> = match &connection {
        Some(connection) => Box::new(connection.try_clone().unwrap()),
        None => Box::new(File::open(image).unwrap()),
    };
    let is_foreign = std::env::var_os(FOREIGN).is_some();
    let vdso = if is_foreign { VdsoChoice::Patched } else { VdsoChoice::Compared };
    let mut reader = Reader::new(BufReader::new(from)).unwrap().unwrap();
    let is_lazy = std::env::var_os(LAZY).is_some();
    let memory = if is_lazy { Memory::Following } else { Memory::Whole };
    let built = match (Restore { vdso, memory, ..Restore::default() }).build(&mut reader) {
        Ok(built) => built,
        Err(error) => {
            fs::write("refused.new", error.to_string()).unwrap();
            fs::rename("refused.new", "refused").unwrap();
            std::process::exit(3);
        }
    };
    if let Some(connection) = &mut connection {
        connection.write_all(&built.pid().0.to_ne_bytes()).unwrap();
    }
    let lines = is_lazy.then(|| [(); 2].map(|()| UnixStream::connect(image).unwrap()));
    if let Some(connection) = &mut connection {
        connection.read_exact(&mut [0]).unwrap();
    }
    let pid = built.pid();
    let awake = built.wake().unwrap();
    if let (Some(left), Some([stream, faults])) = (awake.left, &lines) {
        match left.follow(stream, faults, || sys::process::kill_tree(pid).unwrap()) {
            Ok(followed) => fs::write("followed", followed.bytes.to_string()).unwrap(),
            Err(error) => eprintln!("differs: its memory did not follow: {error}"),
        }
    }
    if let Some(connection) = &mut connection {
        connection.write_all(b"!").unwrap();
    }
    fs::write("woken.new", pid.to_string()).unwrap();
    fs::rename("woken.new", "woken").unwrap();
    match wait_for_exit(pid) {
        Ok(code) => std::process::exit(code),
        Err(error) => {
            eprintln!("differs: {error}");
            std::process::exit(4);
        }
    }
}
