//! Sixteen f32 lanes, whatever the processor: one AVX-512 register, two AVX2 registers, four NEON registers, or plain
//! Rust. Every operation is a correctly rounded IEEE one (or a fixed sequence of them), so bits are equal everywhere.
//!
//! [`dispatch`] is the one place that chooses. Everything below it is `#[inline(always)]`, because a function that is
//! not inlined into the dispatching one would be compiled without the processor's features.

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
    /// The widest that this processor has.
    pub fn detect() -> Level {
        Level::available()[0]
    }

    /// All that this processor has, widest first; plain Rust is always among them.
    pub fn available() -> Vec<Level> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                levels.push(Level::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                levels.push(Level::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        levels.push(Level::Neon);
        levels.push(Level::Plain);
        levels
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
        Level::Avx512 if is_x86_feature_detected!("avx512f") => {
            // SAFETY: the feature was just detected.
            unsafe { x86::run_avx512(kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") => {
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! AVX-512 and AVX2. Values of these types exist only below the two `run_` functions, which is what makes the
    //! intrinsics safe to call.

    use super::super::double::{Wide256, Wide512};
    use super::{Kernel, Lanes, Simd};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }

    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    /// One method of `Simd for Avx512` as one intrinsic expression.
    macro_rules! avx512 {
        ($($name:ident($($arg:ident),*) = $body:expr;)*) => {
            $(#[inline(always)]
            fn $name(self $(, $arg: Self)*) -> Self {
                // SAFETY: see the module's first lines.
                #[allow(unused_unsafe)]
                unsafe { let a = self.0; $(let $arg = $arg.0;)* Avx512($body(a, $($arg),*)) }
            })*
        };
    }

    impl Simd for Avx512 {
        type Mask = __mmask16;
        type Double = Wide512;
        const TILE_ROWS: usize = 8;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: see the module's first lines.
            Avx512(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        fn load(from: &Lanes) -> Self {
            // SAFETY: `Lanes` is 64 bytes at a multiple of 64.
            Avx512(unsafe { _mm512_load_ps(from.0.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, to: &mut Lanes) {
            // SAFETY: `Lanes` is 64 bytes at a multiple of 64.
            unsafe { _mm512_store_ps(to.0.as_mut_ptr(), self.0) }
        }
        avx512! {
            add(b) = |a, b| _mm512_add_ps(a, b);
            sub(b) = |a, b| _mm512_sub_ps(a, b);
            mul(b) = |a, b| _mm512_mul_ps(a, b);
            div(b) = |a, b| _mm512_div_ps(a, b);
            mul_add(b, c) = |a, b, c| _mm512_fmadd_ps(a, b, c);
            neg_mul_add(b, c) = |a, b, c| _mm512_fnmadd_ps(a, b, c);
            max(b) = |a, b| _mm512_max_ps(a, b);
            min(b) = |a, b| _mm512_min_ps(a, b);
            abs() = |a| _mm512_abs_ps(a);
            bits_to_exponent() = |a| _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(a)));
            add_bits(b) = |a, b| _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
            halve_bits_from(b) = |a, b| _mm512_castsi512_ps(_mm512_sub_epi32(
                _mm512_castps_si512(b), _mm512_srli_epi32::<1>(_mm512_castps_si512(a))));
            and_bits(b) = |a, b| _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_castps_si512(b)));
            or_bits(b) = |a, b| _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(a), _mm512_castps_si512(b)));
            exponent_to_float() = |a| _mm512_cvtepi32_ps(_mm512_srli_epi32::<23>(_mm512_castps_si512(a)));
            xor_bits(b) = |a, b| _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), _mm512_castps_si512(b)));
            top_bits_to_float() = |a| _mm512_cvtepi32_ps(_mm512_srli_epi32::<8>(_mm512_castps_si512(a)));
            sub_bits(b) = |a, b| _mm512_castsi512_ps(_mm512_sub_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
            ints_to_float() = |a| _mm512_cvtepi32_ps(_mm512_castps_si512(a));
            float_to_ints() = |a| _mm512_castsi512_ps(_mm512_cvttps_epi32(a));
        }
        #[inline(always)]
        fn less(self, other: Self) -> __mmask16 {
            // SAFETY: see the module's first lines.
            unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0) }
        }
        #[inline(always)]
        fn select(mask: __mmask16, yes: Self, no: Self) -> Self {
            // SAFETY: see the module's first lines.
            Avx512(unsafe { _mm512_mask_blend_ps(mask, no.0, yes.0) })
        }
        #[inline(always)]
        fn mask_bits(mask: __mmask16) -> u32 {
            u32::from(mask)
        }
        #[inline(always)]
        fn rotate_bits(self, places: u32) -> Self {
            // SAFETY: see the module's first lines.
            unsafe {
                let places = _mm512_set1_epi32(places as i32);
                Avx512(_mm512_castsi512_ps(_mm512_rolv_epi32(_mm512_castps_si512(self.0), places)))
            }
        }
        #[inline(always)]
        fn interleave(self, other: Self) -> [Self; 2] {
            // SAFETY: see the module's first lines. An index of 16 or more takes from the second register.
            unsafe {
                let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
                let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
                [low, high].map(
                    #[inline(always)]
                    |places| Avx512(_mm512_permutex2var_ps(self.0, places, other.0)),
                )
            }
        }
        #[inline(always)]
        fn deinterleave(self, other: Self) -> [Self; 2] {
            // SAFETY: see the module's first lines. An index of 16 or more takes from the second register.
            unsafe {
                let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
                let (a, b) = (self.0, other.0);
                [Avx512(_mm512_permutex2var_ps(a, even, b)), Avx512(_mm512_permutex2var_ps(a, odd, b))]
            }
        }
    }

    #[derive(Clone, Copy)]
    pub struct Avx2(__m256, __m256);

    macro_rules! avx2 {
        ($($name:ident($($arg:ident),*) = $body:expr;)*) => {
            $(#[inline(always)]
            fn $name(self $(, $arg: Self)*) -> Self {
                // SAFETY: see the module's first lines.
                #[allow(unused_unsafe)]
                unsafe { Avx2($body(self.0 $(, $arg.0)*), $body(self.1 $(, $arg.1)*)) }
            })*
        };
    }

    impl Simd for Avx2 {
        type Mask = (__m256, __m256);
        type Double = Wide256;
        const TILE_ROWS: usize = 2;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: see the module's first lines.
            let half = unsafe { _mm256_set1_ps(value) };
            Avx2(half, half)
        }
        #[inline(always)]
        fn load(from: &Lanes) -> Self {
            // SAFETY: `Lanes` is 64 bytes at a multiple of 64.
            unsafe { Avx2(_mm256_load_ps(from.0.as_ptr()), _mm256_load_ps(from.0.as_ptr().add(8))) }
        }
        #[inline(always)]
        fn store(self, to: &mut Lanes) {
            // SAFETY: `Lanes` is 64 bytes at a multiple of 64.
            unsafe {
                _mm256_store_ps(to.0.as_mut_ptr(), self.0);
                _mm256_store_ps(to.0.as_mut_ptr().add(8), self.1);
            }
        }
        avx2! {
            add(b) = |a, b| _mm256_add_ps(a, b);
            sub(b) = |a, b| _mm256_sub_ps(a, b);
            mul(b) = |a, b| _mm256_mul_ps(a, b);
            div(b) = |a, b| _mm256_div_ps(a, b);
            mul_add(b, c) = |a, b, c| _mm256_fmadd_ps(a, b, c);
            neg_mul_add(b, c) = |a, b, c| _mm256_fnmadd_ps(a, b, c);
            max(b) = |a, b| _mm256_max_ps(a, b);
            min(b) = |a, b| _mm256_min_ps(a, b);
            abs() = |a| _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
            bits_to_exponent() = |a| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(a)));
            add_bits(b) = |a, b| _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
            halve_bits_from(b) = |a, b| _mm256_castsi256_ps(_mm256_sub_epi32(
                _mm256_castps_si256(b), _mm256_srli_epi32::<1>(_mm256_castps_si256(a))));
            and_bits(b) = |a, b| _mm256_and_ps(a, b);
            or_bits(b) = |a, b| _mm256_or_ps(a, b);
            exponent_to_float() = |a| _mm256_cvtepi32_ps(_mm256_srli_epi32::<23>(_mm256_castps_si256(a)));
            xor_bits(b) = |a, b| _mm256_xor_ps(a, b);
            top_bits_to_float() = |a| _mm256_cvtepi32_ps(_mm256_srli_epi32::<8>(_mm256_castps_si256(a)));
            sub_bits(b) = |a, b| _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
            ints_to_float() = |a| _mm256_cvtepi32_ps(_mm256_castps_si256(a));
            float_to_ints() = |a| _mm256_castsi256_ps(_mm256_cvttps_epi32(a));
        }
        #[inline(always)]
        fn less(self, other: Self) -> (__m256, __m256) {
            // SAFETY: see the module's first lines.
            unsafe { (_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0), _mm256_cmp_ps::<_CMP_LT_OQ>(self.1, other.1)) }
        }
        #[inline(always)]
        fn select(mask: (__m256, __m256), yes: Self, no: Self) -> Self {
            // SAFETY: see the module's first lines.
            unsafe { Avx2(_mm256_blendv_ps(no.0, yes.0, mask.0), _mm256_blendv_ps(no.1, yes.1, mask.1)) }
        }
        #[inline(always)]
        fn mask_bits(mask: (__m256, __m256)) -> u32 {
            // SAFETY: see the module's first lines.
            unsafe { (_mm256_movemask_ps(mask.0) | _mm256_movemask_ps(mask.1) << 8) as u32 }
        }
        #[inline(always)]
        fn rotate_bits(self, places: u32) -> Self {
            // SAFETY: see the module's first lines.
            let [low, high] = [self.0, self.1].map(
                #[inline(always)]
                |half| unsafe {
                    let (bits, left) = (_mm256_castps_si256(half), _mm_cvtsi32_si128(places as i32));
                    let right = _mm_cvtsi32_si128(32 - places as i32);
                    let turned = _mm256_or_si256(_mm256_sll_epi32(bits, left), _mm256_srl_epi32(bits, right));
                    _mm256_castsi256_ps(turned)
                },
            );
            Avx2(low, high)
        }
        #[inline(always)]
        fn interleave(self, other: Self) -> [Self; 2] {
            [(self.0, other.0), (self.1, other.1)].map(
                #[inline(always)]
                |(a, b)| {
                    // SAFETY: see the module's first lines. Unpacking works on the halves of a register apart.
                    unsafe {
                        let (even, odd) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                        Avx2(_mm256_permute2f128_ps::<0x20>(even, odd), _mm256_permute2f128_ps::<0x31>(even, odd))
                    }
                },
            )
        }
        #[inline(always)]
        fn deinterleave(self, other: Self) -> [Self; 2] {
            // SAFETY: see the module's first lines. Shuffling works on the halves of a register apart, so pairs change
            // places afterwards.
            let [low, high] = [(self.0, self.1), (other.0, other.1)].map(
                #[inline(always)]
                |(a, b)| unsafe {
                    let (even, odd) =
                        (_mm256_shuffle_ps::<0b10_00_10_00>(a, b), _mm256_shuffle_ps::<0b11_01_11_01>(a, b));
                    [even, odd].map(
                        #[inline(always)]
                        |mixed| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(mixed))),
                    )
                },
            );
            [Avx2(low[0], high[0]), Avx2(low[1], high[1])]
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    //! NEON, which every 64-bit Arm processor has.

    use super::super::double::PlainDouble;
    use super::{Lanes, Simd};
    use std::arch::aarch64::*;

    #[derive(Clone, Copy)]
    pub struct Neon([float32x4_t; 4]);

    macro_rules! neon {
        ($($name:ident($($arg:ident),*) = $body:expr;)*) => {
            $(#[inline(always)]
            fn $name(self $(, $arg: Self)*) -> Self {
                // SAFETY: NEON is part of the architecture.
                #[allow(unused_unsafe)]
                Neon(std::array::from_fn(#[inline(always)] |i| unsafe { $body(self.0[i] $(, $arg.0[i])*) }))
            })*
        };
    }

    impl Simd for Neon {
        type Mask = [uint32x4_t; 4];
        type Double = PlainDouble;
        const TILE_ROWS: usize = 2;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: NEON is part of the architecture.
            Neon([unsafe { vdupq_n_f32(value) }; 4])
        }
        #[inline(always)]
        fn load(from: &Lanes) -> Self {
            // SAFETY: four quarters of the sixteen floats.
            Neon(std::array::from_fn(
                #[inline(always)]
                |i| unsafe { vld1q_f32(from.0.as_ptr().add(4 * i)) },
            ))
        }
        #[inline(always)]
        fn store(self, to: &mut Lanes) {
            for (i, quarter) in self.0.into_iter().enumerate() {
                // SAFETY: four quarters of the sixteen floats.
                unsafe { vst1q_f32(to.0.as_mut_ptr().add(4 * i), quarter) }
            }
        }
        neon! {
            add(b) = |a, b| vaddq_f32(a, b);
            sub(b) = |a, b| vsubq_f32(a, b);
            mul(b) = |a, b| vmulq_f32(a, b);
            div(b) = |a, b| vdivq_f32(a, b);
            mul_add(b, c) = |a, b, c| vfmaq_f32(c, a, b);
            neg_mul_add(b, c) = |a, b, c| vfmsq_f32(c, a, b);
            max(b) = |a, b| vbslq_f32(vcgtq_f32(a, b), a, b);
            min(b) = |a, b| vbslq_f32(vcltq_f32(a, b), a, b);
            abs() = |a| vabsq_f32(a);
            bits_to_exponent() = |a| vreinterpretq_f32_u32(vshlq_n_u32::<23>(vreinterpretq_u32_f32(a)));
            add_bits(b) = |a, b| vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
            halve_bits_from(b) = |a, b| vreinterpretq_f32_u32(vsubq_u32(
                vreinterpretq_u32_f32(b), vshrq_n_u32::<1>(vreinterpretq_u32_f32(a))));
            and_bits(b) = |a, b| vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
            or_bits(b) = |a, b| vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
            exponent_to_float() = |a| vcvtq_f32_u32(vshrq_n_u32::<23>(vreinterpretq_u32_f32(a)));
            xor_bits(b) = |a, b| vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
            top_bits_to_float() = |a| vcvtq_f32_u32(vshrq_n_u32::<8>(vreinterpretq_u32_f32(a)));
            sub_bits(b) = |a, b| vreinterpretq_f32_u32(vsubq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
            ints_to_float() = |a| vcvtq_f32_s32(vreinterpretq_s32_f32(a));
            float_to_ints() = |a| vreinterpretq_f32_s32(vcvtq_s32_f32(a));
        }
        #[inline(always)]
        fn less(self, other: Self) -> [uint32x4_t; 4] {
            // SAFETY: NEON is part of the architecture.
            std::array::from_fn(
                #[inline(always)]
                |i| unsafe { vcltq_f32(self.0[i], other.0[i]) },
            )
        }
        #[inline(always)]
        fn select(mask: [uint32x4_t; 4], yes: Self, no: Self) -> Self {
            // SAFETY: NEON is part of the architecture.
            Neon(std::array::from_fn(
                #[inline(always)]
                |i| unsafe { vbslq_f32(mask[i], yes.0[i], no.0[i]) },
            ))
        }
        #[inline(always)]
        fn mask_bits(mask: [uint32x4_t; 4]) -> u32 {
            // SAFETY: NEON is part of the architecture. Each lane keeps the bit of its place.
            let quarter = |i: usize| unsafe {
                let places = vld1q_u32([1, 2, 4, 8].as_ptr());
                vaddvq_u32(vandq_u32(mask[i], places)) << (4 * i)
            };
            quarter(0) | quarter(1) | quarter(2) | quarter(3)
        }
        #[inline(always)]
        fn rotate_bits(self, places: u32) -> Self {
            // SAFETY: NEON is part of the architecture. Shifting left by a negative number shifts right.
            Neon(self.0.map(
                #[inline(always)]
                |quarter| unsafe {
                    let bits = vreinterpretq_u32_f32(quarter);
                    let left = vshlq_u32(bits, vdupq_n_s32(places as i32));
                    let right = vshlq_u32(bits, vdupq_n_s32(places as i32 - 32));
                    vreinterpretq_f32_u32(vorrq_u32(left, right))
                },
            ))
        }
        #[inline(always)]
        fn interleave(self, other: Self) -> [Self; 2] {
            // SAFETY: NEON is part of the architecture.
            let zip = |i: usize| unsafe { [vzip1q_f32(self.0[i], other.0[i]), vzip2q_f32(self.0[i], other.0[i])] };
            let ([a, b], [c, d], [e, f], [g, h]) = (zip(0), zip(1), zip(2), zip(3));
            [Neon([a, b, c, d]), Neon([e, f, g, h])]
        }
        #[inline(always)]
        fn deinterleave(self, other: Self) -> [Self; 2] {
            // SAFETY: NEON is part of the architecture.
            let pair = |a, b| unsafe { [vuzp1q_f32(a, b), vuzp2q_f32(a, b)] };
            let ([a, e], [b, f]) = (pair(self.0[0], self.0[1]), pair(self.0[2], self.0[3]));
            let ([c, g], [d, h]) = (pair(other.0[0], other.0[1]), pair(other.0[2], other.0[3]));
            [Neon([a, b, c, d]), Neon([e, f, g, h])]
        }
    }
}

mod plain {
    //! Plain Rust: what every other processor runs, and what the others are tested against.

    use super::super::double::PlainDouble;
    use super::{LANES, Lanes, Simd};

    #[derive(Clone, Copy)]
    pub struct Plain([f32; LANES]);

    macro_rules! plain {
        ($($name:ident($($arg:ident),*) = $body:expr;)*) => {
            $(#[inline(always)]
            fn $name(self $(, $arg: Self)*) -> Self {
                let f: fn(f32 $(, plain!(@f32 $arg))*) -> f32 = $body;
                Plain(std::array::from_fn(#[inline(always)] |i| f(self.0[i] $(, $arg.0[i])*)))
            })*
        };
        (@f32 $arg:ident) => { f32 };
    }

    fn bits(f: impl Fn(u32, u32) -> u32, a: f32, b: f32) -> f32 {
        f32::from_bits(f(a.to_bits(), b.to_bits()))
    }

    impl Simd for Plain {
        type Mask = [bool; LANES];
        type Double = PlainDouble;
        const TILE_ROWS: usize = 2;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Plain([value; LANES])
        }
        #[inline(always)]
        fn load(from: &Lanes) -> Self {
            Plain(from.0)
        }
        #[inline(always)]
        fn store(self, to: &mut Lanes) {
            to.0 = self.0;
        }
        plain! {
            add(b) = |a, b| a + b;
            sub(b) = |a, b| a - b;
            mul(b) = |a, b| a * b;
            div(b) = |a, b| a / b;
            mul_add(b, c) = |a, b, c| a.mul_add(b, c);
            neg_mul_add(b, c) = |a, b, c| (-a).mul_add(b, c);
            max(b) = |a, b| if a > b { a } else { b };
            min(b) = |a, b| if a < b { a } else { b };
            abs() = |a| a.abs();
            bits_to_exponent() = |a| f32::from_bits(a.to_bits() << 23);
            add_bits(b) = |a, b| bits(u32::wrapping_add, a, b);
            halve_bits_from(b) = |a, b| bits(|a, b| b.wrapping_sub(a >> 1), a, b);
            and_bits(b) = |a, b| bits(|a, b| a & b, a, b);
            or_bits(b) = |a, b| bits(|a, b| a | b, a, b);
            exponent_to_float() = |a| (a.to_bits() >> 23) as f32;
            xor_bits(b) = |a, b| bits(|a, b| a ^ b, a, b);
            top_bits_to_float() = |a| (a.to_bits() >> 8) as f32;
            sub_bits(b) = |a, b| bits(u32::wrapping_sub, a, b);
            ints_to_float() = |a| a.to_bits() as i32 as f32;
            float_to_ints() = |a| f32::from_bits(a as i32 as u32);
        }
        #[inline(always)]
        fn less(self, other: Self) -> [bool; LANES] {
            std::array::from_fn(|i| self.0[i] < other.0[i])
        }
        #[inline(always)]
        fn select(mask: [bool; LANES], yes: Self, no: Self) -> Self {
            Plain(std::array::from_fn(|i| if mask[i] { yes.0[i] } else { no.0[i] }))
        }
        #[inline(always)]
        fn mask_bits(mask: [bool; LANES]) -> u32 {
            mask.iter().enumerate().fold(0, |bits, (i, is_set)| bits | u32::from(*is_set) << i)
        }
        #[inline(always)]
        fn rotate_bits(self, places: u32) -> Self {
            Plain(self.0.map(|value| f32::from_bits(value.to_bits().rotate_left(places))))
        }
        #[inline(always)]
        fn interleave(self, other: Self) -> [Self; 2] {
            let place = |i: usize| if i.is_multiple_of(2) { self.0[i / 2] } else { other.0[i / 2] };
            [Plain(std::array::from_fn(place)), Plain(std::array::from_fn(|i| place(LANES + i)))]
        }
        #[inline(always)]
        fn deinterleave(self, other: Self) -> [Self; 2] {
            let place = |i: usize| if i < LANES { self.0[i] } else { other.0[i - LANES] };
            [0, 1].map(|from| Plain(std::array::from_fn(|i| place(2 * i + from))))
        }
    }
}
