//! Ends what finds nothing better for some rungs: early stopping of each candidate by its own curve.
//!
//! Decisions are those of Optuna's PatientPruner without a pruner that it wraps, whose `min_delta` is this one's negative: there
//! it says how much worse is no worse, here how much better is better, as in `[stop]`.

use super::stopping::{Rule, Stopping};
use super::{Scheduler, SchedulerEntry, SchedulerOptions, rungs};
use crate::base::order;
use crate::base::registry::Named;

/// Where nothing else is said, rungs are this part of the budget apart: a curve that gets worse shows it on rungs that follow
/// each other closely.
const RUNGS: u64 = 10;

/// The registry entry.
pub struct PatientStopping;

impl Named for PatientStopping {
    fn name(&self) -> &'static str {
        "patient"
    }
    fn summary(&self) -> &'static str {
        "ends candidates that find nothing better, by `min_delta`, for more than `patience` rungs"
    }
}

impl SchedulerEntry for PatientStopping {
    fn rungs(&self, options: &SchedulerOptions) -> Vec<u64> {
        rungs::alone(&spaced(options))
    }

    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        let rule = Patience { rungs: options.rule.patience, min_delta: options.rule.min_delta };
        Box::new(Stopping::new(&spaced(options), rule))
    }
}

fn spaced(options: &SchedulerOptions) -> SchedulerOptions {
    let interval = options.interval.unwrap_or_else(|| options.budget.div_ceil(RUNGS));
    SchedulerOptions { interval: Some(interval), ..*options }
}

struct Patience {
    /// Rungs before the last one.
    rungs: u64,
    min_delta: f64,
}

impl Rule for Patience {
    fn goes_on(&self, curve: &[f64]) -> bool {
        let last = usize::try_from(self.rungs.saturating_add(1)).unwrap_or(usize::MAX);
        let (before, last) = curve.split_at(curve.len().saturating_sub(last));
        match (least(before), least(last)) {
            (Some(before), Some(last)) => last <= before - self.min_delta,
            _ => true,
        }
    }
}

fn least(values: &[f64]) -> Option<f64> {
    values.iter().copied().min_by(|a, b| order::ascending(*a, *b))
}

#[cfg(test)]
mod tests {
    use super::super::RuleOptions;
    use super::super::testing::{course, options};
    use super::*;

    #[test]
    fn who_finds_nothing_better_ends_when_its_patience_is_over() {
        let rule = RuleOptions { patience: 1, ..RuleOptions::default() };
        let of = SchedulerOptions { rule, interval: Some(1), ..options(6) };
        // The first is at its best at once, the second comes back in time, the third stays where it is.
        let curves = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3.0, 4.0, 2.0, 3.0, 1.0, 1.0], [2.0; 6]];
        let value = |candidate: u64, budget: u64| curves[candidate as usize][budget as usize - 1];
        let rounds = course(&PatientStopping, &of, 3, 3, value);
        let ended: Vec<(u64, u64)> = rounds.iter().flat_map(|round| round.ended.clone()).collect();
        assert_eq!(ended, [(0, 3)]);
        // Who must get better by something doesn't stay where it is.
        let of = SchedulerOptions { rule: RuleOptions { min_delta: 0.1, ..rule }, ..of };
        let rounds = course(&PatientStopping, &of, 3, 3, value);
        let ended: Vec<(u64, u64)> = rounds.iter().flat_map(|round| round.ended.clone()).collect();
        assert_eq!(ended, [(0, 3), (2, 3)]);
    }

    #[test]
    fn rungs_are_a_tenth_of_the_budget_apart() {
        assert_eq!(PatientStopping.rungs(&options(30)), [1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 30]);
        assert_eq!(PatientStopping.rungs(&options(4)), [1, 2, 3, 4]);
        // Of several models each has a unit of its own from rung to rung.
        assert_eq!(PatientStopping.rungs(&SchedulerOptions { least: 4, grain: 3, ..options(10) }), [4, 7, 10]);
    }
}
