//! `farcall demo`: a picture, drawn by a cluster that is started for it, and what came of it.
//!
//! ```text
//!  scene ──tiles──> cluster of real nodes (TLS, jailed workers, the core shipped) ──> picture
//!        └─tiles──> one process, one after the other ─────────────────────────────> picture
//! ```
//!
//! Both are timed and compared byte by byte. The compute core, `tracer.c`, is a shared library in
//! this program's own bytes; it is loaded by workers only, never here.
//!
//! Elsewhere: what a scene is (`scene`), the work in one process (`serial`).

mod serial;
mod scene;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use client::Cluster;

use crate::cluster::local;
use crate::codes;
use crate::errors::{self, complaint, file};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::terminal;
use crate::values::{count, spell};
use scene::{Scene, Tile};
pub(crate) use serial::serve as serve_serially;

/// The compute core, compiled by the build script.
const TRACER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libtracer.so"));

/// Scenes that every installed copy knows by name.
const SCENES: [(&str, &str); 3] = [
    ("glass", include_str!("../../../examples/scenes/glass.toml")),
    ("cornell", include_str!("../../../examples/scenes/cornell.toml")),
    ("marbles", include_str!("../../../examples/scenes/marbles.toml")),
];

/// Pixels on a side of a tile: a task of some 10 ms.
const TILE: u32 = 32;
const QUICK_WIDTH: u32 = 256;
const QUICK_SAMPLES: u32 = 16;

/// Draw a picture with a cluster on this machine
///
/// Starts nodes on this machine (real daemons, TLS between them, jailed workers), ships them a
/// compute core, has them draw the tiles of a picture, and does the same work once more in one
/// process to compare.
#[derive(Args)]
#[command(after_help = "\
Examples:
  farcall demo --quick                    done in seconds
  farcall demo --scene marbles            another scene; glass, cornell and marbles are built in
  farcall demo --scene my.toml --nodes 4 --out my.png")]
pub(crate) struct Demo {
    /// What to draw: a file like those in examples/scenes, or glass, cornell or marbles
    #[arg(long, value_name = "FILE", default_value = "glass")]
    scene: PathBuf,
    /// A small, rough picture
    #[arg(long)]
    quick: bool,
    /// Where the picture goes
    #[arg(long, value_name = "FILE", default_value = "farcall-demo.png")]
    out: PathBuf,
    /// Nodes to start
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(1..=64))]
    nodes: u32,
}

/// What came of the work on the cluster.
struct Drawn {
    picture: Vec<u8>,
    time: Duration,
    tasks_by_node: BTreeMap<String, u64>,
    retried: u64,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let scene = self.read_scene();
        let mut scene = scene.map_err(|error| errors::put(&codes::E0402, &error))?;
        if self.quick {
            scene.reduce(QUICK_WIDTH, QUICK_SAMPLES);
        }
        // Before the work, not after it: is there a place for the picture?
        let out = File::options().create(true).append(true).open(&self.out);
        out.map_err(|error| file("write", &self.out, &error))?;

        let slots = (sys::cpu::usable().get() as u32 / self.nodes).max(1);
        let cluster = local()?.nodes(self.nodes).tls().slots(slots).start()?;
        let interrupt = Interrupt::watch(&cluster).context("cannot watch for Ctrl-C")?;
        let drawn = draw(&cluster, &scene);
        if interrupt.is_set() {
            return Ok(Interrupt::status());
        }
        let drawn = drawn?;
        interrupt.forget_cluster();
        drop(cluster);

        let started = Instant::now();
        let serial = serial::draw(&scene);
        let serial_time = started.elapsed();
        if interrupt.is_set() {
            return Ok(Interrupt::status());
        }
        let serial = serial?;
        if serial != drawn.picture {
            let differ = serial.iter().zip(&drawn.picture).filter(|(a, b)| a != b).count();
            return Err(complaint(&codes::E0404, "the two pictures differ")
                .note(format!("{differ} of {} bytes are not the same", serial.len()))
                .help("run `farcall demo` again; if they differ again, this is a bug: report it")
                .into());
        }
        write_png(&self.out, &scene, &drawn.picture)
            .map_err(|error| file("write", &self.out, &error))?;
        terminal::say(&self.report(&scene, slots, &drawn, serial_time)?)?;
        Ok(ExitCode::SUCCESS)
    }

    /// A file; or, if there is none, a built-in scene of that name.
    fn read_scene(&self) -> Result<Scene, scene::Error> {
        let built_in = SCENES.iter().find(|(name, _)| self.scene == Path::new(name));
        match built_in {
            Some((_, text)) if !self.scene.exists() => Scene::parse(text, &self.scene),
            _ => Scene::read(&self.scene),
        }
    }

    fn report(
        &self,
        scene: &Scene,
        slots: u32,
        drawn: &Drawn,
        serial: Duration,
    ) -> Result<String, std::fmt::Error> {
        let tasks: u64 = drawn.tasks_by_node.values().sum();
        let picture = &scene.picture;
        let speed_up = serial.as_secs_f64() / drawn.time.as_secs_f64();
        let retried = match drawn.retried {
            0 => "no task was tried twice".to_owned(),
            number => format!("{} tried again", count(number, "task")),
        };
        let out = self.out.display();
        let mut text = String::new();
        writeln!(text, "{out}: {} x {} pixels", picture.width, picture.height)?;
        writeln!(text)?;
        let mut row = |label: &str, value: &str| writeln!(text, "  {label:<12} {value}");
        let nodes = count(self.nodes.into(), "node");
        row("nodes", &format!("{nodes}, {} each, TLS between them", count(slots.into(), "slot")))?;
        row("tasks", &format!("{tasks} tiles; {retried}"))?;
        for (node, done) in &drawn.tasks_by_node {
            let share = *done as f64 * 100.0 / tasks as f64;
            row(&format!("  {node}"), &format!("{done:>5} tasks {share:>5.1} %"))?;
        }
        row("time", &spell(drawn.time))?;
        row("one process", &spell(serial))?;
        row("speed-up", &format!("{speed_up:.2} times"))?;
        row("pictures", "both pictures are byte-identical")?;
        writeln!(text)?;
        writeln!(text, "{}", sentence(&nodes, drawn.time, serial, speed_up))?;
        writeln!(text)?;
        writeln!(text, "Try next:")?;
        for (command, why) in next_commands() {
            writeln!(text, "  {command}")?;
            writeln!(text, "      {why}")?;
        }
        Ok(text)
    }
}

