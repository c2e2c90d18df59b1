//! Matérn's kernel with smoothness 5/2 and a length for each dimension (Rasmussen & Williams 2006, eq. (4.17)), plus a
//! constant for the unknown mean (ibid., section 2.7, with a prior of variance 1).
//!
//! `k = s (1 + a + a^2 / 3) exp(-a) + 1` with `a^2 = 5 sum_i w_i d_i`, where `d_i` is the squared difference of numbers and
//! 0 or 1 for choices: choices are the corners of a simplex, so that every such kernel is a covariance. Points stand in
//! columns, one a dimension, so that loops over points run side by side in SIMD (see [`wide`]).

use super::features::Dimension;
use super::warp::Warp;

/// The variance of the mean.
pub(super) const MEAN_VARIANCE: f64 = 1.0;

/// What is fitted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kernel {
    /// Of each dimension: one over its squared length.
    pub(super) weights: Vec<f64>,
    /// Signal variance.
    pub(super) signal: f64,
    /// Noise variance.
    pub(super) noise: f64,
    /// Of each dimension how it is bent; none at all where they are straight.
    pub(super) warps: Vec<Option<Warp>>,
}

/// Points by columns.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    columns: Vec<Vec<f64>>,
    len: usize,
}

impl Columns {
    pub(super) fn new(dimensions: usize) -> Columns {
        Columns { columns: vec![Vec::new(); dimensions], len: 0 }
    }

    pub(super) fn push(&mut self, point: &[f64]) {
        self.columns.iter_mut().zip(point).for_each(|(column, x)| column.push(*x));
        self.len += 1;
    }

    pub(super) fn column_mut(&mut self, dimension: usize) -> &mut [f64] {
        &mut self.columns[dimension]
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(len));
        self.len = self.len.min(len);
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(super) fn column(&self, dimension: usize) -> &[f64] {
        &self.columns[dimension]
    }

    #[inline(always)]
    pub(super) fn at(&self, dimension: usize, point: usize) -> f64 {
        self.columns[dimension][point]
    }
}

impl Kernel {
    /// Of a point with itself, without noise.
    pub(super) fn variance(&self) -> f64 {
        self.signal + MEAN_VARIANCE
    }

    /// Lengths along the first dimensions, which are the axes; at most 1.
    pub(super) fn lengths(&self, axes: usize) -> Vec<f64> {
        self.weights[..axes].iter().map(|weight| 1.0f64.min(1.0 / weight.sqrt())).collect()
    }

    /// A point as the distances see it: along bent dimensions.
    pub(super) fn bend(&self, point: &mut [f64]) {
        for (x, warp) in point.iter_mut().zip(&self.warps) {
            *x = warp.map_or(*x, |warp| warp.bend(*x));
        }
    }

    /// The same of many.
    pub(super) fn bend_columns(&self, points: &mut Columns) {
        for (dimension, warp) in self.warps.iter().enumerate() {
            if let Some(warp) = warp {
                points.column_mut(dimension).iter_mut().for_each(|x| *x = warp.bend(*x));
            }
        }
    }

    /// The sums `sum_i w_i d_i` between `point(i)` and the points from `first` on.
    #[inline(always)]
    pub(super) fn squares(
        &self,
        dimensions: &[Dimension],
        point: impl Fn(usize) -> f64,
        points: &Columns,
        first: usize,
        out: &mut [f64],
    ) {
        out.fill(0.0);
        for (i, (dimension, weight)) in dimensions.iter().zip(&self.weights).enumerate() {
            let x = point(i);
            let column = &points.column(i)[first..];
            match dimension {
                Dimension::Number => {
                    for (out, other) in out.iter_mut().zip(column) {
                        let apart = x - other;
                        *out += weight * (apart * apart);
                    }
                }
                Dimension::Choice => {
                    for (out, other) in out.iter_mut().zip(column) {
                        *out += if x == *other { 0.0 } else { *weight };
                    }
                }
            }
        }
    }

