//! What is learnt: a row's gradient and hessian by its score, where scores start, and what they predict.
//!
//! Gradients are f32 products, quotients and sums in a written order, none fused, with an exponential of their own
//! ([`super::exact`]), so that every device can have the same bits. They become whole numbers by a power of two of the tree's own: as large a
//! one as leaves the sum over all rows below 2^30 ([`Quanta`]).
//!
//! Scores lie `[outputs, rows]`, sixteen rows a [`Lanes`]. With two classes there is one score, the log odds of the second.

use super::exact::exp;
use super::params::Objective;
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Simd};

/// LightGBM's `poisson_max_delta_step`: hessians are taken so far above the score, which keeps leaves' values in bounds.
pub const POISSON_STEP: f32 = 0.7;

/// What a lane learns, with what that needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Log loss of two classes.
    Binary,
    /// Log loss of several classes.
    Softmax {
        /// How many.
        classes: usize,
    },
    /// A number.
    Value {
        /// By which loss.
        objective: Objective,
        /// Which quantile, for that objective.
        quantile: f32,
    },
}

impl Loss {
    /// Scores of a row, and trees of a round.
    pub fn scores(self) -> usize {
        match self {
            Loss::Softmax { classes } => classes,
            _ => 1,
        }
    }

    /// Whether scores that start there are of a class that no training row has, or of one that all have: nothing is to be
    /// learnt of it. A number may start anywhere.
    pub fn is_certain(self, start: f32) -> bool {
        !matches!(self, Loss::Value { .. }) && start.abs() >= -ABSENT
    }

    /// Whether leaves take a quantile of what is left of their rows, and which.
    pub fn leaf_quantile(self) -> Option<f32> {
        match self {
            Loss::Value { objective: Objective::Absolute, .. } => Some(0.5),
            Loss::Value { objective: Objective::Quantile, quantile } => Some(quantile),
            _ => None,
        }
    }
}

/// A fold's targets as gradients need them; rows that are not trained on have the weight 0.
pub struct Targets<'a> {
    /// Class codes, or numbers.
    pub y: &'a [Lanes],
    /// How much each row counts.
    pub weight: &'a [Lanes],
}

/// Gradients and hessians of all scores; both `[scores, rows]`.
pub struct Gradients<'a> {
    /// What is learnt.
    pub loss: Loss,
    /// From which targets.
    pub targets: Targets<'a>,
    /// From which scores; `[scores, rows]`, of more rows than are trained on.
    pub scores: &'a [Lanes],
    /// The gradients.
    pub gradient: &'a mut [Lanes],
    /// The hessians.
    pub hessian: &'a mut [Lanes],
}

impl Kernel for Gradients<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Gradients { loss, targets, scores, gradient, hessian } = self;
        let one = V::splat(1.0);
        match loss {
            Loss::Binary => {
                let rows = targets.y.iter().zip(targets.weight).zip(scores).zip(gradient.iter_mut().zip(hessian));
                for (((y, weight), score), (gradient, hessian)) in rows {
                    let weight = V::load(weight);
                    let p = one.div(one.add(exp(V::zero().sub(V::load(score)))));
                    p.sub(V::load(y)).mul(weight).store(gradient);
                    p.mul(one.sub(p)).mul(weight).store(hessian);
                }
            }
            Loss::Softmax { classes } => softmax::<V>(classes, targets, scores, gradient, hessian),
            Loss::Value { objective, quantile } => {
                let (above, below) = (V::splat(1.0 - quantile), V::splat(-quantile));
                let rows = targets.y.iter().zip(targets.weight).zip(scores).zip(gradient.iter_mut().zip(hessian));
                for (((y, weight), score), (gradient, hessian)) in rows {
                    let (y, weight, score) = (V::load(y), V::load(weight), V::load(score));
                    let error = score.sub(y);
                    let (g, h) = match objective {
                        Objective::Squared => (error, one),
                        Objective::Absolute => {
                            let low = V::select(error.less(V::zero()), V::splat(-1.0), V::zero());
                            (V::select(V::zero().less(error), one, low), one)
                        }
                        Objective::Quantile => (V::select(error.less(V::zero()), below, above), one),
                        Objective::Poisson => {
                            let mean = exp(score);
                            (mean.sub(y), mean.mul(exp(V::splat(POISSON_STEP))))
                        }
                    };
                    g.mul(weight).store(gradient);
                    h.mul(weight).store(hessian);
                }
            }
        }
    }
}

