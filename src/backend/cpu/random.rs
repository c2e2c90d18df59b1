//! Random words of sixteen counters at a time, with the bits of [`Key::words`].

use super::simd::{Lanes, Simd};
use crate::base::random::{Key, ROTATIONS, schedule};

/// Sixteen integers as the bits of [`Lanes`]: `of(i)` in lane `i`.
pub const fn integers(of: [u32; 16]) -> Lanes {
    let mut lanes = Lanes::ZERO;
    let mut i = 0;
    while i < of.len() {
        lanes.0[i] = f32::from_bits(of[i]);
        i += 1;
    }
    lanes
}

/// Both words, as bits, of the counters with these low halves and this high half: Threefry-2x32 with 20 rounds.
#[inline(always)]
pub fn words<V: Simd>(key: Key, low: V, high: u32) -> [V; 2] {
    let key = schedule(key.0);
    let mut x0 = low.add_bits(V::splat_bits(key[0]));
    let mut x1 = V::splat_bits(high.wrapping_add(key[1]));
    for injection in 1..=5 {
        for rotation in &ROTATIONS[(injection - 1) % 2 * 4..][..4] {
            x0 = x0.add_bits(x1);
            x1 = x1.rotate_bits(*rotation).xor_bits(x0);
        }
        x0 = x0.add_bits(V::splat_bits(key[injection % 3]));
        x1 = x1.add_bits(V::splat_bits(key[(injection + 1) % 3].wrapping_add(injection as u32)));
    }
    [x0, x1]
}

/// [`crate::base::random::uniform`] of sixteen words.
#[inline(always)]
pub fn uniform<V: Simd>(words: V) -> V {
    words.top_bits_to_float().mul(V::splat(1.0 / 16_777_216.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::simd::{Kernel, LANES, Level, dispatch};
    use crate::base::random;

    struct Draw(Key, Lanes, u32);

    impl Kernel for Draw {
        type Output = [Lanes; 2];
        #[inline(always)]
        fn run<V: Simd>(self) -> [Lanes; 2] {
            let mut out = [Lanes::ZERO; 2];
            for (words, out) in words(self.0, V::load(&self.1), self.2).into_iter().zip(&mut out) {
                uniform(words).store(out);
            }
            out
        }
    }

    #[test]
    fn sixteen_uniforms_are_those_of_their_counters() {
        for seed in 0..50 {
            let (key, high) = (Key::from_seed(seed), (seed as u32).wrapping_mul(0x9e37_79b9));
            let low: [u32; LANES] = std::array::from_fn(|i| (i as u32 + 1).wrapping_mul(0x0100_0193 << (seed % 7)));
            for level in Level::available() {
                let drawn = dispatch(level, Draw(key, integers(low), high));
                for (lane, low) in low.into_iter().enumerate() {
                    let expected = key.words(u64::from(high) << 32 | u64::from(low)).map(random::uniform);
                    assert_eq!([drawn[0].0[lane], drawn[1].0[lane]], expected, "{}", level.name());
                }
            }
        }
    }
}
