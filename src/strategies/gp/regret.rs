//! How much better than the best of its trials a search can still become, whatever proposed them.
//!
//! Makarova et al. 2022 ("Automatic termination for hyperparameter optimization", arXiv:2104.08166, eq. (4)): with a
//! Gaussian process of the trials, the least upper bound of what was tried, less the least lower bound of what there is.

use super::super::cube::Cube;
use super::features::Features;
use super::fit;
use super::kernel::{Columns, Kernel};
use super::lbfgs::{self, Limits};
use super::models::representative;
use super::pool::Candidate;
use super::posterior::{Posterior, Scratch};
use super::propose::{NEAR, Proposer, SPREAD};
use super::values::Scaling;
use crate::base::order::ascending;
use crate::base::random::Key;
use crate::data::metrics::Direction;
use crate::space::Space;
use rayon::prelude::*;
use std::sync::Arc;

/// Trials that the process is fitted to at most: half of them the best, the others evenly from all.
const MOST_TRIALS: usize = 300;
/// Of the best trials so many have points around them, and from so many points is climbed.
const CENTRES: usize = 5;
const CLIMBS: usize = 4;
const CLIMB_CALLS: u32 = 40;
const FIT_CALLS: u32 = 60;
/// The share of searches in which Srinivas et al. 2010's bounds may be wrong once.
const WRONG: f64 = 0.1;
/// Their width is divided by this, as they do in their experiments and the paper does: what is left is no guarantee.
const WIDTH_DIVISOR: f64 = 5.0;

/// A bound of the simple regret, kept up to date with a search.
pub struct RegretBound {
    space: Arc<Space>,
    cube: Cube,
    features: Features,
    direction: Direction,
    key: Key,
    kernel: Option<Kernel>,
}

impl RegretBound {
    /// For a search of a space.
    pub fn new(space: Arc<Space>, direction: Direction, key: Key) -> RegretBound {
        let cube = Cube::new(space.clone());
        RegretBound { features: Features::new(&cube), space, cube, direction, key, kernel: None }
    }

