//! The kernel that the data make most likely, by L-BFGS on the logarithms of its parameters.
//!
//! Lengths have the log-normal prior of Hvarfner et al. 2024 ("Vanilla Bayesian optimization performs great in high
//! dimensions", arXiv:2402.02229), whose mean grows with the root of the dimensions: without it, forty axes and forty data
//! have as many explanations as axes. Gradients: Rasmussen & Williams 2006, eq. (5.9).

use super::features::Dimension;
use super::kernel::{Columns, Kernel, MEAN_VARIANCE};
use super::lbfgs::{self, Limits};
use super::warp::{self, Warp};
use super::wide::{Loops, dot, pulled_squares, pulled_squares_and_leanings, pulls_apart, sum, wide};
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
/// Of the logarithm of a bend's exponent: most axes are straight.
const BEND: Normal = Normal { mean: 0.0, variance: 0.15 };
/// Bounds of the logarithms.
const LEAST_NOISE: f64 = -18.0;
const MOST_NOISE: f64 = 1.0;
const SIGNAL_RANGE: [f64; 2] = [-7.0, 7.0];
const WEIGHT_RANGE: [f64; 2] = [-16.0, 14.0];
const MOST_BEND: f64 = 2.5;

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
    kernel(&start(dimensions, 0, 0.0), &vec![Dimension::Choice; dimensions])
}

/// Logarithms to start from, `shift` away from the prior's weights.
fn start(dimensions: usize, bent: usize, shift: f64) -> Vec<f64> {
    let mut start = vec![weight_prior(dimensions).mean + shift; dimensions];
    start.extend([SIGNAL.mean, NOISE.mean]);
    start.resize(dimensions + 2 + 2 * bent, 0.0);
    start
}

/// Of logarithms: the weights', the signal's, the noise's, and, where there are more, two a dimension of numbers.
fn kernel(logarithms: &[f64], dimensions: &[Dimension]) -> Kernel {
    let (weights, rest) = logarithms.split_at(dimensions.len());
    let (rest, bends) = rest.split_at(2);
    let mut bends = bends.chunks_exact(2).map(|pair| Warp { a: libm::exp(pair[0]), b: libm::exp(pair[1]) });
    let is_bent = bends.len() > 0;
    let warp = |dimension: &Dimension| if *dimension == Dimension::Number { bends.next() } else { None };
    Kernel {
        weights: weights.iter().map(|log| libm::exp(*log)).collect(),
        signal: libm::exp(rest[0]),
        noise: libm::exp(rest[1]),
        warps: if is_bent { dimensions.iter().map(warp).collect() } else { Vec::new() },
    }
}

/// The logarithms that a kernel is of, with bends of so many dimensions.
fn logarithms(kernel: &Kernel, bent: usize) -> Vec<f64> {
    let mut logarithms: Vec<f64> =
        kernel.weights.iter().chain([&kernel.signal, &kernel.noise]).map(|x| libm::log(*x)).collect();
    let plain = logarithms.len();
    if bent > 0 {
        logarithms.extend(kernel.warps.iter().flatten().flat_map(|warp| [libm::log(warp.a), libm::log(warp.b)]));
    }
    logarithms.resize(plain + 2 * bent, 0.0);
    logarithms
}

/// Fits anew: from the kernel that was, and, where it is `thorough`, from the prior and from lengths a fifth of the prior's.
/// Where it `bends`, dimensions of numbers are bent.
pub(super) fn fit(
    dimensions: &[Dimension],
    points: &Columns,
    values: &[f64],
    before: Option<&Kernel>,
    [thorough, bends]: [bool; 2],
    calls: u32,
) -> Option<Kernel> {
    let bent = if bends { dimensions.iter().filter(|dimension| **dimension == Dimension::Number).count() } else { 0 };
    let mut starts: Vec<Vec<f64>> = before.map(|kernel| logarithms(kernel, bent)).into_iter().collect();
    if thorough || starts.is_empty() {
        starts.extend([0.0, 3.2].map(|shift| start(dimensions.len(), bent, shift)));
    }
    let mut low = vec![WEIGHT_RANGE[0]; dimensions.len()];
    let mut high = vec![WEIGHT_RANGE[1]; dimensions.len()];
    low.extend([SIGNAL_RANGE[0], LEAST_NOISE]);
    high.extend([SIGNAL_RANGE[1], MOST_NOISE]);
    low.resize(low.len() + 2 * bent, -MOST_BEND);
    high.resize(high.len() + 2 * bent, MOST_BEND);
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
    Some(kernel(&best.place, dimensions))
}