    /// Turns such sums into covariances.
    #[inline(always)]
    pub(super) fn covariances(&self, sums: &mut [f64]) {
        for sum in sums {
            let a = (5.0 * *sum).sqrt();
            *sum = (1.0 + a + a * a / 3.0) * (self.signal * exp_of_negative(-a)) + MEAN_VARIANCE;
        }
    }

    /// The same, with what the covariances change by with the sum.
    #[inline(always)]
    pub(super) fn covariances_and_slopes(&self, sums: &mut [f64], slopes: &mut [f64]) {
        for (sum, slope) in sums.iter_mut().zip(slopes) {
            let a = (5.0 * *sum).sqrt();
            let decay = self.signal * exp_of_negative(-a);
            *slope = -5.0 / 6.0 * (1.0 + a) * decay;
            *sum = (1.0 + a + a * a / 3.0) * decay + MEAN_VARIANCE;
        }
    }
}

/// e^x of x of 0 or less, within 3 units in the last place; products and sums alone, so that it runs side by side and gives
/// the same bits everywhere.
#[inline(always)]
pub(super) fn exp_of_negative(x: f64) -> f64 {
    /// Added, it leaves a number rounded to a whole one in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    /// 1 / k! from k = 13 down to 0: the rest is below 2e-17 where |r| <= ln 2 / 2.
    const TAYLOR: [f64; 14] = [
        1.605_904_383_682_161_5e-10,
        2.087_675_698_786_81e-9,
        2.505_210_838_544_172e-8,
        2.755_731_922_398_589e-7,
        2.755_731_922_398_589_3e-6,
        2.480_158_730_158_73e-5,
        1.984_126_984_126_984e-4,
        1.388_888_888_888_889e-3,
        8.333_333_333_333_333e-3,
        4.166_666_666_666_666_4e-2,
        1.666_666_666_666_666_6e-1,
        0.5,
        1.0,
        1.0,
    ];
    // Below, the result is 1e-304 or less, and counts as that.
    let x = x.max(-700.0);
    let rounded = x * std::f64::consts::LOG2_E + ROUND;
    let power = rounded - ROUND;
    let r = (x - power * LN2_HIGH) - power * LN2_LOW;
    let e = TAYLOR.iter().fold(0.0, |sum, coefficient| sum * r + coefficient);
    f64::from_bits(e.to_bits().wrapping_add(rounded.to_bits() << 52))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_exponential_is_that_of_libm() {
        for step in 0..200_000 {
            let x = -f64::from(step) * 0.0035 - 1e-9 * f64::from(step % 7);
            let (fast, exact) = (exp_of_negative(x), libm::exp(x));
            assert!((fast - exact).abs() <= 3.0 * f64::EPSILON * exact, "{x}: {fast:e}, {exact:e}");
        }
        assert!(exp_of_negative(-1e300) < 1e-300 && exp_of_negative(-0.0) == 1.0);
    }

    #[test]
    fn slopes_are_what_covariances_change_by() {
        let kernel = Kernel { weights: vec![1.0], signal: 1.7, noise: 0.1, warps: Vec::new() };
        for sum in [1e-3, 0.1, 1.0, 30.0] {
            let at = |sum: f64| {
                let mut sums = [sum];
                kernel.covariances(&mut sums);
                sums[0]
            };
            let (mut both, mut slope) = ([sum], [0.0]);
            kernel.covariances_and_slopes(&mut both, &mut slope);
            let step = 1e-5 * sum;
            let measured = (at(sum + step) - at(sum - step)) / (2.0 * step);
            assert_eq!(both[0], at(sum));
            // Central differences err by the square of the step, and by rounding over the step.
            assert!((slope[0] - measured).abs() < 1e-6 * slope[0].abs() + 1e-9, "{sum}: {} {measured}", slope[0]);
        }
    }
}
