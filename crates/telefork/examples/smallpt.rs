//! A path tracer: spheres in a box, lit by one of them, by the light that finds its way to the eye.
//!
//! `smallpt [SIZE [SAMPLES [THREADS [ADDRESS]]]]` draws `render.png`, SIZE pixels wide and high, with so many paths for
//! each pixel. The picture depends on nothing but size and samples: every row draws its random numbers from a
//! seed of its own, and only operations are used that every processor rounds in the same way (no sine, no
//! power). So a picture drawn elsewhere can be compared to the byte.
//!
//! With an address, where `yoyo_raw serve ADDRESS` listens, the program goes there, draws there, and comes back
//! with the picture in its memory.
//!
//! The scene is that of Kevin Beason's smallpt.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "says what it has done")]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::net::TcpStream;
use std::ops::{Add, Mul, Sub};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use farcall_telefork::{Location, telefork_to, telepad, wait_for_exit};

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = [256, 16, thread::available_parallelism()?.get()];
    for (number, word) in numbers.iter_mut().zip(std::env::args().skip(1)) {
        *number = word.parse().map_err(|_| format!("{word} is no number"))?;
    }
    let [size, samples, threads] = numbers;
    let start = Instant::now();
    let draw = || render(size, samples, threads);
    let picture = match std::env::args().nth(4) {
        None => draw(),
        Some(address) => elsewhere(&address, draw)?,
    };
    let (took, side) = (start.elapsed(), u32::try_from(size)?);
    let mut encoder = png::Encoder::new(BufWriter::new(File::create("render.png")?), side, side);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&picture)?;
    println!("render.png: {size} x {size}, {samples} paths a pixel, {threads} threads, {took:.2?}");
    Ok(())
}

/// Does some work at this address, and comes back with what came of it.
fn elsewhere<T>(address: &str, work: impl FnOnce() -> T) -> Result<T, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    if telefork_to(&mut stream)? == Location::Parent {
        let child = telepad(&mut stream, 0)?;
        std::process::exit(wait_for_exit(child)?);
    }
    // Over there, where standard output is the connection.
    let done = work();
    match telefork_to(&mut stdout())? {
        Location::Parent => {
            stdout().flush()?;
            std::process::exit(0)
        }
        Location::Child(_) => Ok(done),
    }
}

/// The bytes of the picture, three for each pixel, from the top.
fn render(size: usize, samples: usize, threads: usize) -> Vec<u8> {
    let next = AtomicUsize::new(0);
    let draw = || {
        let mut rows = Vec::new();
        loop {
            let row = next.fetch_add(1, Relaxed);
            if row >= size {
                return rows;
            }
            rows.push((row, draw_row(row, size, samples)));
        }
    };
    let mut rows: Vec<(usize, Vec<u8>)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(draw)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no row panics")).collect()
    });
    rows.sort_unstable();
    rows.into_iter().flat_map(|(_, row)| row).collect()
}

fn draw_row(row: usize, size: usize, samples: usize) -> Vec<u8> {
    let mut random = Random(row as u64);
    let side = size as f64;
    let eye = Ray { from: Vector(50.0, 52.0, 295.6), to: Vector(0.0, -0.042_612, -1.0).unit() };
    let across = Vector(0.5135, 0.0, 0.0);
    let up = across.cross(eye.to).unit() * 0.5135;
    let mut bytes = Vec::with_capacity(size * 3);
    for column in 0..size {
        let mut sum = Vector::default();
        for _ in 0..samples {
            let x = (column as f64 + random.tent()) / side - 0.5;
            let y = (row as f64 + random.tent()) / side - 0.5;
            let to = across * x - up * y + eye.to;
            sum = sum + light(Ray { from: eye.from + to * 140.0, to: to.unit() }, &mut random);
        }
        let mean = sum * (1.0 / samples as f64);
        // A square root for the eye's sense of brightness; the cast saturates.
        bytes.extend([mean.0, mean.1, mean.2].map(|part| (part.sqrt() * 255.0 + 0.5) as u8));
    }
    bytes
}

/// The light that comes to a ray's start, along one random path.
fn light(mut ray: Ray, random: &mut Random) -> Vector {
    let (mut seen, mut share) = (Vector::default(), Vector(1.0, 1.0, 1.0));
    for depth in 0..200 {
        let Some((distance, sphere)) = nearest(ray) else { break };
        let place = ray.from + ray.to * distance;
        let outward = (place - sphere.centre).unit();
        let normal = if outward.dot(ray.to) < 0.0 { outward } else { outward * -1.0 };
        seen = seen + share.times(sphere.glow);
        share = share.times(sphere.colour);
        if depth > 4 {
            // Dim paths end by chance, and those that go on count for them.
            let chance = share.0.max(share.1).max(share.2);
            if random.next() >= chance {
                break;
            }
            share = share * (1.0 / chance);
        }
        let mirrored = ray.to - outward * (2.0 * outward.dot(ray.to));
        let to = match sphere.surface {
            Surface::Matt => (normal + random.direction()).unit(),
            Surface::Mirror => mirrored,
            Surface::Glass => through_glass(ray.to, outward, normal, random).unwrap_or(mirrored),
        };
        ray = Ray { from: place, to };
    }
    seen
}

