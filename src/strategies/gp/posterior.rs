//! What the process says of a place, given a kernel and data; and given that some further places will be looked at.
//!
//! Kept is the inverse of Cholesky's factor, `K = L L'`, row by row: a new point is a new row for O(n^2), and to forget the
//! last points is to cut their rows off. Places that are out (kriging believer, Ginsbourger et al. 2010) are taken to come
//! out as predicted: they leave every mean where it is and lower the variance around them.

use super::features::Dimension;
use super::kernel::{Columns, Kernel};
use super::wide::{Loops, dot, leaning, wide};
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{Mat, MatRef, Par, Side};

/// What is added to the diagonal, in units of a point's variance, until the matrix has a factor.
const JITTER: [f64; 6] = [0.0, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2];

/// A kernel and the points it is conditioned on.
#[derive(Debug)]
pub(super) struct Posterior {
    dimensions: Vec<Dimension>,
    kernel: Kernel,
    points: Columns,
    /// Noise with jitter.
    noise: f64,
    /// Rows of `L^-1`, `stride` apart.
    rows: Vec<f64>,
    stride: usize,
    /// `K^-1 y` of the data, which come first.
    coefficients: Vec<f64>,
    values: Vec<f64>,
}

/// What predictions write to.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The point, bent.
    place: Vec<f64>,
    covariances: Vec<f64>,
    slopes: Vec<f64>,
    /// `L^-1 k`
    whitened: Vec<f64>,
    /// `K^-1 k`
    weights: Vec<f64>,
}

impl Posterior {
    /// Given data. None where the kernel has no factor, which takes numbers that are not finite.
    pub(super) fn new(
        dimensions: &[Dimension],
        kernel: Kernel,
        mut points: Columns,
        values: Vec<f64>,
        room: usize,
    ) -> Option<Posterior> {
        kernel.bend_columns(&mut points);
        let n = points.len();
        let mut matrix = Mat::<f64>::zeros(n, n);
        wide(Fill(&kernel, dimensions, &points, &mut matrix));
        let (noise, inverse) = JITTER.iter().find_map(|jitter| {
            let noise = kernel.noise + jitter * kernel.variance();
            let mut noisy = matrix.clone();
            (0..n).for_each(|i| noisy[(i, i)] += noise);
            let factor = noisy.llt(Side::Lower).ok()?;
            let mut inverse = Mat::<f64>::zeros(n, n);
            invert_lower_triangular(inverse.as_mut(), factor.L(), Par::Seq);
            let is_finite = (0..n).all(|j| inverse.col_as_slice(j).iter().all(|x| x.is_finite()));
            is_finite.then_some((noise, inverse))
        })?;
        let stride = n + room;
        let mut rows = vec![0.0; stride * stride];
        for j in 0..n {
            for (i, x) in inverse.col_as_slice(j).iter().enumerate().skip(j) {
                rows[i * stride + j] = *x;
            }
        }
        let coefficients = Vec::new();
        let dimensions = dimensions.to_vec();
        let mut posterior = Posterior { dimensions, kernel, points, noise, rows, stride, coefficients, values };
        posterior.solve();
        Some(posterior)
    }

    pub(super) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// How many are data.
    pub(super) fn data(&self) -> usize {
        self.values.len()
    }

    /// Forgets the places that are out.
    pub(super) fn forget(&mut self) {
        self.points.truncate(self.values.len());
    }

    /// Takes further data; nothing is out.
    pub(super) fn learn(&mut self, points: &[&[f64]], values: &[f64], scratch: &mut Scratch) {
        self.forget();
        for (point, value) in points.iter().zip(values) {
            self.await_outcome(point, scratch);
            self.values.push(*value);
        }
        self.solve();
    }

