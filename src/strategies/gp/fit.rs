//! The kernel that the data make most likely, by L-BFGS on the logarithms of its parameters.
//!
//! Lengths have the log-normal prior of Hvarfner et al. 2024 ("Vanilla Bayesian optimization performs great in high
//! dimensions", arXiv:2402.02229), whose mean grows with the root of the dimensions: without it, forty axes and forty data
//! have as many explanations as axes. Gradients: Rasmussen & Williams 2006, eq. (5.9).

use super::features::Dimension;
use super::kernel::{Columns, Kernel, MEAN_VARIANCE};
use super::lbfgs::{self, Limits};
use super::posterior::dot;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{Accum, Mat, Par};
use rayon::prelude::*;

/// Of the logarithm of a length: `sqrt 2 + ln(dimensions) / 2`, and twice the paper's deviation `sqrt 3`: with that, twice
/// as much is left of a sphere in ten and in twenty dimensions.
const LENGTH_MEAN: f64 = std::f64::consts::SQRT_2;
const LENGTH_VARIANCE: f64 = 12.0;
/// Of the logarithm of the signal's variance: next to 1, the values' own. Free, it grows with the lengths until the data look
/// like a slope, and proposals go to the corners.
const SIGNAL: Normal = Normal { mean: 0.0, variance: 0.02 };
/// Of the logarithm of the noise's variance: a twentieth of the values' deviation, anything from none to all.
const NOISE: Normal = Normal { mean: -6.0, variance: 9.0 };
/// Bounds of the logarithms.
const LEAST_NOISE: f64 = -18.0;
const MOST_NOISE: f64 = 1.0;
const SIGNAL_RANGE: [f64; 2] = [-7.0, 7.0];
const WEIGHT_RANGE: [f64; 2] = [-16.0, 14.0];

struct Normal {
    mean: f64,
    variance: f64,
}

impl Normal {
    /// Minus the logarithm of the density, but for a constant; and its slope.
    fn cost(&self, x: f64) -> (f64, f64) {
        let away = (x - self.mean) / self.variance;
        (0.5 * away * (x - self.mean), away)
    }
}

/// The prior of the logarithm of a dimension's weight, which is minus twice that of its length.
fn weight_prior(dimensions: usize) -> Normal {
    let length = LENGTH_MEAN + 0.5 * libm::log(dimensions.max(1) as f64);
    Normal { mean: -2.0 * length, variance: 4.0 * LENGTH_VARIANCE }
}

/// The kernel before there are data.
pub(super) fn prior_kernel(dimensions: usize) -> Kernel {
    kernel(&start(dimensions, 0.0))
}

/// Logarithms to start from, `shift` away from the prior's weights.
fn start(dimensions: usize, shift: f64) -> Vec<f64> {
    let mut start = vec![weight_prior(dimensions).mean + shift; dimensions];
    start.extend([SIGNAL.mean, NOISE.mean]);
    start
}

fn kernel(logarithms: &[f64]) -> Kernel {
    let (weights, rest) = logarithms.split_at(logarithms.len() - 2);
    Kernel {
        weights: weights.iter().map(|log| libm::exp(*log)).collect(),
        signal: libm::exp(rest[0]),
        noise: libm::exp(rest[1]),
    }
}

/// Fits anew: from the kernel that was, and, where it is `thorough`, from the prior and from lengths a fifth of the prior's.
pub(super) fn fit(
    dimensions: &[Dimension],
    points: &Columns,
    values: &[f64],
    before: Option<&Kernel>,
    thorough: bool,
    calls: u32,
) -> Option<Kernel> {
    let mut starts = Vec::new();
    if let Some(kernel) = before {
        let logarithms = kernel.weights.iter().chain([&kernel.signal, &kernel.noise]);
        starts.push(logarithms.map(|x| libm::log(*x)).collect());
    }
    if thorough || starts.is_empty() {
        starts.extend([0.0, 3.2].map(|shift| start(dimensions.len(), shift)));
    }
    let mut low = vec![WEIGHT_RANGE[0]; dimensions.len()];
    let mut high = vec![WEIGHT_RANGE[1]; dimensions.len()];
    low.extend([SIGNAL_RANGE[0], LEAST_NOISE]);
    high.extend([SIGNAL_RANGE[1], MOST_NOISE]);
    let limits = Limits { calls, first_step: 0.5, least_gain: 1e-3 };
    let minima: Vec<Option<lbfgs::Minimum>> = starts
        .par_iter()
        .map(|start| {
            let mut likelihood = Likelihood::new(dimensions, points, values);
            lbfgs::minimise(start, &low, &high, limits, |logarithms, gradient| likelihood.cost(logarithms, gradient))
        })
        .collect();
    let best =
        minima.into_iter().flatten().reduce(|best, other| if other.value < best.value { other } else { best })?;
    Some(kernel(&best.place))
}

