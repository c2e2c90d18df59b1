//! When a run ends, and how the next one begins: BIPOP (Hansen 2009, "Benchmarking a BI-population CMA-ES on the BBOB-2009
//! function testbed") as pycma has it, with the stop criteria of the tutorial (arXiv:1604.00772, section B.3) that look at
//! values.

use crate::base::random::{Key, uniform_f64};
use crate::data::metrics::Direction;

/// A run's step at its start, as a share of the cube.
pub(super) const FIRST_SIGMA: f64 = 0.25;

/// How often a population doubles at most (Hansen 2009, section 2).
const MOST_DOUBLINGS: u32 = 9;

/// How a run begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// The run's number, for what it draws.
    pub(super) number: u32,
    pub(super) population: usize,
    pub(super) sigma: f64,
    /// Candidates after which it ends in any case.
    pub(super) limit: u64,
}

/// Candidates that went into runs of each kind.
#[derive(Debug, Clone)]
pub(super) struct Restarts {
    key: Key,
    population: usize,
    runs: u32,
    doublings: u32,
    large: u64,
    small: u64,
    is_large: bool,
}

impl Restarts {
    pub(super) fn new(key: Key, population: usize) -> Restarts {
        // The first run counts with the small ones, as pycma has it: the second one is large.
        Restarts { key, population, runs: 0, doublings: 0, large: 0, small: 0, is_large: false }
    }

    pub(super) fn first(&self) -> Plan {
        Plan { number: 0, population: self.population, sigma: FIRST_SIGMA, limit: u64::MAX }
    }

    /// After a run that took so many candidates: the kind of run that had fewer of them is next.
    pub(super) fn next(&mut self, used: u64) -> Plan {
        match self.is_large {
            true => self.large += used,
            false => self.small += used,
        }
        self.runs += 1;
        self.is_large = self.small >= self.large;
        if self.is_large {
            self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
            let population = self.population << self.doublings;
            return Plan { number: self.runs, population, sigma: FIRST_SIGMA, limit: u64::MAX };
        }
        // Section 2 has lambda_s = lambda (lambda_l / 2 lambda)^(U^2), sigma = sigma_0 10^(-2 U), and half of the candidates of
        // the last large run at most; pycma has lambda_l there, and half of those of all large runs.
        let [for_population, for_sigma] = [0, 1].map(|counter| uniform_f64(self.key.child(self.runs).words(counter)));
        let most = f64::from(1u32 << self.doublings);
        let factor = libm::pow(most, for_population * for_population);
        Plan {
            number: self.runs,
            population: (self.population as f64 * factor) as usize,
            sigma: FIRST_SIGMA * libm::pow(10.0, -2.0 * for_sigma),
            limit: self.large / 2,
        }
    }
}

/// Best and median value of each generation of a run.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    direction: Direction,
    /// Generations that must agree: `10 + 30 n / lambda`.
    window: usize,
    bests: Vec<f64>,
    medians: Vec<f64>,
}

/// Values that differ by less are one: pycma's `tolfunhist`, of the best of each generation; and `tolfun`, where those of a
/// whole generation do too.
const SAME_VALUE: f64 = 1e-12;
const SAME_VALUES: f64 = 1e-11;
/// Generations between two looks at whether a run stagnates, which sorts its history.
const STAGNATION_EVERY: usize = 16;

impl Progress {
    pub(super) fn new(direction: Direction, axes: usize, population: usize) -> Progress {
        let window = 10 + (30 * axes).div_ceil(population);
        Progress { direction, window, bests: Vec::new(), medians: Vec::new() }
    }

    /// Takes a generation's values, best first; whether the run has come to its end.
    pub(super) fn ends_with(&mut self, values: &[f64]) -> bool {
        self.bests.push(values[0]);
        self.medians.push(values[values.len() / 2]);
        // NaN, of a generation with failures or of infinities, is no spread.
        let spread = (values[values.len() - 1] - values[0]).abs();
        self.is_flat(if spread < SAME_VALUES { SAME_VALUES } else { SAME_VALUE }) || self.stagnates()
    }

