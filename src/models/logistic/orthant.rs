//! What is otherwise in a walk where the objective has an L1 term: it bends where a weight is zero, and there its solutions
//! have most of their weights.
//!
//! **Basis**: the features' own, centred with an intercept: a weight that is zero there is none in another basis.
//!
//! **Gradient**: `g` is that of the objective without its L1 term. The pseudo-gradient is the steepest way down from where the
//! lane stands (Andrew & Gao 2007, equation 4): `g + l1 sign w` where `w` is not zero; where it is, what `|g|` has above `l1`.
//!
//! **Orthant**: until the next turn no weight changes its sign. A weight of zero may take the sign against its
//! pseudo-gradient; one that would cross zero stays there. In an orthant the objective is smooth and convex along the
//! straight way from the lane to such a trial, so [`super::solver::Search`] judges by its slopes at both ends of that way,
//! and a step that is accepted made the objective smaller however f32 rounds it.
//!
//! **Direction**: weights at zero whose pseudo-gradient is zero are held. Among all others L-BFGS knows the objective
//! (Bertsekas 1982's two metrics; Schmidt, Fung & Rosales 2009 compare the kinds): its pairs are cut down to them, and a pair that
//! has too little curvature left there is passed over. `gamma` comes from the newest that is not. A weight at zero that the
//! direction takes against its sign is held as well.
//!
//! **Shift**: the loss does not see what all classes' weights of a feature have in common, and no curvature tells L-BFGS how
//! far to take it. So a lane that has accepted a trial takes away what is best to: the weight for which
//! `|l1 (greater - smaller) + penalty sum over classes of its distances| <= l1 equal`, the median where `penalty` is 0. Where none is,
//! the best lies between two weights, and the squares' penalty gives it a curvature.
//!
//! Lanes start from zero: solutions between two nodes of a path are no mixture of these.

use super::loss::Prepared;
use super::solver::MEMORY;
use super::walk::{Course, Place, Sums, Trial, Walk, dot, stored};
use crate::backend::cpu::gemm::Pair;
use crate::backend::cpu::simd::{Lanes, Simd};

/// A pair must have this share of `y' y / curvature` as its curvature `s'y`.
pub(super) const LEAST_PRODUCT: f32 = 1e-7;

/// How the objective goes down the fastest at `w`, where it goes up by `g` without its L1 term. Not a number where `g` is not.
#[inline(always)]
fn pseudo_gradient<V: Simd>(w: V, g: V, l1: V) -> V {
    let zero = V::zero();
    // In this order a NaN comes through.
    let above = zero.max(g.sub(l1)).add(zero.min(g.add(l1)));
    V::select(zero.less(w), g.add(l1), V::select(w.less(zero), g.sub(l1), above))
}

/// The sign that a weight with this pseudo-gradient may have, -1, 0 or 1; none where there is no L1 term to bend the objective.
#[inline(always)]
fn side<V: Simd>(w: V, pseudo: V, has_l1: V::Mask) -> V {
    let zero = V::zero();
    let sign = |x: V| V::select(zero.less(x), V::splat(1.0), V::select(x.less(zero), V::splat(-1.0), zero));
    let at_zero = zero.sub(sign(pseudo));
    let sign = sign(w);
    V::select(has_l1, V::select(zero.less(sign.abs()), sign, at_zero), zero)
}

/// The L1 penalty of the entry at a place: `slopes` come before the intercepts.
#[inline(always)]
fn l1_at<V: Simd>(walk: &Walk, at: usize, slopes: usize) -> V {
    if at < slopes { V::load(&walk.l1) } else { V::zero() }
}

/// `to = weights + step direction`, turned back at zeros.
#[inline(always)]
pub fn move_along<V: Simd>(walk: &Walk, step: V, slopes: usize, to: &mut [Pair]) {
    let entries = walk.weights.as_flattened().iter().zip(walk.gradient.as_flattened());
    let entries = entries.zip(walk.direction.as_flattened());
    for (at, (to, ((weight, gradient), direction))) in to.as_flattened_mut().iter_mut().zip(entries).enumerate() {
        let (w, l1) = (V::load(weight), l1_at::<V>(walk, at, slopes));
        let pseudo = pseudo_gradient(w, V::load(gradient), l1);
        let moved = V::load(direction).mul_add(step, w);
        let crosses = moved.mul(side(w, pseudo, V::zero().less(l1))).less(V::zero());
        V::select(crosses, V::zero(), moved).store(to);
    }
}