/// Minus the logarithm of likelihood and prior, with the memory that it takes.
struct Likelihood<'a> {
    dimensions: &'a [Dimension],
    points: &'a Columns,
    values: &'a [f64],
    /// The kernel's matrix, its factor, its inverse.
    matrix: Mat<f64>,
    inverse_factor: Mat<f64>,
    /// Slopes of the covariances, below the diagonal.
    slopes: Mat<f64>,
    memory: MemBuffer,
}

impl<'a> Likelihood<'a> {
    fn new(dimensions: &'a [Dimension], points: &'a Columns, values: &'a [f64]) -> Likelihood<'a> {
        let n = points.len();
        Likelihood {
            dimensions,
            points,
            values,
            matrix: Mat::zeros(n, n),
            inverse_factor: Mat::zeros(n, n),
            slopes: Mat::zeros(n, n),
            memory: MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, Default::default())),
        }
    }

    /// NaN where the matrix has no factor.
    fn cost(&mut self, logarithms: &[f64], gradient: &mut [f64]) -> f64 {
        let kernel = kernel(logarithms);
        let n = self.points.len();
        for j in 0..n {
            let column = &mut self.matrix.col_as_slice_mut(j)[j..];
            let slopes = &mut self.slopes.col_as_slice_mut(j)[j..];
            kernel.squares(self.dimensions, |i| self.points.at(i, j), self.points, j, column);
            kernel.covariances_and_slopes(column, slopes);
            column[0] += kernel.noise;
        }
        let stack = MemStack::new(&mut self.memory);
        let factor = cholesky_in_place(self.matrix.as_mut(), Default::default(), Par::Seq, stack, Default::default());
        if factor.is_err() {
            return f64::NAN;
        }
        let log_determinant: f64 = (0..n).map(|i| libm::log(self.matrix[(i, i)])).sum();
        invert_lower_triangular(self.inverse_factor.as_mut(), self.matrix.as_ref(), Par::Seq);
        let coefficients = self.coefficients();
        let inverse = self.inverse_factor.as_ref();
        matmul(
            self.matrix.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Replace,
            inverse.transpose(),
            BlockStructure::TriangularUpper,
            inverse,
            BlockStructure::TriangularLower,
            1.0,
            Par::Seq,
        );
        let fit = dot(&coefficients, self.values);
        self.write_gradient(&kernel, &coefficients, fit, gradient);
        let mut cost = 0.5 * fit + log_determinant;
        let weights = weight_prior(self.dimensions.len());
        let priors = (0..self.dimensions.len()).map(|_| &weights).chain([&SIGNAL, &NOISE]);
        for ((prior, logarithm), gradient) in priors.zip(logarithms).zip(gradient) {
            let (value, slope) = prior.cost(*logarithm);
            cost += value;
            *gradient += slope;
        }
        cost
    }

    /// `K^-1 y`
    fn coefficients(&self) -> Vec<f64> {
        let n = self.values.len();
        let mut whitened = vec![0.0; n];
        for (j, value) in self.values.iter().enumerate() {
            let column = &self.inverse_factor.col_as_slice(j)[j..];
            whitened[j..].iter_mut().zip(column).for_each(|(sum, x)| *sum += x * value);
        }
        (0..n).map(|j| dot(&self.inverse_factor.col_as_slice(j)[j..], &whitened[j..])).collect()
    }

    /// `-1/2 tr((a a' - K^-1) dK)` for every parameter, `a` the coefficients; the matrix holds the inverse's lower half.
    fn write_gradient(&mut self, kernel: &Kernel, coefficients: &[f64], fit: f64, gradient: &mut [f64]) {
        let n = self.values.len();
        gradient.fill(0.0);
        let (mut trace, mut sum) = (0.0, 0.0);
        let mut differences = vec![0.0; n];
        for j in 0..n {
            let inverse = &self.matrix.col_as_slice(j)[j..];
            let pulls = &mut self.slopes.col_as_slice_mut(j)[j..];
            trace += coefficients[j] * coefficients[j] - inverse[0];
            for ((pull, inverse), other) in pulls.iter_mut().zip(inverse).zip(&coefficients[j..]) {
                *pull *= coefficients[j] * other - inverse;
            }
            sum += inverse[0] - 2.0 * inverse.iter().sum::<f64>();
            let differences = &mut differences[j..];
            for (i, dimension) in self.dimensions.iter().enumerate() {
                let x = self.points.at(i, j);
                let column = &self.points.column(i)[j..];
                match dimension {
                    Dimension::Number => {
                        for (difference, other) in differences.iter_mut().zip(column) {
                            *difference = (x - other) * (x - other);
                        }
                    }
                    Dimension::Choice => {
                        for (difference, other) in differences.iter_mut().zip(column) {
                            *difference = if x == *other { 0.0 } else { 1.0 };
                        }
                    }
                }
                gradient[i] -= kernel.weights[i] * dot(pulls, differences);
            }
        }
        let total: f64 = coefficients.iter().sum();
        // tr((a a' - K^-1) K) = a' y - n, of which noise and mean are parts.
        let rest = self.dimensions.len();
        gradient[rest] = -0.5 * (fit - n as f64 - kernel.noise * trace - MEAN_VARIANCE * (total * total + sum));
        gradient[rest + 1] = -0.5 * kernel.noise * trace;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, normal_f64, uniform_f64};

    const DIMENSIONS: [Dimension; 3] = [Dimension::Number, Dimension::Number, Dimension::Choice];

    /// Depends on the first dimension and on the third.
    fn data(n: u64, noise: f64) -> (Columns, Vec<f64>) {
        let (mut points, mut values) = (Columns::new(3), Vec::new());
        for number in 0..n {
            let key = Key::from_seed(number);
            let uniform = |counter| uniform_f64(key.words(counter));
            let point = [uniform(0), uniform(1), (uniform(2) * 3.0).floor()];
            points.push(&point);
            values.push(libm::sin(7.0 * point[0]) + 0.5 * point[2] - 0.5 + noise * normal_f64(key.words(3)));
        }
        (points, values)
    }

    #[test]
    fn gradients_are_what_the_likelihood_changes_by() {
        let (points, values) = data(25, 0.1);
        let mut likelihood = Likelihood::new(&DIMENSIONS, &points, &values);
        let place = [1.0, -1.5, 0.3, 0.4, -4.0];
        let mut gradient = [0.0; 5];
        likelihood.cost(&place, &mut gradient);
        for axis in 0..5 {
            let mut at = |step: f64| {
                let mut moved = place;
                moved[axis] += step;
                likelihood.cost(&moved, &mut [0.0; 5])
            };
            let measured = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                (gradient[axis] - measured).abs() < 1e-5 * (1.0 + measured.abs()),
                "{axis}: {gradient:?} {measured}"
            );
        }
    }

    #[test]
    fn noise_and_what_matters_are_found() {
        for noise in [0.0, 0.3] {
            let (points, values) = data(80, noise);
            let kernel = fit(&DIMENSIONS, &points, &values, None, true, 100).expect("finite");
            let [first, second, _] = kernel.weights[..] else { panic!("three dimensions") };
            assert!(first > 20.0 * second, "{kernel:?}");
            let expected = noise * noise;
            assert!(kernel.noise > 0.5 * expected && kernel.noise < 2.0 * expected + 1e-4, "{kernel:?}");
        }
    }

    #[test]
    fn a_fit_from_where_the_last_one_ended_stays_there() {
        let (points, values) = data(60, 0.1);
        let thorough = fit(&DIMENSIONS, &points, &values, None, true, 100).expect("finite");
        let again = fit(&DIMENSIONS, &points, &values, Some(&thorough), false, 100).expect("finite");
        assert!((again.noise / thorough.noise - 1.0).abs() < 0.05, "{thorough:?} {again:?}");
    }
}
