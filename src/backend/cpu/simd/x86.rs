//! AVX-512 and AVX2. Values of these types exist only below the two `run_` functions, which is what makes the
//! intrinsics safe to call.

use super::{Kernel, Lanes, Simd};
use crate::backend::cpu::double::{Wide256, Wide512};
use std::arch::x86_64::*;

/// Whether the processor has all that [`run_avx512`] is compiled for.
#[inline]
pub(super) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && has_avx2()
}

/// The same of [`run_avx2`].
#[inline]
pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
}

#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2")]
pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

#[target_feature(enable = "avx2,fma,bmi1,bmi2")]
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
    fn prefetch(row: &[Lanes]) {
        prefetch(row);
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

/// Every [`Lanes`] is one cache line.
#[inline(always)]
fn prefetch(row: &[Lanes]) {
    for lanes in row {
        // SAFETY: a prefetch reads nothing, and every x86-64 processor has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(lanes.0.as_ptr().cast()) }
    }
}

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
    fn prefetch(row: &[Lanes]) {
        prefetch(row);
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
                let (even, odd) = (_mm256_shuffle_ps::<0b10_00_10_00>(a, b), _mm256_shuffle_ps::<0b11_01_11_01>(a, b));
                [even, odd].map(
                    #[inline(always)]
                    |mixed| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(mixed))),
                )
            },
        );
        [Avx2(low[0], high[0]), Avx2(low[1], high[1])]
    }
}
