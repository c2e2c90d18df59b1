//! Where a search stands on the rungs of its scheduler, for those who watch. Nothing is decided by it.

use super::Search;
use crate::study::events::Rungs;
use crate::study::history::Trial;

/// Candidates that climb together. They are counted as they begin and end: some schedulers have one cohort for the whole search.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cohort {
    first: u64,
    /// Those of it that have come to their ends, and those of them that were ended, or failed.
    ended: u64,
    lost: u64,
}

impl Cohort {
    /// One of them has come to its end, before which it may have had another one.
    fn end(&mut self, before: Option<&Trial>, trial: &Trial) {
        let is_lost = |trial: &Trial| !trial.status.is_scored();
        self.ended += u64::from(before.is_none());
        self.lost = self.lost + u64::from(is_lost(trial)) - u64::from(before.is_some_and(is_lost));
    }
}

impl Search<'_> {
    /// Candidates are to begin from `first` on: those that climb together are these alone where all before have come to their
    /// ends, else these too.
    pub(super) fn enter(&mut self, first: u64) {
        if self.cohort.ended == first - self.cohort.first {
            self.cohort = Cohort { first, ..Cohort::default() };
        }
    }

    /// A candidate has begun. Of a run that goes on some have an outcome already.
    pub(super) fn climb(&mut self, candidate: u64) {
        if let Some(trial) = self.history.trials.get(&candidate) {
            self.cohort.end(None, trial);
        }
    }

    /// A candidate has come to its end.
    pub(super) fn arrive(&mut self, trial: Trial) {
        let before = self.history.trials.insert(trial.candidate, trial.clone());
        self.cohort.end(before.as_ref(), &trial);
    }

    /// A candidate was ended where it stood.
    pub(super) fn fall(&mut self, trial: &Trial) {
        self.cohort.end(None, trial);
    }

    /// Looks at who is left of those that climb together; `budget` is what some of them are about to be trained to.
    pub(super) fn look(&mut self, budget: Option<u64>) {
        if !self.study.scheduler.ends_early() {
            return;
        }
        let entered = self.history.points.len() as u64 - self.cohort.first;
        // On a fold each candidate has one lane.
        let lanes = if self.axis.is_by_fold() { 1 } else { self.shape.lanes as u64 };
        let stood = self.rungs.map_or(0, |rungs| rungs.budget);
        self.rungs = Some(Rungs {
            budget: budget.unwrap_or(stood),
            whole: self.axis.whole(),
            is_by_fold: self.axis.is_by_fold(),
            entered: entered * lanes,
            alive: (entered - self.cohort.lost) * lanes,
        });
    }
}
