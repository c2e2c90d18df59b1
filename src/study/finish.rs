//! The end of a study: choose, refit on all rows but the test's, read the test score once, write model and result.

use super::backend::Backend;
use super::choice::{self, Scored};
use super::clock::Clock;
use super::error::StudyError;
use super::events::{Event, Observers, Phase, Progress};
use super::history::{History, Trial};
use super::journal::{Frame, Journal, TestScore};
use super::model_file::{FittedModel, ModelMeta};
use super::resolve::Study;
use super::result::{Chosen, Corrected, Counts, Outer, RunResult, Test};
use super::run_dir::RunDir;
use super::stopping::StopReason;
use crate::backend::{Lane, LaneReport, LaneStatus, StopFlag, Weights};
use crate::base::random::stream;
use crate::data::prepare::Preparation;
use crate::data::problem::{FoldRows, prepare_fold};
use crate::data::{Affine, Problem};
use crate::space::Points;
use indexmap::IndexMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// How many candidates the result lists.
const TOP: usize = 20;
/// The repeat number of refits: no fold of the search draws from its keys.
const REFIT: u32 = u32::MAX;

/// What the search leaves to its last part.
pub(super) struct Closing<'a> {
    pub(super) study: &'a Study,
    pub(super) history: &'a History,
    pub(super) backend: &'a Backend,
    pub(super) reason: StopReason,
    pub(super) progress: Progress,
    pub(super) notes: Vec<String>,
    pub(super) stop: &'a StopFlag,
}