/// Where a ray goes inside of what it hits; `None` where it is thrown back.
fn through_glass(
    to: Vector,
    outward: Vector,
    normal: Vector,
    random: &mut Random,
) -> Option<Vector> {
    const GLASS: f64 = 1.5;
    let enters = outward.dot(normal) > 0.0;
    let ratio = if enters { 1.0 / GLASS } else { GLASS };
    let cosine = to.dot(normal);
    let left = 1.0 - ratio * ratio * (1.0 - cosine * cosine);
    if left < 0.0 {
        return None;
    }
    let bent = (to * ratio - normal * (cosine * ratio + left.sqrt())).unit();
    let straight = (GLASS - 1.0) * (GLASS - 1.0) / ((GLASS + 1.0) * (GLASS + 1.0));
    let slant = 1.0 - if enters { -cosine } else { bent.dot(outward) };
    let squared = slant * slant;
    let thrown_back = straight + (1.0 - straight) * squared * squared * slant;
    (random.next() >= thrown_back).then_some(bent)
}

fn nearest(ray: Ray) -> Option<(f64, &'static Sphere)> {
    let hits = SCENE.iter().filter_map(|sphere| Some((sphere.hit(ray)?, sphere)));
    hits.min_by(|(left, _), (right, _)| left.total_cmp(right))
}

#[derive(Clone, Copy, Default)]
struct Vector(f64, f64, f64);

#[derive(Clone, Copy)]
struct Ray {
    from: Vector,
    to: Vector,
}

struct Sphere {
    radius: f64,
    centre: Vector,
    glow: Vector,
    colour: Vector,
    surface: Surface,
}

#[derive(Clone, Copy)]
enum Surface {
    Matt,
    Mirror,
    Glass,
}

const DARK: Vector = Vector(0.0, 0.0, 0.0);
const GREY: Vector = Vector(0.75, 0.75, 0.75);

/// Walls are spheres too, so large that they look flat.
const SCENE: [Sphere; 9] = [
    matt(1e5, Vector(1e5 + 1.0, 40.8, 81.6), DARK, Vector(0.75, 0.25, 0.25)),
    matt(1e5, Vector(-1e5 + 99.0, 40.8, 81.6), DARK, Vector(0.25, 0.25, 0.75)),
    matt(1e5, Vector(50.0, 40.8, 1e5), DARK, GREY),
    matt(1e5, Vector(50.0, 40.8, -1e5 + 170.0), DARK, DARK),
    matt(1e5, Vector(50.0, 1e5, 81.6), DARK, GREY),
    matt(1e5, Vector(50.0, -1e5 + 81.6, 81.6), DARK, GREY),
    clear(Vector(27.0, 16.5, 47.0), Surface::Mirror),
    clear(Vector(73.0, 16.5, 78.0), Surface::Glass),
    matt(600.0, Vector(50.0, 681.6 - 0.27, 81.6), Vector(12.0, 12.0, 12.0), DARK),
];

const fn matt(radius: f64, centre: Vector, glow: Vector, colour: Vector) -> Sphere {
    Sphere { radius, centre, glow, colour, surface: Surface::Matt }
}

const fn clear(centre: Vector, surface: Surface) -> Sphere {
    let colour = Vector(0.999, 0.999, 0.999);
    Sphere { radius: 16.5, centre, glow: DARK, colour, surface }
}

impl Sphere {
    /// How far along the ray it is hit first.
    fn hit(&self, ray: Ray) -> Option<f64> {
        const NEAR: f64 = 1e-4;
        let to_centre = self.centre - ray.from;
        let along = to_centre.dot(ray.to);
        let squared = along * along - to_centre.dot(to_centre) + self.radius * self.radius;
        if squared < 0.0 {
            return None;
        }
        let half = squared.sqrt();
        [along - half, along + half].into_iter().find(|distance| *distance > NEAR)
    }
}

impl Vector {
    fn dot(self, other: Self) -> f64 {
        self.0 * other.0 + self.1 * other.1 + self.2 * other.2
    }

    fn cross(self, other: Self) -> Self {
        let Self(a, b, c) = self;
        let Self(d, e, f) = other;
        Self(b * f - c * e, c * d - a * f, a * e - b * d)
    }

    fn times(self, other: Self) -> Self {
        Self(self.0 * other.0, self.1 * other.1, self.2 * other.2)
    }

    fn unit(self) -> Self {
        self * (1.0 / self.dot(self).sqrt())
    }
}

impl Add for Vector {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1, self.2 + other.2)
    }
}

impl Sub for Vector {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + other * -1.0
    }
}

impl Mul<f64> for Vector {
    type Output = Self;
    fn mul(self, by: f64) -> Self {
        Self(self.0 * by, self.1 * by, self.2 * by)
    }
}

/// `SplitMix64`: the same numbers everywhere.
struct Random(u64);

impl Random {
    /// From 0 to 1, without 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Around the middle of a pixel, seldom far from it.
    fn tent(&mut self) -> f64 {
        self.next() + self.next() - 0.5
    }

    /// Each direction as often as every other: points in a cube until one is in the ball.
    fn direction(&mut self) -> Vector {
        loop {
            let [x, y, z] = [(); 3].map(|()| self.next() * 2.0 - 1.0);
            let point = Vector(x, y, z);
            if (1e-6..=1.0).contains(&point.dot(point)) {
                return point.unit();
            }
        }
    }
}
