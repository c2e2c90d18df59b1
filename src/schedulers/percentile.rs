//! The median stopping rule (Golovin et al. 2017, "Google Vizier", section 3.2.2) and its like for other percentiles: at each
//! rung a candidate ends whose best value so far is worse than that percentile of the values that earlier ones, which came to
//! their full budget, had at the same rung.
//!
//! Percentiles, and how many earlier candidates it takes, are those of Optuna's PercentilePruner.

use super::stopping::{Rule, Stopping};
use super::{Scheduler, SchedulerEntry, SchedulerOptions, rungs};
use crate::base::order;
use crate::base::registry::Named;

/// So many candidates come to their full budget before one is judged by them.
const EARLIER: usize = 5;

/// The registry entry of the median.
pub struct MedianStopping;

impl Named for MedianStopping {
    fn name(&self) -> &'static str {
        "median"
    }
    fn summary(&self) -> &'static str {
        "ends candidates that are worse on the way than the median of earlier ones was there"
    }
}

impl SchedulerEntry for MedianStopping {
    fn rungs(&self, options: &SchedulerOptions) -> Vec<u64> {
        rungs::alone(options)
    }

    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        Box::new(Stopping::new(options, Percentile { share: 0.5, earlier: Vec::new() }))
    }
}

/// The registry entry of other percentiles.
pub struct PercentileStopping;

impl Named for PercentileStopping {
    fn name(&self) -> &'static str {
        "percentile"
    }
    fn summary(&self) -> &'static str {
        "the same for another `percentile` than the 50th"
    }
}

impl SchedulerEntry for PercentileStopping {
    fn rungs(&self, options: &SchedulerOptions) -> Vec<u64> {
        rungs::alone(options)
    }

    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        Box::new(Stopping::new(options, Percentile { share: options.rule.percentile / 100.0, earlier: Vec::new() }))
    }
}

struct Percentile {
    /// Between 0, the best, and 1, the worst.
    share: f64,
    /// The values of earlier candidates at each rung, ascending.
    earlier: Vec<Vec<f64>>,
}

impl Rule for Percentile {
    fn goes_on(&self, curve: &[f64]) -> bool {
        let rung = curve.len().saturating_sub(1);
        let Some(earlier) = self.earlier.get(rung).filter(|earlier| earlier.len() >= EARLIER) else { return true };
        let best = curve.iter().copied().min_by(|a, b| order::ascending(*a, *b));
        best.is_none_or(|best| best <= percentile(earlier, self.share))
    }

    fn learn(&mut self, curves: &[Vec<f64>]) {
        for curve in curves {
            self.earlier.resize_with(self.earlier.len().max(curve.len()), Vec::new);
            self.earlier.iter_mut().zip(curve).for_each(|(earlier, value)| earlier.push(*value));
        }
        // Two sorted runs: little more than their merging.
        self.earlier.iter_mut().for_each(|earlier| earlier.sort_by(|a, b| order::ascending(*a, *b)));
    }
}

/// Linear between the two ranks next to it, as numpy's.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = (place as usize).min(sorted.len() - 1);
    let above = (below + 1).min(sorted.len() - 1);
    let within = place - below as f64;
    // What is infinite has no part between: none of it is nothing.
    if within == 0.0 || sorted[below] == sorted[above] {
        sorted[below]
    } else {
        sorted[below] + within * (sorted[above] - sorted[below])
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleOptions;
    use super::super::testing::{course, options};
    use super::*;

    #[test]
    fn percentiles_are_those_of_numpy() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        let shares = [0.0, 0.25, 0.5, 0.9, 1.0];
        assert_eq!(shares.map(|share| percentile(&sorted, share)), [1.0, 1.75, 3.0, 6.800000000000001, 8.0]);
        assert_eq!(percentile(&[3.0], 0.5), 3.0);
        assert_eq!(percentile(&[1.0, f64::INFINITY, f64::INFINITY], 0.8), f64::INFINITY);
        assert_eq!(percentile(&[1.0, 2.0, 3.0, f64::INFINITY, f64::INFINITY], 0.5), 3.0);
    }

    #[test]
    fn who_is_worse_than_the_median_was_ends() {
        // Six come to their end; of the next two the first is worse than their median at the second rung.
        let value = |candidate: u64, budget: u64| match (candidate, budget) {
            (6, 1) => 3.4,
            (6, _) => 3.6,
            (7, 1) => 9.0,
            (7, _) => 0.0,
            (8, 1) => 3.6,
            (8, _) => 3.4,
            _ => candidate as f64 + 1.0,
        };
        let rounds = course(&MedianStopping, &options(9), 9, 6, value);
        let ended: Vec<u64> =
            rounds.iter().flat_map(|round| round.ended.iter().map(|(candidate, _)| *candidate)).collect();
        // The median is 3.5. The best value so far counts, so 6 goes on; 7 and 8 are cut at the first rung.
        assert_eq!(ended, [7, 8]);
    }

    #[test]
    fn a_lower_percentile_lets_fewer_pass() {
        let value = |candidate: u64, budget: u64| (candidate * 31 % 64) as f64 + 1.0 / budget as f64;
        let ended = |percentile: f64| {
            let rule = RuleOptions { percentile, ..RuleOptions::default() };
            let of = SchedulerOptions { rule, ..options(27) };
            course(&PercentileStopping, &of, 64, 8, value).iter().map(|round| round.ended.len()).sum::<usize>()
        };
        assert!(ended(10.0) > ended(50.0) && ended(50.0) > ended(90.0));
    }
}
