//! The result file; docs/result.md says what each field means.

use super::choice::Estimate;
use super::stopping::StopReason;
use crate::data::metrics::Direction;
use crate::space::Value;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// result.json, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The study's name.
    pub study: String,
    /// Model and metric, so that the numbers below have a meaning.
    pub model: String,
    /// What is predicted.
    pub task: crate::data::Task,
    /// The metric's name.
    pub metric: String,
    /// Which of two scores is better.
    pub direction: Direction,
    /// The candidate with the best mean over the folds of those that stay finite when they are trained on all rows: the
    /// one that the model file holds.
    pub best: Chosen,
    /// The simplest candidate within one standard error of the best.
    pub one_se: Chosen,
    /// The best candidate with its score without the optimism of choosing; `null` with one fold.
    pub bias_corrected: Option<Corrected>,
    /// How long the model in the model file was trained, where its folds stopped by their scores; `null` for all others.
    pub refit: Option<Refit>,
    /// The score on the locked test rows; `null` without test rows.
    pub test: Option<Test>,
    /// Scores of the outer parts in nested cross-validation; `null` without it.
    pub outer: Option<Outer>,
    /// The best 20 candidates, best first.
    pub top: Vec<Chosen>,
    /// What became of the candidates.
    pub counts: Counts,
    /// Why the search ended.
    pub stopped_because: StopReason,
    /// Seconds of each phase of this session, and their sum as `total`.
    pub seconds: IndexMap<String, f64>,
    /// Lanes trained a second while searching; 0 where nothing was trained in this session.
    pub lanes_per_second: f64,
    /// Lanes of all candidates.
    pub lanes: u64,
    /// "cpu" or "gpu".
    pub backend: String,
    /// The device's name.
    pub device: String,
    /// The study's seed.
    pub seed: u64,
    /// Of every name and cell of the data, in hexadecimal.
    pub data_fingerprint: String,
    /// This program's version and the formats of its files.
    pub versions: IndexMap<String, String>,
    /// The run directory.
    pub run_dir: String,
    /// The model file.
    pub model_file: String,
    /// What the user should know of data and settings.
    pub notes: Vec<String>,
}

impl RunResult {
    /// The text of result.json.
    pub fn to_json(&self) -> String {
        // Names are texts and numbers are finite: nothing in it can fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// A candidate with its scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Its id.
    pub candidate: u64,
    /// Its parameters; those that do not exist in it are left out.
    pub params: IndexMap<String, Value>,
    /// Mean score over the folds.
    pub value: f64,
    /// Standard error of that mean; `null` with one fold.
    pub std_error: Option<f64>,
    /// The folds' scores.
    pub folds: Vec<f64>,
    /// Mean score on training rows; `null` where it has none.
    pub train_value: Option<f64>,
    /// Seconds that one of its lanes took on the average, of one thread or of its share of a dispatch; 0 for a candidate
    /// that had the point of an earlier one, and was not trained again.
    pub seconds_per_lane: f64,
    /// Units of the model's budget that each of its lanes used, in the order of the folds.
    pub used: Vec<u64>,
}

/// The budget of a model that is trained without rows by which it could stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refit {
    /// The mean of what the best candidate's lanes used.
    pub budget: u64,
    /// What it counts.
    pub unit: String,
}

/// The best candidate, whose value and standard error are the bias-corrected ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Corrected {
    /// The candidate.
    #[serde(flatten)]
    pub chosen: Chosen,
    /// Bootstraps that the estimate is the mean of.
    pub bootstraps: u32,
}

impl Corrected {
    /// A candidate with its estimate.
    pub fn new(chosen: Chosen, estimate: Estimate) -> Corrected {
        let Estimate { value, std_error, bootstraps } = estimate;
        Corrected { chosen: Chosen { value, std_error: Some(std_error), ..chosen }, bootstraps }
    }
}

/// The locked test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// The score.
    pub value: f64,
    /// The metric's name.
    pub metric: String,
    /// Test rows.
    pub rows: u64,
}

/// Nested cross-validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outer {
    /// Mean of the outer scores: the estimate of the whole search's result; `null` where no part has one.
    pub value: Option<f64>,
    /// Standard error of that mean.
    pub std_error: Option<f64>,
    /// One score an outer part; `null` where its choice did not stay finite when it was trained again.
    pub folds: Vec<Option<f64>>,
    /// The candidate that each part's search chose.
    pub candidates: Vec<u64>,
}

/// What became of the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Candidates proposed.
    pub proposed: u64,
    /// With a score.
    pub complete: u64,
    /// Stopped early by a scheduler.
    pub pruned: u64,
    /// Without a score.
    pub failed: u64,
}
