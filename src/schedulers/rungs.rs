//! What schedulers by rungs share: the budgets of the rungs, and the best of those that have reached one.

use super::{RUNGS_MOST, Reached, Round, SchedulerOptions};
use crate::base::order;
use std::collections::VecDeque;

/// Budgets from `least` or a little above up to the full one: `budget / eta^k` by repeated division, because a floored float
/// logarithm loses a rung at 243 and 3. Ascending; the last is the full budget, and no two are equal. There are no more rungs
/// than it takes to come from a batch to one candidate.
pub(super) fn geometric(options: &SchedulerOptions) -> Vec<u64> {
    let eta = options.eta.max(2);
    let mut budgets = vec![options.budget.max(1)];
    let (mut rung, mut left) = (options.budget / eta, options.batch / eta);
    while rung >= options.least.max(1) && left > 0 {
        budgets.push(rung);
        (rung, left) = (rung / eta, left / eta);
    }
    budgets.reverse();
    budgets
}

/// As many rungs as show a curve, for those who are judged without a cohort that would say how many there can be.
const ALONE: u32 = 5;

/// The budgets at which candidates are judged one by one: evenly spaced where the options say so, else geometric.
pub(super) fn alone(options: &SchedulerOptions) -> Vec<u64> {
    match options.interval {
        Some(interval) => even(options, interval),
        None => geometric(&SchedulerOptions { batch: options.eta.max(2).saturating_pow(ALONE), ..*options }),
    }
}

/// Budgets from `least` on, so far apart, and the full one. Of too many the last, one more than there may be: so that they can
/// be refused without so much memory.
fn even(options: &SchedulerOptions, interval: u64) -> Vec<u64> {
    let (first, budget, interval) = (options.least.max(1), options.budget.max(1), interval.max(options.grain).max(1));
    let on_the_way = budget.saturating_sub(first).div_ceil(interval);
    let last = on_the_way.saturating_sub(RUNGS_MOST)..on_the_way;
    last.map(|rung| first + rung * interval).chain(Some(budget)).collect()
}

/// How many go on to the next rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// `ceil(n / eta)`
    Up(u64),
    /// `floor(n / eta)`, one at least
    Down(u64),
}

impl Share {
    fn of(self, n: u64) -> u64 {
        match self {
            Share::Up(eta) => n.div_ceil(eta),
            Share::Down(eta) => (n / eta).max(1),
        }
    }
}

/// Candidates that climb rungs together.
#[derive(Debug)]
pub(super) struct Cohort {
    share: Share,
    /// Budgets of the rungs that are left, the next one first.
    left: VecDeque<u64>,
    /// The rung that it is on: its budget, how many places it has, and who has reached it.
    budget: u64,
    places: u64,
    standing: Vec<Reached>,
    has_reported: bool,
}

impl Cohort {
    /// One that has nothing to do.
    pub(super) fn over() -> Cohort {
        Cohort::new(&[], Share::Up(1))
    }

    /// For rungs of these budgets.
    pub(super) fn new(budgets: &[u64], share: Share) -> Cohort {
        let left = budgets.iter().copied().collect();
        Cohort { share, left, budget: 0, places: 0, standing: Vec::new(), has_reported: false }
    }

    /// Whether all of its candidates have come to their ends.
    pub(super) fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// The round that begins it with so many candidates at most.
    pub(super) fn begin(&mut self, candidates: u64) -> Round {
        self.budget = self.left.pop_front().unwrap_or(0);
        Round { begin: candidates, budget: self.budget, ..Round::default() }
    }

    /// The round of those who go on: the best of those who stand here.
    pub(super) fn climb(&mut self) -> Round {
        let Some(budget) = self.left.pop_front() else { return Round::default() };
        self.places = self.share.of(self.places);
        let (ahead, behind) = split(std::mem::take(&mut self.standing), self.places as usize);
        let had = std::mem::replace(&mut self.budget, budget);
        Round {
            go_on: ahead.into_iter().map(|candidate| (candidate, budget)).collect(),
            ended: behind.into_iter().map(|candidate| (candidate, had)).collect(),
            ..Round::default()
        }
    }

