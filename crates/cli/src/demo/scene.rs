//! A scene file: what the demo's picture shows. Parses it, cuts the picture into tiles, and
//! writes each tile as the input that `tracer.c` reads (the layout is at the top of that file).
//!
//! The schema is the structs below, as TOML; `examples/scenes` has commented examples. x points
//! to the right, y up, z towards the viewer. Colours are red, green, blue from 0 to 1; those of
//! lights and the sky may be brighter.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Pixels on a side of the largest picture.
const SIDE_MAX: u32 = 16_384;
const SAMPLES_MAX: u32 = 65_536;
const DEPTH_MAX: u32 = 100;
const THINGS_MAX: usize = 4_096;
/// Beyond this, a coordinate is a slip of the keyboard.
const NUMBER_MAX: f64 = 1e6;

/// A whole scene file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    pub(crate) picture: Picture,
    pub(crate) camera: Camera,
    #[serde(default)]
    pub(crate) sky: Sky,
    pub(crate) materials: BTreeMap<String, Material>,
    #[serde(default)]
    pub(crate) spheres: Vec<Sphere>,
    #[serde(default)]
    pub(crate) planes: Vec<Plane>,
    #[serde(default)]
    pub(crate) rectangles: Vec<Rectangle>,
}

/// `[picture]`: how large and how good.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Paths per pixel: time grows with it, noise with the inverse of its root.
    pub(crate) samples: u32,
    /// How often a path may bounce; glass in front of glass needs many.
    #[serde(default = "eight")]
    pub(crate) depth: u32,
    /// Brightness of the whole picture.
    #[serde(default = "one")]
    pub(crate) exposure: f64,
}

/// `[camera]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Camera {
    /// Where it stands.
    pub(crate) from: [f64; 3],
    /// What is in the middle of the picture.
    pub(crate) to: [f64; 3],
    #[serde(default = "upwards")]
    pub(crate) up: [f64; 3],
    /// From the bottom of the picture to its top, in degrees.
    pub(crate) field_of_view: f64,
    /// Diameter of the lens: 0 makes everything sharp.
    #[serde(default)]
    pub(crate) aperture: f64,
    /// The distance that is sharp; that of `to`, unless given.
    pub(crate) focus: Option<f64>,
}

/// `[sky]`: what light comes from where nothing is. Black, unless given.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sky {
    pub(crate) horizon: [f64; 3],
    pub(crate) zenith: [f64; 3],
}

/// `[materials.NAME]`, chosen by `kind = "…"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Material {
    /// Dull, like chalk.
    Diffuse { color: [f64; 3], checker: Option<Checker> },
    /// Dull under a clear coat, like a billiard ball.
    Glossy { color: [f64; 3], checker: Option<Checker> },
    /// A mirror; `roughness` from 0 to 1 blurs it.
    Metal {
        color: [f64; 3],
        #[serde(default)]
        roughness: f64,
    },
    /// Clear; `index` is 1.33 for water, 1.5 for glass, 2.4 for diamond.
    Glass {
        #[serde(default = "white")]
        color: [f64; 3],
        #[serde(default = "glass_index")]
        index: f64,
    },
    /// Shines. Rectangles shine to the side that `side` × `other_side` points to.
    Light { color: [f64; 3] },
}

/// `checker = { color = …, size = … }`: every other square has this colour.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checker {
    pub(crate) color: [f64; 3],
    pub(crate) size: f64,
}

/// `[[spheres]]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sphere {
    pub(crate) center: [f64; 3],
    pub(crate) radius: f64,
    pub(crate) material: String,
}

/// `[[planes]]`, without end.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plane {
    pub(crate) point: [f64; 3],
    pub(crate) normal: [f64; 3],
    pub(crate) material: String,
}

/// `[[rectangles]]`: a corner and the two sides that start there, at a right angle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rectangle {
    pub(crate) corner: [f64; 3],
    pub(crate) side: [f64; 3],
    pub(crate) other_side: [f64; 3],
    pub(crate) material: String,
}

/// A part of the picture: one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) columns: u32,
    pub(crate) rows: u32,
}

