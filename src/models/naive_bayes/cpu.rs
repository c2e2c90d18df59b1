//! Naive Bayes on the CPU: sixteen smoothings of one fold side by side. A feature's squared distance to a class's mean is
//! theirs together; what it counts for is each one's own.

use super::moments::Moments;
use super::{NaiveBayesLanes, NaiveBayesParams};
use crate::backend::Weights;
use crate::backend::cpu::math;
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::backend::cpu::{GroupKey, LaneModel, LaneProgress, RowBlock};
use crate::data::Fold;
use ndarray::ArrayView2;
use std::sync::{Arc, OnceLock};

/// Rows that are taken through the features together: their sums hide each other's latency.
const TILE_ROWS: usize = 4;

/// Sixteen lanes' values in f64.
type Wide = [f64; LANES];

/// A fold, and the moments of its classes once they are needed.
pub struct NaiveBayesFold {
    fold: Arc<Fold>,
    moments: OnceLock<Moments>,
}

impl NaiveBayesFold {
    fn moments(&self) -> &Moments {
        self.moments.get_or_init(|| Moments::new(&self.fold.train))
    }
}

/// Up to sixteen candidates on one fold.
pub struct Group {
    params: Vec<NaiveBayesParams>,
    /// `[classes, features]`: minus half of one by the variance.
    factors: Vec<Wide>,
    /// `[classes]`: the logarithm of the prior less half of those of the variances; minus infinity for an absent class.
    constants: Vec<Wide>,
}

impl LaneModel for NaiveBayesLanes {
    type Params = NaiveBayesParams;
    type Fold = NaiveBayesFold;
    type Group = Group;

    fn params(&self, point: &[f64]) -> NaiveBayesParams {
        NaiveBayesParams::read(&self.space, point)
    }

    fn key(&self, _: &NaiveBayesParams) -> GroupKey {
        GroupKey { step: [0; 2], likeness: [0; 4] }
    }

    fn open_fold(&self, fold: &Arc<Fold>) -> NaiveBayesFold {
        NaiveBayesFold { fold: fold.clone(), moments: OnceLock::new() }
    }

    fn bytes(&self, fold: &NaiveBayesFold, _: &[NaiveBayesParams]) -> u64 {
        let (features, classes) = (fold.fold.train.x.ncols(), fold.fold.train.y.outputs());
        (classes * (features + 1 + TILE_ROWS) * size_of::<Wide>()) as u64
    }

    fn shared_bytes(&self, fold: &NaiveBayesFold, _: &[NaiveBayesParams]) -> u64 {
        let (features, classes) = (fold.fold.train.x.ncols(), fold.fold.train.y.outputs());
        (2 * (classes + 1) * features * size_of::<f64>()) as u64
    }

    fn missing_pieces(&self, fold: &NaiveBayesFold, _: &[NaiveBayesParams]) -> Vec<usize> {
        if fold.moments.get().is_none() { vec![0] } else { Vec::new() }
    }

    fn do_piece(&self, _: Level, fold: &NaiveBayesFold, _: usize) {
        fold.moments();
    }

    fn start(&self, fold: &NaiveBayesFold, lanes: &[NaiveBayesParams]) -> Group {
        let moments = fold.moments();
        let mut group = Group {
            params: lanes.to_vec(),
            factors: vec![[0.0; LANES]; moments.variances.len()],
            constants: vec![[f64::NEG_INFINITY; LANES]; moments.classes()],
        };
        for (lane, params) in lanes.iter().enumerate() {
            let (added, priors) = (moments.added(params), moments.priors(params));
            for (class, prior) in priors.into_iter().enumerate().filter(|(_, prior)| *prior > 0.0) {
                let mut constant = libm::log(prior);
                for entry in class * moments.features..(class + 1) * moments.features {
                    let variance = Moments::smoothed(moments.variances[entry], added);
                    group.factors[entry][lane] = -0.5 / variance;
                    constant -= 0.5 * libm::log(variance);
                }
                group.constants[class][lane] = constant;
            }
        }
        group
    }

