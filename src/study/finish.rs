//! The end of a study: choose, refit on all rows but the test's, read the test score once, write model and result.

use super::backend::Backend;
use super::choice::{self, Scored};
use super::clock::Clock;
use super::error::StudyError;
use super::events::{Event, Observers, Phase, Progress};
use super::history::{History, Trial, TrialStatus};
use super::journal::{Frame, Journal, TestScore};
use super::model_file::{FittedModel, ModelMeta};
use super::resolve::Study;
use super::result::{Chosen, Corrected, Counts, Outer, Refit as RefitBudget, RunResult, Test};
use super::run_dir::RunDir;
use super::stopping::StopReason;
use crate::backend::{Lane, LaneReport, LaneStatus, StopFlag, Weights};
use crate::base::random::stream;
use crate::data::prepare::Preparation;
use crate::data::problem::{FoldRows, prepare_fold};
use crate::data::splits::{OuterPart, Splits};
use crate::data::{Affine, Fold, Problem};
use crate::models::Model;
use crate::space::{Points, Value};
use indexmap::IndexMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// How many candidates the result lists.
const TOP: usize = 20;
/// How many candidates are tried, best first, until one stays finite on all rows.
const TRIES: usize = 5;
/// The repeat number of refits: no fold of the search draws from its keys.
const REFIT: u32 = u32::MAX;

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
    let Closing { name, study, history, backend, reason, progress, mut notes, stop } = closing;
    let direction = study.metric.direction();
    let scored: Vec<Scored<'_>> = scored(study, history);
    let nothing_to_choose = || match history.trials.len() as u64 {
        0 => StudyError::NoTime,
        candidates => {
            let failure = history.usual_failure();
            StudyError::AllFailed { candidates, reason: failure.reason(), remedy: failure.remedy() }
        }
    };
    choice::best(direction, &scored).ok_or_else(nothing_to_choose)?;
    let chosen = |one: &Scored<'_>| chosen(study, history, one.candidate);
    let outer = outer_choices(study, history, &scored);

    clock.enter(Phase::Refitting, observers);
    let refits = Refits { study, history, backend, stop };
    let ranked = choice::ranked(direction, &scored, TRIES);
    let Some(winner) = refits.winner(&ranked, &outer, dir, frames, journal)? else { return Ok(None) };
    let Winner { best, test: test_score, notes: told } = winner;
    told.iter().for_each(|note| observers.notify(&Event::Note(note.clone())));
    notes.extend(told);
    notes.extend(capped(history, best.candidate).inspect(|note| observers.notify(&Event::Note(note.clone()))));
    // Candidates that were passed over are no choice for the other estimates either.
    let passed_over: Vec<u64> =
        ranked.iter().map(|one| one.candidate).take_while(|candidate| *candidate != best.candidate).collect();
    let able: Vec<Scored<'_>> = scored.iter().filter(|one| !passed_over.contains(&one.candidate)).copied().collect();
    let one_se = choice::one_standard_error(direction, &able, &study.parts).unwrap_or(best);
    let corrected = choice::bias_corrected(direction, &able, &study.parts, study.key.child(stream::CHOICE));

    clock.enter(Phase::Writing, observers);
    let outer_folds: Vec<Option<f64>> =
        test_score.outer.iter().map(|(_, value)| Some(*value).filter(|value| !value.is_nan())).collect();
    let outer_values: Vec<f64> = outer_folds.iter().copied().flatten().collect();
    let complete = history.trials.values().filter(|trial| trial.status.is_scored()).count() as u64;
    let result = RunResult {
        study: name,
        model: study.pipelines.models().join(", "),
        task: study.dataset.task,
        metric: study.metric.name().to_owned(),
        direction,
        best: chosen(&best),
        one_se: chosen(&one_se),
        bias_corrected: corrected.map(|estimate| Corrected::new(chosen(&best), estimate)),
        refit: refits.rounds(best.candidate, 0..study.splits.folds.len()).map(|budget| {
            let unit = study.pipelines.of(history.points.row(best.candidate as usize)).model.budget().unit;
            RefitBudget { budget, unit: unit.to_owned() }
        }),
        test: test_score.value.filter(|value| !value.is_nan()).map(|value| Test {
            value,
            metric: study.metric.name().to_owned(),
            rows: test_score.rows,
        }),
        outer: (!outer.is_empty()).then(|| Outer {
            value: Some(choice::mean(&outer_values)).filter(|value| !value.is_nan()),
            std_error: choice::std_error(&outer_values),
            folds: outer_folds,
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

/// What is to be said of candidates whose solvers were stopped by the budget: they are scored as they stood.
fn capped(history: &History, best: u64) -> Option<String> {
    let is_capped = |trial: &&Trial| trial.status == TrialStatus::IterationLimit;
    let capped = history.trials.values().filter(is_capped).count();
    let is_best = history.trials.get(&best).is_some_and(|trial| is_capped(&trial));
    let (all, among) = (history.trials.len(), if is_best { ", the best among them," } else { "" });
    (capped > 0).then(|| {
        format!(
            "{capped} of {all} candidates{among} had not converged when their budget was spent, and are scored as they stood; \
             more of it: --set model.budget"
        )
    })
}

/// Every candidate with a score, by id.
fn scored<'a>(study: &Study, history: &'a History) -> Vec<Scored<'a>> {
    let trials = history.trials.values().filter(|trial| trial.status.is_scored());
    trials
        .map(|trial| {
            let row = history.points.row(trial.candidate as usize);
            let cost = study.pipelines.of(row).cost(row);
            Scored { candidate: trial.candidate, value: trial.value(), folds: &trial.scores, cost }
        })
        .collect()
}

/// The candidate that the search of each outer part would have chosen: by the scores that never saw the part.
fn outer_choices(study: &Study, history: &History, scored: &[Scored<'_>]) -> Vec<u64> {
    let direction = study.metric.direction();
    let first_score = study.first_scores();
    let stops = |one: &Scored<'_>| {
        let row = history.points.row(one.candidate as usize);
        study.pipelines.of(row).stops_by_validation(row)
    };
    let any_stops = scored.iter().any(stops);
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
    let inner = |part: &OuterPart| match any_stops {
        true => part.unseen().map(|fold| (fold, 0)).collect(),
        false => part.inner.clone(),
    };
    study.splits.outer.iter().filter_map(|part| choose(&inner(part))).collect()
}

fn chosen(study: &Study, history: &History, candidate: u64) -> Chosen {
    let trial = history.trials.get(&candidate).cloned().unwrap_or_else(|| Trial::infeasible(candidate, 0, 0));
    Chosen {
        candidate,
        params: study.space.named(history.points.row(candidate as usize)),
        value: trial.value(),
        std_error: study.parts.std_error(&trial.scores),
        train_value: Some(f64::from(trial.train)).filter(|value| !value.is_nan()),
        seconds_per_lane: f64::from(trial.seconds) / study.splits.folds.len() as f64,
        used: trial.used,
        folds: trial.scores,
    }
}

/// The candidate that the model file holds, and what the test rows said of it.
struct Winner<'a> {
    best: Scored<'a>,
    test: TestScore,
    /// What the user should know of the choice.
    notes: Vec<String>,
}