/// Why a scene file cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "cannot read the scene file {}; examples are in examples/scenes", path.display()
    )]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "scene file {} is not understood; compare it with the ones in examples/scenes",
        path.display()
    )]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("scene file {}: {field} is {found}; {next}", path.display())]
    Value { path: PathBuf, field: String, found: String, next: String },
}

/// A value that cannot be drawn, before the file's name is known.
struct Wrong {
    field: String,
    found: String,
    next: String,
}

impl Scene {
    /// Reads and checks a scene file.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Checks a scene; `path` is for messages only.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let scene: Self = toml::from_str(text)
            .map_err(|source| Error::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        match scene.check() {
            Ok(()) => Ok(scene),
            Err(Wrong { field, found, next }) => {
                Err(Error::Value { path: path.to_owned(), field, found, next })
            }
        }
    }

    /// Makes the picture smaller, to at most `width` pixels and `samples` paths per pixel: the
    /// same view, rougher and sooner.
    pub(crate) fn reduce(&mut self, width: u32, samples: u32) {
        let picture = &mut self.picture;
        if picture.width > width && width > 0 {
            let height = u64::from(picture.height) * u64::from(width) / u64::from(picture.width);
            picture.height = (height as u32).max(1);
            picture.width = width;
        }
        picture.samples = picture.samples.min(samples.max(1));
    }

    /// The whole picture as one tile.
    #[cfg(test)]
    pub(crate) fn whole(&self) -> Tile {
        Tile { x: 0, y: 0, columns: self.picture.width, rows: self.picture.height }
    }

    /// Cuts the picture into tiles of at most `side` by `side` pixels, row by row.
    pub(crate) fn tiles(&self, side: u32) -> Vec<Tile> {
        let Picture { width, height, .. } = self.picture;
        let side = side.max(1) as usize;
        let mut tiles = Vec::new();
        for y in (0..height).step_by(side) {
            for x in (0..width).step_by(side) {
                let columns = (width - x).min(side as u32);
                let rows = (height - y).min(side as u32);
                tiles.push(Tile { x, y, columns, rows });
            }
        }
        tiles
    }

    /// The input of the compute core for one tile.
    pub(crate) fn encode(&self, tile: Tile) -> Vec<u8> {
        let mut out = Encoder(Vec::with_capacity(4096));
        let Picture { width, height, samples, depth, exposure } = self.picture;
        out.0.extend_from_slice(b"FCT1");
        out.u32s(&[width, height, tile.x, tile.y, tile.columns, tile.rows, samples, depth]);
        out.f64s(&[exposure]);

        let camera = &self.camera;
        let ahead = minus(camera.to, camera.from);
        let forward = unit(ahead);
        let right = unit(cross(forward, camera.up));
        let up = cross(right, forward);
        let half_height = (camera.field_of_view.to_radians() / 2.0).tan();
        let half_width = half_height * f64::from(width) / f64::from(height);
        let focus = camera.focus.unwrap_or_else(|| dot(ahead, ahead).sqrt());
        for vector in [camera.from, right, up, forward] {
            out.f64s(&vector);
        }
        out.f64s(&[half_width, half_height, camera.aperture / 2.0, focus]);
        out.f64s(&self.sky.horizon);
        out.f64s(&self.sky.zenith);

        let counts = [self.spheres.len(), self.planes.len(), self.rectangles.len()];
        out.u32s(&[self.materials.len() as u32]);
        out.u32s(&counts.map(|count| count as u32));
        for material in self.materials.values() {
            out.material(material);
        }
        for Sphere { center, radius, material } in &self.spheres {
            out.u32s(&[self.index(material), 0]);
            out.f64s(center);
            out.f64s(&[*radius]);
        }
        for Plane { point, normal, material } in &self.planes {
            out.u32s(&[self.index(material), 0]);
            out.f64s(point);
            out.f64s(&unit(*normal));
        }
        for Rectangle { corner, side, other_side, material } in &self.rectangles {
            out.u32s(&[self.index(material), 0]);
            out.f64s(corner);
            out.f64s(side);
            out.f64s(other_side);
        }
        out.0
    }