/// Minus the logarithm of likelihood and prior, with the memory that it takes.
struct Likelihood<'a> {
    dimensions: &'a [Dimension],
    points: &'a Columns,
    values: &'a [f64],
    /// Points, bent; and of each bent dimension how its column changes with the two logarithms.
    bent: Columns,
    bends: Vec<[Vec<f64>; 2]>,
    /// Logarithms of the places along each bent dimension.
    logarithms: Vec<Vec<f64>>,
    /// For each bent dimension, by point: the sum of pulls times differences.
    leanings: Vec<Vec<f64>>,
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
            bent: points.clone(),
            bends: Vec::new(),
            logarithms: Vec::new(),
            leanings: Vec::new(),
            matrix: Mat::zeros(n, n),
            inverse_factor: Mat::zeros(n, n),
            slopes: Mat::zeros(n, n),
            memory: MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, Default::default())),
        }
    }

    /// NaN where the matrix has no factor.
    fn cost(&mut self, logarithms: &[f64], gradient: &mut [f64]) -> f64 {
        let kernel = kernel(logarithms, self.dimensions);
        let n = self.points.len();
        self.bend(&kernel);
        wide(Fill(self, &kernel));
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
        let priors = priors.chain((0..2 * self.bends.len()).map(|_| &BEND));
        for ((prior, logarithm), gradient) in priors.zip(logarithms).zip(gradient) {
            let (value, slope) = prior.cost(*logarithm);
            cost += value;
            *gradient += slope;
        }
        cost
    }

    fn bend(&mut self, kernel: &Kernel) {
        let n = self.points.len();
        let warps = kernel.warps.iter().enumerate().filter_map(|(dimension, warp)| Some((dimension, (*warp)?)));
        for (number, (dimension, bend)) in warps.enumerate() {
            if self.bends.len() == number {
                self.bends.push([vec![0.0; n], vec![0.0; n]]);
                let places = self.points.column(dimension).iter();
                self.logarithms.push(places.map(|x| libm::log(warp::inside(*x))).collect());
                self.leanings.push(vec![0.0; n]);
            }
            bend.bend_all(&self.logarithms[number], self.bent.column_mut(dimension), &mut self.bends[number]);
        }
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
        self.leanings.iter_mut().for_each(|leanings| leanings.fill(0.0));
        let [trace, sum] = wide(Pull(self, kernel, coefficients, gradient));
        let total: f64 = coefficients.iter().sum();
        // tr((a a' - K^-1) K) = a' y - n, of which noise and mean are parts.
        let rest = self.dimensions.len();
        gradient[rest] = -0.5 * (fit - n as f64 - kernel.noise * trace - MEAN_VARIANCE * (total * total + sum));
        gradient[rest + 1] = -0.5 * kernel.noise * trace;
        // A squared difference changes by 2 (u_i - u_j) (du_i - du_j).
        let numbers = self.dimensions.iter().zip(&kernel.weights).filter(|(kind, _)| **kind == Dimension::Number);
        let bends = self.bends.iter().zip(&self.leanings).zip(gradient[rest + 2..].chunks_exact_mut(2));
        for ((_, weight), ((bends, leanings), gradient)) in numbers.zip(bends) {
            gradient.iter_mut().zip(bends).for_each(|(slope, bend)| *slope = -2.0 * weight * dot(bend, leanings));
        }
    }
}

/// The kernel's matrix and its slopes, their lower halves.
struct Fill<'l, 'd>(&'l mut Likelihood<'d>, &'l Kernel);

impl Loops for Fill<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Fill(of, kernel) = self;
        for j in 0..of.points.len() {
            let column = &mut of.matrix.col_as_slice_mut(j)[j..];
            let slopes = &mut of.slopes.col_as_slice_mut(j)[j..];
            kernel.squares(of.dimensions, |i| of.bent.at(i, j), &of.bent, j, column);
            kernel.covariances_and_slopes(column, slopes);
            column[0] += kernel.noise;
        }
    }
}

