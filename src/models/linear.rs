//! What models that are linear in the features share: the weighted means and centred rows of a fold, and predictions of
//! sixteen lanes.
//!
//! Whatever is computed once a fold is computed in f64, on one thread, row by row in their order.

use crate::backend::cpu::math;
use crate::backend::cpu::simd::{LANES, Lanes, Simd};
use crate::backend::{WeightArray, Weights};
use crate::data::{Affine, Fold, Rows, Target};
use crate::space::{Domain, Space};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use ndarray::{ArrayView2, CowArray, Ix2, s};
use std::ops::Range;

/// Rows that are brought into f64 at a time.
const CHUNK_ROWS: usize = 1024;

/// What a row counts for by its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassWeight {
    /// Nothing: all classes alike.
    None,
    /// `rows / (classes that occur * rows of the class)`, as scikit-learn's "balanced".
    Balanced,
}

impl ClassWeight {
    /// Names in a space, in the order of the codes.
    pub const NAMES: [&'static str; 2] = ["none", "balanced"];

    /// From its name in a space; what is not there is `None`.
    pub fn from_name(name: Option<&str>) -> ClassWeight {
        if name == Some("balanced") { ClassWeight::Balanced } else { ClassWeight::None }
    }
}

/// How often each class occurs.
pub fn class_counts(codes: &[u32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    codes.iter().for_each(|code| counts[*code as usize] += 1);
    counts
}

/// What each row counts for, its own weight times its class's; none where all count alike.
pub fn row_weights(rows: &Rows, class_weight: ClassWeight) -> Option<Vec<f64>> {
    let own = rows.weight.as_ref().map(|weights| weights.iter().map(|weight| f64::from(*weight)).collect());
    let (Target::Classes { codes, classes }, ClassWeight::Balanced) = (&rows.y, class_weight) else { return own };
    let counts = class_counts(codes, *classes);
    let present = counts.iter().filter(|count| **count > 0).count() as f64;
    let mut weights: Vec<f64> = own.unwrap_or_else(|| vec![1.0; codes.len()]);
    for (weight, code) in weights.iter_mut().zip(codes) {
        *weight *= codes.len() as f64 / (present * counts[*code as usize] as f64);
    }
    Some(weights)
}

/// A fold's rows about their weighted means.
pub struct Centred<'a> {
    x: ArrayView2<'a, f32>,
    /// Targets as models are fitted to, `[rows, outputs]`: scaled numbers, or 1 for a row's own class and -1 for others.
    targets: Vec<f64>,
    weights: Option<Vec<f64>>,
    /// Columns of the targets.
    pub outputs: usize,
    /// Of each feature; zeros without an intercept, which takes up the means.
    pub mean: Vec<f64>,
    /// Of each target. Without an intercept it is the target's own zero, so that a number is fitted as it is, and not about
    /// the mean that its scaling takes away.
    pub target_mean: Vec<f64>,
    /// What all rows together count for.
    pub total: f64,
}

impl<'a> Centred<'a> {
    /// The training rows of a fold, with what each row counts for.
    pub fn new(fold: &'a Fold, weights: Option<Vec<f64>>, has_intercept: bool) -> Centred<'a> {
        Centred::of(&fold.train, fold.target, weights, has_intercept)
    }

    /// Rows of any set, whose numbers are learnt as `target` scales them.
    pub fn of(rows: &'a Rows, target: Affine, weights: Option<Vec<f64>>, has_intercept: bool) -> Centred<'a> {
        let x = rows.x.view();
        let outputs = rows.y.outputs();
        let targets: Vec<f64> = match &rows.y {
            Target::Values(values) => values.iter().map(|y| target.scaled(*y)).collect(),
            Target::Classes { codes, classes } => {
                let sign = |class: u32, code: u32| if class == code { 1.0 } else { -1.0 };
                let of_row = |code: u32| (0..*classes as u32).map(move |class| sign(class, code));
                codes.iter().flat_map(|code| of_row(*code)).collect()
            }
        };
        let total = weights.as_ref().map_or(x.nrows() as f64, |weights| weights.iter().sum());
        let (mut mean, mut target_mean) = (vec![0.0; x.ncols()], vec![0.0; outputs]);
        if !has_intercept && matches!(rows.y, Target::Values(_)) {
            target_mean.fill(target.scaled(0.0));
        }
        if has_intercept {
            for (i, (row, target)) in x.rows().into_iter().zip(targets.chunks_exact(outputs)).enumerate() {
                let share = weights.as_ref().map_or(1.0, |weights| weights[i]) / total;
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += share * f64::from(*x));
                target_mean.iter_mut().zip(target).for_each(|(mean, y)| *mean += share * y);
            }
        }
        Centred { x, targets, weights, outputs, mean, target_mean, total }
    }

    /// Ranges of rows, in order.
    pub fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.x.nrows();
        (0..rows).step_by(CHUNK_ROWS).map(move |first| first..(first + CHUNK_ROWS).min(rows))
    }

