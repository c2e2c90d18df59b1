//! What the model of a run goes by: what its weights say of themselves, and how much worse it predicts the test rows when a
//! column tells it nothing.

use super::error::{ConfigError, RunDirError, StudyError};
use super::model_file::FittedModel;
use super::objective::Models;
use super::resolve::Study;
use super::{load_result, load_run, run_dir};
use crate::base::random::{Key, below, shuffled, stream};
use crate::data::metrics::{Direction, Metric};
use crate::data::problem::pick;
use crate::data::{Prediction, Target, Task, Truth};
use crate::models::{self, FeatureKind, FeatureNumbers, Model};
use indexmap::IndexMap;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::Serialize;
use std::path::Path;

/// How often each column is shuffled.
const SHUFFLES: u32 = 10;
/// How often the test rows are drawn anew for each shuffle.
const BOOTSTRAPS: u32 = 10;

/// A run's model, explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The model's name.
    pub model: String,
    /// What it is made of.
    pub facts: IndexMap<String, String>,
    /// What it makes of its features.
    pub features: Vec<FeatureTable>,
    /// What the test rows say of its columns; `None` without test rows.
    pub importance: Option<Importance>,
}

impl Explained {
    /// As JSON.
    pub fn to_json(&self) -> String {
        // Names are texts: nothing in it can fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// One number of each feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureTable {
    /// What they are.
    pub kind: FeatureKind,
    /// The class that they speak for, if it is one.
    pub class: Option<String>,
    /// What is added whatever the features are.
    pub intercept: Option<f32>,
    /// By the features' names, in their order.
    pub values: IndexMap<String, f32>,
}

/// Permutation importance (Breiman 2001, section 10) on the test rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Importance {
    /// The score that gets worse.
    pub metric: String,
    /// Which of two scores is better.
    pub direction: Direction,
    /// The test score as it is.
    pub score: f64,
    /// Test rows.
    pub rows: usize,
    /// How often each column was shuffled.
    pub shuffles: u32,
    /// The most important one first.
    pub columns: Vec<ColumnImportance>,
}

/// How much a column matters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnImportance {
    /// The column.
    pub name: String,
    /// By how much the score gets worse when the column's cells are shuffled among the rows, on the average.
    pub value: f64,
    /// The standard deviation of that over other test rows and other shuffles.
    pub std_error: f64,
}

/// Explains the model of a run; `None` if the run has not come to its end.
pub fn explain(dir: &Path) -> Result<Option<Explained>, StudyError> {
    let Some(result) = load_result(dir)? else { return Ok(None) };
    if let Some(rust) = &result.rust {
        // Its study cannot be resolved without its code, and has no model.
        let instead = format!("evaluates the objective {} in Rust", rust.name);
        return Err(ConfigError::NoModel { instead }.into());
    }
    let study = Study::resolve(load_run(dir, &[])?)?;
    let models = study.objective.models()?;
    let fitted = FittedModel::load(&run_dir::model_path(dir))?;
    if Some(format!("{:016x}", models.dataset.fingerprint)) != result.data_fingerprint {
        return Err(RunDirError::Other { dir: dir.to_owned(), what: "other data".to_owned() }.into());
    }
    let FittedModel { meta, weights } = &fitted;
    let model = models::find(&meta.model)?;
    let explanation = model.explain(weights, meta.task, meta.target, meta.preparation.features().len())?;
    let facts = explanation.facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let features = explanation.features.into_iter().map(|numbers| named(numbers, &fitted)).collect();
    let importance = match models.splits.test.is_empty() {
        true => None,
        false => Some(Shuffling::new(&fitted, model, models, study.key)?.importance()?),
    };
    Ok(Some(Explained { model: meta.model.clone(), facts, features, importance }))
}

fn named(numbers: FeatureNumbers, fitted: &FittedModel) -> FeatureTable {
    let meta = &fitted.meta;
    FeatureTable {
        kind: numbers.kind,
        class: numbers.output.and_then(|output| meta.class_names.get(output).cloned()),
        intercept: numbers.intercept,
        values: meta.preparation.features().iter().cloned().zip(numbers.values).collect(),
    }
}

/// The test rows, ready to be shuffled.
struct Shuffling<'a> {
    fitted: &'a FittedModel,
    model: &'static dyn Model,
    metric: &'static dyn Metric,
    x: Array2<f32>,
    target: Target,
    weight: Option<Vec<f32>>,
    key: Key,
}

/// Test rows drawn anew, as the weight of each, and the model's score on them.
struct Resample {
    weight: Vec<f32>,
    score: f64,
}

