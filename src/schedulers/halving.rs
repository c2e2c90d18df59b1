//! Successive halving: every rung keeps the best `1/eta` of its candidates (Karnin, Koren & Somekh 2013; Jamieson & Talwalkar
//! 2016, arXiv:1502.07943).
//!
//! Survivors are those of scikit-learn's HalvingRandomSearchCV with `min_resources="exhaust"`: as many rungs as it takes to come
//! to less than `eta` candidates, of n of which `ceil(n / eta)` go on. So are budgets where the full one is a power of `eta`;
//! where it isn't, scikit-learn's last rung falls short of it, and here it does not.

use super::rungs::{Cohort, Share, geometric};
use super::{Reached, Round, Scheduler, SchedulerEntry, SchedulerOptions};
use crate::base::registry::Named;

/// The registry entry.
pub struct SuccessiveHalving;

impl Named for SuccessiveHalving {
    fn name(&self) -> &'static str {
        "halving"
    }
    fn summary(&self) -> &'static str {
        "of each batch the best third goes on with three times the budget, and so forth (`eta`)"
    }
}

impl SchedulerEntry for SuccessiveHalving {
    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        Box::new(Halving { options: *options, cohort: Cohort::over() })
    }
}

struct Halving {
    options: SchedulerOptions,
    /// The batch that is climbing.
    cohort: Cohort,
}

impl Scheduler for Halving {
    fn next(&mut self, room: u64, _: u64) -> Round {
        if !self.cohort.is_over() {
            return self.cohort.climb();
        }
        let candidates = room.min(self.options.batch);
        if candidates == 0 {
            return Round::default();
        }
        let eta = self.options.eta.max(2);
        self.cohort = Cohort::new(&rungs(&self.options, candidates), Share::Up(eta));
        self.cohort.begin(candidates)
    }

    fn report(&mut self, reached: &[Reached]) {
        self.cohort.report(reached);
    }
}

/// The budgets of so many candidates' rungs: as many as bring them to less than eta.
fn rungs(options: &SchedulerOptions, candidates: u64) -> Vec<u64> {
    geometric(&SchedulerOptions { batch: candidates, ..*options })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{course, options, sizes};
    use super::*;

    fn of_three(candidates: u64, budget: u64) -> Vec<(u64, u64)> {
        let value = |candidate: u64, budget: u64| (candidate * 7 % 11) as f64 / budget as f64;
        sizes(&course(&SuccessiveHalving, &options(budget), candidates, candidates, value))
    }

    #[test]
    fn rungs_are_those_of_scikit_learn() {
        // n_candidates_ and n_resources_ of HalvingRandomSearchCV 1.9.1 with factor=3, min_resources="exhaust", max_resources
        // as named: tests/fixtures/schedulers/halving.py.
        assert_eq!(of_three(81, 81), [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]);
        assert_eq!(of_three(100, 81), [(100, 1), (34, 3), (12, 9), (4, 27), (2, 81)]);
        assert_eq!(of_three(10, 81), [(10, 9), (4, 27), (2, 81)]);
        assert_eq!(of_three(50, 9), [(50, 1), (17, 3), (6, 9)]);
        assert_eq!(of_three(2, 81), [(2, 81)]);
        // There [(50, 1), (17, 3), (6, 9), (2, 27)]: not the whole budget.
        assert_eq!(of_three(50, 30), [(50, 1), (17, 3), (6, 10), (2, 30)]);
    }

    #[test]
    fn the_best_go_on_and_the_others_end() {
        let value = |candidate: u64, budget: u64| ((candidate * 4) % 9) as f64 / budget as f64;
        let rounds = course(&SuccessiveHalving, &options(9), 9, 100, value);
        // Values 0 4 8 3 7 2 6 1 5 at every rung.
        assert_eq!(rounds[0], Round { begin: 9, budget: 1, ..Round::default() });
        assert_eq!(rounds[1].go_on, [(0, 3), (5, 3), (7, 3)]);
        assert_eq!(rounds[1].ended, [1, 2, 3, 4, 6, 8].map(|candidate| (candidate, 1)));
        assert_eq!((&rounds[2].go_on[..], &rounds[2].ended[..]), (&[(0, 9)][..], &[(5, 3), (7, 3)][..]));
        assert_eq!(rounds[3], Round::default());
    }

    #[test]
    fn where_all_of_a_rung_fail_the_next_batch_begins() {
        let value = |candidate: u64, _: u64| if candidate < 9 { f64::NAN } else { candidate as f64 };
        let of_nine = SchedulerOptions { batch: 9, ..options(9) };
        let rounds = course(&SuccessiveHalving, &of_nine, 18, 9, value);
        assert_eq!(sizes(&rounds), [(9, 1), (9, 1), (3, 3), (1, 9)]);
    }
}