/// Turns slopes into pulls, of which the gradient along the weights and the leanings are sums. Gives the trace of `a a' - K^-1`,
/// and the sum over `-K^-1`.
struct Pull<'l, 'd>(&'l mut Likelihood<'d>, &'l Kernel, &'l [f64], &'l mut [f64]);

impl Loops for Pull<'_, '_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run(self) -> [f64; 2] {
        let Pull(of, kernel, coefficients, gradient) = self;
        let (mut trace, mut total) = (0.0, 0.0);
        for j in 0..coefficients.len() {
            let mut leanings = of.leanings.iter_mut();
            let inverse = &of.matrix.col_as_slice(j)[j..];
            let pulls = &mut of.slopes.col_as_slice_mut(j)[j..];
            trace += coefficients[j] * coefficients[j] - inverse[0];
            for ((pull, inverse), other) in pulls.iter_mut().zip(inverse).zip(&coefficients[j..]) {
                *pull *= coefficients[j] * other - inverse;
            }
            total += inverse[0] - 2.0 * sum(inverse);
            for (i, dimension) in of.dimensions.iter().enumerate() {
                let x = of.bent.at(i, j);
                let column = &of.bent.column(i)[j..];
                let squares = match dimension {
                    Dimension::Choice => pulls_apart(x, column, pulls),
                    Dimension::Number => match leanings.next() {
                        Some(leanings) => {
                            let (squares, lean) = pulled_squares_and_leanings(x, column, pulls, &mut leanings[j..]);
                            leanings[j] += lean;
                            squares
                        }
                        None => pulled_squares(x, column, pulls),
                    },
                };
                gradient[i] -= kernel.weights[i] * squares;
            }
        }
        [trace, total]
    }
}

#[cfg(test)]
mod tests {
    use super::super::posterior::{Posterior, Scratch};
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
        let straight = vec![1.0, -1.5, 0.3, 0.4, -4.0];
        let bent = [straight.as_slice(), &[0.3, -0.4, -0.6, 0.2]].concat();
        for place in [straight, bent] {
            let mut likelihood = Likelihood::new(&DIMENSIONS, &points, &values);
            let mut gradient = vec![0.0; place.len()];
            likelihood.cost(&place, &mut gradient);
            for axis in 0..place.len() {
                let mut at = |step: f64| {
                    let mut moved = place.clone();
                    moved[axis] += step;
                    likelihood.cost(&moved, &mut vec![0.0; place.len()])
                };
                let measured = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    (gradient[axis] - measured).abs() < 1e-5 * (1.0 + measured.abs()),
                    "{axis}: {gradient:?} {measured}"
                );
            }
        }
    }

    #[test]
    fn what_lives_at_one_end_of_an_axis_is_predicted_better_bent() {
        let value = |x: f64| libm::sin(3.0 * libm::log(x + 0.02));
        let (mut points, mut values) = (Columns::new(1), Vec::new());
        for number in 0..40 {
            let x = (f64::from(number) + 0.5) / 40.0;
            points.push(&[x]);
            values.push(value(x));
        }
        let error = |bends: bool| {
            let kernel = fit(&DIMENSIONS[..1], &points, &values, None, [true, bends], 200).expect("finite");
            let posterior = Posterior::new(&DIMENSIONS[..1], kernel, points.clone(), values.clone(), 0);
            let (posterior, mut scratch) = (posterior.expect("a factor"), Scratch::default());
            let off = |x: f64, scratch: &mut Scratch| posterior.predict(&[x], scratch).0 - value(x);
            let squares = (0..40).map(|number| off(f64::from(number) / 40.0, &mut scratch).powi(2));
            (squares.sum::<f64>() / 40.0).sqrt()
        };
        let (straight, bent) = (error(false), error(true));
        assert!(bent < 0.7 * straight, "{straight} straight, {bent} bent");
    }

    #[test]
    fn noise_and_what_matters_are_found() {
        for noise in [0.0, 0.3] {
            let (points, values) = data(80, noise);
            let kernel = fit(&DIMENSIONS, &points, &values, None, [true, false], 100).expect("finite");
            let [first, second, _] = kernel.weights[..] else { panic!("three dimensions") };
            assert!(first > 20.0 * second, "{kernel:?}");
            let expected = noise * noise;
            assert!(kernel.noise > 0.5 * expected && kernel.noise < 2.0 * expected + 1e-4, "{kernel:?}");
        }
    }

    #[test]
    fn a_fit_from_where_the_last_one_ended_stays_there() {
        let (points, values) = data(60, 0.1);
        let thorough = fit(&DIMENSIONS, &points, &values, None, [true, false], 100).expect("finite");
        let again = fit(&DIMENSIONS, &points, &values, Some(&thorough), [false, false], 100).expect("finite");
        assert!((again.noise / thorough.noise - 1.0).abs() < 0.05, "{thorough:?} {again:?}");
    }
}
