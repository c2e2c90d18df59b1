//! Where to look next: many points over the region and around the best, judged together; from the best of them uphill.

use super::super::cube::{Axis, Cube};
use super::super::sequence::Sequence;
use super::super::sobol::Sobol;
use super::acquisition::log_expected_improvement;
use super::features::Features;
use super::fingerprint;
use super::lbfgs::{self, Limits};
use super::pool::Candidate;
use super::posterior::{Posterior, Scratch};
use crate::base::random::{Key, normal_f64, uniform_f64};
use rayon::prelude::*;
use std::collections::HashSet;

/// Points of a pool: over the region, and around the best.
pub(super) const SPREAD: u64 = 1024;
pub(super) const NEAR: u64 = 1024;
/// An ordered axis of so many values is climbed as if it were a continuum, and rounded to.
const FINE: u64 = 16;
/// Axes that a point of a region differs from its centre in, about; TuRBO's supplement.
const MUTATED: f64 = 20.0;

/// What candidates are made from.
pub(super) struct Proposer<'a> {
    pub(super) cube: &'a Cube,
    pub(super) features: &'a Features,
    /// Of the region, by axis.
    pub(super) low: &'a [f64],
    pub(super) high: &'a [f64],
    /// Whether the region is less than the cube: then it is about the first centre.
    pub(super) is_local: bool,
    /// Features of the best so far, the best first.
    pub(super) centres: &'a [Vec<f64>],
    /// Lengths of the kernel along the axes, at most 1.
    pub(super) lengths: &'a [f64],
    /// Points of a pool: over the region, and around the best.
    pub(super) size: [u64; 2],
}

impl Proposer<'_> {
    fn candidate(&self, place: &[f64]) -> Candidate {
        let row = self.cube.decode(place);
        let features = self.features.of(self.cube, &row);
        Candidate { row, features }
    }

    /// A pool of candidates that `may` be proposed.
    pub(super) fn pool(&self, key: Key, may: impl Fn(&[f64]) -> bool + Sync) -> Vec<Candidate> {
        let sobol = Sobol::new(key.child(0), self.cube.axes().len());
        let (far, near) = (key.child(1), key.child(2));
        let make = |index: u64| {
            let place = if index < self.size[0] {
                self.spread(&sobol, far.child(index as u32), index)
            } else {
                self.near(near.child(index as u32), index - self.size[0])
            };
            let candidate = self.candidate(&place);
            may(&candidate.row).then_some(candidate)
        };
        let all: Vec<Candidate> = (0..self.size[0] + self.size[1]).into_par_iter().filter_map(make).collect();
        let mut known = HashSet::with_capacity(all.len());
        all.into_iter().filter(|candidate| known.insert(fingerprint(&candidate.row))).collect()
    }

    /// Evenly over the region; in one about a centre, most axes of many stay where the centre is.
    fn spread(&self, sobol: &Sobol, key: Key, index: u64) -> Vec<f64> {
        let axes = self.cube.axes().len();
        let share = MUTATED / axes as f64;
        let centre = self.centres.first().filter(|_| self.is_local && share < 1.0);
        let place = |axis: usize| {
            let uniform = sobol.coordinate(index, axis);
            let place = self.low[axis] + (self.high[axis] - self.low[axis]) * uniform;
            match centre {
                Some(centre) if uniform_f64(key.words(axis as u64)) >= share => existing(centre[axis], place),
                _ => place,
            }
        };
        (0..axes).map(place).collect()
    }

    /// Around one of the best: some axes moved by a step between a thousandth and half of a length.
    fn near(&self, key: Key, index: u64) -> Vec<f64> {
        let axes = self.cube.axes();
        let (steps, shares) = (key.child(0), key.child(1));
        let centre = &self.centres[index as usize % self.centres.len()];
        let step = 0.5 * libm::pow(10.0, -2.7 * uniform_f64(key.words(0)));
        let n = axes.len() as f64;
        let share = match index / self.centres.len() as u64 % 3 {
            0 => 1.0,
            1 => 0.4,
            _ => 1.5 / n,
        };
        let share = share.min(MUTATED / n).max(1.0 / n);
        let place = |axis: usize| {
            let counter = axis as u64;
            let uniform = uniform_f64(steps.words(counter));
            let is_moved = uniform_f64(shares.words(counter)) < share;
            let is_choice = matches!(axes[axis], Axis::Choices(_));
            // Choices move seldom, so that the numbers around a combination are looked at.
            if !is_moved || (is_choice && uniform_f64(shares.words(counter + n as u64)) > 0.3) {
                return existing(centre[axis], uniform);
            }
            if is_choice || centre[axis].is_nan() {
                return uniform;
            }
            let width = match axes[axis] {
                // Whole numbers move by one at least, about.
                Axis::Ordered(count) => (step * self.lengths[axis]).max(0.8 / count as f64),
                _ => step * self.lengths[axis],
            };
            let moved = centre[axis] + width * normal_f64(steps.words(counter));
            moved.max(self.low[axis]).min(self.high[axis])
        };
        (0..axes.len()).map(place).collect()
    }

    /// Uphill from a candidate along the numbers that it has.
    pub(super) fn climb(
        &self,
        posterior: &Posterior,
        from: &Candidate,
        best: f64,
        calls: u32,
        scratch: &mut Scratch,
    ) -> (f64, Candidate) {
        let mut judge = |features: &[f64]| {
            let (mean, variance) = posterior.predict(features, scratch);
            log_expected_improvement(mean, variance, best)[0]
        };
        let begun = judge(&from.features);
        let along: Vec<usize> = (0..self.cube.axes().len()).filter(|axis| self.is_climbed(*axis, &from.row)).collect();
        if along.is_empty() {
            return (begun, from.clone());
        }
        let pick = |values: &[f64]| along.iter().map(|axis| values[*axis]).collect::<Vec<f64>>();
        let mut features = from.features.clone();
        let limits = Limits { calls, first_step: 0.02, least_gain: 1e-4 };
        let start = pick(&features);
        let climbed = lbfgs::minimise(&start, &pick(self.low), &pick(self.high), limits, |place, gradient| {
            along.iter().zip(place).for_each(|(axis, x)| features[*axis] = *x);
            let (mean, variance) = posterior.predict(&features, scratch);
            let [value, by_mean, by_variance] = log_expected_improvement(mean, variance, best);
            posterior.gradient(&features, [-by_mean, -by_variance], &along, scratch, gradient);
            -value
        });
        let Some(climbed) = climbed else { return (begun, from.clone()) };
        let mut place = from.features[..self.cube.axes().len()].to_vec();
        along.iter().zip(&climbed.place).for_each(|(axis, x)| place[*axis] = *x);
        let candidate = self.candidate(&place);
        let (mean, variance) = posterior.predict(&candidate.features, scratch);
        let reached = log_expected_improvement(mean, variance, best)[0];
        if reached > begun { (reached, candidate) } else { (begun, from.clone()) }
    }

    pub(super) fn is_climbed(&self, axis: usize, row: &[f64]) -> bool {
        let is_number = match self.cube.axes()[axis] {
            Axis::Continuous => true,
            Axis::Ordered(count) => count >= FINE,
            Axis::Choices(_) => false,
        };
        is_number && !row[self.cube.column(axis)].is_nan() && self.low[axis] < self.high[axis]
    }
}

/// The centre's place, or another where the centre's parameter does not exist: should it exist here, it is drawn.
fn existing(centre: f64, other: f64) -> f64 {
    if centre.is_nan() { other } else { centre }
}
