//! The end of a study: the winner is chosen, model and result are written.

mod command;
mod function;
mod lineage;
mod models;
mod rust;
mod wgsl;

use super::backend::Backend;
use super::choice::{self, Scored};
use super::clock::Clock;
use super::distribution::Distribution;
use super::error::StudyError;
use super::events::{Observers, Progress};
use super::failures;
use super::history::{History, Shape, Trial, TrialStatus};
use super::journal::{Frame, Journal};
use super::objective::Objective;
use super::resolve::Study;
use super::result::{Chosen, Counts, Quantile, RunResult};
use super::run_dir::RunDir;
use super::stopping::StopReason;
use crate::backend::StopFlag;
use crate::base::pareto::Scores;
use crate::strategies::minimized;
use indexmap::IndexMap;

/// How many candidates the result lists.
const TOP: usize = 20;

/// What the search leaves to its last part.
pub(super) struct Closing<'a> {
    /// The run's name: a study that is resumed keeps that which it began with.
    pub(super) name: String,
    pub(super) study: &'a Study,
    pub(super) history: &'a History,
    pub(super) backend: &'a Backend,
    pub(super) reason: StopReason,
    pub(super) progress: Progress,
    pub(super) notes: Vec<String>,
    /// What the strategy decided.
    pub(super) decisions: Vec<String>,
    pub(super) stop: &'a StopFlag,
}

/// Ends a study; `None` if it was interrupted. `frames` are those of the journal when it was opened.
pub(super) fn finish(
    mut closing: Closing<'_>,
    dir: &RunDir,
    frames: &[Frame],
    journal: &mut Journal,
    clock: &mut Clock,
    observers: &mut Observers,
) -> Result<Option<RunResult>, StudyError> {
    let Closing { study, history, .. } = closing;
    if let Some(limits) = study.objective.limits()
        && scored(study, history).is_empty()
        && history.counted().scored > 0
    {
        return Err(StudyError::AllBeyond { limits, candidates: history.counted().scored });
    }
    if !history.trials.values().any(|trial| trial.status.is_scored()) {
        let counted = history.counted();
        let needs_threshold = study.scheduler.needs_threshold() && closing.reason == StopReason::Candidates;
        let threshold = study.config.search.threshold.filter(|_| needs_threshold);
        return Err(match counted.finished {
            _ if history.is_on_the_way() => StudyError::NoneWhole { dir: dir.path().to_owned(), threshold },
            0 => StudyError::NoTime,
            candidates => {
                let failure = history.usual_failure();
                let usual = failures::by_reason(history).into_iter().next().filter(|_| failure == TrialStatus::Failed);
                let reason = usual.map_or_else(|| failure.reason().to_owned(), |usual| usual.reason);
                StudyError::AllFailed { candidates, reason, remedy: study.objective.remedy(failure) }
            }
        });
    }
    let result = match &study.objective {
        Objective::Models(models) => models::finish(&mut closing, models, dir, frames, journal, clock, observers)?,
        Objective::Function(function) => Some(function::finish(&closing, function, dir, clock, observers)?),
        Objective::Wgsl(wgsl) => Some(wgsl::finish(&closing, wgsl, dir, clock, observers)),
        Objective::Command(command) => Some(command::finish(&closing, command, dir, clock, observers)),
        Objective::Rust(rust) => Some(rust::finish(&closing, rust, dir, clock, observers)),
    };
    if let Some(result) = &result {
        dir.write_result(&result.to_json())?;
    }
    Ok(result)
}

