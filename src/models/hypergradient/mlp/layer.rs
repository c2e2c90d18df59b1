//! A layer of dual numbers: its sums, their slopes, and its way along the gradient.

use super::step::Step;
use super::{Doubles, Dual, LANES, ZERO};
use crate::backend::cpu::double::Double;
use crate::backend::cpu::simd::Simd;

/// A layer: weights `[units, vectors of inputs]` and biases `[vectors of units]`, each with two moments.
pub(super) struct Layer<const T: usize> {
    pub(super) inputs: usize,
    pub(super) units: usize,
    pub(super) weights: [Vec<Dual<T>>; 3],
    pub(super) biases: [Vec<Dual<T>>; 3],
}

impl<const T: usize> Layer<T> {
    pub(super) fn vectors(&self) -> usize {
        self.inputs.div_ceil(LANES)
    }

    #[inline(always)]
    pub(super) fn bias(&self, unit: usize, slope: usize) -> f64 {
        self.biases[0][unit / LANES][slope].0[unit % LANES]
    }

    /// `W a + b`; of what is below, `B` of the slopes are not zero, itself included.
    #[inline(always)]
    pub(super) fn sums<V: Simd, const B: usize>(&self, below: &[[Doubles; B]], out: &mut [Dual<T>]) {
        for (below, out) in below.chunks_exact(self.inputs).zip(out.chunks_exact_mut(self.units)) {
            for (pair, out) in out.chunks_mut(2).enumerate() {
                match out.len() {
                    2 => self.sums_of::<V, B, 2>(2 * pair, below, out),
                    _ => self.sums_of::<V, B, 1>(2 * pair, below, out),
                }
            }
        }
    }

