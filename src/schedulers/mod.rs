//! Layer 3: schedulers, which say how far each candidate is trained. One file and one line in [`SCHEDULERS`] each.
//!
//! Training goes in rounds: some candidates begin, others go on where they stand, all of a round are scored, and the next round
//! follows from these scores alone. So a run that is resumed decides the same, and lanes of a round fill the machine together.

mod asha;
mod full;
mod halving;
mod hyperband;
mod learning_curve;
mod patient;
mod pb2;
mod pbt;
mod percentile;
mod population;
mod race;
mod racing;
mod rungs;
mod stopping;
mod threshold;
mod wilcoxon;

#[cfg(test)]
mod optuna;

use crate::base::random::Key;
use crate::base::registry::{self, Named, UnknownName};
use crate::space::Space;
use std::sync::Arc;

/// What a unit of a scheduler's budgets is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A unit of the model's budget, which every lane of a candidate gets: an epoch, a tree, an iteration.
    Epoch,
    /// A fold: a lane more, which gets the model's whole budget.
    Fold,
}

/// A candidate that was trained as far as its round asked, and scored there.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    /// Its id.
    pub candidate: u64,
    /// The budget that it has had.
    pub budget: u64,
    /// Its score there, less is better; NaN of one that failed.
    pub value: f64,
    /// What that is the mean of: a score for each fold so far.
    pub values: Vec<f64>,
}

/// A candidate goes on from where another one stands, with other hyperparameters than that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// Who goes on.
    pub candidate: u64,
    /// Whose training it takes over.
    pub parent: u64,
    /// The budget that both have had.
    pub budget: u64,
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
    /// Candidates that take over another's training before they go on. Ascending; no parent is one of them.
    pub forks: Vec<Fork>,
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

/// Says with which hyperparameters a candidate goes on that takes over another's training.
pub trait Explorer: Send {
    /// The fork's point; `parent` is that of the one it takes over from.
    fn explore(&mut self, fork: Fork, parent: &[f64]) -> Vec<f64>;

    /// Hears of every candidate of a round, and of the points that they were trained with on their way there.
    fn report(&mut self, _reached: &[Reached], _points: &[Vec<f64>]) {}
}

/// What an explorer is opened with.
#[derive(Debug, Clone)]
pub struct ExplorerOptions {
    /// What is searched.
    pub space: Arc<Space>,
    /// Columns of the hyperparameters that may change while a lane is trained.
    pub columns: Vec<usize>,
    /// How likely each is drawn afresh from its range, 0 to 1.
    pub resample: f64,
    /// Of everything that it draws.
    pub key: Key,
}

/// What a scheduler is opened with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SchedulerOptions {
    /// The full budget of a candidate, in the scheduler's [`Unit`].
    pub budget: u64,
    /// How many candidates a strategy is asked for at a time at most.
    pub batch: u64,
    /// The least budget after which a candidate may end.
    pub least: u64,
    /// From rung to rung budgets grow by this factor, and as few go on; 2 or more.
    pub eta: u64,
    /// From rung to rung budgets grow by so much instead, where candidates are judged one by one; 1 or more.
    pub interval: Option<u64>,
    /// So far apart rungs are at least.
    pub grain: u64,
    /// Who goes on.
    pub rule: RuleOptions,
    /// Of everything that it draws.
    pub key: Key,
}

/// Who goes on: numbers of single schedulers, each of which reads its own. The default is that of a study.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RuleOptions {
    /// The percentile of earlier candidates that one has to be within, from the best, 0 to 100.
    pub percentile: f64,
    /// The worst value, less is better, that may go on.
    pub threshold: Option<f64>,
    /// Rungs before the one that a candidate stands on, in which it may find nothing better.
    pub patience: u64,
    /// What is better is so by this much at least; below 0 what is worse by less than that is no worse.
    pub min_delta: f64,
    /// How likely a comparison may end a candidate by mistake, or the chance below which one ends; above 0 and below 1. Each
    /// scheduler has its own where it is not set.
    pub level: Option<f64>,
    /// The share of a population, the worst of it, that takes over from as many of the best; 0 to 0.5.
    pub quantile: f64,
}

impl Default for RuleOptions {
    fn default() -> RuleOptions {
        RuleOptions { percentile: 50.0, threshold: None, patience: 2, min_delta: 0.0, level: None, quantile: 0.25 }
    }
}

