//! The end of a search for a model: the winner is trained again on all rows but the test's, its test score is read once.

use super::lineage::{self, Files};
use super::{Closing, chosen, scored};
use crate::backend::{Lane, LaneReport, LaneStatus, StopFlag, Weights};
use crate::base::random::stream;
use crate::data::prepare::Preparation;
use crate::data::problem::{FoldRows, prepare_fold};
use crate::data::splits::{OuterPart, Splits};
use crate::data::{Affine, Fold, Problem};
use crate::models::Model;
use crate::space::{Points, Value};
use crate::study::backend::Backend;
use crate::study::choice::{self, Scored};
use crate::study::clock::Clock;
use crate::study::error::StudyError;
use crate::study::events::{Event, Observers, Phase};
use crate::study::history::{History, Trial, TrialStatus};
use crate::study::journal::{Frame, Journal, TestScore};
use crate::study::model_file::{FittedModel, ModelMeta, VERSION};
use crate::study::objective::Models;
use crate::study::resolve::Study;
use crate::study::result::{Corrected, Outer, Refit as RefitBudget, RunResult, Test};
use crate::study::run_dir::RunDir;
use indexmap::IndexMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// How many candidates are tried, best first, until one stays finite on all rows.
const TRIES: usize = 5;
/// The repeat number of refits: no fold of the search draws from its keys.
const REFIT: u32 = u32::MAX;