/// Ends a study; `None` if it was interrupted. `frames` are those of the journal when it was opened.
pub(super) fn finish(
    closing: Closing<'_>,
    dir: &RunDir,
    frames: &[Frame],
    journal: &mut Journal,
    clock: &mut Clock,
    observers: &mut Observers,
) -> Result<Option<RunResult>, StudyError> {
    let Closing { study, history, backend, reason, progress, mut notes, stop } = closing;
    let direction = study.metric.direction();
    let scored: Vec<Scored<'_>> = scored(study, history);
    let nothing_to_choose = || match history.trials.len() as u64 {
        0 => StudyError::NoTime,
        candidates => {
            let failure = history.usual_failure();
            StudyError::AllFailed { candidates, reason: failure.reason(), remedy: failure.remedy() }
        }
    };
    let best = choice::best(direction, &scored).ok_or_else(nothing_to_choose)?;
    let one_se = choice::one_standard_error(direction, &scored, &study.parts).unwrap_or(best);
    let corrected = choice::bias_corrected(direction, &scored, &study.parts, study.key.child(stream::CHOICE));
    let chosen = |one: &Scored<'_>| chosen(study, history, one.candidate);
    let outer = outer_choices(study, &scored);

    clock.enter(Phase::Refitting, observers);
    let refit =
        |candidate: u64, train: &[u32], test: &[u32]| refit(study, history, backend, candidate, train, test, stop);
    let readings: Vec<&TestScore> =
        frames.iter().filter_map(|frame| if let Frame::Test(test) = frame { Some(test) } else { None }).collect();
    let is_of_this_choice = |test: &TestScore| {
        test.candidate == best.candidate && test.outer.iter().map(|(candidate, _)| candidate).eq(&outer)
    };
    let (pool, test) = (&study.splits.pool, &study.splits.test);
    let test_score = match readings.iter().copied().find(|test| is_of_this_choice(test)) {
        Some(known) => {
            if !is_model_of(study, history, best.candidate, dir) {
                // Without the test rows: their score was read before.
                let Some(refitted) = refit(best.candidate, pool, &[])? else { return Ok(None) };
                write_model(study, history, best.candidate, refitted, dir)?;
            }
            known.clone()
        }
        None => {
            let mut outer_scores = Vec::with_capacity(outer.len());
            for (candidate, part) in outer.iter().zip(&study.splits.outer) {
                let Some(refitted) = refit(*candidate, &part.train, &part.test)? else { return Ok(None) };
                outer_scores.push((*candidate, refitted.score.unwrap_or(f64::NAN)));
            }
            let Some(refitted) = refit(best.candidate, pool, test)? else { return Ok(None) };
            let (value, rows) = (refitted.score, test.len() as u64);
            let score = TestScore { candidate: best.candidate, value, rows, outer: outer_scores };
            write_model(study, history, best.candidate, refitted, dir)?;
            journal.append(&Frame::Test(score.clone()))?;
            if let Some(first) = readings.first().filter(|_| rows > 0) {
                let note = format!(
                    "the test rows had been read before, for candidate {}: who went on because of what they said chose \
                     by them",
                    first.candidate
                );
                observers.notify(&Event::Note(note.clone()));
                notes.push(note);
            }
            score
        }
    };

    clock.enter(Phase::Writing, observers);
    let outer_values: Vec<f64> = test_score.outer.iter().map(|(_, value)| *value).collect();
    let complete = history.trials.values().filter(|trial| trial.status.is_scored()).count() as u64;
    let result = RunResult {
        study: study.name.clone(),
        model: study.model.name().to_owned(),
        task: study.dataset.task,
        metric: study.metric.name().to_owned(),
        direction,
        best: chosen(&best),
        one_se: chosen(&one_se),
        bias_corrected: corrected.map(|estimate| Corrected::new(chosen(&best), estimate)),
        test: test_score.value.filter(|value| !value.is_nan()).map(|value| Test {
            value,
            metric: study.metric.name().to_owned(),
            rows: test_score.rows,
        }),
        outer: (!outer.is_empty()).then(|| Outer {
            value: choice::mean(&outer_values),
            std_error: choice::std_error(&outer_values),
            folds: outer_values,
            candidates: outer,
        }),
        top: choice::ranked(direction, &scored, TOP).iter().map(chosen).collect(),
        counts: Counts {
            proposed: history.points.len() as u64,
            complete,
            // The one scheduler that there is lets every candidate go its whole way.
            pruned: 0,
            failed: history.trials.len() as u64 - complete,
        },
        stopped_because: reason,
        seconds: clock.seconds(),
        lanes_per_second: progress.lanes_per_second(),
        lanes: history.trials.len() as u64 * study.splits.folds.len() as u64,
        backend: backend.name().to_owned(),
        device: backend.device(),
        seed: study.config.search.seed,
        data_fingerprint: format!("{:016x}", study.dataset.fingerprint),
        versions: versions(),
        run_dir: dir.path().display().to_string(),
        model_file: dir.model().display().to_string(),
        notes,
    };
    dir.write_result(&result.to_json())?;
    Ok(Some(result))
}

/// Every candidate with a score, by id.
fn scored<'a>(study: &Study, history: &'a History) -> Vec<Scored<'a>> {
    let trials = history.trials.values().filter(|trial| trial.status.is_scored());
    trials
        .map(|trial| Scored {
            candidate: trial.candidate,
            value: trial.value(),
            folds: &trial.scores,
            cost: study.model.cost(&study.space, history.points.row(trial.candidate as usize), study.shape),
        })
        .collect()
}

