//! Transcendental functions over sixteen lanes: fixed sequences of fused multiply-adds, so that a lane's bits are the
//! same on every processor. Each comes with its error against the exact function; NaN in is NaN out.

use super::simd::{Kernel, Level, Simd, dispatch};

/// How a product is added to.
pub trait Products {
    /// `a b + c`
    fn add<V: Simd>(a: V, b: V, c: V) -> V;
}

/// Products that are not rounded before they are added to.
pub struct Fused;

impl Products for Fused {
    #[inline(always)]
    fn add<V: Simd>(a: V, b: V, c: V) -> V {
        a.mul_add(b, c)
    }
}

/// Below it `e^x` is denormal, and slow.
pub const LOWEST: f32 = -87.0;

/// `e^x = m 2^n` for x that are in range: m, and n as the low bits of a float.
#[inline(always)]
pub fn exp_parts<P: Products, V: Simd>(x: V) -> [V; 2] {
    // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low mantissa bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = P::add(x, V::splat(std::f32::consts::LOG2_E), V::splat(ROUND));
    let n = shifted.sub(V::splat(ROUND));
    // Cody and Waite: ln 2 in two parts, the first exact in few bits.
    let r = P::add(n, V::splat(-0.693_359_4), x);
    let r = P::add(n, V::splat(2.121_944_4e-4), r);
    // Cephes expf: minimax of (e^r - 1 - r) / r^2 on [-ln2/2, ln2/2].
    let mut p = V::splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = P::add(p, r, V::splat(c));
    }
    [P::add(p, r.mul(r), r).add(V::splat(1.0)), shifted]
}

/// `e^x` to 2 ulp; 0 below -87, infinite above 88.72.
#[inline(always)]
pub fn exp<V: Simd>(x: V) -> V {
    let [e, n] = exp_parts::<Fused, V>(V::splat(88.8).min(V::splat(LOWEST).max(x)));
    // 2^n as 2^(n-1) * 2, because n = 128 has no exponent of its own.
    let scale = n.add_bits(V::splat_bits(126)).bits_to_exponent();
    V::select(x.less(V::splat(LOWEST)), V::zero(), e.mul(scale).mul(V::splat(2.0)))
}

/// `ln x` of normal positive numbers, to 2 ulp.
#[inline(always)]
pub fn ln_of_normal<P: Products, V: Simd>(x: V) -> V {
    // Cephes logf: x = m 2^e with m in [sqrt(1/2), sqrt(2)).
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
        p = P::add(p, m, V::splat(c));
    }
    let square = m.mul(m);
    let y = P::add(e, V::splat(-2.121_944_4e-4), p.mul(m).mul(square));
    let y = P::add(square, V::splat(-0.5), y);
    P::add(e, V::splat(0.693_359_4), m.add(y))
}

/// `ln x` to 2 ulp for normal positive numbers; -infinity for 0 and denormals, NaN below.
#[inline(always)]
pub fn ln<V: Simd>(x: V) -> V {
    let result = ln_of_normal::<Fused, V>(x);
    let result = V::select(x.less(V::splat(f32::MIN_POSITIVE)), V::splat(f32::NEG_INFINITY), result);
    let result = V::select(x.less(V::zero()), V::splat(f32::NAN), result);
    // Infinity and NaN come out as they are.
    V::select(x.less(V::splat(f32::INFINITY)), result, x)
}

