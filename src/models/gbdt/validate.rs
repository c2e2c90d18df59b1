//! The loss on a row set that is not trained on: what early stopping goes by.
//!
//! A row's loss is f32 by rounded operations in a written order, and becomes a whole number: sums of those have no order,
//! and every device finds the same best round.

use super::exact::{exp, ln};
use super::fold::RowTargets;
use super::objective::{Loss, power};
use super::params::Objective;
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use std::ops::Range;

/// A row's loss in whole steps at most: one that is not finite counts as much.
pub const MOST: f32 = (1u32 << 30) as f32;
/// The greatest loss at the start is below 2 to this power, in steps.
const START_BITS: i32 = 28;

/// The losses of rows, sixteen at a time.
struct Losses<'a> {
    loss: Loss,
    /// `[scores, all]`
    scores: &'a [Lanes],
    all: usize,
    set: Range<usize>,
    targets: &'a RowTargets,
    /// One a row of the set, times its weight.
    out: &'a mut Vec<f32>,
}

impl Kernel for Losses<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Losses { loss, scores, all, set, targets, out } = self;
        let mut own = vec![Lanes::ZERO; loss.scores()];
        out.clear();
        for (block, (y, weight)) in targets.y.iter().zip(&targets.weight).enumerate() {
            let first = set.start + block * LANES;
            let rows = LANES.min(set.end - first);
            for (k, own) in own.iter_mut().enumerate() {
                for row in 0..rows {
                    own.0[row] = scores[k * all + (first + row) / LANES].0[(first + row) % LANES];
                }
            }
            let mut losses = Lanes::ZERO;
            row_loss::<V>(loss, &own, V::load(y)).mul(V::load(weight)).store(&mut losses);
            out.extend(&losses.0[..rows]);
        }
    }
}

/// What is learnt, of sixteen rows.
#[inline(always)]
fn row_loss<V: Simd>(loss: Loss, scores: &[Lanes], y: V) -> V {
    let (zero, half) = (V::zero(), V::splat(0.5));
    let score = V::load(&scores[0]);
    match loss {
        Loss::Binary => {
            let against = V::select(y.less(half), score, zero.sub(score));
            let rest = ln(V::splat(1.0).add(exp(zero.sub(against.abs()))));
            against.max(zero).add(rest)
        }
        Loss::Softmax { .. } => {
            let largest = scores.iter().fold(score, |largest, score| largest.max(V::load(score)));
            let (mut sum, mut own) = (zero, zero);
            for (class, score) in scores.iter().enumerate() {
                let score = V::load(score);
                sum = sum.add(exp(score.sub(largest)));
                let (low, high) = (V::splat(class as f32 - 0.5), V::splat(class as f32 + 0.5));
                own = V::select(low.less(y), V::select(y.less(high), score, own), own);
            }
            largest.sub(own).add(ln(sum))
        }
        Loss::Value { objective, quantile } => {
            let error = y.sub(score);
            match objective {
                Objective::Squared => error.mul(error),
                Objective::Absolute => error.abs(),
                Objective::Quantile => error.mul(V::splat(quantile)).max(error.mul(V::splat(quantile - 1.0))),
                Objective::Poisson => exp(score).sub(y.mul(score)),
            }
        }
    }
}

/// A loss in steps of 2 to the power of `-exponent`.
#[inline(always)]
fn whole(loss: f32, exponent: i32) -> i64 {
    let steps = loss * power(exponent);
    if steps.is_finite() { steps.clamp(-MOST, MOST) as i64 } else { MOST as i64 }
}

/// By which power of two losses become whole numbers: from the greatest one where scores start.
pub fn exponent(level: Level, loss: Loss, start: &[f32], rows: usize, targets: &RowTargets) -> i32 {
    let all = rows.div_ceil(LANES);
    let scores: Vec<Lanes> = start.iter().flat_map(|start| std::iter::repeat_n(Lanes([*start; LANES]), all)).collect();
    let mut losses = Vec::with_capacity(rows);
    dispatch(level, Losses { loss, scores: &scores, all, set: 0..rows, targets, out: &mut losses });
    let most = losses.into_iter().filter(|loss| loss.is_finite()).fold(0.0, |most: f32, loss| most.max(loss.abs()));
    (START_BITS - ((most.to_bits() >> 23) as i32 - 126)).clamp(-100, 100)
}

/// The sum of losses on the rows `set` of all, in whole steps; `scores` is `[scores, all]`.
pub fn loss(
    level: Level,
    loss: Loss,
    scores: &[Lanes],
    set: Range<usize>,
    all: usize,
    targets: &RowTargets,
    exponent: i32,
) -> i64 {
    let mut losses = Vec::with_capacity(set.len());
    dispatch(level, Losses { loss, scores, all, set, targets, out: &mut losses });
    losses.into_iter().map(|loss| whole(loss, exponent)).sum()
}