/// Softmax over `[classes, rows]`; LightGBM's hessian `K/(K-1) p (1-p)`.
#[inline(always)]
fn softmax<V: Simd>(
    classes: usize,
    targets: Targets<'_>,
    scores: &[Lanes],
    gradient: &mut [Lanes],
    hessian: &mut [Lanes],
) {
    let (stride, all) = (targets.y.len(), scores.len() / classes);
    let factor = V::splat(classes as f32 / (classes as f32 - 1.0));
    let one = V::splat(1.0);
    for (row, (y, weight)) in targets.y.iter().zip(targets.weight).enumerate() {
        let (y, weight) = (V::load(y), V::load(weight));
        let mut largest = V::load(&scores[row]);
        for class in 1..classes {
            largest = largest.max(V::load(&scores[class * all + row]));
        }
        let mut sum = V::zero();
        for class in 0..classes {
            let e = exp(V::load(&scores[class * all + row]).sub(largest));
            e.store(&mut gradient[class * stride + row]);
            sum = sum.add(e);
        }
        let share = one.div(sum);
        for class in 0..classes {
            let place = class * stride + row;
            let p = V::load(&gradient[place]).mul(share);
            let (low, high) = (V::splat(class as f32 - 0.5), V::splat(class as f32 + 0.5));
            let truth = V::select(y.less(low), V::zero(), V::select(y.less(high), one, V::zero()));
            p.sub(truth).mul(weight).store(&mut gradient[place]);
            factor.mul(p).mul(one.sub(p)).mul(weight).store(&mut hessian[place]);
        }
    }
}

/// By which powers of two a tree's gradients and hessians became whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quanta {
    /// `whole = gradient 2^this`
    pub gradient: i32,
    /// `whole = hessian 2^this`
    pub hessian: i32,
}

/// `2^exponent` for what f32 can say exactly.
pub fn power(exponent: i32) -> f32 {
    f32::from_bits(((exponent.clamp(-126, 127) + 127) as u32) << 23)
}

/// Makes one tree's gradients whole numbers, and packs them: `words` holds sixteen rows in two [`Lanes`].
pub struct Quantise<'a> {
    /// `[rows]`
    pub gradient: &'a [Lanes],
    /// `[rows]`
    pub hessian: &'a [Lanes],
    /// Packed: see [`crate::models::trees::histogram::pack`].
    pub words: &'a mut [[Lanes; 2]],
}

impl Kernel for Quantise<'_> {
    /// `None` where a gradient is not finite.
    type Output = Option<Quanta>;

    #[inline(always)]
    fn run<V: Simd>(self) -> Option<Quanta> {
        let Quantise { gradient, hessian, words } = self;
        let quanta = Quanta { gradient: exponent::<V>(gradient)?, hessian: exponent::<V>(hessian)? };
        let (by_gradient, by_hessian) = (V::splat(power(quanta.gradient)), V::splat(power(quanta.hessian)));
        for ((gradient, hessian), words) in gradient.iter().zip(hessian).zip(words) {
            let g = rounded(V::load(gradient).mul(by_gradient));
            let h = rounded(V::load(hessian).mul(by_hessian));
            let [first, second] = h.interleave(g);
            first.store(&mut words[0]);
            second.store(&mut words[1]);
        }
        Some(quanta)
    }
}

/// The nearest whole numbers, as integers; half-way cases away from zero.
#[inline(always)]
fn rounded<V: Simd>(x: V) -> V {
    let half = V::splat(0.5);
    V::select(x.less(V::zero()), x.sub(half), x.add(half)).float_to_ints()
}

/// Sums of whole numbers stay below `2^SUM_BITS`, give or take half a row each.
const SUM_BITS: i32 = 30;

/// The largest power of two that may multiply these; a bound from the greatest and their number first, then one from
/// their sum in the quanta of the first, rounded down.
#[inline(always)]
fn exponent<V: Simd>(values: &[Lanes]) -> Option<i32> {
    let rows = (values.len() * LANES) as u32;
    let mut most = V::zero();
    let mut is_finite = V::zero();
    for value in values {
        let value = V::load(value);
        most = most.max(value.abs());
        // What is not finite leaves NaN, what is leaves 0.
        is_finite = is_finite.add(value.sub(value));
    }
    let (most, is_finite) = (lanes(most), lanes(is_finite));
    if is_finite.0.iter().any(|zero| *zero != 0.0) {
        return None;
    }
    let most = most.0.into_iter().fold(0.0, f32::max);
    if most < f32::MIN_POSITIVE {
        return Some(0);
    }
    let bits = |n: u32| 32 - n.leading_zeros() as i32;
    let exponent = SUM_BITS - bits(rows) - ((most.to_bits() >> 23) as i32 - 126);
    let exponent = exponent.clamp(-120, 120);
    let by = V::splat(power(exponent));
    let mut sum = V::zero();
    for value in values {
        sum = sum.add_bits(V::load(value).abs().mul(by).float_to_ints());
    }
    let sum: u32 = lanes(sum).0.iter().map(|value| value.to_bits()).sum();
    let spare = SUM_BITS - bits(sum.saturating_add(rows));
    Some((exponent + spare.clamp(0, MOST_SPARE)).min(120))
}

/// So much finer than the first bound at most: an f32 has no more bits than that to give.
const MOST_SPARE: i32 = 16;

#[inline(always)]
fn lanes<V: Simd>(v: V) -> Lanes {
    let mut out = Lanes::ZERO;
    v.store(&mut out);
    out
}