/// More rungs than this no scheduler is opened with: what it learns of each of them would take its time and memory.
pub const RUNGS_MOST: u64 = 1000;

/// A scheduler in the registry.
pub trait SchedulerEntry: Named {
    /// Whether it looks at scores on the way, to end candidates before their full budget or to let them take over from others.
    fn ends_early(&self) -> bool {
        true
    }
    /// What its budgets count.
    fn unit(&self) -> Unit {
        Unit::Epoch
    }
    /// Whether it cannot do without [`RuleOptions::threshold`].
    fn needs_threshold(&self) -> bool {
        false
    }
    /// Budgets after which candidates may end, and the full one; ascending. Of more than [`RUNGS_MOST`] the last ones, one
    /// more than these.
    fn rungs(&self, options: &SchedulerOptions) -> Vec<u64> {
        rungs::geometric(&SchedulerOptions { batch: u64::MAX, ..*options })
    }
    /// Whether candidates take over others' training, and so need hyperparameters that may change on the way.
    fn explores(&self) -> bool {
        false
    }
    /// Opens it.
    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler>;
    /// What says with which hyperparameters candidates go on, where it [`SchedulerEntry::explores`].
    fn explorer(&self, _options: ExplorerOptions) -> Option<Box<dyn Explorer>> {
        None
    }
}

/// Every scheduler.
pub static SCHEDULERS: &[&dyn SchedulerEntry] = &[
    &full::FullBudget,
    &halving::SuccessiveHalving,
    &hyperband::Hyperband,
    &asha::AsynchronousHalving,
    &percentile::MedianStopping,
    &percentile::PercentileStopping,
    &threshold::ThresholdStopping,
    &patient::PatientStopping,
    &learning_curve::LearningCurveStopping,
    &racing::Racing,
    &wilcoxon::WilcoxonStopping,
    &pbt::PopulationBasedTraining,
    &pb2::PopulationBasedBandits,
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
        let rule = RuleOptions::default();
        SchedulerOptions {
            budget,
            batch: 100,
            least: 1,
            eta: 3,
            interval: None,
            grain: 1,
            rule,
            key: Key::from_seed(1),
        }
    }

    /// Every round of a search for `candidates`, where `value` scores a candidate at a budget.
    pub(super) fn course(
        entry: &dyn SchedulerEntry,
        options: &SchedulerOptions,
        candidates: u64,
        batch: u64,
        value: impl Fn(u64, u64) -> f64,
    ) -> Vec<Round> {
        // Every fold has a little of its own.
        let reach = |candidate: u64, budget: u64| match entry.unit() {
            Unit::Epoch => vec![value(candidate, budget)],
            Unit::Fold => (0..budget).map(|fold| value(candidate, budget) + 0.01 * (fold % 3) as f64).collect(),
        };
        course_to(entry, options, candidates, batch, reach)
    }

    /// The same where `value` scores a candidate on a fold, from 0.
    pub(super) fn course_of_folds(
        entry: &dyn SchedulerEntry,
        options: &SchedulerOptions,
        candidates: u64,
        batch: u64,
        value: impl Fn(u64, u64) -> f64,
    ) -> Vec<Round> {
        let reach = |candidate: u64, folds: u64| (0..folds).map(|fold| value(candidate, fold)).collect();
        course_to(entry, options, candidates, batch, reach)
    }

    fn course_to(
        entry: &dyn SchedulerEntry,
        options: &SchedulerOptions,
        candidates: u64,
        batch: u64,
        values: impl Fn(u64, u64) -> Vec<f64>,
    ) -> Vec<Round> {
        let mut scheduler = entry.open(options);
        let (mut begun, mut rounds) = (0, Vec::new());
        loop {
            let round = scheduler.next(candidates - begun, batch);
            let fresh = (begun..begun + round.begin).map(|candidate| (candidate, round.budget));
            let mut training: Vec<(u64, u64)> = fresh.chain(round.go_on.iter().copied()).collect();
            training.sort_unstable();
            begun += round.begin;
            let reach = |(candidate, budget)| {
                let values = values(candidate, budget);
                Reached { candidate, budget, value: values.iter().sum::<f64>() / values.len() as f64, values }
            };
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
                let rule = RuleOptions { threshold: Some(1.5), ..RuleOptions::default() };
                let options = SchedulerOptions { rule, ..options(budget) };
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
