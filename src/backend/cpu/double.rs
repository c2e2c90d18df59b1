//! Sixteen f64 lanes, for what f32 would lose: two AVX-512 registers, four AVX2 registers, eight NEON registers, or plain
//! Rust. The same rules as for [`super::simd::Simd`], whose `Double` it is: correctly rounded operations, equal bits.

use super::simd::{LANES, Lanes};

/// Sixteen lanes' f64 values in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Doubles(pub [f64; LANES]);

impl Doubles {
    /// The same value in every lane.
    pub const fn splat(value: f64) -> Doubles {
        Doubles([value; LANES])
    }
}

/// Sixteen f64 lanes in registers.
pub trait Double: Copy {
    /// One truth value a lane.
    type Mask: Copy;

    /// The same value in every lane.
    fn splat(value: f64) -> Self;
    /// From memory.
    fn load(from: &Doubles) -> Self;
    /// To memory.
    fn store(self, to: &mut Doubles);
    /// From f32 in memory, which is exact.
    fn widen(from: &Lanes) -> Self;
    /// To f32 in memory, rounded to nearest.
    fn narrow(self, to: &mut Lanes);
    /// `self + other`
    fn add(self, other: Self) -> Self;
    /// `self - other`
    fn sub(self, other: Self) -> Self;
    /// `self * other`
    fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `self < other`; false where either is NaN.
    fn less(self, other: Self) -> Self::Mask;
    /// `mask ? yes : no`
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// The largest lane; NaN is passed over.
    #[inline(always)]
    fn largest(self) -> f64 {
        let mut lanes = Doubles::splat(0.0);
        self.store(&mut lanes);
        fold(
            lanes,
            #[inline(always)]
            |a, b| if b > a || a.is_nan() { b } else { a },
        )
    }

    /// The least lane; NaN is passed over.
    #[inline(always)]
    fn least(self) -> f64 {
        let mut lanes = Doubles::splat(0.0);
        self.store(&mut lanes);
        fold(
            lanes,
            #[inline(always)]
            |a, b| if b < a || a.is_nan() { b } else { a },
        )
    }
}

/// Halves against halves.
#[inline(always)]
fn fold(mut lanes: Doubles, pick: impl Fn(f64, f64) -> f64) -> f64 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes.0[lane] = pick(lanes.0[lane], lanes.0[lane + half]);
        }
        half /= 2;
    }
    lanes.0[0]
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! AVX-512 and AVX2. As in simd.rs, values of these types exist only where the features were detected.

    use super::{Double, Doubles, Lanes};
    use std::arch::x86_64::*;

    /// Half `i` of the whole.
    macro_rules! halves {
        (|$i:ident| $body:expr) => {
            // SAFETY: see the module's first lines.
            #[allow(unused_unsafe)]
            [
                {
                    let $i = 0;
                    unsafe { $body }
                },
                {
                    let $i = 1;
                    unsafe { $body }
                },
            ]
        };
    }
    macro_rules! quarters {
        (|$i:ident| $body:expr) => {
            // SAFETY: see the module's first lines.
            #[allow(unused_unsafe)]
            [
                {
                    let $i = 0;
                    unsafe { $body }
                },
                {
                    let $i = 1;
                    unsafe { $body }
                },
                {
                    let $i = 2;
                    unsafe { $body }
                },
                {
                    let $i = 3;
                    unsafe { $body }
                },
            ]
        };
    }

    /// Two registers of eight.
    #[derive(Clone, Copy)]
    pub struct Wide512([__m512d; 2]);

    impl Double for Wide512 {
        type Mask = [__mmask8; 2];

        #[inline(always)]
        fn splat(value: f64) -> Self {
            Wide512(halves!(|_i| _mm512_set1_pd(value)))
        }
        #[inline(always)]
        fn load(from: &Doubles) -> Self {
            Wide512(halves!(|i| _mm512_load_pd(from.0.as_ptr().add(8 * i))))
        }
        #[inline(always)]
        fn store(self, to: &mut Doubles) {
            halves!(|i| _mm512_store_pd(to.0.as_mut_ptr().add(8 * i), self.0[i]));
        }
        #[inline(always)]
        fn widen(from: &Lanes) -> Self {
            Wide512(halves!(|i| _mm512_cvtps_pd(_mm256_load_ps(from.0.as_ptr().add(8 * i)))))
        }
        #[inline(always)]
        fn narrow(self, to: &mut Lanes) {
            halves!(|i| _mm256_store_ps(to.0.as_mut_ptr().add(8 * i), _mm512_cvtpd_ps(self.0[i])));
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Wide512(halves!(|i| _mm512_add_pd(self.0[i], other.0[i])))
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Wide512(halves!(|i| _mm512_sub_pd(self.0[i], other.0[i])))
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Wide512(halves!(|i| _mm512_mul_pd(self.0[i], other.0[i])))
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            Wide512(halves!(|i| _mm512_fmadd_pd(self.0[i], factor.0[i], addend.0[i])))
        }
        #[inline(always)]
        fn less(self, other: Self) -> [__mmask8; 2] {
            halves!(|i| _mm512_cmp_pd_mask::<_CMP_LT_OQ>(self.0[i], other.0[i]))
        }
        #[inline(always)]
        fn select(mask: [__mmask8; 2], yes: Self, no: Self) -> Self {
            Wide512(halves!(|i| _mm512_mask_blend_pd(mask[i], no.0[i], yes.0[i])))
        }
    }

    /// Four registers of four.
    #[derive(Clone, Copy)]
    pub struct Wide256([__m256d; 4]);

    impl Double for Wide256 {
        type Mask = [__m256d; 4];

        #[inline(always)]
        fn splat(value: f64) -> Self {
            Wide256(quarters!(|_i| _mm256_set1_pd(value)))
        }
        #[inline(always)]
        fn load(from: &Doubles) -> Self {
            Wide256(quarters!(|i| _mm256_load_pd(from.0.as_ptr().add(4 * i))))
        }
        #[inline(always)]
        fn store(self, to: &mut Doubles) {
            quarters!(|i| _mm256_store_pd(to.0.as_mut_ptr().add(4 * i), self.0[i]));
        }
        #[inline(always)]
        fn widen(from: &Lanes) -> Self {
            Wide256(quarters!(|i| _mm256_cvtps_pd(_mm_load_ps(from.0.as_ptr().add(4 * i)))))
        }
        #[inline(always)]
        fn narrow(self, to: &mut Lanes) {
            quarters!(|i| _mm_store_ps(to.0.as_mut_ptr().add(4 * i), _mm256_cvtpd_ps(self.0[i])));
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Wide256(quarters!(|i| _mm256_add_pd(self.0[i], other.0[i])))
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Wide256(quarters!(|i| _mm256_sub_pd(self.0[i], other.0[i])))
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Wide256(quarters!(|i| _mm256_mul_pd(self.0[i], other.0[i])))
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            Wide256(quarters!(|i| _mm256_fmadd_pd(self.0[i], factor.0[i], addend.0[i])))
        }
        #[inline(always)]
        fn less(self, other: Self) -> [__m256d; 4] {
            quarters!(|i| _mm256_cmp_pd::<_CMP_LT_OQ>(self.0[i], other.0[i]))
        }
        #[inline(always)]
        fn select(mask: [__m256d; 4], yes: Self, no: Self) -> Self {
            Wide256(quarters!(|i| _mm256_blendv_pd(no.0[i], yes.0[i], mask[i])))
        }
    }
}
#[cfg(target_arch = "x86_64")]
pub use x86::{Wide256, Wide512};