    /// A place that is out. Gives `L^-1 k` of it and the last entry of its row in `L`, with which others are updated.
    pub(super) fn await_outcome<'a>(&mut self, point: &[f64], scratch: &'a mut Scratch) -> (&'a [f64], f64) {
        let n = self.points.len();
        if n == self.stride {
            self.make_room();
        }
        self.whiten(point, scratch);
        let explained = dot(&scratch.whitened, &scratch.whitened);
        // A point that is there already leaves its noise and nothing else.
        let left = (self.kernel.variance() + self.noise - explained).max(self.noise.max(1e-12));
        let last = left.sqrt();
        self.transpose_product(scratch);
        let row = &mut self.rows[n * self.stride..][..=n];
        for (row, weight) in row.iter_mut().zip(&scratch.weights) {
            *row = -weight / last;
        }
        row[n] = 1.0 / last;
        self.points.push(&scratch.place);
        (&scratch.whitened, last)
    }

    fn make_room(&mut self) {
        let stride = self.stride * 2 + 8;
        let mut rows = vec![0.0; stride * stride];
        for (new, old) in rows.chunks_exact_mut(stride).zip(self.rows.chunks_exact(self.stride.max(1))) {
            new[..self.stride].copy_from_slice(old);
        }
        (self.rows, self.stride) = (rows, stride);
    }

    #[inline(always)]
    fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.stride..][..=i]
    }

    /// `K^-1 y`
    fn solve(&mut self) {
        let n = self.values.len();
        let mut coefficients = vec![0.0; n];
        for i in 0..n {
            let row = self.row(i);
            let whitened = dot(row, &self.values[..=i]);
            coefficients.iter_mut().zip(row).for_each(|(sum, x)| *sum += whitened * x);
        }
        self.coefficients = coefficients;
    }

    /// The mean at each datum: `y - noise K^-1 y`.
    pub(super) fn means_of_data(&self) -> impl Iterator<Item = f64> {
        self.values.iter().zip(&self.coefficients).map(|(value, coefficient)| value - self.noise * coefficient)
    }

    /// Covariances with a point, and `L^-1` times them.
    fn whiten(&self, point: &[f64], scratch: &mut Scratch) {
        let n = self.points.len();
        let Scratch { place, covariances, slopes, whitened, .. } = scratch;
        place.clear();
        place.extend_from_slice(point);
        self.kernel.bend(place);
        covariances.resize(n, 0.0);
        slopes.resize(n, 0.0);
        whitened.resize(n, 0.0);
        wide(Whiten(self, place, covariances, slopes, whitened));
    }

    /// `L^-T` times what is whitened.
    fn transpose_product(&self, scratch: &mut Scratch) {
        scratch.weights.clear();
        scratch.weights.resize(self.points.len(), 0.0);
        wide(AddRows(self, &scratch.whitened, &mut scratch.weights));
    }

    /// Mean and variance at a point, without noise.
    pub(super) fn predict(&self, point: &[f64], scratch: &mut Scratch) -> (f64, f64) {
        self.whiten(point, scratch);
        let mean = dot(&scratch.covariances[..self.values.len()], &self.coefficients);
        (mean, self.kernel.variance() - dot(&scratch.whitened, &scratch.whitened))
    }

    /// After [`Posterior::predict`] of the same point: how `by_mean` times the mean and `by_variance` times the variance
    /// change along some dimensions of numbers.
    pub(super) fn gradient(
        &self,
        point: &[f64],
        [by_mean, by_variance]: [f64; 2],
        along: &[usize],
        scratch: &mut Scratch,
        out: &mut [f64],
    ) {
        self.transpose_product(scratch);
        // The variance changes by -2 w' dk.
        scratch.weights.iter_mut().for_each(|weight| *weight *= -2.0 * by_variance);
        for (weight, coefficient) in scratch.weights.iter_mut().zip(&self.coefficients) {
            *weight += by_mean * coefficient;
        }
        scratch.weights.iter_mut().zip(&scratch.slopes).for_each(|(weight, slope)| *weight *= slope);
        for (out, i) in out.iter_mut().zip(along) {
            let pulled = wide(Lean(scratch.place[*i], self.points.column(*i), &scratch.weights));
            *out = 2.0 * self.kernel.weights[*i] * pulled;
            if let Some(Some(warp)) = self.kernel.warps.get(*i) {
                *out *= warp.slope(point[*i]);
            }
        }
    }

    /// The covariances of a point with others, all of them bent.
    pub(super) fn covariances(&self, point: impl Fn(usize) -> f64, others: &Columns, out: &mut [f64]) {
        wide(Covary(&self.kernel, &self.dimensions, point, others, out));
    }

    /// Covariances of all points, one a row, with some others, bent, one a column; and `L^-1` times them, in rows.
    pub(super) fn whitened(&self, others: &Columns) -> (Vec<f64>, Vec<f64>) {
        let (n, m) = (self.points.len(), others.len());
        let mut covariances = vec![0.0; n * m];
        for (j, row) in covariances.chunks_exact_mut(m.max(1)).enumerate() {
            self.covariances(|i| self.points.at(i, j), others, row);
        }
        let mut whitened = vec![0.0; n * m];
        use faer::linalg::matmul::triangular::{BlockStructure, matmul};
        if n > 0 && m > 0 {
            let lower =
                MatRef::from_row_major_slice_with_stride(&self.rows[..(n - 1) * self.stride + n], n, n, self.stride);
            matmul(
                faer::MatMut::from_row_major_slice_mut(&mut whitened, n, m),
                BlockStructure::Rectangular,
                faer::Accum::Replace,
                lower,
                BlockStructure::TriangularLower,
                MatRef::from_row_major_slice(&covariances, n, m),
                BlockStructure::Rectangular,
                1.0,
                Par::Seq,
            );
        }
        (covariances, whitened)
    }

    /// `K^-1 y`, one for each datum.
    pub(super) fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }
}

