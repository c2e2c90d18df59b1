//! Distances between rows: exactly, which decides the order of neighbours, and how far a quick one in f32 may be off.

use crate::backend::cpu::double::{Double, Doubles};
use crate::backend::cpu::simd::{LANES, Lanes, Simd, transpose};
use crate::backend::cpu::strips::load_block;
use ndarray::ArrayView2;

/// How distances are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// Root of the summed squares.
    Euclidean,
    /// Sum of the absolute differences.
    Manhattan,
    /// 1 less the cosine of the angle; 1 where a row is zero.
    Cosine,
}

impl Distance {
    /// As spaces name them, in the order of their codes.
    pub const NAMES: [&'static str; 3] = ["euclidean", "manhattan", "cosine"];
    /// All of them, in that order.
    pub const ALL: [Distance; 3] = [Distance::Euclidean, Distance::Manhattan, Distance::Cosine];

    /// Its place among [`Distance::NAMES`].
    pub fn code(self) -> usize {
        self as usize
    }

    /// What neighbours are ordered by, a squared distance if Euclidean, of sixteen rows to one: in f64, feature after
    /// feature, products and sums rounded apart. The squares of all rows' lengths serve cosines.
    #[inline(always)]
    pub fn between<V: Simd>(self, a: [&[f32]; LANES], b: &[f32], squares: ([f64; LANES], f64)) -> [f64; LANES] {
        let zero = V::Double::splat(0.0);
        let mut sums = zero;
        for (chunk, b) in b.chunks(LANES).enumerate() {
            let mut rows = [Lanes::ZERO; LANES];
            for (row, a) in rows.iter_mut().zip(a) {
                row.0[..b.len()].copy_from_slice(&a[chunk * LANES..][..b.len()]);
            }
            let columns = transpose(load_block::<V>(&rows));
            for (column, b) in columns.into_iter().zip(b) {
                let mut of_feature = Lanes::ZERO;
                column.store(&mut of_feature);
                let (a, b) = (V::Double::widen(&of_feature), V::Double::splat(f64::from(*b)));
                let difference = a.sub(b);
                let term = match self {
                    Distance::Euclidean => difference.mul_add(difference, zero),
                    Distance::Manhattan => V::Double::select(difference.less(zero), zero.sub(difference), difference),
                    Distance::Cosine => a.mul_add(b, zero),
                };
                sums = sums.add(term);
            }
        }
        let mut between = Doubles::splat(0.0);
        sums.store(&mut between);
        match self {
            Distance::Cosine => std::array::from_fn(|i| cosine(between.0[i], [squares.0[i], squares.1])),
            _ => between.0,
        }
    }

    /// The distance that such a number stands for.
    pub fn finish(self, ordered_by: f64) -> f64 {
        if self == Distance::Euclidean { ordered_by.sqrt() } else { ordered_by }
    }

    /// How far a quick distance between rows of so many features may be off.
    pub fn slack(self, features: usize) -> Slack {
        // A sum of positive terms in f32: each is rounded twice or thrice, and the sum once a feature. What is below the
        // least normal number is lost.
        let unit = f64::from(f32::EPSILON) / 2.0;
        let (relative, absolute) =
            ((features + 4) as f64 * unit, (features + 4) as f64 * 2.0 * f64::from(f32::MIN_POSITIVE));
        match self {
            // Unit vectors are rounded: their difference is off by a rounding of what they are, not of what it is. Then
            // its square of D is off by 4 u D + 4 u^2 more (Cauchy and Schwarz), and a cosine in f64 by its own rounding.
            Distance::Cosine => {
                Slack { relative, root: 4.0 * unit, absolute: absolute + 4.0 * unit * unit + features as f64 * 1e-15 }
            }
            _ => Slack { relative, root: 0.0, absolute },
        }
    }

    /// What a quick distance is compared with: squared, where it is Euclidean or between unit vectors.
    pub fn quick_of(self, ordered_by: f64) -> f64 {
        if self == Distance::Cosine { 2.0 * ordered_by } else { ordered_by }
    }
}

/// Distances below this are zero: what rounding leaves of the cosine of a row with itself.
pub const ZERO_COSINE: f64 = 1e-12;

#[inline(always)]
fn cosine(dot: f64, [a, b]: [f64; 2]) -> f64 {
    let lengths = (a * b).sqrt();
    if lengths == 0.0 {
        return 1.0;
    }
    let distance = 1.0 - dot / lengths;
    if distance < ZERO_COSINE { 0.0 } else { distance }
}

/// `|quick - exact| <= relative exact + root sqrt(exact) + absolute`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slack {
    relative: f64,
    root: f64,
    absolute: f64,
}

impl Slack {
    /// No exact distance is greater than this if its quick one is `x`, and no quick one if the exact one is; with the
    /// rounding of the bound itself to f32.
    pub fn widen(self, x: f64) -> f64 {
        if x == f64::INFINITY {
            return x;
        }
        x * (1.0 + 3.0 * self.relative) + 3.0 * self.root * x.sqrt() + 4.0 * self.root * self.root + 8.0 * self.absolute
    }
}

/// The square of each row's length.
pub fn squares(x: ArrayView2<'_, f32>) -> Vec<f64> {
    x.rows().into_iter().map(|row| row.iter().fold(0.0, |sum, x| sum + f64::from(*x) * f64::from(*x))).collect()
}
