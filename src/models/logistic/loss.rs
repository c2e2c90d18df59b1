//! Loss, gradient and curvature of sixteen softmax models over all rows of a fold: the passes that cost the time.
//!
//! Rows go through in blocks that stay in the second-level cache. Residuals are computed without cancellation, so that
//! f32 can follow lanes whose rows are all classified with near certainty.

use super::basis::Basis;
use super::path::NODES;
use super::solver::{ABSENT, LogisticParams};
use crate::backend::cpu::gemm::{self, AsIs, Consumer, Pair, ROWS, Shared, ZERO_PAIR};
use crate::backend::cpu::math;
use crate::backend::cpu::simd::{LANES, Lanes, Simd};
use crate::data::Rows;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Mutex;

/// Rows of a block.
const BLOCK_ROWS: usize = 256;

/// Extents of a fold's softmax. Weights are `[columns x outputs]` panels, followed by one pair of intercepts a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Training rows.
    pub rows: usize,
    /// Prepared features.
    pub features: usize,
    /// Features, padded to whole tiles.
    pub columns: usize,
    /// Classes of the study.
    pub outputs: usize,
}

impl Shape {
    /// Panels of two classes.
    pub fn panels(&self) -> usize {
        self.outputs.div_ceil(2)
    }

    /// Weight pairs before the intercepts.
    pub fn weights(&self) -> usize {
        self.panels() * self.columns
    }

    /// Weight and intercept pairs.
    pub fn pairs(&self) -> usize {
        self.weights() + self.panels()
    }

    /// A lane's weights as the GPU has them: `[features, outputs]`, then the intercepts.
    pub fn device_entries<'a>(&'a self, weights: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        (0..(self.features + 1) * self.outputs).map(|at| {
            let (feature, output) = (at / self.outputs, at % self.outputs);
            let is_slope = feature < self.features;
            let pair = if is_slope { output / 2 * self.columns + feature } else { self.weights() + output / 2 };
            weights[2 * pair + output % 2]
        })
    }

    /// Rows of activations that an evaluation holds at a time.
    pub fn block_rows(&self) -> usize {
        self.rows.min(BLOCK_ROWS).next_multiple_of(ROWS)
    }
}

/// Neighbouring rows in the fold's basis, and their classes.
struct Block {
    x: Shared,
    classes: Vec<u32>,
    /// What each row counts for; all 1 where none are given.
    weights: Vec<f32>,
}

/// A fold in its eigenbasis, with or without intercepts.
pub struct Prepared {
    /// Its extents.
    pub shape: Shape,
    /// Which classes occur.
    pub present: Vec<bool>,
    /// Whether there are intercepts.
    pub has_intercept: bool,
    /// Whether it is for lanes with an L1 term: the basis is then the features' own.
    pub has_l1: bool,
    /// What all rows together count for.
    pub total: f32,
    blocks: Vec<Block>,
    /// `[features x columns]`: the way back from the basis; none where it is the features' own.
    pub vectors: Option<Shared>,
    /// Of each feature.
    pub mean: Vec<f32>,
    /// Solved nodes of the fold's path for each tolerance, by its bits.
    pub paths: Mutex<BTreeMap<u32, [Option<Vec<f32>>; NODES]>>,
}

impl Prepared {
    /// Rotates the fold's rows into this basis, for candidates like this one; `classes` has one code a row, `weights` what it
    /// counts for.
    pub fn new(
        basis: &Basis,
        rows: &Rows,
        classes: &[u32],
        weights: Option<&[f32]>,
        present: Vec<bool>,
        params: &LogisticParams,
    ) -> Prepared {
        let (n, features) = rows.x.dim();
        let ones = if weights.is_none() { vec![1.0; n] } else { Vec::new() };
        let weights = weights.unwrap_or(&ones);
        let total = weights.iter().map(|weight| f64::from(*weight)).sum::<f64>() as f32;
        let shape = Shape { rows: n, features, columns: features.next_multiple_of(ROWS), outputs: present.len() };
        let places = classes.chunks(BLOCK_ROWS).zip(weights.chunks(BLOCK_ROWS));
        let blocks = basis.rotated(rows.x.view(), BLOCK_ROWS).zip(places);
        let blocks = blocks.map(|(x, (classes, weights))| {
            let mut shared = Shared::zeros(classes.len(), features);
            shared.fill(x.chunks_exact(features));
            Block { x: shared, classes: classes.to_vec(), weights: weights.to_vec() }
        });
        let blocks = blocks.collect();
        let vectors = basis.vectors.as_ref().map(|vectors| {
            let row = |i: usize| (0..features).map(|j| vectors[(i, j)] as f32).collect::<Vec<f32>>();
            let rows: Vec<Vec<f32>> = (0..features).map(row).collect();
            let mut shared = Shared::zeros(features, features);
            shared.fill(rows.iter().map(Vec::as_slice));
            shared
        });
        let mean = basis.mean.iter().map(|mean| *mean as f32).collect();
        Prepared {
            shape,
            present,
            has_intercept: params.fit_intercept,
            has_l1: params.l1.is_some(),
            total,
            blocks,
            vectors,
            mean,
            paths: Mutex::default(),
        }
    }

