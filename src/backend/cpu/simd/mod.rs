//! Sixteen f32 lanes, whatever the processor: one AVX-512 register, two AVX2 registers, four NEON registers, or plain
//! Rust. Every operation is a correctly rounded IEEE one (or a fixed sequence of them), so bits are equal everywhere.
//!
//! [`dispatch`] is the one place that chooses. Everything below it is `#[inline(always)]`, because a function that is
//! not inlined into the dispatching one would be compiled without the processor's features.

#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::double::Double;

/// Lanes of a group; the width of every [`Lanes`] array.
pub const LANES: usize = 16;

/// Sixteen lanes' values of one weight, activation or gradient in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// Zero in every lane.
    pub const ZERO: Lanes = Lanes([0.0; LANES]);
}

/// A kernel that is compiled once for every instruction set.
pub trait Kernel {
    /// What it gives back.
    type Output;
    /// The kernel's body; must be `#[inline(always)]`.
    fn run<V: Simd>(self) -> Self::Output;
}

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Level {
    /// One 512-bit register a group.
    Avx512,
    /// Two 256-bit registers a group.
    Avx2,
    /// Four 128-bit registers a group.
    Neon,
    /// Plain Rust with fused multiply-adds in software where the target has none; slow, with the same bits.
    Plain,
}

impl Level {
    /// The widest first.
    const ALL: [Level; 4] = [Level::Avx512, Level::Avx2, Level::Neon, Level::Plain];

    /// Whether this processor has it.
    fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::has_avx512(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::has_avx2(),
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx512 | Level::Avx2 => false,
            Level::Neon => cfg!(target_arch = "aarch64"),
            Level::Plain => true,
        }
    }

    /// The widest that this processor has.
    pub fn detect() -> Level {
        Level::ALL.into_iter().find(|level| level.is_here()).unwrap_or(Level::Plain)
    }

    /// All that this processor has, widest first; plain Rust is always among them.
    pub fn available() -> Vec<Level> {
        Level::ALL.into_iter().filter(|level| level.is_here()).collect()
    }

    /// Its name in lists and bench tables.
    pub fn name(self) -> &'static str {
        match self {
            Level::Avx512 => "AVX-512",
            Level::Avx2 => "AVX2",
            Level::Neon => "NEON",
            Level::Plain => "plain",
        }
    }
}

/// Runs a kernel with an instruction set; falls back to plain Rust for one that this processor does not have.
pub fn dispatch<K: Kernel>(level: Level, kernel: K) -> K::Output {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 if x86::has_avx512() => {
            // SAFETY: the features were just detected.
            unsafe { x86::run_avx512(kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 if x86::has_avx2() => {
            // SAFETY: the features were just detected.
            unsafe { x86::run_avx2(kernel) }
        }
        #[cfg(target_arch = "aarch64")]
        Level::Neon => kernel.run::<neon::Neon>(),
        _ => kernel.run::<plain::Plain>(),
    }
}

/// Sixteen lanes in registers.
///
/// Comparisons and `max`/`min` follow x86: `max(a, b)` is `a > b ? a : b`, so a NaN in `b` comes through and one in `a`
/// does not.
pub trait Simd: Copy {
    /// One truth value a lane.
    type Mask: Copy;
    /// Sixteen lanes of f64.
    type Double: Double;
    /// Rows of a register tile of two columns that this instruction set has registers for: 8, or less on 16 registers.
    const TILE_ROWS: usize;

    /// The same value in every lane.
    fn splat(value: f32) -> Self;
    /// From memory.
    fn load(from: &Lanes) -> Self;
    /// To memory.
    fn store(self, to: &mut Lanes);
    /// Asks for a row of memory that is soon to be read, where the processor can be asked.
    fn prefetch(_row: &[Lanes]) {}
    /// `self + other`
    fn add(self, other: Self) -> Self;
    /// `self - other`
    fn sub(self, other: Self) -> Self;
    /// `self * other`
    fn mul(self, other: Self) -> Self;
    /// `self / other`
    fn div(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `addend - self * factor`, rounded once.
    fn neg_mul_add(self, factor: Self, addend: Self) -> Self;
    /// `self > other ? self : other`
    fn max(self, other: Self) -> Self;
    /// `self < other ? self : other`
    fn min(self, other: Self) -> Self;
    /// `self < other`; false where either is NaN.
    fn less(self, other: Self) -> Self::Mask;
    /// `mask ? yes : no`
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Lane `i`'s truth value as bit `i`.
    fn mask_bits(mask: Self::Mask) -> u32;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The bits as integers, shifted left by 23 places: an integer in the low bits becomes an exponent.
    fn bits_to_exponent(self) -> Self;
    /// The bits as integers: `self + other`, wrapping.
    fn add_bits(self, other: Self) -> Self;
    /// The bits as integers: `other - (self >> 1)`, wrapping; the first guess of the reciprocal square root.
    fn halve_bits_from(self, other: Self) -> Self;
    /// The bits as integers: `self & other`.
    fn and_bits(self, other: Self) -> Self;
    /// The bits as integers: `self | other`.
    fn or_bits(self, other: Self) -> Self;
    /// The bits as integers: `self >> 23`, then as a number; the exponent of a positive number as a float.
    fn exponent_to_float(self) -> Self;
    /// The bits as integers: `self ^ other`.
    fn xor_bits(self, other: Self) -> Self;
    /// The bits as integers, turned left by 1 to 31 places.
    fn rotate_bits(self, places: u32) -> Self;
    /// The bits as integers: `self >> 8`, then as a number, which is exact.
    fn top_bits_to_float(self) -> Self;
    /// `self[0], other[0], self[1], other[1]` and so on: the first sixteen of them, and the others.
    fn interleave(self, other: Self) -> [Self; 2];
    /// Undoes [`Simd::interleave`]: every second value of the thirty-two, from the first and from the second one on.
    fn deinterleave(self, other: Self) -> [Self; 2];
    /// The bits as integers: `self - other`, wrapping.
    fn sub_bits(self, other: Self) -> Self;
    /// The bits as signed integers, each the nearest number.
    fn ints_to_float(self) -> Self;
    /// Rounded towards zero, as the bits of signed integers; what does not fit into one must not come here.
    fn float_to_ints(self) -> Self;

    /// Every integer bit pattern the same.
    #[inline(always)]
    fn splat_bits(bits: u32) -> Self {
        Self::splat(f32::from_bits(bits))
    }

    /// Zero in every lane.
    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0.0)
    }
}

/// Lane `j` of vector `i` becomes lane `i` of vector `j`.
#[inline(always)]
pub fn transpose<V: Simd>(mut block: [V; LANES]) -> [V; LANES] {
    // An element's index is eight bits, vector and lane. Interleaving vectors eight apart turns them by one place; four
    // turns exchange vector and lane.
    for _ in 0..4 {
        let before = block;
        for i in 0..LANES / 2 {
            let [low, high] = before[i].interleave(before[i + LANES / 2]);
            block[2 * i] = low;
            block[2 * i + 1] = high;
        }
    }
    block
}