fn sentence(nodes: &str, time: Duration, serial: Duration, speed_up: f64) -> String {
    let (time, serial) = (spell(time), spell(serial));
    let cores = count(sys::cpu::usable().get() as u64, "core");
    format!(
        "On {cores}, {nodes} drew in {time} what one process draws in {serial}:\n\
         {speed_up:.2} times as fast."
    )
}

/// Tiles are tasks.
fn draw(cluster: &Cluster, scene: &Scene) -> anyhow::Result<Drawn> {
    let tiles = scene.tiles(TILE);
    let core = cluster.core_from("tracer", TRACER);
    let mut picture = blank(scene);
    let mut tasks_by_node = BTreeMap::new();
    let mut retried = 0;
    let progress = Progress::new("cluster", Some(tiles.len() as u64));
    let started = Instant::now();
    let inputs: Vec<Vec<u8>> = tiles.iter().map(|tile| scene.encode(*tile)).collect();
    for (at, result) in core.map_unordered(inputs) {
        let tile = tiles[at as usize];
        let output = match result {
            Ok(output) => output,
            // Ctrl-C; the caller knows.
            Err(failure) if failure.why == client::Why::Cancelled => break,
            Err(failure) => return Err(failed(tile, &failure.to_string()).into()),
        };
        check_size(tile, &output)?;
        scene.place(tile, &output, &mut picture);
        *tasks_by_node.entry(output.node().to_owned()).or_insert(0) += 1;
        retried += u64::from(output.attempt() > 1);
        progress.one_more();
    }
    let time = started.elapsed();
    progress.finish();
    Ok(Drawn { picture, time, tasks_by_node, retried })
}

fn blank(scene: &Scene) -> Vec<u8> {
    vec![0; scene.picture.width as usize * scene.picture.height as usize * 3]
}

fn check_size(tile: Tile, pixels: &[u8]) -> Result<(), crate::errors::Complaint> {
    let wanted = tile.columns as usize * tile.rows as usize * 3;
    match pixels.len() {
        length if length == wanted => Ok(()),
        length => Err(failed(tile, &format!("{length} bytes came back, {wanted} were due"))),
    }
}

fn failed(tile: Tile, why: &str) -> crate::errors::Complaint {
    complaint(&codes::E0405, format!("the tile at {}, {} was not drawn", tile.x, tile.y))
        .note(why)
        .help("run `farcall demo --quick` to see whether a smaller picture can be drawn")
}

fn write_png(path: &Path, scene: &Scene, pixels: &[u8]) -> io::Result<()> {
    let file = BufWriter::new(File::create(path)?);
    let mut encoder = png::Encoder::new(file, scene.picture.width, scene.picture.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(())
}

/// Three commands that work as they are printed, here and now.
fn next_commands() -> [(String, &'static str); 3] {
    let me = own_name();
    let sum = "examples/cores/sum.c";
    let your_own = if Path::new(sum).is_file() && Path::new("crates/core-abi/include").is_dir() {
        let compile = "cc -shared -fPIC -I crates/core-abi/include -o libsum.so";
        let command = format!("{compile} {sum} && seq 1 10 | {me} core run ./libsum.so --lines -");
        (command, "your own library: compile a core, then one task for each line")
    } else {
        (format!("{me} core run --help"), "your own library: a task for each file, or each line")
    };
    [
        (format!("{me} demo --scene marbles --nodes 4"), "another scene, on four nodes"),
        your_own,
        (format!("{me} node"), "offer this machine's cores; it says how others use them and join"),
    ]
}

/// How to call this program from here: by its name where PATH finds it.
fn own_name() -> String {
    let own = std::env::current_exe().ok().and_then(|own| own.canonicalize().ok());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join("farcall"));
    let in_path = places.find_map(|file| file.canonicalize().ok());
    match own {
        Some(own) if in_path.as_ref() != Some(&own) => {
            let here = std::env::current_dir().ok().and_then(|here| here.canonicalize().ok());
            let near = here.as_ref().and_then(|here| own.strip_prefix(here).ok());
            near.map_or(own.display().to_string(), |near| format!("./{}", near.display()))
        }
        _ => "farcall".to_owned(),
    }
}
