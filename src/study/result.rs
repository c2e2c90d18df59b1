//! The result file; docs/result.md says what each field means.

use super::choice::Estimate;
use super::recipe::Stage;
use super::regret::Remaining;
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
    /// What was trained; left out where a function was searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The function that was searched; left out where models were trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionFacts>,
    /// The command that was run; left out where models were trained, or a function searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandFacts>,
    /// The shader that was searched; left out where anything else was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wgsl: Option<WgslFacts>,
    /// The objective in Rust that was evaluated; left out where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rust: Option<RustFacts>,
    /// What models predict; left out without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<crate::data::Task>,
    /// The metric's name.
    pub metric: String,
    /// Which of two scores is better.
    pub direction: Direction,
    /// The names of all values of a candidate, the metric first; one where there is one objective.
    #[serde(default)]
    pub objectives: Vec<String>,
    /// The candidate with the best mean over the folds of those that stay finite when they are trained on all rows: the
    /// one that the model file holds.
    pub best: Chosen,
    /// The simplest candidate within one standard error of the best; `null` where no model was trained.
    pub one_se: Option<Chosen>,
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
    /// Of several objectives the candidates that no other one beats in all of them, by id; left out where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub front: Vec<Chosen>,
    /// Where only the best candidates were kept, how the values of all are distributed, to four thousandths of each; left out
    /// where all were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Vec<Quantile>>,
    /// What became of the candidates.
    pub counts: Counts,
    /// Of anything but models and functions the reasons why candidates failed, the most usual first, twenty at most; left out where none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failures>,
    /// Of the training that candidates would have taken with their whole budget, the share that a scheduler saved; left out
    /// where it ended none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<f64>,
    /// How they were proposed: a strategy's name, or several in their order.
    pub strategy: String,
    /// What the strategy decided by itself, and why.
    pub decisions: Vec<String>,
    /// Why the search ended.
    pub stopped_because: StopReason,
    /// What may be left to gain, when it was looked at last; left out where no rule looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Remaining>,
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
    /// Of every name and cell of the data, or of a shader and its tables, in hexadecimal; `null` without any.
    pub data_fingerprint: Option<String>,
    /// This program's version and the formats of its files.
    pub versions: IndexMap<String, String>,
    /// The run directory.
    pub run_dir: String,
    /// The model file; `null` where no model was trained.
    pub model_file: Option<String>,
    /// A table of all candidates that were kept, where that are the best alone; left out where all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_file: Option<String>,
    /// A study of the best candidate alone, whose hyperparameters changed on the way; left out of a search without a population.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe_file: Option<String>,
    /// A table of who took over from whom in a population; left out of a search without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage_file: Option<String>,
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
    /// Where parameters changed on the way, what they were from the beginning on and from each change on, in units of the
    /// budget; `params` has the last of them. Left out where none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<Stage>,
    /// Values beside the first, means over the folds; left out where there is one objective.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<f64>,
}

/// An analytic function, and how near a search came to its least value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionFacts {
    /// Its name.
    pub name: String,
    /// Parameters.
    pub dimensions: usize,
    /// Which of its instances; `null` where there is one.
    pub instance: Option<u32>,
    /// Standard deviation of the noise on each value.
    pub noise: f64,
    /// The least value that there is; `null` where it is not known.
    pub optimum: Option<f64>,
    /// The best candidate's value without noise.
    pub exact: Option<f64>,
}

/// A program that was run for each candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandFacts {
    /// As a shell would take it.
    pub line: String,
    /// Where it ran.
    pub directory: String,
    /// What the best candidate's runs have left in their checkpoint directory; `null` where that is nothing.
    pub checkpoint: Option<String>,
}

/// A user's shader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WgslFacts {
    /// Its file.
    pub file: String,
    /// Values that it gives.
    pub values: usize,
    /// Evaluations of a candidate.
    pub repeats: usize,
    /// Turns that the loops of an evaluation might have together.
    pub steps: u32,
}

/// An objective that a Rust program brought along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RustFacts {
    /// Its name.
    pub name: String,
    /// Which version of it.
    pub version: String,
}

/// Why some candidates of a program, a shader or an objective in Rust failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// In words.
    pub reason: String,
    /// How many failed so.
    pub candidates: u64,
    /// The first of them.
    pub first: u64,
}

/// A value, and the share of all values below it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// From 0 to 1.
    pub share: f64,
    /// In the metric's unit.
    pub value: f64,
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