impl Closing<'_> {
    /// The result as far as it is the same for every objective.
    fn result(&self, best: Chosen, dir: &RunDir, clock: &mut Clock) -> RunResult {
        let Closing { study, history, backend, .. } = self;
        let scored = scored(study, history);
        let counted = history.counted();
        let (direction, best_value) = (study.direction(), best.value);
        let ranked = choice::ranked(direction, &scored, TOP);
        RunResult {
            study: self.name.clone(),
            model: None,
            function: None,
            command: None,
            wgsl: None,
            rust: None,
            task: None,
            metric: study.objective.metric().to_owned(),
            direction,
            objectives: study.objective.values(),
            best,
            one_se: None,
            bias_corrected: None,
            refit: None,
            test: None,
            outer: None,
            top: ranked.iter().map(|one| chosen(study, history, one.candidate)).collect(),
            front: front(study, history).into_iter().map(|candidate| chosen(study, history, candidate)).collect(),
            distribution: history.distribution().map(|distribution| quantiles(distribution, best_value)),
            counts: Counts {
                proposed: history.proposed(),
                complete: counted.scored,
                pruned: counted.pruned,
                failed: counted.finished - counted.scored - counted.pruned,
            },
            failures: failures::by_reason(history).into_iter().take(TOP).collect(),
            saved: Some(self.progress.saved).filter(|_| counted.pruned > 0),
            strategy: study.strategy.name(),
            decisions: self.decisions.clone(),
            stopped_because: self.reason,
            remaining: self.progress.remaining,
            seconds: clock.seconds(),
            lanes_per_second: self.progress.lanes_per_second(),
            lanes: counted.finished * study.objective.lanes() as u64,
            backend: backend.name().to_owned(),
            device: backend.device(),
            seed: study.config.search.seed,
            data_fingerprint: None,
            versions: versions(),
            run_dir: dir.path().display().to_string(),
            model_file: None,
            best_file: None,
            recipe_file: None,
            lineage_file: None,
            notes: self.notes.clone(),
        }
    }
}

/// Every candidate with a score, by id.
fn scored<'a>(study: &Study, history: &'a History) -> Vec<Scored<'a>> {
    let is_choice = |trial: &&Trial| {
        trial.status.is_scored() && study.objective.violation(trial, history.point(trial.candidate)) == 0.0
    };
    let trials = history.trials.values().filter(is_choice);
    trials
        .map(|trial| {
            let cost = study.objective.cost(trial, history.point(trial.candidate));
            Scored { candidate: trial.candidate, value: trial.value(), folds: &trial.scores, cost }
        })
        .collect()
}

fn chosen(study: &Study, history: &History, candidate: u64) -> Chosen {
    let trial =
        history.trials.get(&candidate).cloned().unwrap_or_else(|| Trial::infeasible(candidate, Shape::default()));
    let recipe = study.recipe(history, candidate);
    Chosen {
        candidate,
        params: study.space.named(recipe.last()),
        value: trial.value(),
        std_error: study.parts.std_error(&trial.scores),
        train_value: Some(f64::from(trial.train)).filter(|value| !value.is_nan()),
        seconds_per_lane: f64::from(trial.seconds) / study.objective.lanes() as f64,
        used: trial.used,
        folds: trial.scores,
        schedule: recipe.stages(&study.space),
        others: trial.others,
    }
}

/// Of several objectives the candidates that no other one beats in all of them, by id.
fn front(study: &Study, history: &History) -> Vec<u64> {
    if study.directions.len() < 2 {
        return Vec::new();
    }
    let mut scores = Scores::new(study.directions.len());
    let ids: Vec<u64> = history.trials.keys().copied().collect();
    for trial in history.trials.values() {
        let violation = study.objective.violation(trial, history.point(trial.candidate));
        scores.push(minimized(&study.directions, &trial.values()), violation);
    }
    let first = scores.fronts().into_iter().next().unwrap_or_default();
    first.into_iter().filter(|place| scores.is_feasible(*place)).map(|place| ids[place]).collect()
}

/// The values at some shares of all: the least itself, the others to the edges of their bins.
fn quantiles(distribution: &Distribution, least: f64) -> Vec<Quantile> {
    const SHARES: [f64; 9] = [0.0, 1e-4, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0];
    let at = |share| {
        let value = distribution.quantile(share)?;
        Some(Quantile { share, value: if share == 0.0 { least } else { value.max(least) } })
    };
    SHARES.into_iter().filter_map(at).collect()
}

fn versions() -> IndexMap<String, String> {
    let entry = |key: &str, value: String| (key.to_owned(), value);
    IndexMap::from([
        entry("thousandfold", env!("CARGO_PKG_VERSION").to_owned()),
        entry("journal", super::journal::VERSION.to_string()),
        entry("model_file", super::model_file::VERSION.to_string()),
        entry("result", "2".to_owned()),
    ])
}
