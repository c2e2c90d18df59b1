//! Numbers for sixteen axes, or sixteen members, at a time: functions of a generation's key, a purpose and a counter.
//! shaders/strategies/shared.wgsl draws the same.

use crate::backend::cpu::math::{Fused, ln_of_normal, reciprocal_sqrt};
use crate::backend::cpu::random::{integers, uniform, words};
use crate::backend::cpu::simd::{Lanes, Simd};
use crate::base::random::Key;

/// What a generation's words are for: the second word of their counter.
pub mod purpose {
    /// Along the axes of a member.
    pub const AXES: u32 = 0;
    /// The same, where a method needs more than two words an axis.
    pub const AXES_MORE: u32 = 1;
    /// Of a member as a whole.
    pub const MEMBER: u32 = 2;
}

/// 0 to 15, as bits.
const COUNT: Lanes = integers([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

/// Two words at each of sixteen counters from `first` on.
#[inline(always)]
pub fn pair<V: Simd>(key: Key, purpose: u32, first: u32) -> [V; 2] {
    words(key, V::load(&COUNT).add_bits(V::splat_bits(first)), purpose)
}

/// Two uniform numbers in [0, 1) for each axis of a chunk.
#[inline(always)]
pub fn uniform_pair<V: Simd>(key: Key, purpose: u32, first: u32) -> [V; 2] {
    pair::<V>(key, purpose, first).map(
        #[inline(always)]
        |words| uniform(words),
    )
}

/// Calls with each chunk of a row and a word for each of its axes: a counter's two words go to two neighbouring chunks.
/// `first` is the counter of the row's first axis.
#[inline(always)]
pub fn for_each_chunk<V: Simd>(key: Key, first: u32, row: &mut [Lanes], mut take: impl FnMut(usize, V, &mut Lanes)) {
    for (index, chunks) in row.chunks_mut(2).enumerate() {
        let words = pair::<V>(key, purpose::AXES, first.wrapping_add(16 * index as u32));
        for (half, (chunk, words)) in chunks.iter_mut().zip(words).enumerate() {
            take(2 * index + half, words, chunk);
        }
    }
}

/// Whole numbers below `bound` from words: the high half of their product.
#[inline(always)]
pub fn below(word: u32, bound: usize) -> usize {
    ((u64::from(word) * bound as u64) >> 32) as usize
}

/// Standard normal numbers from words: the quantile at the middle of one of 2^23 cells, by Giles's single-precision inverse
/// of the error function (GPU Computing Gems 2, chapter 10: "Approximating the erfinv function").
#[inline(always)]
pub fn normal<V: Simd>(words: V) -> V {
    let one = V::splat(1.0);
    // An odd number below 2^24, so that x, 1 - x and 1 + x are exact and neither end of (-1, 1) occurs.
    let odd = words.and_bits(V::splat_bits(0xffff_fe00)).top_bits_to_float().add(one);
    let x = odd.mul(V::splat(1.0 / 8_388_608.0)).sub(one);
    let w = V::zero().sub(ln_of_normal::<Fused, V>(one.sub(x).mul(one.add(x))));
    let is_central = w.less(V::splat(5.0));
    let mut p = polynomial(&CENTRE, w.sub(V::splat(2.5)));
    if V::mask_bits(is_central) != 0xffff {
        let root = w.mul(reciprocal_sqrt(w));
        p = V::select(is_central, p, polynomial(&TAIL, root.sub(V::splat(3.0))));
    }
    p.mul(x).mul(V::splat(std::f32::consts::SQRT_2))
}

#[inline(always)]
fn polynomial<V: Simd>(coefficients: &[f32; 9], x: V) -> V {
    let mut p = V::splat(coefficients[0]);
    for coefficient in &coefficients[1..] {
        p = p.mul_add(x, V::splat(*coefficient));
    }
    p
}

const CENTRE: [f32; 9] = [
    2.810_226_4e-8,
    3.432_739_4e-7,
    -3.523_387_7e-6,
    -4.391_506_5e-6,
    2.185_808_7e-4,
    -1.253_725e-3,
    -4.177_681_6e-3,
    2.466_407_3e-1,
    1.501_409_4,
];
const TAIL: [f32; 9] = [
    -2.002_142_6e-4,
    1.009_505_6e-4,
    1.349_343_2e-3,
    -3.673_428_4e-3,
    5.739_507_7e-3,
    -7.622_461_3e-3,
    9.438_870_5e-3,
    1.001_674,
    2.832_976_8,
];

/// Places beyond the unit interval, reflected at its ends as often as it takes.
#[inline(always)]
pub fn reflected<V: Simd>(place: V) -> V {
    let (one, two) = (V::splat(1.0), V::splat(2.0));
    // What is further away has no bits left behind the point.
    let far = V::splat(4_194_304.0).min(place.abs());
    let turns = far.mul(V::splat(0.5)).float_to_ints().ints_to_float();
    let folded = far.sub(turns.mul(two));
    V::select(one.less(folded), two.sub(folded), folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::simd::{Kernel, Level, dispatch};
    use crate::base::random::inverse_normal_cdf;

    struct Apply(Lanes, bool);

    impl Kernel for Apply {
        type Output = Lanes;
        #[inline(always)]
        fn run<V: Simd>(self) -> Lanes {
            let mut out = Lanes::ZERO;
            let x = V::load(&self.0);
            if self.1 {
                normal(x).store(&mut out)
            } else {
                reflected(x).store(&mut out)
            }
            out
        }
    }

    #[test]
    fn normals_are_quantiles_at_every_width() {
        let words = (0..200_000u32).map(|i| i.wrapping_mul(0x9e37_79b9)).chain([0, 1 << 9, u32::MAX, 0x8000_0000]);
        for words in words.collect::<Vec<u32>>().chunks_exact(16) {
            let lanes = integers(std::array::from_fn(|i| words[i]));
            let drawn = dispatch(Level::Plain, Apply(lanes, true));
            for (word, drawn) in words.iter().zip(drawn.0) {
                let p = (f64::from(word >> 9) + 0.5) / 8_388_608.0;
                let exact = inverse_normal_cdf(p);
                assert!((f64::from(drawn) - exact).abs() < 2e-6 * exact.abs().max(0.05), "{word:x}: {drawn} {exact}");
            }
            for level in Level::available() {
                assert_eq!(dispatch(level, Apply(lanes, true)), drawn, "{}", level.name());
            }
        }
    }

    #[test]
    fn what_leaves_the_cube_is_reflected_into_it() {
        let places =
            [0.0, 0.25, 1.0, 1.25, -0.25, 3.5, -2.5, 2.0, 1e9, -1e30, f32::INFINITY, 4.75, 0.5, 1.5, -1.0, 0.1];
        let found = dispatch(Level::detect(), Apply(Lanes(places), false)).0;
        assert_eq!(found[..8], [0.0, 0.25, 1.0, 0.75, 0.25, 0.5, 0.5, 0.0]);
        assert!(found.iter().all(|place| (0.0..=1.0).contains(place)), "{found:?}");
    }
}
