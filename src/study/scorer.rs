//! A study's objective without its search: scores of whatever candidates somebody else proposes, trained and scored exactly as
//! a search would.

use super::backend::{Backend, Opened};
use super::error::StudyError;
use super::history::Trial;
use super::objective::Objective;
use super::pending::Pending;
use super::resolve::Study;
use crate::backend::{BackendError, Lane, LaneReport, StopFlag, Trainer};
use crate::space::Points;
use crate::strategies::Outcome;
use std::collections::HashMap;
use std::ops::ControlFlow;
use tempfile::TempDir;

/// An open objective.
pub struct Scorer<'a> {
    study: &'a Study,
    trainer: Box<dyn Trainer + 'a>,
    clocks: f64,
    /// Candidates that were scored: none of them has another one's number.
    scored: u64,
    /// What programs keep is none of the study's run; it goes with this.
    _checkpoints: Option<TempDir>,
}

impl<'a> Scorer<'a> {
    /// Prepares the study's folds and opens what trains them.
    pub fn open(study: &'a Study) -> Result<Scorer<'a>, StudyError> {
        let problems = match &study.objective {
            Objective::Models(models) => models.problems(study.key)?,
            _ => Vec::new(),
        };
        let checkpoints = match &study.objective {
            Objective::Command(_) => Some(TempDir::with_prefix("thousandfold-").map_err(|error| {
                let reason = format!("a directory for their checkpoints: {error}");
                StudyError::Backend(BackendError::Processes { reason })
            })?),
            _ => None,
        };
        let dir = checkpoints.as_ref().map_or(study.dir.as_path(), TempDir::path);
        let Opened { trainer, backend, .. } = Backend::open_with_trainer(study, dir, problems)?;
        let clocks = study.clocks(backend.name());
        Ok(Scorer { study, trainer, clocks, scored: 0, _checkpoints: checkpoints })
    }

    /// What a strategy is told of a candidate that was scored here.
    pub fn outcome(&self, trial: &Trial, row: &[f64]) -> Outcome {
        self.study.outcome(trial, row, self.clocks)
    }

    /// Whether outcomes are to have gradients from now on, where the models have them.
    pub fn want_gradients(&mut self, wanted: bool) {
        self.trainer.want_gradients(wanted);
    }

    /// Each candidate's outcome, in their order; what the constraints do not allow is not trained.
    pub fn score(&mut self, points: &Points) -> Result<Vec<Trial>, StudyError> {
        let (study, shape) = (self.study, self.study.shape());
        let allowed = (0..points.len()).filter(|point| study.space.is_allowed(points.row(*point)));
        let lanes: Vec<Lane> =
            allowed.flat_map(|point| (0..shape.lanes).map(move |fold| Lane { point, fold })).collect();
        let mut trials: Vec<Trial> =
            (0..points.len() as u64).map(|candidate| Trial::infeasible(candidate, shape)).collect();
        let begun = self.scored..self.scored + points.len() as u64;
        self.scored = begun.end;
        self.trainer.announce(&begun.collect::<Vec<u64>>());
        let slots = self.trainer.start(points, &lanes)?;
        let lane_of: HashMap<_, _> = slots.iter().copied().zip(lanes).collect();
        let first_scores = study.objective.first_scores();
        let mut pending: HashMap<usize, Pending> = HashMap::new();
        let mut report = |report: LaneReport| {
            let Some(lane) = lane_of.get(&report.slot) else { return ControlFlow::Continue(()) };
            let candidate = pending.entry(lane.point).or_insert_with(|| Pending::new(shape));
            if candidate.take(lane.fold, first_scores[lane.fold], &report)
                && let Some(candidate) = pending.remove(&lane.point)
            {
                let trial = &mut trials[lane.point];
                *trial = candidate.finish(lane.point as u64, 0.0);
                study.objective.complete(trial, points.row(lane.point));
            }
            ControlFlow::Continue(())
        };
        let advanced = self.trainer.advance(&slots, study.budget, false, &StopFlag::default(), &mut report);
        self.trainer.release(&slots);
        advanced?;
        Ok(trials)
    }
}
