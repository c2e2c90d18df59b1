//! The end of a study: choose, refit on all rows but the test's, read the test score once, write model and result.

use super::choice::{self, Scored};
use super::error::StudyError;
use super::events::{Event, Observers, Phase};
use super::history::{History, Trial};
use super::journal::{Frame, Journal, TestScore};
use super::model_file::{FittedModel, ModelMeta};
use super::resolve::Study;
use super::result::{Chosen, Counts, Outer, RunResult, Test};
use super::run::{Backend, Clock, Closing, usual_failure};
use super::run_dir::RunDir;
use crate::backend::{Lane, LaneReport, StopFlag};
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

/// Ends a study.
pub(super) fn finish(
    closing: Closing<'_>,
    dir: &RunDir,
    journal: &mut Journal,
    clock: &mut Clock,
    observers: &mut Observers,
) -> Result<RunResult, StudyError> {
    let Closing { study, history, backend, reason, speed, notes, tested } = closing;
    let direction = study.metric.direction();
    let scored: Vec<Scored<'_>> = scored(study, history);
    let all_failed =
        || StudyError::AllFailed { candidates: history.trials.len() as u64, reason: usual_failure(history).to_owned() };
    let best = choice::best(direction, &scored).ok_or_else(all_failed)?;
    let one_se = choice::one_standard_error(direction, &scored).unwrap_or(best);
    let chosen = |one: &Scored<'_>| chosen(study, history, one.candidate);
    let outer = outer_choices(study, &scored);
    let test_score = match tested.filter(|test| test.candidate == best.candidate) {
        Some(tested) => tested,
        None => {
            let outer_scores = outer
                .iter()
                .zip(&study.splits.outer)
                .map(|(candidate, part)| {
                    Ok(refit(study, history, backend, *candidate, &part.train, &part.test)?.score.unwrap_or(f64::NAN))
                })
                .collect::<Result<Vec<f64>, StudyError>>()?;
            let refitted = refit(study, history, backend, best.candidate, &study.splits.pool, &study.splits.test)?;
            let rows = study.splits.test.len() as u64;
            let score = TestScore { candidate: best.candidate, value: refitted.score, rows, outer: outer_scores };
            write_model(study, history, best.candidate, refitted, dir)?;
            journal.append(&Frame::Test(score.clone()))?;
            score
        }
    };
    if !dir.model().exists() {
        // Without the test rows: their score was read before.
        let refitted = refit(study, history, backend, best.candidate, &study.splits.pool, &[])?;
        write_model(study, history, best.candidate, refitted, dir)?;
    }
    clock.enter(Phase::Writing);
    observers.notify(&Event::Phase(Phase::Writing));
    let complete = history.trials.values().filter(|trial| trial.status.is_scored()).count() as u64;
    let result = RunResult {
        study: study.name.clone(),
        model: study.model.name().to_owned(),
        task: study.dataset.task,
        metric: study.metric.name().to_owned(),
        direction,
        best: chosen(&best),
        one_se: chosen(&one_se),
        bias_corrected: choice::bias_corrected(direction, &scored, study.key.child(stream::CHOICE)),
        test: test_score.value.filter(|value| !value.is_nan()).map(|value| Test {
            value,
            metric: study.metric.name().to_owned(),
            rows: test_score.rows,
        }),
        outer: (!outer.is_empty()).then(|| Outer {
            value: choice::mean(&test_score.outer),
            std_error: choice::std_error(&test_score.outer),
            folds: test_score.outer.clone(),
            candidates: outer,
        }),
        top: choice::ranked(direction, &scored, TOP).iter().map(chosen).collect(),
        counts: Counts {
            proposed: history.points.len() as u64,
            complete,
            pruned: 0,
            failed: history.trials.len() as u64 - complete,
        },
        stopped_because: reason,
        seconds: clock.seconds(),
        lanes_per_second: speed,
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
    Ok(result)
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
    let first_score: Vec<usize> =
        study.splits.folds.iter().scan(0, |sum, fold| Some(std::mem::replace(sum, *sum + fold.evals.len()))).collect();
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
        std_error: trial.std_error(),
        train_value: Some(f64::from(trial.train)).filter(|value| !value.is_nan()),
        folds: trial.scores,
    }
}

/// A candidate trained on all rows that it may see.
struct Refitted {
    weights: crate::backend::Weights,
    preparation: Preparation,
    target: Affine,
    score: Option<f64>,
}

fn refit(
    study: &Study,
    history: &History,
    backend: &Backend,
    candidate: u64,
    train: &[u32],
    test: &[u32],
) -> Result<Refitted, StudyError> {
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
    let mut points = Points::new(history.points.width());
    points.push(history.points.row(candidate as usize));
    let slots = trainer.start(&points, &[Lane { point: 0, fold: 0 }])?;
    let mut score = None;
    let mut report = |lane: LaneReport| {
        score = lane.evals.first().copied();
        ControlFlow::Continue(())
    };
    trainer.advance(&slots, study.budget, true, &StopFlag::default(), &mut report)?;
    let mut weights = Vec::new();
    for slot in &slots {
        weights.push(trainer.read_back(*slot)?);
    }
    let weights = weights.pop().ok_or(crate::backend::BackendError::NoSuchSlot(0))?;
    Ok(Refitted { weights, preparation, target, score })
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
