//! Bytes for those who have no fuzzer: the same ones in every run.

/// A generator of numbers that look random (xorshift64*).
#[derive(Debug)]
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() >> 16) as usize % bound
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.draw() as u8).collect()
    }
}

/// Hands `body` so many inputs: the seeds themselves, then seeds with a few wounds and some of each
/// other in them, and now and then bytes that mean nothing at all.
pub fn feed(count: u64, seeds: &[Vec<u8>], body: impl Fn(&[u8])) {
    seeds.iter().for_each(|seed| body(seed));
    for number in 0..count {
        let mut noise = Noise::new(number + 1);
        let length = noise.below(96);
        let mut input = match seeds {
            [] => noise.bytes(length),
            _ if noise.below(8) == 0 => noise.bytes(length),
            _ => seeds[noise.below(seeds.len())].clone(),
        };
        for _ in 0..noise.below(6) {
            wound(&mut noise, &mut input, seeds);
        }
        body(&input);
    }
}

fn wound(noise: &mut Noise, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = noise.below(input.len() + 1);
    match noise.below(6) {
        0 if at < input.len() => input[at] = noise.draw() as u8,
        1 if at < input.len() => input[at] ^= 1 << noise.below(8),
        2 => input.truncate(at),
        3 => input.insert(at, [0, 1, 0x7f, 0x80, 0xff][noise.below(5)]),
        4 if at < input.len() => {
            input.remove(at);
        }
        _ if !seeds.is_empty() => {
            let graft = &seeds[noise.below(seeds.len())];
            input.splice(at..at, graft.iter().copied());
        }
        _ => {}
    }
}
