//! Counter-based random numbers: what is drawn depends on a key and a counter, never on who drew before.
//!
//! Threefry-2x32-20 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Keys are derived by hashing,
//! as JAX splits its keys: `child = threefry(key, tag)`. shaders/shared/random.wgsl gives the same bits.

use rand::rand_core::{Infallible, TryRng};

/// A place in the tree of random streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Key(pub [u32; 2]);

/// What the streams of a study are for; each is a child of the study's key, so that no two ever share bits.
pub mod stream {
    /// The locked test split.
    pub const TEST_SPLIT: u32 = 1;
    /// Folds, by repeat.
    pub const FOLDS: u32 = 2;
    /// What a strategy draws.
    pub const STRATEGY: u32 = 3;
    /// What training draws, by repeat and fold: initial weights, minibatch order, dropout.
    pub const TRAINING: u32 = 4;
    /// Bootstraps in the choice of the winner.
    pub const CHOICE: u32 = 5;
    /// Shuffles and bootstraps that tell how much a column matters.
    pub const IMPORTANCE: u32 = 6;
    /// Noise on analytic functions.
    pub const NOISE: u32 = 7;
    /// Points at which a bound of the regret is looked for.
    pub const REGRET: u32 = 8;
    /// Whom a scheduler takes of several that are as good to it.
    pub const SCHEDULER: u32 = 9;
    /// Hyperparameters that change while a candidate is trained.
    pub const EXPLORER: u32 = 10;
    /// What a user's shader draws, by repeat.
    pub const SHADER: u32 = 11;
    /// The order in which budgets that count rows take them, by repeat and fold.
    pub const ROWS: u32 = 12;
}

/// The second word of the counter at which a derived key is drawn: it keeps those apart from the counters that streams
/// draw at.
pub const CHILD: u32 = 0x6b65_7973;

impl Key {
    /// The root key of a study.
    pub const fn from_seed(seed: u64) -> Key {
        Key([seed as u32, (seed >> 32) as u32])
    }

    /// The key named `tag` below this one.
    pub const fn child(self, tag: u32) -> Key {
        Key(threefry(self.0, [tag, CHILD]))
    }

    /// The key of a number below this one.
    pub const fn child_of_number(self, number: u64) -> Key {
        self.child(number as u32).child((number >> 32) as u32)
    }

    /// Two words of the stream at `counter`.
    pub const fn words(self, counter: u64) -> [u32; 2] {
        threefry(self.0, [counter as u32, (counter >> 32) as u32])
    }

    /// A uniform number in [0, 1) of 53 bits at each counter from `first` on: `uniform_f64(self.words(counter))`.
    pub fn fill_uniform(self, first: u64, out: &mut [f64]) {
        for (group, out) in out.chunks_mut(TOGETHER).enumerate() {
            let words = self.words_together(first.wrapping_add((group * TOGETHER) as u64));
            out.iter_mut().zip(words).for_each(|(out, words)| *out = uniform_f64(words));
        }
    }

    /// Words at consecutive counters, hashed side by side in SIMD.
    #[inline(always)]
    pub fn words_together(self, first: u64) -> [[u32; 2]; TOGETHER] {
        let counters: [u64; TOGETHER] = std::array::from_fn(|place| first.wrapping_add(place as u64));
        let key = schedule(self.0);
        let mut x0 = counters.map(|counter| (counter as u32).wrapping_add(key[0]));
        let mut x1 = counters.map(|counter| ((counter >> 32) as u32).wrapping_add(key[1]));
        for injection in 1..=5 {
            for rotation in &ROTATIONS[(injection - 1) % 2 * 4..][..4] {
                for (x0, x1) in x0.iter_mut().zip(&mut x1) {
                    *x0 = x0.wrapping_add(*x1);
                    *x1 = x1.rotate_left(*rotation) ^ *x0;
                }
            }
            x0 = x0.map(|x| x.wrapping_add(key[injection % 3]));
            x1 = x1.map(|x| x.wrapping_add(key[(injection + 1) % 3]).wrapping_add(injection as u32));
        }
        std::array::from_fn(|place| [x0[place], x1[place]])
    }

    /// The stream of this key from its start, for rand's distributions.
    pub fn stream(self) -> Stream {
        Stream { key: self, counter: 0, spare: None }
    }
}

/// Counters that are hashed side by side.
pub const TOGETHER: usize = 8;

/// By how much each of eight rounds rotates.
pub const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];

/// The words of a key that are added between rounds.
pub const fn schedule(key: [u32; 2]) -> [u32; 3] {
    [key[0], key[1], 0x1bd1_1bda ^ key[0] ^ key[1]]
}

/// Threefry-2x32 with 20 rounds.
pub const fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let schedule = schedule(key);
    let mut x0 = counter[0].wrapping_add(schedule[0]);
    let mut x1 = counter[1].wrapping_add(schedule[1]);
    let mut round = 0;
    while round < 20 {
        x0 = x0.wrapping_add(x1);
        x1 = x1.rotate_left(ROTATIONS[round % 8]) ^ x0;
        round += 1;
        if round % 4 == 0 {
            let injection = round / 4;
            x0 = x0.wrapping_add(schedule[injection % 3]);
            x1 = x1.wrapping_add(schedule[(injection + 1) % 3]).wrapping_add(injection as u32);
        }
    }
    [x0, x1]
}