/// Adds the squares' penalty to the trial's gradient; what the trial is judged by.
#[inline(always)]
pub fn add_penalty<V: Simd>(walk: &Walk, trial: &mut Trial, slopes: usize) -> Sums {
    let penalty = V::load(&walk.penalties);
    let [mut squares, mut sizes, mut gradients, mut start, mut end] = [V::zero(); 5];
    let Trial { weights: tried, gradient: found, .. } = trial;
    let entries = tried.as_flattened().iter().zip(walk.weights.as_flattened().iter().zip(walk.gradient.as_flattened()));
    for (at, (found, (tried, (weight, gradient)))) in found.as_flattened_mut().iter_mut().zip(entries).enumerate() {
        let (t, w, l1) = (V::load(tried), V::load(weight), l1_at::<V>(walk, at, slopes));
        let mut g = V::load(found);
        if at < slopes {
            g = t.mul_add(penalty, g);
            squares = t.mul_add(t, squares);
            sizes = sizes.add(t.abs());
            g.store(found);
        }
        let pseudo = pseudo_gradient(t, g, l1);
        gradients = pseudo.mul_add(pseudo, gradients);
        let before = pseudo_gradient(w, V::load(gradient), l1);
        let way = t.sub(w);
        start = before.mul_add(way, start);
        end = side(w, before, V::zero().less(l1)).mul_add(l1, g).mul_add(way, end);
    }
    Sums {
        weights: stored(squares),
        sizes: stored(sizes),
        gradient: stored(gradients),
        slope: stored(end),
        start: Some(stored(start)),
    }
}

/// The lanes of the mask turn into the direction `-H g` among the weights that are not held. `free` has room for which are.
#[inline(always)]
pub fn turn<V: Simd>(
    walk: &mut Walk,
    q: &mut [Pair],
    r: &mut [Pair],
    free: &mut [Pair],
    slopes: usize,
    mask: &Lanes,
) -> Course {
    let (zero, one) = (V::zero(), V::splat(1.0));
    let entries = walk.weights.as_flattened().iter().zip(walk.gradient.as_flattened());
    let room = q.as_flattened_mut().iter_mut().zip(free.as_flattened_mut());
    for (at, ((q, free), (weight, gradient))) in room.zip(entries).enumerate() {
        let w = V::load(weight);
        let pseudo = pseudo_gradient(w, V::load(gradient), l1_at::<V>(walk, at, slopes));
        let is_moved = zero.less(w.abs().max(pseudo.abs()));
        V::select(is_moved, one, zero).store(free);
        pseudo.store(q);
    }
    let newest_first = |age: usize| (walk.turn + MEMORY - 1 - age) % MEMORY;
    let mut shares = [Lanes::ZERO; MEMORY];
    let mut inverses = [Lanes::ZERO; MEMORY];
    // 0 until a pair is found.
    let mut scale = zero;
    for age in 0..MEMORY {
        let place = &walk.ring[newest_first(age)];
        let (product, change_square) = cut_down::<V>(place, free, &walk.inverse_curvature);
        // An empty place has no pair.
        let product = V::select(zero.less(V::load(&place.inverse_product)), product, zero);
        let product = V::select(zero.less(change_square), product, zero);
        let is_pair = change_square.mul(V::splat(LEAST_PRODUCT)).less(product);
        let inverse = V::select(is_pair, one.div(product), zero);
        let newest = V::select(is_pair, product.div(change_square), zero);
        scale = V::select(zero.less(scale), scale, newest);
        inverse.store(&mut inverses[age]);
        let share = inverse.mul(dot::<V>(&place.step, q));
        share.store(&mut shares[age]);
        subtract::<V>(q, share, &place.change, free);
    }
    let scale = V::select(zero.less(scale), scale, one);
    let entries = q.as_flattened().iter().zip(walk.inverse_curvature.as_flattened());
    for (r, (q, inverse)) in r.as_flattened_mut().iter_mut().zip(entries) {
        V::load(q).mul(scale).mul(V::load(inverse)).store(r);
    }
    for age in (0..MEMORY).rev() {
        let place = &walk.ring[newest_first(age)];
        let excess = V::load(&inverses[age]).mul(dot::<V>(&place.change, r)).sub(V::load(&shares[age]));
        subtract::<V>(r, excess, &place.step, free);
    }
    let is_turning = zero.less(V::load(mask));
    let [mut slope, mut square] = [zero; 2];
    for at in 0..2 * walk.weights.len() {
        let (w, l1) = (V::load(&walk.weights[at / 2][at % 2]), l1_at::<V>(walk, at, slopes));
        let pseudo = pseudo_gradient(w, V::load(&walk.gradient[at / 2][at % 2]), l1);
        let d = zero.sub(V::load(&r[at / 2][at % 2]));
        let is_wrong = d.mul(side(w, pseudo, zero.less(l1))).less(zero);
        let d = V::select(is_wrong, V::select(zero.less(w.abs()), d, zero), d);
        let direction = &mut walk.direction[at / 2][at % 2];
        let d = V::select(is_turning, d, V::load(direction));
        d.store(direction);
        slope = d.mul_add(pseudo, slope);
        square = d.mul_add(d, square);
    }
    Course { slope: stored(slope), square: stored(square) }
}