    /// Weights at zero; classes that do not occur, and the padding, have an intercept that leaves them no probability.
    pub fn zero_weights(&self) -> Vec<Pair> {
        let mut weights = vec![ZERO_PAIR; self.shape.pairs()];
        for (panel, intercepts) in weights[self.shape.weights()..].iter_mut().enumerate() {
            for (half, intercept) in intercepts.iter_mut().enumerate() {
                if !self.present.get(2 * panel + half).is_some_and(|present| *present) {
                    *intercept = Lanes([ABSENT; LANES]);
                }
            }
        }
        weights
    }
}

/// Buffers of an evaluation.
pub struct Scratch {
    activations: Vec<Pair>,
    squares: Shared,
}

impl Scratch {
    /// Room for evaluations on a fold.
    pub fn new(shape: Shape) -> Scratch {
        Scratch {
            activations: vec![ZERO_PAIR; shape.panels() * shape.block_rows()],
            squares: Shared::zeros(shape.block_rows(), shape.columns),
        }
    }
}

/// Adds gradients to a sum.
struct AddTo<'a, V> {
    sums: &'a mut [Pair],
    lanes: PhantomData<V>,
}

impl<V: Simd> Consumer<V> for AddTo<'_, V> {
    #[inline(always)]
    fn consume(&mut self, first: usize, gradients: &[Pair]) {
        for (sum, gradient) in self.sums[first..].iter_mut().zip(gradients) {
            for half in 0..2 {
                V::load(&sum[half]).add(V::load(&gradient[half])).store(&mut sum[half]);
            }
        }
    }
}

/// The summed loss of each lane at `weights`; `gradient`, and `curvature` where it is wanted, become those of the loss
/// alone, without penalty.
#[inline(always)]
pub fn evaluate<V: Simd>(
    fold: &Prepared,
    weights: &[Pair],
    gradient: &mut [Pair],
    mut curvature: Option<&mut [Pair]>,
    scratch: &mut Scratch,
) -> [f64; LANES] {
    let shape = fold.shape;
    let (slopes, intercepts) = weights.split_at(shape.weights());
    let mut losses = [0.0; LANES];
    gradient.fill(ZERO_PAIR);
    if let Some(curvature) = &mut curvature {
        curvature.fill(ZERO_PAIR);
    }
    for block in &fold.blocks {
        let rows = block.x.rows();
        let activations = &mut scratch.activations[..shape.panels() * rows];
        gemm::forward_shared::<V, _>(&block.x, slopes, intercepts, activations, &AsIs);
        let loss = residuals::<V>(activations, rows, block, shape.outputs);
        losses.iter_mut().zip(loss.0).for_each(|(sum, loss)| *sum += f64::from(loss));
        add_products::<V>(&block.x, activations, gradient, fold.has_intercept);
        if let Some(curvature) = &mut curvature {
            variances::<V>(activations, rows, &block.weights);
            scratch.squares.fill_with_squares(&block.x);
            add_products::<V>(&scratch.squares, activations, curvature, fold.has_intercept);
        }
    }
    losses
}

/// `sums += x' values`, and the intercepts' columns of ones.
#[inline(always)]
fn add_products<V: Simd>(x: &Shared, values: &[Pair], sums: &mut [Pair], has_intercept: bool) {
    let (sums, intercepts) = sums.split_at_mut(values.len() / x.rows() * x.columns());
    gemm::gradient_shared::<V, _>(x, values, &mut AddTo::<V> { sums, lanes: PhantomData });
    if has_intercept {
        for (sum, values) in intercepts.iter_mut().zip(values.chunks_exact(x.rows())) {
            for half in 0..2 {
                let column = values.iter().fold(V::zero(), |column, value| column.add(V::load(&value[half])));
                V::load(&sum[half]).add(column).store(&mut sum[half]);
            }
        }
    }
}

