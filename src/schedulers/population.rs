//! What schedulers of populations share: all members train to every rung, where the worst take over from the best.

use super::{Fork, Reached, Round, Scheduler, SchedulerOptions, rungs};
use crate::base::order;
use crate::base::random::{Key, below};
use std::collections::VecDeque;

/// Where nothing else is said, rungs are this part of the budget apart.
const RUNGS: u64 = 10;

/// Every `interval` units of budget, and the full budget.
pub(super) fn rungs(options: &SchedulerOptions) -> Vec<u64> {
    let interval = options.interval.unwrap_or_else(|| options.budget.div_ceil(RUNGS)).max(options.grain).max(1);
    rungs::alone(&SchedulerOptions { interval: Some(interval), least: options.least.max(interval), ..*options })
}

/// Members that train together, batch after batch of candidates.
pub(super) struct Population {
    options: SchedulerOptions,
    key: Key,
    /// Budgets of the rungs that are left, the next one first.
    left: VecDeque<u64>,
    /// The members on the rung behind.
    members: Vec<Reached>,
}

impl Population {
    pub(super) fn new(options: &SchedulerOptions) -> Population {
        Population { options: *options, key: options.key, left: VecDeque::new(), members: Vec::new() }
    }

    /// The worst, and each one's parent among the best.
    fn forks(&self) -> Vec<Fork> {
        let mut ranked: Vec<&Reached> = self.members.iter().collect();
        ranked.sort_by(|a, b| order::ascending(a.value, b.value).then(a.candidate.cmp(&b.candidate)));
        let few = taking_over(ranked.len(), self.options.rule.quantile);
        let (best, worst) = (&ranked[..few], &ranked[ranked.len() - few..]);
        let fork = |member: &&Reached| {
            let key = self.key.child_of_number(member.candidate).child_of_number(member.budget);
            let parent = best[below(key, 0, few as u64) as usize];
            Fork { candidate: member.candidate, parent: parent.candidate, budget: member.budget }
        };
        let mut forks: Vec<Fork> = worst.iter().map(fork).collect();
        forks.sort_unstable_by_key(|fork| fork.candidate);
        forks
    }
}

/// How many of so many members take over from as many others (`PopulationBasedTraining._quantiles` of Ray Tune).
fn taking_over(members: usize, quantile: f64) -> usize {
    (libm::ceil(members as f64 * quantile) as usize).min(members / 2)
}

impl Scheduler for Population {
    fn next(&mut self, room: u64, _: u64) -> Round {
        let members = room.min(self.options.batch);
        if self.members.is_empty() {
            if members == 0 {
                return Round::default();
            }
            self.left = rungs(&self.options).into();
            let budget = self.left.pop_front().unwrap_or(self.options.budget);
            return Round { begin: members, budget, ..Round::default() };
        }
        let Some(budget) = self.left.pop_front() else { return Round::default() };
        let forks = self.forks();
        let go_on = std::mem::take(&mut self.members).into_iter().map(|member| (member.candidate, budget)).collect();
        Round { forks, go_on, ..Round::default() }
    }

    fn report(&mut self, reached: &[Reached]) {
        let is_over = self.left.is_empty();
        self.members = reached.iter().filter(|one| !is_over && !one.value.is_nan()).cloned().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{course, options};
    use super::super::{RuleOptions, SCHEDULERS, SchedulerEntry};
    use super::*;

    fn populations() -> impl Iterator<Item = &'static dyn SchedulerEntry> {
        SCHEDULERS.iter().copied().filter(|entry| entry.explores())
    }

    #[test]
    fn as_many_take_over_as_in_ray_tune() {
        // Of Ray 2.60: tests/fixtures/schedulers/population.py.
        let of = |members, quantile| taking_over(members, quantile);
        assert_eq!([1, 2, 3, 4, 5, 8, 10].map(|members| of(members, 0.25)), [0, 1, 1, 1, 2, 2, 3]);
        assert_eq!([(10, 0.5), (9, 0.5), (10, 0.0), (3, 0.4)].map(|(n, q)| of(n, q)), [5, 4, 0, 1]);
    }

    #[test]
    fn at_every_rung_the_worst_take_over_from_the_best_and_all_go_on() {
        for entry in populations() {
            // The smaller the id, the better; equal ones in pairs, of which the earlier is the better.
            let rounds = course(entry, &options(30), 8, 100, |candidate, _| (candidate / 2) as f64);
            let budgets: Vec<u64> = rounds.iter().skip(1).filter_map(|round| Some(round.go_on.first()?.1)).collect();
            assert_eq!((rounds[0].begin, rounds[0].budget), (8, 3), "{}", entry.name());
            assert_eq!(budgets, [6, 9, 12, 15, 18, 21, 24, 27, 30]);
            for round in rounds.iter().filter(|round| !round.go_on.is_empty()) {
                let candidates: Vec<u64> = round.forks.iter().map(|fork| fork.candidate).collect();
                assert_eq!((candidates, round.go_on.len()), (vec![6, 7], 8), "{}", entry.name());
                assert!(round.forks.iter().all(|fork| fork.parent < 2 && fork.budget + 3 == round.go_on[0].1));
            }
            let parents: Vec<u64> = rounds.iter().flat_map(|round| &round.forks).map(|fork| fork.parent).collect();
            assert!(parents.contains(&0) && parents.contains(&1), "any of the best is taken");
        }
    }

    #[test]
    fn who_fails_leaves_the_population_and_batches_are_populations() {
        for entry in populations() {
            let rounds = course(entry, &options(10), 150, 100, |candidate, budget| match (candidate, budget) {
                (3, 4) => f64::NAN,
                _ => candidate as f64,
            });
            let sizes: Vec<usize> = rounds.iter().map(|round| round.go_on.len()).filter(|size| *size > 0).collect();
            assert_eq!(sizes[..5], [100, 100, 100, 99, 99], "{}", entry.name());
            assert_eq!(rounds.iter().map(|round| round.begin).filter(|n| *n > 0).collect::<Vec<_>>(), [100, 50]);
        }
    }

    #[test]
    fn rungs_are_whole_intervals() {
        let of = |interval, least, budget| rungs(&SchedulerOptions { interval, least, ..options(budget) });
        assert_eq!(of(None, 1, 30), [3, 6, 9, 12, 15, 18, 21, 24, 27, 30]);
        assert_eq!(of(Some(7), 1, 20), [7, 14, 20]);
        assert_eq!(of(Some(5), 10, 20), [10, 15, 20]);
        assert_eq!(of(None, 1, 1), [1]);
        assert_eq!(RuleOptions::default().quantile, 0.25);
    }
}
