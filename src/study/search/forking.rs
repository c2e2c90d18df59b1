//! Candidates that take over another's training, in populations.

use super::Search;
use crate::backend::{Slot, Trainer};
use crate::schedulers::{Fork, Reached};
use crate::space::Points;
use crate::study::error::StudyError;
use crate::study::recipe::Recipe;

impl Search<'_> {
    /// Lets candidates go on from where others stand. In a run that was resumed nobody stands anywhere: whoever trains then
    /// begins with what its recipe says.
    pub(super) fn take_over(&mut self, forks: &[Fork], trainer: &mut dyn Trainer) -> Result<(), StudyError> {
        let Some(explorer) = &mut self.explorer else { return Ok(()) };
        for fork in forks {
            let point = explorer.explore(*fork, self.history.point(fork.parent));
            if let Some(own) = self.standing.remove(&fork.candidate) {
                trainer.release(&own);
            }
            if let Some(parent) = self.standing.get(&fork.parent) {
                let slots = trainer.fork(parent)?;
                trainer.turn(&slots, fork.budget, &repeated(&point, slots.len()))?;
                self.standing.insert(fork.candidate, slots);
            }
            self.history.take_over(*fork, point);
        }
        Ok(())
    }

    /// Lets the explorer hear what candidates were trained with, and how far they came.
    pub(super) fn tell_explorer(&mut self, reached: &[Reached]) {
        let Some(explorer) = &mut self.explorer else { return };
        let points: Vec<Vec<f64>> = reached.iter().map(|one| self.history.point(one.candidate).to_vec()).collect();
        explorer.report(reached, &points);
    }

    /// Says with which points the lanes of a candidate that begins go on: in units of the model's budget, whatever the
    /// scheduler's are.
    pub(super) fn follow(&self, recipe: &Recipe, slots: &[Slot], trainer: &mut dyn Trainer) -> Result<(), StudyError> {
        for (at, point) in &recipe.turns {
            trainer.turn(slots, *at, &repeated(point, slots.len()))?;
        }
        Ok(())
    }
}

/// A point for each of some lanes.
fn repeated(point: &[f64], lanes: usize) -> Points {
    let mut points = Points::new(point.len());
    (0..lanes).for_each(|_| points.push(point));
    points
}