/// The kernel's matrix, its lower half.
struct Fill<'a>(&'a Kernel, &'a [Dimension], &'a Columns, &'a mut Mat<f64>);

impl Loops for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Fill(kernel, dimensions, points, matrix) = self;
        for j in 0..points.len() {
            let column = &mut matrix.col_as_slice_mut(j)[j..];
            kernel.squares(dimensions, |i| points.at(i, j), points, j, column);
            kernel.covariances(column);
        }
    }
}

/// Covariances with a bent place, their slopes, and `L^-1` times the former.
struct Whiten<'a>(&'a Posterior, &'a [f64], &'a mut [f64], &'a mut [f64], &'a mut [f64]);

impl Loops for Whiten<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Whiten(of, place, covariances, slopes, whitened) = self;
        of.kernel.squares(&of.dimensions, |i| place[i], &of.points, 0, covariances);
        of.kernel.covariances_and_slopes(covariances, slopes);
        for (i, whitened) in whitened.iter_mut().enumerate() {
            *whitened = dot(of.row(i), &covariances[..=i]);
        }
    }
}

/// Adds `L^-T` times what is whitened to the weights.
struct AddRows<'a>(&'a Posterior, &'a [f64], &'a mut [f64]);

impl Loops for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let AddRows(of, whitened, weights) = self;
        for (i, whitened) in whitened.iter().enumerate() {
            weights.iter_mut().zip(of.row(i)).for_each(|(sum, x)| *sum += whitened * x);
        }
    }
}

/// The covariances of a point with others.
struct Covary<'a, P>(&'a Kernel, &'a [Dimension], P, &'a Columns, &'a mut [f64]);

impl<P: Fn(usize) -> f64> Loops for Covary<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Covary(kernel, dimensions, point, others, out) = self;
        kernel.squares(dimensions, point, others, 0, out);
        kernel.covariances(out);
    }
}

/// See [`leaning`].
struct Lean<'a>(f64, &'a [f64], &'a [f64]);