    /// The same of `U` units from `first` on for a block of rows.
    #[inline(always)]
    pub(super) fn sums_of<V: Simd, const B: usize, const U: usize>(
        &self,
        first: usize,
        below: &[[Doubles; B]],
        out: &mut [Dual<T>],
    ) {
        for slope in 0..T {
            let mut sums: [V::Double; U] = std::array::from_fn(|unit| V::Double::splat(self.bias(first + unit, slope)));
            for (vector, below) in below.chunks(LANES).enumerate() {
                let weights: [&Dual<T>; U] =
                    std::array::from_fn(|unit| &self.weights[0][(first + unit) * self.vectors() + vector]);
                for (place, a) in below.iter().enumerate() {
                    for unit in 0..U {
                        let weight = |slope: usize| weights[unit][slope].0[place];
                        sums[unit] = product::<V, B>(a, weight, slope, sums[unit]);
                    }
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                sum.store(&mut out[slope]);
            }
        }
    }

    /// The gradient by the sums of the layer below: `W' delta` times the activation's slope.
    #[inline(always)]
    pub(super) fn back<V: Simd>(&self, delta: &[Dual<T>], slopes: &[Dual<T>], below: &mut [Dual<T>]) {
        let blocks = slopes.chunks_exact(self.inputs).zip(below.chunks_exact_mut(self.inputs));
        for (delta, (slopes, below)) in delta.chunks_exact(self.units).zip(blocks) {
            for (pair, (slopes, below)) in slopes.chunks(2).zip(below.chunks_mut(2)).enumerate() {
                match below.len() {
                    2 => self.back_to::<V, 2>(2 * pair, delta, below),
                    _ => self.back_to::<V, 1>(2 * pair, delta, below),
                }
                for (below, factor) in below.iter_mut().zip(slopes) {
                    multiply(below, factor);
                }
            }
        }
    }

    /// `W' delta` of `I` inputs from `first` on, which share a vector.
    #[inline(always)]
    pub(super) fn back_to<V: Simd, const I: usize>(&self, first: usize, delta: &[Dual<T>], below: &mut [Dual<T>]) {
        let (vector, place) = (first / LANES, first % LANES);
        for slope in 0..T {
            let mut sums = [V::Double::splat(0.0); I];
            let weights = self.weights[0].iter().skip(vector).step_by(self.vectors());
            for (delta, weights) in delta.iter().zip(weights) {
                for (input, sum) in sums.iter_mut().enumerate() {
                    let weight = |slope: usize| weights[slope].0[place + input];
                    *sum = product::<V, T>(delta, weight, slope, *sum);
                }
            }
            for (below, sum) in below.iter_mut().zip(sums) {
                sum.store(&mut below[slope]);
            }
        }
    }

    /// Moves the weights along the gradient `delta a'`; `below` has inputs side by side.
    #[inline(always)]
    pub(super) fn follow<V: Simd, const B: usize>(
        &mut self,
        below: &[[Doubles; B]],
        delta: &[Dual<T>],
        rows: usize,
        optimizer: &Step,
    ) {
        let vectors = self.vectors();
        let below = &below[..rows * vectors];
        for unit in (0..self.units).step_by(2) {
            for vector in 0..vectors {
                let mut gradients = [[ZERO; T]; 2];
                let count = (self.units - unit).min(2);
                match count {
                    2 => self.gradients::<V, B, 2>(unit, vector, below, delta, &mut gradients),
                    _ => self.gradients::<V, B, 1>(unit, vector, below, delta, &mut gradients),
                }
                for (unit, gradient) in (unit..).zip(&gradients[..count]) {
                    let array = self.weights.each_mut().map(|array| &mut array[unit * vectors + vector]);
                    optimizer.follow(array, gradient, true);
                }
            }
        }
    }

    /// The gradients of a vector of inputs' weights to `U` units from `first` on.
    #[inline(always)]
    pub(super) fn gradients<V: Simd, const B: usize, const U: usize>(
        &self,
        first: usize,
        vector: usize,
        below: &[[Doubles; B]],
        delta: &[Dual<T>],
        gradients: &mut [Dual<T>],
    ) {
        let vectors = self.vectors();
        for slope in 0..T {
            let mut sums = [V::Double::splat(0.0); U];
            for (rows, delta) in below.chunks(LANES * vectors).zip(delta.chunks_exact(self.units)) {
                let delta: [&Dual<T>; U] = std::array::from_fn(|unit| &delta[first + unit]);
                for (place, a) in rows.iter().skip(vector).step_by(vectors).enumerate() {
                    for unit in 0..U {
                        let delta = |slope: usize| delta[unit][slope].0[place];
                        sums[unit] = product::<V, B>(a, delta, slope, sums[unit]);
                    }
                }
            }
            for (gradient, sum) in gradients.iter_mut().zip(sums) {
                sum.store(&mut gradient[slope]);
            }
        }
    }

    #[inline(always)]
    pub(super) fn follow_biases(&mut self, delta: &[Dual<T>], optimizer: &Step) {
        for vector in 0..self.units.div_ceil(LANES) {
            let mut gradient = [ZERO; T];
            for delta in delta.chunks_exact(self.units) {
                for (place, delta) in delta.iter().skip(vector * LANES).take(LANES).enumerate() {
                    for slope in 0..T {
                        gradient[slope].0[place] += total(&delta[slope]);
                    }
                }
            }
            optimizer.follow(self.biases.each_mut().map(|array| &mut array[vector]), &gradient, false);
        }
    }
}

/// Adds to a sum one slope of a product of vectors, of whose slopes `B` are not zero, with a number.
#[inline(always)]
pub(super) fn product<V: Simd, const B: usize>(
    vectors: &[Doubles; B],
    number: impl Fn(usize) -> f64,
    slope: usize,
    sum: V::Double,
) -> V::Double {
    let mut sum = sum;
    if slope > 0 {
        sum = V::Double::load(&vectors[0]).mul_add(V::Double::splat(number(slope)), sum);
    }
    if slope < B {
        sum = V::Double::load(&vectors[slope]).mul_add(V::Double::splat(number(0)), sum);
    }
    sum
}

/// Multiplies duals by duals.
#[inline(always)]
pub(super) fn multiply<const T: usize>(values: &mut Dual<T>, factor: &Dual<T>) {
    for slope in 1..T {
        for lane in 0..LANES {
            values[slope].0[lane] =
                values[slope].0[lane] * factor[0].0[lane] + values[0].0[lane] * factor[slope].0[lane];
        }
    }
    for lane in 0..LANES {
        values[0].0[lane] *= factor[0].0[lane];
    }
}

/// The sum of rows, in one order.
#[inline(always)]
pub(super) fn total(rows: &Doubles) -> f64 {
    let mut rows = rows.0;
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            rows[lane] += rows[lane + half];
        }
    }
    rows[0]
}