    /// Some rows' features about their means, each row times the root of what it counts for.
    pub fn features(&self, rows: Range<usize>) -> Mat<f64> {
        let x = self.x.slice(s![rows.clone(), ..]);
        let root = |i: usize| self.root(rows.start + i);
        Mat::from_fn(x.nrows(), x.ncols(), |i, j| root(i) * (f64::from(x[[i, j]]) - self.mean[j]))
    }

    /// The same of the targets.
    pub fn targets(&self, rows: Range<usize>) -> Mat<f64> {
        let target = |i: usize, k: usize| self.targets[(rows.start + i) * self.outputs + k] - self.target_mean[k];
        Mat::from_fn(rows.len(), self.outputs, |i, k| self.root(rows.start + i) * target(i, k))
    }

    /// `share X'X` and `share X'Y`.
    pub fn products(&self, share: f64) -> (Mat<f64>, Mat<f64>) {
        let features = self.x.ncols();
        let (mut gram, mut cross) = (Mat::zeros(features, features), Mat::zeros(features, self.outputs));
        for chunk in self.chunks() {
            let (x, y) = (self.features(chunk.clone()), self.targets(chunk));
            matmul(gram.as_mut(), Accum::Add, x.transpose(), x.as_ref(), share, Par::Seq);
            matmul(cross.as_mut(), Accum::Add, x.transpose(), y.as_ref(), share, Par::Seq);
        }
        (gram, cross)
    }

    fn root(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[row].sqrt())
    }
}

/// Sixteen numbers in f64, one a lane.
pub type Wide = [f64; LANES];

/// `out[i] = sum over j of matrix[i, j] * right[j]` for sixteen lanes, each sum in the order of `j`, from `matrix` in rows.
#[inline(always)]
pub fn multiply(matrix: &[f64], right: &[Wide], out: &mut [Wide]) {
    const TILE: usize = 4;
    let width = right.len().max(1);
    let mut tiles = out.chunks_exact_mut(TILE);
    let mut rows = matrix.chunks_exact(TILE * width);
    for (out, rows) in (&mut tiles).zip(&mut rows) {
        multiply_tile::<TILE>(rows, right, out);
    }
    for (out, row) in tiles.into_remainder().iter_mut().zip(rows.remainder().chunks_exact(width)) {
        multiply_tile::<1>(row, right, std::slice::from_mut(out));
    }
}

#[inline(always)]
fn multiply_tile<const R: usize>(rows: &[f64], right: &[Wide], out: &mut [Wide]) {
    let width = right.len();
    let mut sums = [[0.0; LANES]; R];
    for (j, right) in right.iter().enumerate() {
        for (i, sums) in sums.iter_mut().enumerate() {
            let factor = rows[i * width + j];
            for lane in 0..LANES {
                sums[lane] = factor.mul_add(right[lane], sums[lane]);
            }
        }
    }
    out.copy_from_slice(&sums);
}

/// Up to sixteen fitted linear models.
#[derive(Clone)]
pub struct Fitted {
    features: usize,
    /// `[outputs][features]`
    pub weights: Vec<Lanes>,
    /// `[outputs]`
    pub intercepts: Vec<Lanes>,
}

impl Fitted {
    /// Models of zeros.
    pub fn zeros(features: usize, outputs: usize) -> Fitted {
        Fitted { features, weights: vec![Lanes::ZERO; features * outputs], intercepts: vec![Lanes::ZERO; outputs] }
    }

    /// Takes one lane's weights from another group's.
    pub fn copy_lane(&mut self, to: usize, source: &Fitted, from: usize) {
        let pairs = self.weights.iter_mut().zip(&source.weights);
        pairs.chain(self.intercepts.iter_mut().zip(&source.intercepts)).for_each(|(a, b)| a.0[to] = b.0[from]);
    }

    /// One lane's `weight` `[outputs, features]` and `intercept` `[outputs]`.
    pub fn read_back(&self, lane: usize) -> Weights {
        let outputs = self.intercepts.len();
        let array = |name: &str, shape: Vec<usize>, values: &[Lanes]| WeightArray {
            name: name.to_owned(),
            shape,
            values: values.iter().map(|value| value.0[lane]).collect(),
        };
        let weight = array("weight", vec![outputs, self.features], &self.weights);
        Weights::of(vec![weight, array("intercept", vec![outputs], &self.intercepts)])
    }

    /// `out[row * outputs + output] = x w + b`, each a chain of fused multiply-adds in the order of the features.
    #[inline(always)]
    pub fn forward<V: Simd>(&self, x: ArrayView2<'_, f32>, out: &mut [Lanes]) {
        let x: CowArray<'_, f32, Ix2> = x.as_standard_layout();
        let Some(x) = x.as_slice() else { return };
        match (V::TILE_ROWS, self.intercepts.len()) {
            (8, 1) => self.forward_tiles::<V, 8, 1>(x, out),
            (8, _) => self.forward_tiles::<V, 8, 2>(x, out),
            (_, 1) => self.forward_tiles::<V, 4, 1>(x, out),
            _ => self.forward_tiles::<V, 2, 2>(x, out),
        }
    }