/// Where scores start: the constant that is best on the training rows, one a score (LightGBM's `boost_from_average`).
/// `y` and `weight` are the training rows'. A class that no row has starts at [`ABSENT`].
pub fn start(loss: Loss, y: &[f32], weight: impl Fn(usize) -> f32) -> Vec<f32> {
    let total: f64 = (0..y.len()).map(|row| f64::from(weight(row))).sum();
    let mean = |of: &dyn Fn(f32) -> f64| {
        let sum: f64 = y.iter().enumerate().map(|(row, y)| f64::from(weight(row)) * of(*y)).sum();
        if total > 0.0 { sum / total } else { 0.0 }
    };
    match loss {
        Loss::Binary => {
            let share = mean(&f64::from);
            vec![match share {
                0.0 => ABSENT,
                1.0 => -ABSENT,
                share => (libm::log(share) - libm::log(1.0 - share)) as f32,
            }]
        }
        Loss::Softmax { classes } => {
            let share = |class: usize| mean(&|y| f64::from(u8::from(y as usize == class)));
            (0..classes).map(|class| libm::log(share(class)).max(f64::from(ABSENT)) as f32).collect()
        }
        Loss::Value { objective, quantile } => vec![match objective {
            Objective::Squared => mean(&f64::from) as f32,
            Objective::Poisson => libm::log(mean(&f64::from).max(1e-30)) as f32,
            Objective::Absolute | Objective::Quantile => {
                let share = if objective == Objective::Absolute { 0.5 } else { quantile };
                let weights: Vec<f32> = (0..y.len()).map(weight).collect();
                let rows = y.iter().zip(&weights).zip(whole_weights(&weights));
                let rows = rows.map(|((value, weight), whole)| Weighted { value: *value, weight: *weight, whole });
                quantile_of(&mut rows.collect::<Vec<_>>(), share)
            }
        }],
    }
}

/// The score of a class that no training row has: e to this is 0 in f32.
pub const ABSENT: f32 = -1e4;

/// The quantile of values with weights: interpolated between neighbours where all weigh alike, else the
/// first value by which its share of the weight is passed. Weights are whole ([`whole_weights`]), with the one that was
/// given, by which alike is told.
pub fn quantile_of(rows: &mut [Weighted], share: f32) -> f32 {
    let Some(&Weighted { weight, .. }) = rows.first() else { return 0.0 };
    rows.sort_unstable_by(|a, b| a.value.total_cmp(&b.value));
    let n = rows.len();
    if rows.iter().all(|row| row.weight == weight) {
        // Counted from the greatest down.
        let place = (1.0 - share) * (n - 1) as f32;
        let nth = |i: usize| rows[n - 1 - i.min(n - 1)].value;
        let whole = place as usize;
        return nth(whole) - (nth(whole) - nth(whole + 1)) * (place - whole as f32);
    }
    let total: u32 = rows.iter().map(|row| row.whole).sum();
    let passed = (u64::from(total) * share_of_word(share)) >> 32;
    let mut sum = 0;
    for row in rows.iter() {
        sum += u64::from(row.whole);
        if sum > passed {
            return row.value;
        }
    }
    rows[n - 1].value
}

/// A value that counts for something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighted {
    /// The value.
    pub value: f32,
    /// How much it counts.
    pub weight: f32,
    /// The same as a whole number.
    pub whole: u32,
}

/// A share of 1 in steps of 2^-32.
pub fn share_of_word(share: f32) -> u64 {
    ((f64::from(share) * 4_294_967_296.0) as u64).min(u64::from(u32::MAX))
}

/// Weights as whole numbers whose sum is below 2^31: sums of them have no order.
pub fn whole_weights(weights: &[f32]) -> Vec<u32> {
    let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    // Rounding up may add a half a row.
    let unit = (f64::from(1 << 30) - weights.len() as f64) / total;
    let whole = |weight: &f32| (f64::from(*weight) * unit).round() as u32;
    if unit.is_finite() && unit > 0.0 { weights.iter().map(whole).collect() } else { vec![0; weights.len()] }
}

/// What a row's scores predict: probabilities, or a number on the scale that was learnt.
pub fn predict(loss: Loss, scores: &[f32], out: &mut [f32]) {
    match loss {
        Loss::Binary => {
            let p = 1.0 / (1.0 + libm::expf(-scores[0]));
            // Each from its own side, so that neither is rounded to 0 with the other at 1.
            out[0] = 1.0 / (1.0 + libm::expf(scores[0]));
            out[1] = p;
        }
        Loss::Softmax { .. } => {
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            out.iter_mut().zip(scores).for_each(|(out, score)| *out = libm::expf(score - largest));
            let sum: f32 = out.iter().sum();
            out.iter_mut().for_each(|p| *p /= sum);
        }
        Loss::Value { objective: Objective::Poisson, .. } => out[0] = libm::expf(scores[0]),
        Loss::Value { .. } => out[0] = scores[0],
    }
}
