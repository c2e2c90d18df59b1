//! Exponential and logarithm with the same bits on every device: every product is rounded before it is added to, and no
//! quotient is taken. shaders/shared/exact.wgsl has the same steps.

use crate::backend::cpu::simd::Simd;

/// `e^x` to 2 ulp, as [`crate::backend::cpu::math::exp`] but with every product rounded.
#[inline(always)]
pub fn exp<V: Simd>(x: V) -> V {
    const LOWEST: f32 = -87.0;
    const ROUND: f32 = 12_582_912.0;
    let clamped = V::splat(88.0).min(V::splat(LOWEST).max(x));
    let shifted = clamped.mul(V::splat(std::f32::consts::LOG2_E)).add(V::splat(ROUND));
    let n = shifted.sub(V::splat(ROUND));
    // The first part of ln 2 has few bits: its product with n is exact.
    let r = clamped.sub(n.mul(V::splat(0.693_359_4)));
    let r = r.sub(n.mul(V::splat(-2.121_944_4e-4)));
    let mut p = V::splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul(r).add(V::splat(c));
    }
    let e = p.mul(r.mul(r)).add(r).add(V::splat(1.0));
    let scale = shifted.add_bits(V::splat_bits(127)).bits_to_exponent();
    V::select(x.less(V::splat(LOWEST)), V::zero(), e.mul(scale))
}

/// `ln x` to 2 ulp for normal positive numbers, as [`crate::backend::cpu::math::ln`] but with every product rounded.
#[inline(always)]
pub fn ln<V: Simd>(x: V) -> V {
    let exponent = x.exponent_to_float().sub(V::splat(126.0));
    let mantissa = x.and_bits(V::splat_bits(0x007f_ffff)).or_bits(V::splat_bits(0x3f00_0000));
    let is_low = mantissa.less(V::splat(std::f32::consts::FRAC_1_SQRT_2));
    let e = V::select(is_low, exponent.sub(V::splat(1.0)), exponent);
    let m = V::select(is_low, mantissa.add(mantissa), mantissa).sub(V::splat(1.0));
    let mut p = V::splat(7.037_683_6e-2);
    for c in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p.mul(m).add(V::splat(c));
    }
    let square = m.mul(m);
    let y = p.mul(m).mul(square).add(e.mul(V::splat(-2.121_944_4e-4)));
    let y = y.sub(square.mul(V::splat(0.5)));
    m.add(y).add(e.mul(V::splat(0.693_359_4)))
}