/// A candidate trained on all rows that it may see.
struct Refitted {
    weights: Weights,
    preparation: Preparation,
    target: Affine,
    score: Option<f64>,
}

/// How such a training ended.
enum Refit {
    Done(Box<Refitted>),
    /// Its weights became NaN or infinite.
    NotFinite,
    Interrupted,
}

/// What candidates are trained again with.
struct Refits<'a> {
    study: &'a Study,
    history: &'a History,
    backend: &'a Backend,
    stop: &'a StopFlag,
}

impl Refits<'_> {
    /// The first of these candidates that stays finite when it is trained on the whole pool, written as the model file;
    /// `None` if it was interrupted. The test rows are read unless the journal has what they say of it, and `outer`, the
    /// choices of the outer parts, are scored with them.
    fn winner<'s>(
        &self,
        ranked: &[Scored<'s>],
        outer: &[u64],
        dir: &RunDir,
        frames: &[Frame],
        journal: &mut Journal,
    ) -> Result<Option<Winner<'s>>, StudyError> {
        let Splits { pool, test, .. } = &self.study.splits;
        let readings: Vec<&TestScore> =
            frames.iter().filter_map(|frame| if let Frame::Test(test) = frame { Some(test) } else { None }).collect();
        let of = |candidate: u64| {
            let is_of = |test: &&TestScore| {
                test.candidate == candidate && test.outer.iter().map(|(candidate, _)| candidate).eq(outer)
            };
            readings.iter().copied().find(is_of)
        };
        let mut notes = Vec::new();
        for best in ranked.iter().filter(|one| !one.value.is_nan()) {
            let known = of(best.candidate);
            if let Some(known) = known.filter(|_| self.is_model_of(best.candidate, dir)) {
                notes.extend(self.outer_notes(known));
                return Ok(Some(Winner { best: *best, test: known.clone(), notes }));
            }
            // Without the test rows where their score was read before.
            let unread: &[u32] = if known.is_some() { &[] } else { test };
            let rounds = self.rounds(best.candidate, 0..self.study.splits.folds.len());
            let refitted = match self.refit(best.candidate, rounds, pool, unread)? {
                Refit::Interrupted => return Ok(None),
                Refit::NotFinite => {
                    notes.push(format!(
                        "candidate {} was passed over: its score is better than that of the chosen one, but trained on all \
                         rows its weights became NaN or infinite",
                        best.candidate
                    ));
                    continue;
                }
                Refit::Done(refitted) => refitted,
            };
            let score = match known {
                Some(known) => known.clone(),
                None => {
                    let Some(outer) = self.outer_scores(outer)? else { return Ok(None) };
                    let (value, rows) = (refitted.score, test.len() as u64);
                    TestScore { candidate: best.candidate, value, rows, outer }
                }
            };
            self.write_model(best.candidate, *refitted, dir)?;
            notes.extend(self.outer_notes(&score));
            if known.is_none() {
                journal.append(&Frame::Test(score.clone()))?;
                let first = readings.first().filter(|_| score.rows > 0);
                notes.extend(first.map(|first| {
                    format!(
                        "the test rows had been read before, for candidate {}: who went on because of what they said \
                         chose by them",
                        first.candidate
                    )
                }));
            }
            return Ok(Some(Winner { best: *best, test: score, notes }));
        }
        let candidate = ranked.first().map_or(0, |best| best.candidate);
        Err(StudyError::RefitFailed { candidate, tried: notes.len() })
    }

    /// The scores of the outer parts' choices, NaN for one that did not stay finite; `None` if it was interrupted.
    fn outer_scores(&self, outer: &[u64]) -> Result<Option<Vec<(u64, f64)>>, StudyError> {
        let mut scores = Vec::with_capacity(outer.len());
        for (candidate, part) in outer.iter().zip(&self.study.splits.outer) {
            let rounds = self.rounds(*candidate, part.unseen());
            let score = match self.refit(*candidate, rounds, &part.train, &part.test)? {
                Refit::Interrupted => return Ok(None),
                Refit::NotFinite => f64::NAN,
                Refit::Done(refitted) => refitted.score.unwrap_or(f64::NAN),
            };
            scores.push((*candidate, score));
        }
        Ok(Some(scores))
    }

    /// What is missing in the nested estimate.
    fn outer_notes(&self, test: &TestScore) -> Option<String> {
        let failed: Vec<String> =
            test.outer.iter().filter(|(_, score)| score.is_nan()).map(|(candidate, _)| candidate.to_string()).collect();
        let (parts, all) = (failed.len(), test.outer.len());
        (parts > 0).then(|| {
            format!(
                "{parts} of {all} outer parts have no score, and the nested score is the mean of the others: what their \
                 search chose (candidate {}) became NaN or infinite there",
                failed.join(", ")
            )
        })
    }

    /// The budget with which a candidate is trained where there are no rows by which it may stop: the mean of what these
    /// lanes of it used. `None` for one that never stops by them.
    fn rounds(&self, candidate: u64, lanes: impl Iterator<Item = usize>) -> Option<u64> {
        let row = self.history.points.row(candidate as usize);
        let trial =
            self.history.trials.get(&candidate).filter(|_| self.study.pipelines.of(row).stops_by_validation(row));
        trial?.mean_used(lanes)
    }

    /// Trains a candidate on these rows, for as many rounds if it is told, and scores it on those.
    fn refit(&self, candidate: u64, rounds: Option<u64>, train: &[u32], test: &[u32]) -> Result<Refit, StudyError> {
        let Refits { study, history, backend, stop } = self;
        let evals = if test.is_empty() { Vec::new() } else { vec![test.to_vec()] };
        let rows = FoldRows { repeat: REFIT, fold: 0, train: train.to_vec(), evals };
        let row = history.points.row(candidate as usize);
        let pipeline = study.pipelines.of(row);
        let input = pipeline.model.input();
        let (fold, preparation) = prepare_fold(&study.dataset, &rows, &pipeline.prepare, input, study.key)?;
        let target = fold.target;
        // The rows to score are test rows.
        let fold = Fold { may_stop_early: false, ..fold };
        let budget = rounds.unwrap_or(pipeline.budget);
        let problem = Problem {
            task: study.dataset.task,
            outputs: pipeline.shape.outputs,
            budget,
            metric: study.metric,
            folds: vec![Arc::new(fold)],
        };
        let mut trainer = backend.trainer(pipeline, Arc::new(problem))?;
        let mut points = Points::new(pipeline.space.parameters.len());
        points.push(&pipeline.own(row));
        let slots = trainer.start(&points, &[Lane { point: 0, fold: 0 }])?;
        let mut trained = None;
        let mut report = |lane: LaneReport| {
            trained = Some(lane);
            ControlFlow::Continue(())
        };
        trainer.advance(&slots, budget, true, stop, &mut report)?;
        let Some(lane) = trained else { return Ok(Refit::Interrupted) };
        if lane.status == LaneStatus::NotFinite {
            return Ok(Refit::NotFinite);
        }
        let weights = trainer.read_back(lane.slot)?;
        Ok(Refit::Done(Box::new(Refitted { weights, preparation, target, score: lane.evals.first().copied() })))
    }

    /// Whether the model file is there and holds this candidate.
    fn is_model_of(&self, candidate: u64, dir: &RunDir) -> bool {
        FittedModel::load(&dir.model()).is_ok_and(|FittedModel { meta, .. }| {
            meta.model == self.model(candidate).name() && meta.params == self.params(candidate)
        })
    }

    fn write_model(&self, candidate: u64, refitted: Refitted, dir: &RunDir) -> Result<(), StudyError> {
        let Study { dataset, config, .. } = self.study;
        let meta = ModelMeta {
            format: super::model_file::VERSION,
            model: self.model(candidate).name().to_owned(),
            task: dataset.task,
            target_name: dataset.target_name.clone(),
            class_names: dataset.class_names.clone(),
            target: refitted.target,
            preparation: refitted.preparation,
            missing: config.data.missing.clone(),
            params: self.params(candidate),
        };
        FittedModel { meta, weights: refitted.weights }.save(&dir.model())
    }

    fn model(&self, candidate: u64) -> &'static dyn Model {
        self.study.pipelines.of(self.history.points.row(candidate as usize)).model
    }

    fn params(&self, candidate: u64) -> IndexMap<String, Value> {
        self.study.space.named(self.history.points.row(candidate as usize))
    }
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