    /// Hears who has reached the rung.
    pub(super) fn report(&mut self, reached: &[Reached]) {
        if !std::mem::replace(&mut self.has_reported, true) {
            // A strategy may have had fewer than were asked for.
            self.places = reached.len() as u64;
        }
        self.standing = reached.iter().filter(|one| !one.value.is_nan() && !self.left.is_empty()).cloned().collect();
        if self.standing.is_empty() {
            self.left.clear();
        }
    }
}

/// The ids of the best `places` and of the others, each ascending; of equal values the earlier candidate goes first.
pub(super) fn split(mut standing: Vec<Reached>, places: usize) -> (Vec<u64>, Vec<u64>) {
    standing.sort_by(|a, b| order::ascending(a.value, b.value).then(a.candidate.cmp(&b.candidate)));
    let behind = standing.split_off(places.min(standing.len()));
    let ids = |some: Vec<Reached>| {
        let mut ids: Vec<u64> = some.into_iter().map(|one| one.candidate).collect();
        ids.sort_unstable();
        ids
    };
    (ids(standing), ids(behind))
}

#[cfg(test)]
mod tests {
    use super::super::testing::options;
    use super::*;

    #[test]
    fn budgets_are_exact_whole_numbers() {
        let budgets =
            |budget, least, eta| geometric(&SchedulerOptions { least, eta, batch: u64::MAX, ..options(budget) });
        assert_eq!(budgets(243, 1, 3), [1, 3, 9, 27, 81, 243]);
        assert_eq!(budgets(1000, 1, 10), [1, 10, 100, 1000]);
        assert_eq!(budgets(30, 1, 3), [1, 3, 10, 30]);
        assert_eq!(budgets(30, 4, 3), [10, 30]);
        assert_eq!(budgets(20, 1, 2), [1, 2, 5, 10, 20]);
        assert_eq!(budgets(1, 1, 3), [1]);
        assert_eq!(budgets(5, 50, 3), [5], "less than the least is the whole budget");
        assert_eq!(budgets(u64::MAX, 1, 2).len(), 64);
    }

    #[test]
    fn there_are_no_rungs_for_fewer_than_one_candidate() {
        let of = |batch| SchedulerOptions { batch, ..options(1_000_000) };
        assert_eq!(geometric(&of(27)), [37_037, 111_111, 333_333, 1_000_000]);
        assert_eq!(geometric(&of(1)), [1_000_000]);
    }

    #[test]
    fn evenly_spaced_rungs_begin_at_the_least_budget_and_end_with_the_whole() {
        let budgets =
            |budget, least, interval| alone(&SchedulerOptions { least, interval: Some(interval), ..options(budget) });
        assert_eq!(budgets(10, 1, 3), [1, 4, 7, 10]);
        assert_eq!(budgets(10, 4, 4), [4, 8, 10]);
        assert_eq!(budgets(10, 1, 100), [1, 10]);
        assert_eq!(budgets(1, 1, 1), [1]);
        assert_eq!(budgets(u64::MAX, u64::MAX - 1, u64::MAX), [u64::MAX - 1, u64::MAX]);
        assert_eq!(budgets(1000, 1, 1).len(), 1000);
        assert_eq!(budgets(u64::MAX, 1, 1).len(), 1001, "enough to say that they are too many");
        assert_eq!(budgets(u64::MAX, 1, 1)[999..], [u64::MAX - 1, u64::MAX]);
        assert_eq!(alone(&options(1000)), [4, 12, 37, 111, 333, 1000], "six rungs show a curve");
    }

    #[test]
    fn of_equal_candidates_the_earlier_goes_on() {
        let reached = |candidate, value| Reached { candidate, budget: 1, value, values: vec![value] };
        let standing = vec![reached(4, 1.0), reached(2, 2.0), reached(3, 1.0), reached(9, 0.5), reached(1, 2.0)];
        assert_eq!(split(standing, 4), (vec![1, 3, 4, 9], vec![2]));
    }
}