/// The candidate that the search of each outer part would have chosen: by the scores that never saw the part.
fn outer_choices(study: &Study, scored: &[Scored<'_>]) -> Vec<u64> {
    let direction = study.metric.direction();
    let first_score = study.first_scores();
    let choose = |inner: &[(usize, usize)]| {
        let inner_scores: Vec<Vec<f64>> = scored
            .iter()
            .map(|one| inner.iter().map(|(fold, eval)| one.folds[first_score[*fold] + eval]).collect())
            .collect();
        let inner_scored: Vec<Scored<'_>> = scored
            .iter()
            .zip(&inner_scores)
            .map(|(one, folds)| Scored { value: choice::mean(folds), folds, ..*one })
            .collect();
        choice::best(direction, &inner_scored).map(|best| best.candidate)
    };
    study.splits.outer.iter().filter_map(|part| choose(&part.inner)).collect()
}

fn chosen(study: &Study, history: &History, candidate: u64) -> Chosen {
    let trial = history.trials.get(&candidate).cloned().unwrap_or_else(|| Trial::infeasible(candidate, 0));
    Chosen {
        candidate,
        params: study.space.named(history.points.row(candidate as usize)),
        value: trial.value(),
        std_error: study.parts.std_error(&trial.scores),
        train_value: Some(f64::from(trial.train)).filter(|value| !value.is_nan()),
        seconds_per_lane: f64::from(trial.seconds) / study.splits.folds.len() as f64,
        folds: trial.scores,
    }
}

/// A candidate trained on all rows that it may see.
struct Refitted {
    weights: Weights,
    preparation: Preparation,
    target: Affine,
    score: Option<f64>,
}

/// Trains a candidate on these rows and scores it on those; `None` if it was interrupted.
fn refit(
    study: &Study,
    history: &History,
    backend: &Backend,
    candidate: u64,
    train: &[u32],
    test: &[u32],
    stop: &StopFlag,
) -> Result<Option<Refitted>, StudyError> {
    let evals = if test.is_empty() { Vec::new() } else { vec![test.to_vec()] };
    let rows = FoldRows { repeat: REFIT, fold: 0, train: train.to_vec(), evals };
    let (fold, preparation) = prepare_fold(&study.dataset, &rows, &study.config.prepare, study.key)?;
    let target = fold.target;
    let problem = Problem {
        task: study.dataset.task,
        outputs: study.shape.outputs,
        budget: study.budget,
        metric: study.metric,
        folds: vec![Arc::new(fold)],
    };
    let mut trainer = backend.trainer(study, Arc::new(problem))?;
    let point = history.points.row(candidate as usize);
    let points = Points::from_values(point.len(), point.to_vec());
    let slots = trainer.start(&points, &[Lane { point: 0, fold: 0 }])?;
    let mut trained = None;
    let mut report = |lane: LaneReport| {
        trained = Some(lane);
        ControlFlow::Continue(())
    };
    trainer.advance(&slots, study.budget, true, stop, &mut report)?;
    let Some(lane) = trained else { return Ok(None) };
    if lane.status == LaneStatus::NotFinite {
        return Err(StudyError::RefitFailed { candidate });
    }
    let weights = trainer.read_back(lane.slot)?;
    Ok(Some(Refitted { weights, preparation, target, score: lane.evals.first().copied() }))
}

/// Whether the model file is there and holds this candidate.
fn is_model_of(study: &Study, history: &History, candidate: u64, dir: &RunDir) -> bool {
    FittedModel::load(&dir.model()).is_ok_and(|FittedModel { meta, .. }| {
        meta.model == study.model.name() && meta.params == study.space.named(history.points.row(candidate as usize))
    })
}

fn write_model(
    study: &Study,
    history: &History,
    candidate: u64,
    refitted: Refitted,
    dir: &RunDir,
) -> Result<(), StudyError> {
    let meta = ModelMeta {
        format: super::model_file::VERSION,
        model: study.model.name().to_owned(),
        task: study.dataset.task,
        target_name: study.dataset.target_name.clone(),
        class_names: study.dataset.class_names.clone(),
        target: refitted.target,
        preparation: refitted.preparation,
        missing: study.config.data.missing.clone(),
        params: study.space.named(history.points.row(candidate as usize)),
    };
    FittedModel { meta, weights: refitted.weights }.save(&dir.model())
}

fn versions() -> IndexMap<String, String> {
    let entry = |key: &str, value: String| (key.to_owned(), value);
    IndexMap::from([
        entry("thousandfold", env!("CARGO_PKG_VERSION").to_owned()),
        entry("journal", super::journal::VERSION.to_string()),
        entry("model_file", super::model_file::VERSION.to_string()),
        entry("result", "1".to_owned()),
    ])
}