/// `tanh x` to 4 ulp: the rational approximation that Eigen and XLA use.
#[inline(always)]
pub fn tanh<V: Simd>(x: V) -> V {
    // Beyond this, the rational's value rounds to 1.
    const LARGEST: f32 = 7.905_311;
    let x = V::splat(LARGEST).min(V::splat(-LARGEST).max(x));
    let square = x.mul(x);
    let mut odd = V::splat(-2.760_768_5e-16);
    odd = odd.mul_add(square, V::splat(2.000_188e-13));
    odd = odd.mul_add(square, V::splat(-8.604_672e-11));
    odd = odd.mul_add(square, V::splat(5.122_297_1e-8));
    odd = odd.mul_add(square, V::splat(1.485_722_4e-5));
    odd = odd.mul_add(square, V::splat(6.372_619_3e-4));
    odd = odd.mul_add(square, V::splat(4.893_524_6e-3));
    let mut even = V::splat(1.198_258_4e-6);
    even = even.mul_add(square, V::splat(1.185_347_1e-4));
    even = even.mul_add(square, V::splat(2.268_434_6e-3));
    even = even.mul_add(square, V::splat(4.893_525e-3));
    odd.mul(x).div(even)
}

/// `1 / sqrt(x)` to 5 ulp for normal positive numbers: a guess from the bits and one step of fifth order, which takes a
/// quarter of the time of a hardware square root and division.
#[inline(always)]
pub fn reciprocal_sqrt<V: Simd>(x: V) -> V {
    let guess = x.halve_bits_from(V::splat_bits(0x5f37_5a86));
    // With e = 1 - x y^2, 1/sqrt(x) = y (1 - e)^(-1/2) = y (1 + e/2 + 3/8 e^2 + 5/16 e^3 + 35/128 e^4 + ...); the
    // guess is good to 3.5 %, so |e| < 0.07 and what is cut off is below 4e-7.
    let one = V::splat(1.0);
    let e = guess.mul(guess).neg_mul_add(x, one);
    let mut series = V::splat(35.0 / 128.0);
    series = series.mul_add(e, V::splat(5.0 / 16.0));
    series = series.mul_add(e, V::splat(3.0 / 8.0));
    series = series.mul_add(e, V::splat(0.5));
    guess.mul(e).mul_add(series, guess)
}

/// Puts `e^x` in the place of every f64, to 2 ulp; 0 below -745.2, infinite above 709.8.
pub fn exp_doubles(level: Level, values: &mut [f64]) {
    dispatch(level, ExpDoubles(values));
}

struct ExpDoubles<'a>(&'a mut [f64]);

impl Kernel for ExpDoubles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        self.0.iter_mut().for_each(|x| *x = exp_double(*x));
    }
}

/// Without a branch or a table, so that a loop over it becomes vectors.
#[inline(always)]
fn exp_double(x: f64) -> f64 {
    // As in `exp_parts`: 1.5 * 2^52 leaves the nearest integer in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let x = if x < -746.0 { -746.0 } else { x };
    let x = if x > 710.0 { 710.0 } else { x };
    let n = x.mul_add(std::f64::consts::LOG2_E, ROUND) - ROUND;
    // ln 2 in two parts, the first exact in 32 bits (fdlibm).
    let r = n.mul_add(-6.931_471_803_691_238e-1, x);
    let r = n.mul_add(-1.908_214_929_270_587_7e-10, r);
    // Taylor's series on [-ln2/2, ln2/2]: what is cut off is below 5e-18.
    let mut p = 1.0 / 6_227_020_800.0;
    for factorial in
        [479_001_600.0, 39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0]
    {
        p = f64::mul_add(p, r, 1.0 / factorial);
    }
    // 2^n in two factors, because n reaches beyond both ends of the exponent.
    let half = n.mul_add(0.5, ROUND);
    let rest = n - (half - ROUND);
    let power = |shifted: f64| f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    p * power(half) * power(rest + ROUND)
}

#[cfg(test)]
mod tests {
    use super::super::simd::{LANES, Lanes};
    use super::*;

    type Function = (&'static str, fn(f64) -> f64, f64);
    const FUNCTIONS: [Function; 4] = [
        ("exp", f64::exp, 2.5),
        ("ln", f64::ln, 2.5),
        ("tanh", f64::tanh, 5.0),
        ("reciprocal_sqrt", |x| 1.0 / x.sqrt(), 5.0),
    ];

    struct Apply<'a>(&'a str, Lanes);