/// A uniform number in [0, 1) from a word's top 24 bits: every value is exact in f32, so shader and host agree.
pub const fn uniform(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A uniform number in [0, 1) with 53 bits, for proposals on fine scales.
pub const fn uniform_f64(words: [u32; 2]) -> f64 {
    let bits = ((words[0] as u64) << 32 | words[1] as u64) >> 11;
    // 53 bits are as exact by way of i64, whose conversion is one instruction everywhere.
    bits as i64 as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// A standard normal number from a word, by Acklam's inverse CDF in central and tail rational pieces (error < 1.2e-9
/// in f64, rounded once to f32). No sine or cosine: WGSL's are good to 2^-11 only.
pub fn normal(word: u32) -> f32 {
    // Centre of the 24-bit cell, so that neither 0 nor 1 occurs.
    let p = ((word >> 8) as f64 + 0.5) * (1.0 / 16_777_216.0);
    inverse_normal_cdf(p) as f32
}

/// Standard normal as an f64, from two words: the middle of one of 2^53 cells, so that neither end is infinite.
pub fn normal_f64(words: [u32; 2]) -> f64 {
    const HALF: f64 = 0.5 / (1u64 << 53) as f64;
    inverse_normal_cdf((uniform_f64(words) + HALF).min(1.0 - f64::EPSILON / 2.0))
}

/// Quantile of the standard normal distribution; P. J. Acklam's algorithm, relative error below 1.2e-9.
pub fn inverse_normal_cdf(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 5] =
        [-5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 4] = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416];
    const TAIL: f64 = 0.02425;
    let horner = |c: &[f64], x: f64| c.iter().fold(0.0, |sum, c| sum * x + c);
    if p < TAIL {
        let q = libm::sqrt(-2.0 * libm::log(p));
        horner(&C, q) / (horner(&D, q) * q + 1.0)
    } else if p > 1.0 - TAIL {
        let q = libm::sqrt(-2.0 * libm::log(1.0 - p));
        -horner(&C, q) / (horner(&D, q) * q + 1.0)
    } else {
        let q = p - 0.5;
        let r = q * q;
        horner(&A, r) * q / (horner(&B, r) * r + 1.0)
    }
}

/// A random permutation of `0..n` (Fisher and Yates), a function of the key alone.
pub fn shuffled(key: Key, n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        order.swap(i, below(key, i as u64, i as u64 + 1) as usize);
    }
    order
}

/// A uniform integer in `0..bound` at `counter`, by the high half of a 128-bit product (bias below `bound` / 2^64).
pub const fn below(key: Key, counter: u64, bound: u64) -> u64 {
    let words = key.words(counter);
    let word = (words[0] as u64) << 32 | words[1] as u64;
    ((word as u128 * bound as u128) >> 64) as u64
}

/// A key's words one after another, behind rand's traits.
#[derive(Debug, Clone)]
pub struct Stream {
    key: Key,
    counter: u64,
    spare: Option<u32>,
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        if let Some(word) = self.spare.take() {
            return Ok(word);
        }
        let [first, second] = self.key.words(self.counter);
        self.counter += 1;
        self.spare = Some(second);
        Ok(first)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let (high, low) = (self.try_next_u32()?, self.try_next_u32()?);
        Ok((high as u64) << 32 | low as u64)
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
        for chunk in destination.chunks_mut(4) {
            let word = self.try_next_u32()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threefry_gives_the_known_answers_of_random123() {
        // kat_vectors of Random123 1.14, threefry2x32 20.
        let ones = u32::MAX;
        assert_eq!(threefry([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry([ones, ones], [ones, ones]), [0x1cb9_96fc, 0xbb00_2be7]);
        assert_eq!(threefry([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]), [0xc492_3a9c, 0x483d_f7a0]);
    }

    #[test]
    fn normal_quantiles_match_published_values() {
        // NIST/SEMATECH tables, to ten digits.
        for (p, quantile) in [
            (0.5, 0.0),
            (0.975, 1.959963984540),
            (0.999, 3.090232306168),
            (0.001, -3.090232306168),
            (0.01, -2.326347874041),
        ] {
            assert!((inverse_normal_cdf(p) - quantile).abs() < 4e-9, "at {p}");
        }
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_depends_on_its_key() {
        let order = shuffled(Key::from_seed(7), 1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(i, &row)| i as u32 == row));
        assert_eq!(order, shuffled(Key::from_seed(7), 1000));
        assert_ne!(order, shuffled(Key::from_seed(8), 1000));
    }

    #[test]
    fn numbers_drawn_together_are_those_drawn_alone() {
        let key = Key::from_seed(0x1234_5678_9abc_def0);
        for (first, n) in [(0, 1), (5, 8), (u64::from(u32::MAX) - 3, 29), (u64::MAX - 2, 10)] {
            let mut together = vec![0.0; n];
            key.fill_uniform(first, &mut together);
            let alone = (0..n as u64).map(|i| uniform_f64(key.words(first.wrapping_add(i))));
            assert!(together.iter().copied().eq(alone), "from {first}");
        }
    }

    #[test]
    fn uniform_never_reaches_one() {
        assert!(uniform(u32::MAX) < 1.0 && uniform(0) == 0.0);
        assert!(uniform_f64([u32::MAX, u32::MAX]) < 1.0);
    }
}
