//! NEON, which every 64-bit Arm processor has.

use super::{Lanes, Simd};
use crate::backend::cpu::double::PlainDouble;
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