    impl Kernel for Apply<'_> {
        type Output = Lanes;
        #[inline(always)]
        fn run<V: Simd>(self) -> Lanes {
            let x = V::load(&self.1);
            let y = match self.0 {
                "exp" => exp(x),
                "ln" => ln(x),
                "tanh" => tanh(x),
                _ => reciprocal_sqrt(x),
            };
            let mut out = Lanes::ZERO;
            y.store(&mut out);
            out
        }
    }

    /// Inputs of every size that a function takes, and the special ones.
    fn inputs(name: &str) -> Vec<f32> {
        let mut inputs: Vec<f32> = (0..40_000)
            .map(|i| match name {
                "exp" => -86.9 + i as f32 * 0.0043,
                "tanh" => (i as f32 - 20_000.0) * 0.000_45,
                _ => (i as f32 * 0.004 - 80.0).exp(),
            })
            .collect();
        inputs.extend([f32::NAN, 0.0, 1.0, 1e-20]);
        inputs.resize(inputs.len().next_multiple_of(LANES), 1.0);
        inputs
    }

    #[test]
    fn functions_keep_their_stated_error() {
        for (name, exact, ulps) in FUNCTIONS {
            for chunk in inputs(name).chunks_exact(LANES) {
                let x = Lanes(std::array::from_fn(|i| chunk[i]));
                let y = dispatch(Level::detect(), Apply(name, x));
                for (x, y) in x.0.into_iter().zip(y.0) {
                    let truth = exact(f64::from(x));
                    if truth.is_finite() && name != "reciprocal_sqrt" || x > 0.0 {
                        let ulp = f64::from((truth as f32).abs().max(f32::MIN_POSITIVE)) * f64::from(f32::EPSILON);
                        assert!((f64::from(y) - truth).abs() <= ulps * ulp, "{name}({x:e}) = {y:e}, exact {truth:e}");
                    } else {
                        assert!(x.is_nan() == y.is_nan(), "{name}({x}) = {y}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for (name, ..) in FUNCTIONS {
            for chunk in inputs(name).chunks_exact(LANES).step_by(7) {
                let x = Lanes(std::array::from_fn(|i| chunk[i]));
                let expected = dispatch(Level::Plain, Apply(name, x)).0;
                for level in Level::available() {
                    let bits = dispatch(level, Apply(name, x)).0;
                    for (a, b) in expected.into_iter().zip(bits) {
                        assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{name} on {}", level.name());
                    }
                }
            }
        }
    }

    #[test]
    fn exp_saturates_at_both_ends() {
        let x = Lanes(std::array::from_fn(|i| if i % 2 == 0 { -1000.0 } else { 1000.0 }));
        let y = dispatch(Level::detect(), Apply("exp", x));
        assert!(y.0[0] == 0.0 && y.0[1] == f32::INFINITY);
    }

    #[test]
    fn exp_of_doubles_keeps_its_stated_error_at_every_width() {
        let mut x: Vec<f64> = (0..100_000).map(|i| -745.0 + f64::from(i) * 0.014_53).collect();
        x.extend([0.0, -0.0, 1e-300, -1e-17, 709.7, -708.5, -745.1]);
        let mut found = x.clone();
        exp_doubles(Level::detect(), &mut found);
        for (x, y) in x.iter().zip(&found) {
            let ulp = (x.exp() * f64::EPSILON).max(5e-324);
            assert!((y - x.exp()).abs() <= 2.0 * ulp, "exp({x:e}) = {y:e}, exact {:e}", x.exp());
        }
        let mut special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -800.0, 800.0];
        exp_doubles(Level::detect(), &mut special);
        assert!(special[0].is_nan() && special[1..] == [f64::INFINITY, 0.0, 0.0, f64::INFINITY], "{special:?}");
        for level in Level::available() {
            let mut other = x.clone();
            exp_doubles(level, &mut other);
            assert_eq!(other, found, "{}", level.name());
        }
    }
}