    /// Copies the pixels of a rendered tile to their place in a picture of 3 bytes per pixel.
    pub(crate) fn place(&self, tile: Tile, pixels: &[u8], picture: &mut [u8]) {
        let row_bytes = tile.columns as usize * 3;
        for (row, bytes) in pixels.chunks_exact(row_bytes).enumerate() {
            let y = tile.y as usize + row;
            let start = (y * self.picture.width as usize + tile.x as usize) * 3;
            picture[start..start + row_bytes].copy_from_slice(bytes);
        }
    }

    /// The number of a material; `check` has seen that it exists.
    fn index(&self, name: &str) -> u32 {
        self.materials.keys().position(|key| key == name).unwrap_or(0) as u32
    }

    fn check(&self) -> Result<(), Wrong> {
        let picture = &self.picture;
        within("picture.width", picture.width, 1, SIDE_MAX)?;
        within("picture.height", picture.height, 1, SIDE_MAX)?;
        within("picture.samples", picture.samples, 1, SAMPLES_MAX)?;
        within("picture.depth", picture.depth, 1, DEPTH_MAX)?;
        within("picture.exposure", picture.exposure, 1e-6, NUMBER_MAX)?;

        let camera = &self.camera;
        point("camera.from", camera.from)?;
        point("camera.to", camera.to)?;
        point("camera.up", camera.up)?;
        within("camera.field_of_view", camera.field_of_view, 0.1, 170.0)?;
        within("camera.aperture", camera.aperture, 0.0, NUMBER_MAX)?;
        if let Some(focus) = camera.focus {
            within("camera.focus", focus, 1e-6, NUMBER_MAX)?;
        }
        let side = cross(minus(camera.to, camera.from), camera.up);
        let next = "let camera.to differ from camera.from, and camera.up point another way than \
                    the camera looks";
        direction("camera.up", side, camera.up, next)?;
        color("sky.horizon", self.sky.horizon, NUMBER_MAX)?;
        color("sky.zenith", self.sky.zenith, NUMBER_MAX)?;

        for (name, material) in &self.materials {
            material.check(&format!("materials.{name}"))?;
        }
        self.check_things()
    }

    fn check_things(&self) -> Result<(), Wrong> {
        let count = self.spheres.len() + self.planes.len() + self.rectangles.len();
        within("number of spheres, planes and rectangles", count, 1, THINGS_MAX)?;
        for (n, sphere) in self.spheres.iter().enumerate() {
            let field = |name| format!("spheres[{n}].{name}");
            point(&field("center"), sphere.center)?;
            within(&field("radius"), sphere.radius, 1e-6, NUMBER_MAX)?;
            self.check_material(&field("material"), &sphere.material)?;
        }
        for (n, plane) in self.planes.iter().enumerate() {
            let field = |name| format!("planes[{n}].{name}");
            point(&field("point"), plane.point)?;
            point(&field("normal"), plane.normal)?;
            let next = "give it a length, as [0, 1, 0] has";
            direction(&field("normal"), plane.normal, plane.normal, next)?;
            self.check_material(&field("material"), &plane.material)?;
        }
        for (n, rectangle) in self.rectangles.iter().enumerate() {
            let field = |name| format!("rectangles[{n}].{name}");
            let Rectangle { corner, side, other_side, material } = rectangle;
            point(&field("corner"), *corner)?;
            point(&field("side"), *side)?;
            point(&field("other_side"), *other_side)?;
            let next = "let it be at a right angle to side, and neither of them 0";
            direction(&field("other_side"), cross(*side, *other_side), *other_side, next)?;
            if dot(unit(*side), unit(*other_side)).abs() > 1e-3 {
                return Err(wrong(&field("other_side"), other_side, next));
            }
            self.check_material(&field("material"), material)?;
        }
        Ok(())
    }

    fn check_material(&self, field: &str, name: &str) -> Result<(), Wrong> {
        if self.materials.contains_key(name) {
            return Ok(());
        }
        let known: Vec<&str> = self.materials.keys().map(String::as_str).collect();
        let next = format!("add [materials.{name}] or use one of: {}", known.join(", "));
        Err(wrong(field, name, next))
    }
}

