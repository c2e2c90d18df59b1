//! Exponential and logarithm with the same bits on every device: every product is rounded before it is added to, and no
//! quotient is taken. shaders/shared/exact.wgsl has the same steps.

use crate::backend::cpu::math::{LOWEST, Products, exp_parts, ln_of_normal};
use crate::backend::cpu::simd::Simd;

/// Products that are rounded before they are added to.
struct Rounded;

impl Products for Rounded {
    #[inline(always)]
    fn add<V: Simd>(a: V, b: V, c: V) -> V {
        a.mul(b).add(c)
    }
}

/// `e^x` to 2 ulp; 0 below -87, and above 88 what it is there.
#[inline(always)]
pub fn exp<V: Simd>(x: V) -> V {
    let [e, n] = exp_parts::<Rounded, V>(V::splat(88.0).min(V::splat(LOWEST).max(x)));
    let scale = n.add_bits(V::splat_bits(127)).bits_to_exponent();
    V::select(x.less(V::splat(LOWEST)), V::zero(), e.mul(scale))
}

/// `ln x` to 2 ulp for normal positive numbers.
#[inline(always)]
pub fn ln<V: Simd>(x: V) -> V {
    ln_of_normal::<Rounded, V>(x)
}