impl Loops for Lean<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        leaning(self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::super::warp::Warp;
    use super::*;
    use crate::base::random::{Key, uniform_f64};

    const DIMENSIONS: [Dimension; 3] = [Dimension::Number, Dimension::Number, Dimension::Choice];

    fn point(number: u64) -> Vec<f64> {
        let key = Key::from_seed(number);
        vec![uniform_f64(key.words(0)), uniform_f64(key.words(1)), (uniform_f64(key.words(2)) * 3.0).floor()]
    }

    fn value(point: &[f64]) -> f64 {
        libm::sin(5.0 * point[0]) + point[1] * point[1] - 0.3 * point[2]
    }

    fn posterior(points: u64) -> Posterior {
        let kernel = Kernel { weights: vec![8.0, 3.0, 0.7], signal: 1.3, noise: 1e-4, warps: Vec::new() };
        let mut columns = Columns::new(3);
        (0..points).for_each(|number| columns.push(&point(number)));
        let values = (0..points).map(|number| value(&point(number))).collect();
        Posterior::new(&DIMENSIONS, kernel, columns, values, 2).expect("a factor")
    }

    #[test]
    fn data_come_back_and_far_from_them_the_prior_does() {
        let (posterior, mut scratch) = (posterior(40), Scratch::default());
        for number in 0..40 {
            let (mean, variance) = posterior.predict(&point(number), &mut scratch);
            assert!((mean - value(&point(number))).abs() < 0.02 && (0.0..1e-3).contains(&variance));
        }
        let error = |number: u64, scratch: &mut Scratch| {
            let (mean, _) = posterior.predict(&point(number), scratch);
            (mean - value(&point(number))).abs()
        };
        let error = (100..140).map(|number| error(number, &mut scratch)).sum::<f64>() / 40.0;
        // Without the data it would be 0.6.
        assert!(error < 0.15, "{error}");
        let (_, variance) = posterior.predict(&[60.0, -60.0, 9.0], &mut scratch);
        assert!(variance > 1.3);
        let mean = posterior.means_of_data().next().expect("data");
        assert!((mean - posterior.predict(&point(0), &mut scratch).0).abs() < 1e-9);
    }

    #[test]
    fn points_learnt_one_by_one_are_as_good_as_together() {
        let (together, mut one_by_one) = (posterior(60), posterior(20));
        let mut scratch = Scratch::default();
        one_by_one.await_outcome(&point(77), &mut scratch);
        for number in 20..60 {
            one_by_one.learn(&[&point(number)], &[value(&point(number))], &mut scratch);
        }
        for number in 100..120 {
            let (a, b) =
                (together.predict(&point(number), &mut scratch), one_by_one.predict(&point(number), &mut scratch));
            assert!((a.0 - b.0).abs() < 1e-8 && (a.1 - b.1).abs() < 1e-8, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_place_that_is_out_leaves_means_and_lowers_variances_and_is_forgotten() {
        let (mut posterior, mut scratch) = (posterior(20), Scratch::default());
        let before = posterior.predict(&point(50), &mut scratch);
        posterior.await_outcome(&point(50), &mut scratch);
        let out = posterior.predict(&point(50), &mut scratch);
        assert!((out.0 - before.0).abs() < 1e-12 && out.1 < 2e-4 && before.1 > 1e-3, "{before:?} {out:?}");
        posterior.forget();
        assert_eq!(posterior.predict(&point(50), &mut scratch), before);
    }

    #[test]
    fn many_points_at_once_are_predicted_as_one_by_one() {
        let (mut posterior, mut scratch) = (posterior(30), Scratch::default());
        posterior.await_outcome(&point(50), &mut scratch);
        let mut others = Columns::new(3);
        (60..75).for_each(|number| others.push(&point(number)));
        let (covariances, whitened) = posterior.whitened(&others);
        for j in 0..15 {
            let (mean, variance) = posterior.predict(&point(60 + j as u64), &mut scratch);
            let at = |values: &[f64], i: usize| values[i * 15 + j];
            let same = (0..30).map(|i| at(&covariances, i) * posterior.coefficients()[i]).sum::<f64>();
            let left = posterior.kernel.variance() - (0..31).map(|i| at(&whitened, i).powi(2)).sum::<f64>();
            assert!((mean - same).abs() < 1e-10 && (variance - left).abs() < 1e-10);
        }
    }

    #[test]
    fn gradients_are_what_mean_and_variance_change_by() {
        gradients_are_right(posterior(30));
    }

    #[test]
    fn and_where_axes_are_bent() {
        let straight = posterior(30);
        let warps = vec![Some(Warp { a: 0.5, b: 1.4 }), Some(Warp { a: 2.0, b: 0.8 }), None];
        let kernel = Kernel { warps, ..straight.kernel.clone() };
        let values = straight.values;
        gradients_are_right(Posterior::new(&DIMENSIONS, kernel, straight.points, values, 2).expect("a factor"));
    }

    fn gradients_are_right(mut posterior: Posterior) {
        let mut scratch = Scratch::default();
        posterior.await_outcome(&point(50), &mut scratch);
        let x = [0.41, 0.63, 1.0];
        for share in [[1.0, 0.0], [0.0, 1.0], [0.7, -2.0]] {
            let mut gradient = [0.0; 2];
            posterior.predict(&x, &mut scratch);
            posterior.gradient(&x, share, &[0, 1], &mut scratch, &mut gradient);
            for axis in 0..2 {
                let mut at = |step: f64| {
                    let mut moved = x;
                    moved[axis] += step;
                    let (mean, variance) = posterior.predict(&moved, &mut scratch);
                    share[0] * mean + share[1] * variance
                };
                let measured = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((gradient[axis] - measured).abs() < 1e-6, "{share:?}: {} {measured}", gradient[axis]);
            }
        }
    }
}
