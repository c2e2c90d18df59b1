//! Where a search stands on the rungs of its scheduler, for those who watch. Nothing is decided by it.

use super::Search;
use crate::study::events::Rungs;

impl Search<'_> {
    /// Candidates are to begin from `first` on: those that climb together are these alone where all before have come to their
    /// ends, else these too.
    pub(super) fn enter(&mut self, first: u64) {
        if self.history.trials.range(self.cohort..first).count() as u64 == first - self.cohort {
            self.cohort = first;
        }
    }

    /// Looks at who is left of those that climb together; `budget` is what some of them are about to be trained to.
    pub(super) fn look(&mut self, budget: Option<u64>) {
        if !self.study.scheduler.ends_early() {
            return;
        }
        let begun = self.cohort..self.history.points.len() as u64;
        let lost =
            self.history.trials.range(begun.clone()).filter(|(_, trial)| !trial.status.is_scored()).count() as u64;
        let entered = begun.end - begun.start;
        // On a fold each candidate has one lane.
        let lanes = if self.axis.is_by_fold() { 1 } else { self.shape.lanes as u64 };
        let stood = self.rungs.map_or(0, |rungs| rungs.budget);
        self.rungs = Some(Rungs {
            budget: budget.unwrap_or(stood),
            whole: self.axis.whole(),
            is_by_fold: self.axis.is_by_fold(),
            entered: entered * lanes,
            alive: (entered - lost) * lanes,
        });
    }
}