/// Logits become `weight (probability - one-hot)`, which for a row's own class is minus the sum of the others': `p - 1` would
/// keep no digits of a small residual. Returns the summed loss; padded rows count for nothing.
#[inline(always)]
fn residuals<V: Simd>(logits: &mut [Pair], rows: usize, block: &Block, outputs: usize) -> Lanes {
    let Block { classes, weights, .. } = block;
    let one = V::splat(1.0);
    let mut losses = V::zero();
    for (row, (&class, weight)) in classes.iter().zip(weights).enumerate() {
        let weight = V::splat(*weight);
        let own_place = class as usize / 2 * rows + row;
        let own_half = class as usize % 2;
        let own_logit = V::load(&logits[own_place][own_half]);
        let largest = largest::<V>(logits, rows, row, outputs);
        let mut others = V::zero();
        let mut own = V::zero();
        for output in 0..outputs {
            let place = &mut logits[output / 2 * rows + row][output % 2];
            let e = math::exp(V::load(place).sub(largest));
            e.store(place);
            if output == class as usize {
                own = e;
            } else {
                others = others.add(e);
            }
        }
        let sum = own.add(others);
        let scale = weight.div(sum);
        for output in 0..outputs {
            let place = &mut logits[output / 2 * rows + row][output % 2];
            V::load(place).mul(scale).store(place);
        }
        V::zero().sub(others.mul(scale)).store(&mut logits[own_place][own_half]);
        if outputs % 2 == 1 {
            logits[outputs / 2 * rows + row][1] = Lanes::ZERO;
        }
        // ln(1 + excess), where the own class leads without the rounding of 1 + others.
        let excess = V::select(own_logit.less(largest), sum.sub(one), others);
        losses = weight.mul(largest.sub(own_logit)).add(losses).add(weight.mul(ln_1p(excess)));
    }
    for panel in logits.chunks_exact_mut(rows) {
        panel[classes.len()..].fill(ZERO_PAIR);
    }
    let mut sums = Lanes::ZERO;
    losses.store(&mut sums);
    sums
}

#[inline(always)]
fn largest<V: Simd>(logits: &[Pair], rows: usize, row: usize, outputs: usize) -> V {
    let first = V::load(&logits[row][0]);
    (1..outputs).fold(first, |largest, output| V::load(&logits[output / 2 * rows + row][output % 2]).max(largest))
}

/// `ln(1 + x)` for `x >= 0` to a few ulp: the rounding of `1 + x` is divided out again (Goldberg 1991, theorem 4).
#[inline(always)]
fn ln_1p<V: Simd>(x: V) -> V {
    let sum = V::splat(1.0).add(x);
    let rounded = sum.sub(V::splat(1.0));
    V::select(V::zero().less(rounded), x.mul(math::ln(sum)).div(rounded), x)
}

/// Residuals become `weight p (1 - p)`: an own class's residual is `weight (p - 1)`, another's is `weight p`, and both give the
/// same product.
#[inline(always)]
fn variances<V: Simd>(residuals: &mut [Pair], rows: usize, weights: &[f32]) {
    for panel in residuals.chunks_exact_mut(rows) {
        // Padded rows have residuals of zero.
        for (pair, weight) in panel.iter_mut().zip(weights) {
            let inverse = V::splat(if *weight > 0.0 { 1.0 / weight } else { 0.0 });
            for residual in pair {
                let size = V::load(residual).abs();
                size.mul(inverse).neg_mul_add(size, size).store(residual);
            }
        }
    }
}

/// Logits of a block of rows become probabilities.
#[inline(always)]
pub fn softmax<V: Simd>(logits: &mut [Pair], rows: usize, outputs: usize) {
    for row in 0..rows {
        let largest = largest::<V>(logits, rows, row, outputs);
        let mut sum = V::zero();
        for output in 0..outputs {
            let place = &mut logits[output / 2 * rows + row][output % 2];
            let e = math::exp(V::load(place).sub(largest));
            sum = sum.add(e);
            e.store(place);
        }
        let scale = V::splat(1.0).div(sum);
        for output in 0..outputs {
            let place = &mut logits[output / 2 * rows + row][output % 2];
            V::load(place).mul(scale).store(place);
        }
    }
}