impl<'a> Shuffling<'a> {
    fn new(
        fitted: &'a FittedModel,
        model: &'static dyn Model,
        models: &Models,
        key: Key,
    ) -> Result<Shuffling<'a>, StudyError> {
        let (dataset, rows) = (&models.dataset, &models.splits.test);
        Ok(Shuffling {
            fitted,
            model,
            metric: models.metric,
            x: fitted.meta.preparation.transform(&dataset.features, rows)?,
            target: pick(&dataset.target, rows),
            weight: dataset.weight.as_ref().map(|weight| rows.iter().map(|&row| weight[row as usize]).collect()),
            key: key.child(stream::IMPORTANCE),
        })
    }

    fn importance(&self) -> Result<Importance, StudyError> {
        let predicted = self.predict(self.x.view())?;
        let score = self.score(&predicted, self.weight.as_deref());
        // The same for all columns, so that differences between columns are no luck of the draw.
        let resamples: Vec<Resample> =
            (0..SHUFFLES * BOOTSTRAPS).into_par_iter().map(|draw| self.resample(draw, &predicted)).collect();
        let columns: Vec<(&str, Vec<u32>)> = self.fitted.meta.preparation.features_by_column().collect();
        let measured = columns.par_iter().zip(0..columns.len() as u32);
        let measured = measured.map(|((name, features), column)| {
            let (value, std_error) = self.column(features, self.key.child(column), score, &resamples)?;
            Ok(ColumnImportance { name: (*name).to_owned(), value, std_error })
        });
        let mut columns: Vec<ColumnImportance> = measured.collect::<Result<_, StudyError>>()?;
        columns.sort_by(|a, b| crate::base::order::descending(a.value, b.value));
        Ok(Importance {
            metric: self.metric.name().to_owned(),
            direction: self.metric.direction(),
            score,
            rows: self.x.nrows(),
            shuffles: SHUFFLES,
            columns,
        })
    }

    /// By how much the score gets worse without a column, and the spread of that.
    fn column(&self, features: &[u32], key: Key, score: f64, resamples: &[Resample]) -> Result<(f64, f64), StudyError> {
        if features.is_empty() {
            return Ok((0.0, 0.0));
        }
        let sign = self.metric.direction().sign();
        let mut sum = 0.0;
        let mut spread = Vec::with_capacity(resamples.len());
        for (shuffle, resamples) in (0..SHUFFLES).zip(resamples.chunks(BOOTSTRAPS as usize)) {
            let predicted = self.predict(self.shuffled(features, key.child(shuffle)).view())?;
            sum += sign * (score - self.score(&predicted, self.weight.as_deref()));
            let worse = |resample: &Resample| sign * (resample.score - self.score(&predicted, Some(&resample.weight)));
            spread.extend(resamples.iter().map(worse));
        }
        // A draw may lack a class that the metric needs.
        spread.retain(|value| !value.is_nan());
        Ok((sum / f64::from(SHUFFLES), standard_deviation(&spread)))
    }

    /// The rows with some features shuffled among them. Features come of cells one by one, so that a column's features
    /// move as its cells would.
    fn shuffled(&self, features: &[u32], key: Key) -> Array2<f32> {
        let mut x = self.x.clone();
        for (row, from) in shuffled(key, x.nrows()).into_iter().enumerate() {
            for &feature in features {
                x[[row, feature as usize]] = self.x[[from as usize, feature as usize]];
            }
        }
        x
    }

    fn resample(&self, draw: u32, predicted: &Array2<f32>) -> Resample {
        let rows = self.target.len();
        // No column has this number.
        let key = self.key.child(u32::MAX).child(draw);
        let mut weight = vec![0_f32; rows];
        for place in 0..rows as u64 {
            let row = below(key, place, rows as u64) as usize;
            weight[row] += self.weight.as_ref().map_or(1.0, |weight| weight[row]);
        }
        Resample { score: self.score(predicted, Some(&weight)), weight }
    }

    fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, StudyError> {
        let FittedModel { meta, weights } = self.fitted;
        Ok(self.model.predict(weights, meta.task, meta.target, x)?)
    }

    fn score(&self, predicted: &Array2<f32>, weight: Option<&[f32]>) -> f64 {
        let values: Vec<f32> = predicted.iter().copied().collect();
        let prediction = match self.fitted.meta.task {
            Task::Classification => Prediction::Probabilities { classes: predicted.ncols(), values: &values },
            Task::Regression => Prediction::Values(&values),
        };
        self.metric.score(Truth { target: &self.target, weight }, prediction)
    }
}

fn standard_deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0)).sqrt()
}