    #[inline(always)]
    fn forward_tiles<V: Simd, const R: usize, const Q: usize>(&self, x: &[f32], out: &mut [Lanes]) {
        let (features, outputs) = (self.features, self.intercepts.len());
        for first in (0..outputs).step_by(Q) {
            let mut x_tiles = x.chunks_exact(R * features);
            let mut out_tiles = out.chunks_exact_mut(R * outputs);
            for (x, out) in (&mut x_tiles).zip(&mut out_tiles) {
                if first + Q <= outputs {
                    self.forward_tile::<V, R, Q>(x, first, out);
                } else {
                    self.forward_tile::<V, R, 1>(x, first, out);
                }
            }
            let rows = x_tiles.remainder().chunks_exact(features);
            for (x, out) in rows.zip(out_tiles.into_remainder().chunks_exact_mut(outputs)) {
                (first..outputs.min(first + Q)).for_each(|output| self.forward_tile::<V, 1, 1>(x, output, out));
            }
        }
    }

    #[inline(always)]
    fn forward_tile<V: Simd, const R: usize, const Q: usize>(&self, x: &[f32], first: usize, out: &mut [Lanes]) {
        let (features, outputs) = (self.features, self.intercepts.len());
        let mut rows = [x; R];
        let mut columns = [&self.weights[..]; Q];
        let mut sums = [[V::zero(); Q]; R];
        for q in 0..Q {
            columns[q] = &self.weights[(first + q) * features..][..features];
            sums.iter_mut().for_each(|sums| sums[q] = V::load(&self.intercepts[first + q]));
        }
        for i in 0..R {
            rows[i] = &x[i * features..][..features];
        }
        for j in 0..features {
            let mut w = [V::zero(); Q];
            for q in 0..Q {
                w[q] = V::load(&columns[q][j]);
            }
            for i in 0..R {
                let a = V::splat(rows[i][j]);
                for q in 0..Q {
                    sums[i][q] = a.mul_add(w[q], sums[i][q]);
                }
            }
        }
        for i in 0..R {
            for q in 0..Q {
                sums[i][q].store(&mut out[i * outputs + first + q]);
            }
        }
    }
}

/// Brings predictions on the scaled target back into its own units.
#[inline(always)]
pub fn unscale<V: Simd>(out: &mut [Lanes], target: Affine) {
    let (shift, scale) = (V::splat(target.shift), V::splat(target.scale));
    out.iter_mut().for_each(|value| V::load(value).mul_add(scale, shift).store(value));
}

/// Turns the sums of each row's classes into probabilities.
#[inline(always)]
pub fn softmax<V: Simd>(out: &mut [Lanes], outputs: usize) {
    for row in out.chunks_exact_mut(outputs) {
        let mut largest = V::load(&row[0]);
        row.iter().for_each(|value| largest = V::load(value).max(largest));
        let mut sum = V::zero();
        for value in row.iter_mut() {
            let e = math::exp(V::load(value).sub(largest));
            sum = sum.add(e);
            e.store(value);
        }
        let scale = V::splat(1.0).div(sum);
        row.iter_mut().for_each(|value| V::load(value).mul(scale).store(value));
    }
}

/// Candidates that differ in everything that these parameters, each of few values, can be: what a fold has to be prepared
/// for. Parameters that a space does not have are left out.
pub fn variants(space: &Space, names: &[&str]) -> Vec<Vec<f64>> {
    let mut rows = vec![space.defaults()];
    for column in names.iter().filter_map(|name| space.index(name)) {
        let values = match &space.parameters[column].domain {
            Domain::Bool => 2,
            Domain::Categorical(choices) | Domain::Ordinal(choices) => choices.len(),
            Domain::Fixed(_) | Domain::Float { .. } | Domain::Int { .. } => continue,
        };
        let with = |row: &Vec<f64>, value: usize| {
            let mut row = row.clone();
            row[column] = value as f64;
            row
        };
        rows = rows.iter().flat_map(|row| (0..values).map(|value| with(row, value))).collect();
    }
    rows
}

/// Rows as shaders/shared/linear.wgsl reads them: a feature after the other.
pub fn by_feature(rows: &Rows) -> Vec<f32> {
    rows.x.t().iter().copied().collect()
}

/// The weights of a lane that starts its state with weights `[features, outputs]` and intercepts.
pub fn device_weights(state: &[u32], features: usize, outputs: usize) -> Weights {
    let entry = |at: usize| f32::from_bits(state[at]);
    let weight = (0..features * outputs).map(|i| entry(i % features * outputs + i / features)).collect();
    let intercept = (0..outputs).map(|output| entry(features * outputs + output)).collect();
    let weight = WeightArray { name: "weight".to_owned(), shape: vec![outputs, features], values: weight };
    Weights::of(vec![weight, WeightArray { name: "intercept".to_owned(), shape: vec![outputs], values: intercept }])
}

/// A matrix in rows, as [`multiply`] reads it.
pub fn in_rows(matrix: MatRef<'_, f64>) -> Vec<f64> {
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    (0..rows * columns).map(|at| matrix[(at / columns, at % columns)]).collect()
}