impl Material {
    fn check(&self, field: &str) -> Result<(), Wrong> {
        let of = |name| format!("{field}.{name}");
        match self {
            Self::Diffuse { color: own, checker } | Self::Glossy { color: own, checker } => {
                color(&of("color"), *own, 1.0)?;
                if let Some(checker) = checker {
                    color(&of("checker.color"), checker.color, 1.0)?;
                    within(&of("checker.size"), checker.size, 1e-3, NUMBER_MAX)?;
                }
            }
            Self::Metal { color: own, roughness } => {
                color(&of("color"), *own, 1.0)?;
                within(&of("roughness"), *roughness, 0.0, 1.0)?;
            }
            Self::Glass { color: own, index } => {
                color(&of("color"), *own, 1.0)?;
                within(&of("index"), *index, 1.0, 4.0)?;
            }
            Self::Light { color: own } => color(&of("color"), *own, NUMBER_MAX)?,
        }
        Ok(())
    }
}

/// Appends little-endian numbers.
struct Encoder(Vec<u8>);

impl Encoder {
    fn u32s(&mut self, values: &[u32]) {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn f64s(&mut self, values: &[f64]) {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn material(&mut self, material: &Material) {
        let (kind, color, checker, amount) = match material {
            Material::Diffuse { color, checker } => (0, color, checker.as_ref(), 0.0),
            Material::Metal { color, roughness } => (1, color, None, *roughness),
            Material::Glass { color, index } => (2, color, None, *index),
            Material::Glossy { color, checker } => (3, color, checker.as_ref(), 0.0),
            Material::Light { color } => (4, color, None, 0.0),
        };
        self.u32s(&[kind, 0]);
        self.f64s(color);
        self.f64s(&checker.map_or([0.0; 3], |checker| checker.color));
        self.f64s(&[checker.map_or(0.0, |checker| checker.size), amount]);
    }
}

fn wrong(field: &str, found: impl std::fmt::Debug, next: impl Into<String>) -> Wrong {
    Wrong { field: field.to_owned(), found: format!("{found:?}"), next: next.into() }
}

/// Refuses what is not a number, too.
fn within<N>(field: &str, found: N, min: N, max: N) -> Result<(), Wrong>
where
    N: PartialOrd + Copy + std::fmt::Display + std::fmt::Debug,
{
    match (min..=max).contains(&found) {
        true => Ok(()),
        false => Err(wrong(field, found, format!("choose one from {min} to {max}"))),
    }
}

fn point(field: &str, found: [f64; 3]) -> Result<(), Wrong> {
    match found.iter().all(|number| number.abs() <= NUMBER_MAX) {
        true => Ok(()),
        false => Err(wrong(field, found, format!("stay between -{NUMBER_MAX} and {NUMBER_MAX}"))),
    }
}

fn color(field: &str, found: [f64; 3], max: f64) -> Result<(), Wrong> {
    match found.iter().all(|part| (0.0..=max).contains(part)) {
        true => Ok(()),
        false => Err(wrong(field, found, format!("choose red, green and blue from 0 to {max}"))),
    }
}

/// Refuses a vector without a length, which points nowhere.
fn direction(field: &str, vector: [f64; 3], found: [f64; 3], next: &str) -> Result<(), Wrong> {
    match dot(vector, vector) > 1e-12 {
        true => Ok(()),
        false => Err(wrong(field, found, next)),
    }
}

fn minus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn unit(a: [f64; 3]) -> [f64; 3] {
    let length = dot(a, a).sqrt();
    a.map(|part| part / length)
}

fn eight() -> u32 {
    8
}

fn one() -> f64 {
    1.0
}

fn upwards() -> [f64; 3] {
    [0.0, 1.0, 0.0]
}

fn white() -> [f64; 3] {
    [1.0; 3]
}

fn glass_index() -> f64 {
    1.5
}

#[cfg(test)]
mod tests;