/// Takes away what the weights of a feature are better without, in the lanes of the mask.
#[inline(always)]
pub fn shift<V: Simd>(walk: &mut Walk, fold: &Prepared, mask: &Lanes) {
    let present = || (0..fold.shape.outputs).filter(|output| fold.present[*output]);
    // Two classes are one another's opposites all the way: their median is zero.
    if present().count() <= 2 {
        return;
    }
    let (zero, penalty) = (V::zero(), V::load(&walk.penalties));
    for feature in 0..fold.shape.features {
        let place = |output: usize| (output / 2 * fold.shape.columns + feature, output % 2);
        let weight = |weights: &[Pair], output: usize| {
            let (pair, half) = place(output);
            V::load(&weights[pair][half])
        };
        // Lanes that look for something to take away.
        let mut open = V::load(mask);
        let mut excess = zero;
        open = V::select(is_best(walk, zero, present().map(|output| weight(&walk.weights, output))), zero, open);
        for output in present() {
            if V::mask_bits(zero.less(open)) == 0 {
                break;
            }
            let at = weight(&walk.weights, output);
            let is_best = is_best(walk, at, present().map(|output| weight(&walk.weights, output)));
            excess = V::select(is_best, V::select(zero.less(open), at, excess), excess);
            open = V::select(is_best, zero, open);
        }
        if V::mask_bits(zero.less(excess.abs())) == 0 {
            continue;
        }
        for (pair, half) in present().map(place) {
            let (weight, gradient) = (&mut walk.weights[pair][half], &mut walk.gradient[pair][half]);
            V::load(weight).sub(excess).store(weight);
            penalty.neg_mul_add(excess, V::load(gradient)).store(gradient);
        }
    }
}

/// Whether a feature's weights are best without this much of them.
#[inline(always)]
fn is_best<V: Simd>(walk: &Walk, excess: V, weights: impl Iterator<Item = V>) -> V::Mask {
    let (zero, one) = (V::zero(), V::splat(1.0));
    let (mut balance, mut equal, mut distances) = (zero, zero, zero);
    for w in weights {
        let greater = V::select(excess.less(w), one, zero);
        let smaller = V::select(w.less(excess), one, zero);
        balance = balance.add(greater.sub(smaller));
        equal = equal.add(one.sub(greater.max(smaller)));
        distances = distances.add(w.sub(excess));
    }
    let l1 = V::load(&walk.l1);
    let pull = V::load(&walk.penalties).mul_add(distances, l1.mul(balance)).abs();
    // Not more than: a mask of less has no opposite.
    let is_worse = V::select(l1.mul(equal).less(pull), one, zero);
    is_worse.less(one)
}

/// A pair's `s'y` and `y' y / curvature` among the weights that are not held.
#[inline(always)]
fn cut_down<V: Simd>(place: &Place, free: &[Pair], inverse_curvature: &[Pair]) -> (V, V) {
    let [mut product, mut square] = [V::zero(); 2];
    let pair = place.step.as_flattened().iter().zip(place.change.as_flattened());
    let entries = free.as_flattened().iter().zip(inverse_curvature.as_flattened());
    for ((s, y), (free, inverse)) in pair.zip(entries) {
        let (kept, y) = (V::load(free).mul(V::load(y)), V::load(y));
        product = V::load(s).mul_add(kept, product);
        square = kept.mul(V::load(inverse)).mul_add(y, square);
    }
    (product, square)
}

/// `from -= factor other` among the weights that are not held.
#[inline(always)]
fn subtract<V: Simd>(from: &mut [Pair], factor: V, other: &[Pair], free: &[Pair]) {
    let entries = other.as_flattened().iter().zip(free.as_flattened());
    for (from, (other, free)) in from.as_flattened_mut().iter_mut().zip(entries) {
        factor.mul(V::load(free)).neg_mul_add(V::load(other), V::load(from)).store(from);
    }
}
