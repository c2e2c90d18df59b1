//! Layer 3: schedulers, which say how far each candidate is trained. One file and one line in [`SCHEDULERS`] each.
//!
//! Training goes in rounds: some candidates begin, others go on where they stand, all of a round are scored, and the next round
//! follows from these scores alone. So a run that is resumed decides the same, and lanes of a round fill the machine together.

mod full;
mod halving;
mod hyperband;
mod percentile;
mod rungs;
mod stopping;
mod threshold;

use crate::base::registry::{self, Named, UnknownName};

/// A candidate that was trained as far as its round asked, and scored there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached {
    /// Its id.
    pub candidate: u64,
    /// The budget that its lanes had.
    pub budget: u64,
    /// Its score there, less is better; NaN of one that failed.
    pub value: f64,
}

/// What is trained next, side by side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Round {
    /// How many candidates begin, at most.
    pub begin: u64,
    /// The budget that they are trained to.
    pub budget: u64,
    /// Candidates that go on, and to which budget. Ascending.
    pub go_on: Vec<(u64, u64)>,
    /// Candidates that end, and the budget that they have had. Ascending.
    pub ended: Vec<(u64, u64)>,
}

impl Round {
    /// Whether nothing is left to train.
    pub fn is_last(&self) -> bool {
        self.begin == 0 && self.go_on.is_empty()
    }
}

/// Gives budgets to candidates. It sees no study.
pub trait Scheduler: Send {
    /// The next round. `room` candidates may still begin in all; `batch` is how many are wanted at a time, fewer at first than
    /// [`SchedulerOptions::batch`].
    fn next(&mut self, room: u64, batch: u64) -> Round;

    /// Hears of every candidate of the round, ascending by id. Those that have reached the full budget, and those that failed,
    /// have come to their end.
    fn report(&mut self, reached: &[Reached]);
}

/// What a scheduler is opened with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SchedulerOptions {
    /// The full budget of a lane.
    pub budget: u64,
    /// How many candidates a strategy is asked for at a time at most.
    pub batch: u64,
    /// The least budget after which a candidate may end.
    pub least: u64,
    /// From rung to rung budgets grow by this factor, and as few go on; 2 or more.
    pub eta: u64,
    /// The percentile of earlier candidates that one has to be within, from the best, 0 to 100.
    pub percentile: f64,
    /// The worst value, less is better, that may go on.
    pub threshold: Option<f64>,
}

/// A scheduler in the registry.
pub trait SchedulerEntry: Named {
    /// Whether candidates may end before their full budget: the model needs scores on the way then.
    fn ends_early(&self) -> bool {
        true
    }
    /// Whether it cannot do without [`SchedulerOptions::threshold`].
    fn needs_threshold(&self) -> bool {
        false
    }
    /// Opens it.
    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler>;
}

/// Every scheduler.
pub static SCHEDULERS: &[&dyn SchedulerEntry] = &[
    &full::FullBudget,
    &halving::SuccessiveHalving,
    &hyperband::Hyperband,
    &percentile::MedianStopping,
    &percentile::PercentileStopping,
    &threshold::ThresholdStopping,
];

/// Finds a scheduler by name.
pub fn find(name: &str) -> Result<&'static dyn SchedulerEntry, UnknownName> {
    registry::find("scheduler", SCHEDULERS, name)
}

#[cfg(test)]
mod testing {
    //! A scheduler's course over candidates whose values are known.

    use super::*;

    pub(super) fn options(budget: u64) -> SchedulerOptions {
        SchedulerOptions { budget, batch: 100, least: 1, eta: 3, percentile: 50.0, threshold: None }
    }

    /// Every round of a search for `candidates`, where `value` scores a candidate at a budget.
    pub(super) fn course(
        entry: &dyn SchedulerEntry,
        options: &SchedulerOptions,
        candidates: u64,
        batch: u64,
        value: impl Fn(u64, u64) -> f64,
    ) -> Vec<Round> {
        let mut scheduler = entry.open(options);
        let (mut begun, mut rounds) = (0, Vec::new());
        loop {
            let round = scheduler.next(candidates - begun, batch);
            let fresh = (begun..begun + round.begin).map(|candidate| (candidate, round.budget));
            let mut training: Vec<(u64, u64)> = fresh.chain(round.go_on.iter().copied()).collect();
            training.sort_unstable();
            begun += round.begin;
            let reach = |(candidate, budget)| Reached { candidate, budget, value: value(candidate, budget) };
            let reached: Vec<Reached> = training.into_iter().map(reach).collect();
            let is_last = round.is_last();
            rounds.push(round);
            if is_last {
                return rounds;
            }
            scheduler.report(&reached);
        }
    }

    /// How many candidates a round trains, and to which budget, of rounds of one budget.
    pub(super) fn sizes(rounds: &[Round]) -> Vec<(u64, u64)> {
        let size = |round: &Round| match round.go_on.first() {
            Some((_, budget)) => (round.go_on.len() as u64, *budget),
            None => (round.begin, round.budget),
        };
        rounds.iter().filter(|round| !round.is_last()).map(size).collect()
    }

    #[test]
    fn every_scheduler_ends_every_candidate_once_and_trains_none_beyond_the_budget() {
        for entry in SCHEDULERS {
            for (budget, candidates, batch) in [(1, 5, 2), (27, 1, 1), (27, 100, 7), (10, 64, 1000), (243, 700, 50)] {
                let options = SchedulerOptions { threshold: Some(1.5), ..options(budget) };
                // Every seventh fails; the rest differ, get better as they go, and tie in pairs.
                let value = |candidate: u64, budget: u64| match candidate % 7 {
                    3 => f64::NAN,
                    _ => ((candidate / 2 * 37 % 101) as f64) / 101.0 + 1.0 / budget as f64,
                };
                let rounds = course(*entry, &options, candidates, batch, value);
                let mut at = vec![0; candidates as usize];
                let mut ended = vec![false; candidates as usize];
                let mut begun = 0;
                for round in &rounds {
                    for (candidate, had) in &round.ended {
                        assert!(!std::mem::replace(&mut ended[*candidate as usize], true), "{}", entry.name());
                        assert!(*had < budget, "{}: who is whole needs no end", entry.name());
                        assert_eq!(at[*candidate as usize], *had, "{}", entry.name());
                    }
                    let fresh = (begun..begun + round.begin).map(|candidate| (candidate, round.budget));
                    begun += round.begin;
                    for (candidate, to) in fresh.chain(round.go_on.iter().copied()) {
                        assert!(at[candidate as usize] < to && to <= budget, "{}", entry.name());
                        assert!(!ended[candidate as usize], "{}: what has ended does not go on", entry.name());
                        at[candidate as usize] = to;
                    }
                }
                assert_eq!(begun, candidates, "{}", entry.name());
                for candidate in 0..candidates {
                    let (is_whole, failed) = (at[candidate as usize] == budget, candidate % 7 == 3);
                    let is_over = ended[candidate as usize] || is_whole || failed;
                    assert!(is_over, "{}: {candidate} of {candidates} is left behind", entry.name());
                    assert!(!(failed && ended[candidate as usize]), "{}: who failed has ended already", entry.name());
                }
                assert!(at.contains(&budget), "{}: none got its whole budget", entry.name());
            }
        }
    }
}