/// What a search for a model found; `None` if it was interrupted. `frames` are those of the journal when it was opened.
pub(super) fn finish(
    closing: &mut Closing<'_>,
    models: &Models,
    dir: &RunDir,
    frames: &[Frame],
    journal: &mut Journal,
    clock: &mut Clock,
    observers: &mut Observers,
) -> Result<Option<RunResult>, StudyError> {
    let Closing { study, history, backend, stop, .. } = *closing;
    let direction = study.direction();
    let scored: Vec<Scored<'_>> = scored(study, history);
    let chosen = |one: &Scored<'_>| chosen(study, history, one.candidate);
    let outer = outer_choices(study, models, history, &scored);

    clock.enter(Phase::Refitting, observers);
    let refits = Refits { study, models, history, backend, stop };
    let ranked = choice::ranked(direction, &scored, TRIES);
    let Some(winner) = refits.winner(&ranked, &outer, dir, frames, journal)? else { return Ok(None) };
    let Winner { best, test: test_score, notes: told } = winner;
    let told = told.into_iter().chain(capped(history, best.candidate));
    closing.notes.extend(told.inspect(|note| observers.notify(&Event::Note(note.clone()))));
    // Candidates that were passed over are no choice for the other estimates either.
    let passed_over: Vec<u64> =
        ranked.iter().map(|one| one.candidate).take_while(|candidate| *candidate != best.candidate).collect();
    let able: Vec<Scored<'_>> = scored.iter().filter(|one| !passed_over.contains(&one.candidate)).copied().collect();
    let one_se = choice::one_standard_error(direction, &able, &study.parts).unwrap_or(best);
    let corrected = choice::bias_corrected(direction, &able, &study.parts, study.key.child(stream::CHOICE));

    clock.enter(Phase::Writing, observers);
    let outer_folds: Vec<Option<f64>> =
        test_score.outer.iter().map(|(_, value)| Some(*value).filter(|value| !value.is_nan())).collect();
    let Files { recipe, lineage } = lineage::write(closing, best.candidate, dir)?;
    let outer_values: Vec<f64> = outer_folds.iter().copied().flatten().collect();
    Ok(Some(RunResult {
        model: Some(study.objective.name()),
        task: Some(models.dataset.task),
        one_se: Some(chosen(&one_se)),
        bias_corrected: corrected.map(|estimate| Corrected::new(chosen(&best), estimate)),
        refit: refits.rounds(best.candidate, 0..models.splits.folds.len()).map(|budget| {
            let unit = models.pipelines.of(history.point(best.candidate)).model.budget().unit;
            RefitBudget { budget, unit: unit.to_owned() }
        }),
        test: test_score.value.filter(|value| !value.is_nan()).map(|value| Test {
            value,
            metric: study.objective.metric().to_owned(),
            rows: test_score.rows,
        }),
        outer: (!outer.is_empty()).then(|| Outer {
            value: Some(choice::mean(&outer_values)).filter(|value| !value.is_nan()),
            std_error: choice::std_error(&outer_values),
            folds: outer_folds,
            candidates: outer,
        }),
        data_fingerprint: Some(format!("{:016x}", models.dataset.fingerprint)),
        model_file: Some(dir.model().display().to_string()),
        recipe_file: recipe,
        lineage_file: lineage,
        ..closing.result(chosen(&best), dir, clock)
    }))
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

/// The candidate that the search of each outer part would have chosen: by the scores that never saw the part.
fn outer_choices(study: &Study, models: &Models, history: &History, scored: &[Scored<'_>]) -> Vec<u64> {
    let direction = study.direction();
    let first_score = models.first_scores();
    let stops = |one: &Scored<'_>| {
        let row = history.point(one.candidate);
        models.pipelines.of(row).stops_by_validation(row)
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
    models.splits.outer.iter().filter_map(|part| choose(&inner(part))).collect()
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
    models: &'a Models,
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
        let Splits { pool, test, .. } = &self.models.splits;
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
            let rounds = self.rounds(best.candidate, 0..self.models.splits.folds.len());
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
        for (candidate, part) in outer.iter().zip(&self.models.splits.outer) {
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
        let row = self.history.point(candidate);
        let trial =
            self.history.trials.get(&candidate).filter(|_| self.models.pipelines.of(row).stops_by_validation(row));
        trial?.mean_used(lanes)
    }

    /// Trains a candidate on these rows, for as many rounds if it is told, and scores it on those.
    fn refit(&self, candidate: u64, rounds: Option<u64>, train: &[u32], test: &[u32]) -> Result<Refit, StudyError> {
        let Refits { study, models, history, backend, stop } = self;
        let evals = if test.is_empty() { Vec::new() } else { vec![test.to_vec()] };
        let rows = FoldRows { repeat: REFIT, fold: 0, train: train.to_vec(), evals };
        let row = history.point(candidate);
        let pipeline = models.pipelines.of(row);
        let input = pipeline.model.input();
        let (fold, preparation) = prepare_fold(&models.dataset, &rows, &pipeline.prepare, input, study.key)?;
        let target = fold.target;
        // The rows to score are test rows.
        let fold = Fold { may_stop_early: false, ..fold };
        let budget = rounds.unwrap_or(pipeline.budget);
        let problem = Problem {
            task: models.dataset.task,
            outputs: pipeline.shape.outputs,
            budget,
            metric: models.metric,
            folds: vec![Arc::new(fold)],
        };
        let mut trainer = backend.trainer(pipeline, Arc::new(problem))?;
        let own = |row: &[f64]| {
            let mut points = Points::new(pipeline.space.parameters.len());
            points.push(&pipeline.own(row));
            points
        };
        let recipe = study.recipe(history, candidate);
        let slots = trainer.start(&own(&recipe.first), &[Lane { point: 0, fold: 0 }])?;
        for (at, point) in &recipe.turns {
            trainer.turn(&slots, models.pipelines.share(*at, pipeline), &own(point))?;
        }
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
        let dataset = &self.models.dataset;
        let missing = self.study.config.data.as_ref().map(|data| data.missing.clone()).unwrap_or_default();
        let meta = ModelMeta {
            format: VERSION,
            model: self.model(candidate).name().to_owned(),
            task: dataset.task,
            target_name: dataset.target_name.clone(),
            class_names: dataset.class_names.clone(),
            target: refitted.target,
            preparation: refitted.preparation,
            missing,
            params: self.params(candidate),
        };
        FittedModel { meta, weights: refitted.weights }.save(&dir.model())
    }

    fn model(&self, candidate: u64) -> &'static dyn Model {
        self.models.pipelines.of(self.history.point(candidate)).model
    }

    fn params(&self, candidate: u64) -> IndexMap<String, Value> {
        self.study.space.named(self.study.recipe(self.history, candidate).last())
    }
}