    /// TolFun, TolHistFun and EqualFunValues: the best value has not changed by more than that for a window.
    fn is_flat(&self, most_apart: f64) -> bool {
        if self.bests.len() < self.window {
            return false;
        }
        let recent = &self.bests[self.bests.len() - self.window..];
        let least = recent.iter().fold(f64::INFINITY, |least, value| least.min(*value));
        let most = recent.iter().fold(f64::NEG_INFINITY, |most, value| most.max(*value));
        let failures = recent.iter().filter(|value| value.is_nan()).count();
        failures == recent.len() || failures == 0 && (least == most || most - least < most_apart)
    }

    /// Stagnation: over the last fifth of a run, and 120 + 30 n / lambda generations at least, neither best nor median are
    /// better in the last 30 % than in the first.
    fn stagnates(&self) -> bool {
        let generations = self.bests.len();
        let window = (generations / 5).clamp(110 + self.window, 20_000);
        if generations < window || !generations.is_multiple_of(STAGNATION_EVERY) {
            return false;
        }
        let is_no_better = |history: &[f64]| {
            let recent = &history[history.len() - window..];
            let part = window * 3 / 10;
            let median = |part: &[f64]| {
                let mut sorted = part.to_vec();
                let middle = sorted.len() / 2;
                *sorted.select_nth_unstable_by(middle, |a, b| self.direction.compare(*a, *b)).1
            };
            self.direction.compare(median(&recent[window - part..]), median(&recent[..part])).is_ge()
        };
        is_no_better(&self.bests) && is_no_better(&self.medians)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn populations_double_and_small_runs_use_as_much_as_large_ones() {
        let mut restarts = Restarts::new(Key::from_seed(1), 10);
        assert_eq!(restarts.first().population, 10);
        let mut plan = restarts.next(500);
        assert_eq!((plan.population, plan.limit), (20, u64::MAX));
        let (mut large, mut small, mut doubled) = (0, 500, 20);
        for _ in 0..200 {
            let used = plan.limit.min(plan.population as u64 * 100);
            let is_large = plan.limit == u64::MAX;
            *(if is_large { &mut large } else { &mut small }) += used;
            plan = restarts.next(used);
            if plan.limit == u64::MAX {
                assert!(small >= large);
                doubled = (2 * doubled).min(10 << MOST_DOUBLINGS);
                assert_eq!((plan.population, plan.sigma), (doubled, FIRST_SIGMA));
            } else {
                assert!(small < large);
                assert!((10..=doubled).contains(&plan.population), "{plan:?}");
                assert!((0.0025..=FIRST_SIGMA).contains(&plan.sigma), "{plan:?}");
            }
        }
    }

    #[test]
    fn a_run_ends_when_its_best_value_stays() {
        let ends_after = |value: &dyn Fn(usize) -> f64| {
            let mut progress = Progress::new(Direction::Minimize, 5, 8);
            (1..2000).find(|generation| progress.ends_with(&[value(*generation), 1.0, 2.0]))
        };
        // 10 + 30 * 5 / 8, rounded up.
        assert_eq!(ends_after(&|_| 0.5), Some(29));
        assert_eq!(ends_after(&|_| f64::NAN), Some(29));
        assert_eq!(ends_after(&|_| f64::NEG_INFINITY), Some(29));
        assert_eq!(ends_after(&|generation| generation.min(100) as f64), Some(128));
        assert_eq!(ends_after(&|generation| -(generation as f64)), None);
    }

    #[test]
    fn a_run_ends_sooner_where_a_whole_generation_has_one_value() {
        // The best value halves every generation.
        let ends_after = |spread: f64| {
            let mut progress = Progress::new(Direction::Minimize, 5, 8);
            let best = |generation: usize| libm::exp2(-(generation as f64));
            (1..2000).find(|generation| progress.ends_with(&[best(*generation), best(*generation) + spread]))
        };
        // 2^-37 is the first below 1e-11, 2^-40 the first below 1e-12; the window has 29 generations.
        assert_eq!((ends_after(1e-12), ends_after(1.0)), (Some(36 + 29), Some(39 + 29)));
    }

    #[test]
    fn a_run_ends_when_it_only_wavers() {
        let mut progress = Progress::new(Direction::Maximize, 5, 8);
        let mut value = |generation: u64| {
            let best = uniform_f64(Key::from_seed(4).words(generation));
            progress.ends_with(&[best, best / 2.0, 0.0])
        };
        assert!((0..2000).any(&mut value));
    }
}