    /// What the best of some trials, rows with their values of which NaN has failed, may be short of the best that there is: in
    /// the values' unit. `None` where there is nothing to model.
    pub fn of(&mut self, trials: &[(&[f64], f64)]) -> Option<f64> {
        let sign = -self.direction.sign();
        let scaling = Scaling::new(trials.iter().map(|(_, value)| sign * value))?;
        let chosen = representative((0..trials.len()).collect(), MOST_TRIALS, |trial| sign * trials[trial].1);
        let dimensions = self.features.dimensions();
        let mut points = Columns::new(dimensions.len());
        let rows: Vec<Vec<f64>> = chosen.iter().map(|trial| self.features.of(&self.cube, trials[*trial].0)).collect();
        rows.iter().for_each(|row| points.push(row));
        let values: Vec<f64> = chosen.iter().map(|trial| scaling.scaled(sign * trials[*trial].1)).collect();
        let kernel = fit::fit(dimensions, &points, &values, self.kernel.as_ref(), [true, false], FIT_CALLS)?;
        let posterior = Posterior::new(dimensions, kernel.clone(), points, values.clone(), 0)?;
        let width = self.width(trials.len());
        let upper = |row: &Vec<f64>| {
            let (mean, variance) = posterior.predict(row, &mut Scratch::default());
            mean + width * variance.max(0.0).sqrt()
        };
        let tried = rows.par_iter().map(upper).reduce(|| f64::INFINITY, f64::min);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|a, b| ascending(values[*a], values[*b]).then(a.cmp(b)));
        let centres: Vec<Vec<f64>> =
            order.iter().take(CENTRES).map(|best| self.cube.encode(trials[chosen[*best]].0)).collect();
        let there_is = self.least(&posterior, &centres, width, trials.len()).min(tried);
        self.kernel = Some(kernel);
        Some(scaling.unscaled(tried) - scaling.unscaled(there_is)).filter(|bound| !bound.is_nan())
    }

    /// Deviations that bounds are away from the mean.
    fn width(&self, trials: usize) -> f64 {
        let (axes, trials) = (self.cube.axes().len().max(1) as f64, trials as f64);
        let squared = std::f64::consts::PI * std::f64::consts::PI / 6.0;
        (2.0 * libm::log(axes * trials * trials * squared / WRONG) / WIDTH_DIVISOR).max(0.0).sqrt()
    }

    /// The least lower bound over the space: of many points there and around the best, and downhill from the lowest.
    fn least(&self, posterior: &Posterior, centres: &[Vec<f64>], width: f64, trials: usize) -> f64 {
        let axes = self.cube.axes().len();
        let lengths = posterior.kernel().lengths(axes);
        let (low, high) = (vec![0.0; axes], vec![1.0; axes]);
        let proposer = Proposer {
            cube: &self.cube,
            features: &self.features,
            low: &low,
            high: &high,
            is_local: false,
            centres,
            lengths: &lengths,
            size: [SPREAD, NEAR],
        };
        let key = self.key.child_of_number(trials as u64);
        let pool = proposer.pool(key, |row| self.space.is_allowed(row));
        let lower = |candidate: &Candidate| {
            let (mean, variance) = posterior.predict(&candidate.features, &mut Scratch::default());
            mean - width * variance.max(0.0).sqrt()
        };
        let bounds: Vec<f64> = pool.par_iter().map(lower).collect();
        let mut order: Vec<usize> = (0..pool.len()).collect();
        order.sort_by(|a, b| ascending(bounds[*a], bounds[*b]).then(a.cmp(b)));
        let from_pool = order.first().map_or(f64::INFINITY, |lowest| bounds[*lowest]);
        let climbed = order[..order.len().min(CLIMBS)].par_iter().map(|from| {
            let from = &pool[*from];
            let along: Vec<usize> = (0..axes).filter(|axis| proposer.is_climbed(*axis, &from.row)).collect();
            let (mut features, mut scratch) = (from.features.clone(), Scratch::default());
            let pick = |values: &[f64]| along.iter().map(|axis| values[*axis]).collect::<Vec<f64>>();
            let limits = Limits { calls: CLIMB_CALLS, first_step: 0.02, least_gain: 1e-5 };
            let found = lbfgs::minimise(&pick(&from.features), &pick(&low), &pick(&high), limits, |place, gradient| {
                along.iter().zip(place).for_each(|(axis, x)| features[*axis] = *x);
                let (mean, variance) = posterior.predict(&features, &mut scratch);
                let deviation = variance.max(1e-12).sqrt();
                posterior.gradient(&features, [1.0, -0.5 * width / deviation], &along, &mut scratch, gradient);
                mean - width * deviation
            });
            found.map_or(f64::INFINITY, |found| found.value)
        });
        from_pool.min(climbed.reduce(|| f64::INFINITY, f64::min))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::random::RandomSearch;
    use super::super::super::{Ask, Strategy, StrategyEntry, StrategyOptions};
    use super::super::GaussianProcess;
    use super::*;
    use crate::space::SpaceBuilder;

    fn space() -> Arc<Space> {
        Arc::new(SpaceBuilder::new().float("x", -5.0, 5.0, 4.0).float("y", -5.0, 5.0, -4.0).build())
    }

    /// Its least value is 1.
    fn bowl(row: &[f64]) -> f64 {
        1.0 + (row[0] - 1.0) * (row[0] - 1.0) + 2.0 * (row[1] + 0.5) * (row[1] + 0.5)
    }

    /// The bound after each ten candidates, and what was really left.
    fn bounds(entry: &dyn StrategyEntry, seed: u64, direction: Direction) -> Vec<(f64, f64)> {
        let options = StrategyOptions { batch: 10, ..StrategyOptions::new(Key::from_seed(seed), direction, 60) };
        let mut strategy: Box<dyn Strategy> = entry.open(space(), &options);
        let mut bound = RegretBound::new(space(), direction, Key::from_seed(seed));
        let sign = -direction.sign();
        let mut trials: Vec<(Vec<f64>, f64)> = Vec::new();
        let mut found = Vec::new();
        for first in (0..60).step_by(10) {
            let Ask::Proposals(points) = strategy.ask(first, 10) else { panic!("no proposals") };
            let told = points
                .rows()
                .zip(first..)
                .map(|(row, candidate)| super::super::super::Outcome::new(candidate, row.to_vec(), sign * bowl(row)));
            let told: Vec<_> = told.collect();
            trials.extend(told.iter().map(|outcome| (outcome.point.clone(), outcome.value())));
            strategy.tell(&told);
            let rows: Vec<(&[f64], f64)> = trials.iter().map(|(row, value)| (row.as_slice(), *value)).collect();
            let best = trials.iter().map(|(_, value)| sign * value).fold(f64::INFINITY, f64::min);
            found.push((bound.of(&rows).expect("values differ"), best - 1.0));
        }
        found
    }

    #[test]
    fn the_bound_is_above_what_is_left_and_falls_as_the_search_converges() {
        for direction in [Direction::Minimize, Direction::Maximize] {
            for entry in [&GaussianProcess as &dyn StrategyEntry, &RandomSearch] {
                for seed in 0..3 {
                    let found = bounds(entry, seed, direction);
                    let held = found.iter().filter(|(bound, left)| bound >= left).count();
                    assert!(held + 1 >= found.len(), "{}, seed {seed}: {found:?}", entry.name());
                    assert!(found.iter().all(|(bound, _)| *bound >= 0.0));
                }
            }
            let found = bounds(&GaussianProcess, 5, direction);
            let (first, last) = (found[0].0, found[5].0);
            assert!(last < 1e-2 * first && last < 0.05, "{found:?}");
        }
    }

    #[test]
    fn nothing_is_said_of_values_that_are_all_equal_or_failed() {
        let mut bound = RegretBound::new(space(), Direction::Minimize, Key::from_seed(1));
        let rows = [[0.0, 1.0], [1.0, 2.0], [2.0, 0.0]];
        let of = |values: [f64; 3]| rows.iter().zip(values).map(|(row, value)| (row.as_slice(), value)).collect();
        let equal: Vec<(&[f64], f64)> = of([1.0; 3]);
        assert_eq!(bound.of(&equal), None);
        let failed: Vec<(&[f64], f64)> = of([f64::NAN; 3]);
        assert_eq!(bound.of(&failed), None);
    }
}
