//! Ends what is worse than a value that the user knows to be too bad, at every rung.

use super::stopping::{Rule, Stopping};
use super::{Scheduler, SchedulerEntry, SchedulerOptions, rungs};
use crate::base::registry::Named;

/// The registry entry.
pub struct ThresholdStopping;

impl Named for ThresholdStopping {
    fn name(&self) -> &'static str {
        "threshold"
    }
    fn summary(&self) -> &'static str {
        "ends candidates that are worse than `threshold` on the way"
    }
}

impl SchedulerEntry for ThresholdStopping {
    fn needs_threshold(&self) -> bool {
        true
    }

    fn rungs(&self, options: &SchedulerOptions) -> Vec<u64> {
        rungs::alone(options)
    }

    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        Box::new(Stopping::new(options, Threshold(options.rule.threshold.unwrap_or(f64::INFINITY))))
    }
}

/// The worst value that goes on.
struct Threshold(f64);

impl Rule for Threshold {
    fn goes_on(&self, curve: &[f64]) -> bool {
        curve.last().is_none_or(|value| *value <= self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleOptions;
    use super::super::testing::{course, options};
    use super::*;

    #[test]
    fn what_is_worse_than_the_threshold_ends() {
        let rule = RuleOptions { threshold: Some(1.0), ..RuleOptions::default() };
        let of = SchedulerOptions { rule, ..options(9) };
        // Candidate 0 gets worse, 1 is at the threshold, 2 is worse from the beginning.
        let value = |candidate: u64, budget: u64| [budget as f64 / 3.0, 1.0, 1.5][candidate as usize];
        let rounds = course(&ThresholdStopping, &of, 3, 10, value);
        assert_eq!((&rounds[1].go_on[..], &rounds[1].ended[..]), (&[(0, 3), (1, 3)][..], &[(2, 1)][..]));
        assert_eq!((&rounds[2].go_on[..], &rounds[2].ended[..]), (&[(0, 9), (1, 9)][..], &[][..]));
        assert!(rounds[3].is_last());
    }
}