/// Plain Rust, which a compiler for NEON turns into pairs of lanes too.
#[derive(Clone, Copy)]
pub struct PlainDouble([f64; LANES]);

impl PlainDouble {
    #[inline(always)]
    fn map(f: impl Fn(usize) -> f64) -> PlainDouble {
        PlainDouble(std::array::from_fn(f))
    }
}

impl Double for PlainDouble {
    type Mask = [bool; LANES];

    #[inline(always)]
    fn splat(value: f64) -> Self {
        PlainDouble([value; LANES])
    }
    #[inline(always)]
    fn load(from: &Doubles) -> Self {
        PlainDouble(from.0)
    }
    #[inline(always)]
    fn store(self, to: &mut Doubles) {
        to.0 = self.0;
    }
    #[inline(always)]
    fn widen(from: &Lanes) -> Self {
        PlainDouble::map(|i| f64::from(from.0[i]))
    }
    #[inline(always)]
    fn narrow(self, to: &mut Lanes) {
        to.0 = self.0.map(|value| value as f32);
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        PlainDouble::map(|i| self.0[i] + other.0[i])
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        PlainDouble::map(|i| self.0[i] - other.0[i])
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        PlainDouble::map(|i| self.0[i] * other.0[i])
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        PlainDouble::map(|i| self.0[i].mul_add(factor.0[i], addend.0[i]))
    }
    #[inline(always)]
    fn less(self, other: Self) -> [bool; LANES] {
        std::array::from_fn(|i| self.0[i] < other.0[i])
    }
    #[inline(always)]
    fn select(mask: [bool; LANES], yes: Self, no: Self) -> Self {
        PlainDouble::map(|i| if mask[i] { yes.0[i] } else { no.0[i] })
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Kernel, Level, Simd, dispatch};
    use super::*;

    /// Every operation once.
    struct Everything(Doubles, Lanes);

    impl Kernel for Everything {
        type Output = (Doubles, Lanes, [f64; 2]);
        #[inline(always)]
        fn run<V: Simd>(self) -> Self::Output {
            let (x, y) = (V::Double::load(&self.0), V::Double::widen(&self.1));
            let (mut sums, mut narrowed) = (Doubles::splat(0.0), Lanes::ZERO);
            let product = x.mul_add(y, V::Double::splat(1e-3)).sub(y.add(x)).mul(y);
            let picked = V::Double::select(x.less(y), product, x);
            picked.store(&mut sums);
            product.narrow(&mut narrowed);
            (sums, narrowed, [picked.largest(), picked.least()])
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let x = Doubles(std::array::from_fn(|i| (i as f64 * 0.37).sin()));
        let y = Lanes(std::array::from_fn(|i| (i as f32 * 1.13).cos()));
        let expected = dispatch(Level::Plain, Everything(x, y));
        for (i, sum) in expected.0.0.into_iter().enumerate() {
            let (x, y) = (x.0[i], f64::from(y.0[i]));
            let product = (x.mul_add(y, 1e-3) - (y + x)) * y;
            assert_eq!(sum, if x < y { product } else { x });
            assert_eq!(expected.1.0[i], product as f32);
        }
        let (most, least) = expected.0.0.iter().fold((f64::MIN, f64::MAX), |(a, b), x| (a.max(*x), b.min(*x)));
        assert_eq!(expected.2, [most, least]);
        for level in Level::available() {
            assert_eq!(dispatch(level, Everything(x, y)), expected, "{}", level.name());
        }
    }

    #[test]
    fn extremes_pass_over_what_is_not_a_number() {
        let lanes = PlainDouble::map(|i| if i % 2 == 0 { f64::NAN } else { i as f64 });
        assert_eq!((lanes.largest(), lanes.least()), (15.0, 1.0));
        let lanes = PlainDouble::map(|i| if i % 2 == 1 { f64::NAN } else { i as f64 });
        assert_eq!((lanes.largest(), lanes.least()), (14.0, 0.0));
    }
}