    fn gather(&self, fold: &NaiveBayesFold, lanes: &[(&Group, usize)]) -> Group {
        let params: Vec<NaiveBayesParams> = lanes.iter().map(|(group, lane)| group.params[*lane]).collect();
        self.start(fold, &params)
    }

    fn advance(&self, _: Level, _: &NaiveBayesFold, group: &mut Group, budget: u64) -> Vec<LaneProgress> {
        vec![LaneProgress { used: budget.min(1), is_capped: false }; group.params.len()]
    }

    fn predict(&self, level: Level, fold: &NaiveBayesFold, group: &mut Group, rows: RowBlock<'_>, out: &mut [Lanes]) {
        dispatch(level, Predict { moments: fold.moments(), group, x: rows.x, out });
    }

    fn read_back(&self, fold: &NaiveBayesFold, group: &Group, lane: usize) -> Weights {
        fold.moments().weights(&group.params[lane])
    }
}

/// Probabilities of a block of rows.
struct Predict<'a, 'x> {
    moments: &'a Moments,
    group: &'a Group,
    x: ArrayView2<'x, f32>,
    out: &'a mut [Lanes],
}

impl Kernel for Predict<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Predict { moments, group, x, out } = self;
        let classes = moments.classes();
        let mut logits = vec![[[0.0; LANES]; TILE_ROWS]; classes];
        for (tile, out) in out.chunks_mut(TILE_ROWS * classes).enumerate() {
            // Rows that the last tile lacks are the last row again, whose logits are not used.
            let row = |i: usize| x.row((tile * TILE_ROWS + i).min(x.nrows() - 1)).to_slice().unwrap_or(&[]);
            let rows: [&[f32]; TILE_ROWS] = std::array::from_fn(row);
            for (class, logits) in logits.iter_mut().enumerate() {
                let entries = class * moments.features..(class + 1) * moments.features;
                let (means, factors) = (&moments.means[entries.clone()], &group.factors[entries]);
                *logits = log_likelihoods(rows, means, factors, &group.constants[class]);
            }
            for (i, out) in out.chunks_exact_mut(classes).enumerate() {
                softmax::<V>(&logits, i, out);
            }
        }
    }
}

/// The log likelihoods of some rows in one class: the features' terms one after another, products and sums rounded apart,
/// so that bits are the same on every processor.
#[inline(always)]
fn log_likelihoods(rows: [&[f32]; TILE_ROWS], means: &[f64], factors: &[Wide], constant: &Wide) -> [Wide; TILE_ROWS] {
    let mut sums = [*constant; TILE_ROWS];
    for (j, (mean, factor)) in means.iter().zip(factors).enumerate() {
        for (sums, row) in sums.iter_mut().zip(rows) {
            let distance = f64::from(row[j]) - mean;
            let square = distance * distance;
            for lane in 0..LANES {
                sums[lane] += square * factor[lane];
            }
        }
    }
    sums
}

/// The probabilities of one row of a tile from its logits.
#[inline(always)]
fn softmax<V: Simd>(logits: &[[Wide; TILE_ROWS]], row: usize, out: &mut [Lanes]) {
    let mut largest = [f64::NEG_INFINITY; LANES];
    for class in logits {
        for lane in 0..LANES {
            largest[lane] = largest[lane].max(class[row][lane]);
        }
    }
    let mut sum = V::zero();
    for (class, out) in logits.iter().zip(out.iter_mut()) {
        for lane in 0..LANES {
            out.0[lane] = (class[row][lane] - largest[lane]) as f32;
        }
        let share = math::exp(V::load(out));
        share.store(out);
        sum = sum.add(share);
    }
    out.iter_mut().for_each(|out| V::load(out).div(sum).store(out));
}
