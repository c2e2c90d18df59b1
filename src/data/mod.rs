//! Layer 1: tables, their preparation, splits of their rows, and metrics on predictions.
//!
//! What backends see of all this is a [`Problem`]: for every fold the prepared training rows and the rows to score.

pub mod dataset;
pub mod describe;
pub mod error;
pub mod metrics;
pub mod note;
pub mod options;
pub mod prepare;
pub mod problem;
pub mod read;
pub mod splits;
mod suspect;
pub mod table;

pub use dataset::Dataset;
pub use error::{DataError, Place};
pub use note::Note;
pub use options::DataOptions;
pub use prepare::{Preparation, PrepareOptions};
pub use problem::{FoldRows, build_problem, prepare_fold};
pub use read::{ReadOptions, read_table};
pub use table::{Categories, Cells, Column, MISSING, Table};

use crate::base::random::Key;
use ndarray::Array2;
use std::sync::Arc;

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One of several classes; two are a case of several.
    Classification,
    /// A real number.
    Regression,
}

/// The true targets of some rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Class codes in `0..classes`; a class need not occur in these rows.
    Classes {
        /// One code a row.
        codes: Vec<u32>,
        /// How many classes the study knows.
        classes: usize,
    },
    /// Real numbers in the target's own units.
    Values(Vec<f32>),
}

impl Target {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Target::Classes { codes, .. } => codes.len(),
            Target::Values(values) => values.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What one row's prediction holds: the number of classes, or 1 for a real number.
    pub fn outputs(&self) -> usize {
        match self {
            Target::Classes { classes, .. } => *classes,
            Target::Values(_) => 1,
        }
    }
}

/// What predictions are scored against: the true targets of some rows, and how much each row counts.
#[derive(Debug, Clone, Copy)]
pub struct Truth<'a> {
    /// The true targets.
    pub target: &'a Target,
    /// One weight a row; `None`: all count alike.
    pub weight: Option<&'a [f32]>,
}

impl<'a> From<&'a Target> for Truth<'a> {
    fn from(target: &'a Target) -> Truth<'a> {
        Truth { target, weight: None }
    }
}

impl Truth<'_> {
    /// How much a row counts.
    pub fn weight_of(&self, row: usize) -> f64 {
        self.weight.map_or(1.0, |weight| weight.get(row).map_or(f64::NAN, |weight| f64::from(*weight)))
    }

    /// The sum of all rows' weights: their number where they count alike.
    pub fn total(&self) -> f64 {
        self.weight.map_or(self.target.len() as f64, |weight| weight.iter().map(|weight| f64::from(*weight)).sum())
    }
}

/// What a model says of some rows.
#[derive(Debug, Clone, Copy)]
pub enum Prediction<'a> {
    /// Row-major `[rows, classes]`; each row sums to 1 unless the lane went to NaN.
    Probabilities {
        /// Number of classes.
        classes: usize,
        /// The probabilities.
        values: &'a [f32],
    },
    /// One real number a row, in the target's own units.
    Values(&'a [f32]),
}

/// Rows that are ready for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// Prepared features, `[rows, features]`, row-major; finite but for [`Input::Columns`]. The number of features may
    /// differ from fold to fold: which categories have a column is decided by the fold's training rows.
    pub x: Array2<f32>,
    /// True targets, in their own units.
    pub y: Target,
    /// How much each row counts, in training and in scores: finite and not negative. `None`: all alike.
    pub weight: Option<Vec<f32>>,
}

impl Rows {
    /// Rows that all count alike.
    pub fn new(x: Array2<f32>, y: Target) -> Rows {
        Rows { x, y, weight: None }
    }

    /// What predictions of these rows are scored against.
    pub fn truth(&self) -> Truth<'_> {
        Truth { target: &self.y, weight: self.weight.as_deref() }
    }
}

/// What a model wants of a table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// Finite features: missing cells filled in, categories one-hot, numbers scaled.
    Features,
    /// One feature a column, as it is: NaN where a cell is missing, a category as its code.
    Columns,
}

/// What a feature holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Numbers.
    Number,
    /// Codes 0, 1, ... of categories that have no order.
    Category {
        /// How many the fold's training rows have.
        levels: u32,
    },
}

/// `scaled = (own - shift) / scale`, fitted on a fold's training targets; the identity for classes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Affine {
    /// In the target's own units.
    pub shift: f32,
    /// In the target's own units; positive.
    pub scale: f32,
}

impl Affine {
    /// Changes nothing.
    pub const IDENTITY: Affine = Affine { shift: 0.0, scale: 1.0 };

    /// A target as it is learnt.
    pub fn scaled(self, y: f32) -> f64 {
        (f64::from(y) - f64::from(self.shift)) / f64::from(self.scale)
    }
}

/// One fold of one repeat: what its lanes train on, and what they are scored on.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    /// Everything that training draws on this fold is keyed below this key, never by the candidate.
    pub key: Key,
    /// Training rows.
    pub train: Rows,
    /// Row sets to score: usually the one validation fold; two in nested cross-validation, where a pair of outer folds
    /// shares its training rows; none when only the weights are wanted.
    pub evals: Vec<Rows>,
    /// Whether lanes may stop by their scores on the first of these sets. Not where it holds test rows: those say how good
    /// a model is, and nothing may be chosen by them.
    pub may_stop_early: bool,
    /// How models that want a scaled regression target scale it.
    pub target: Affine,
    /// What each feature holds; with [`Input::Features`] all are numbers.
    pub columns: Arc<[ColumnKind]>,
}

impl Fold {
    /// A fold whose features are all numbers.
    pub fn of_numbers(key: Key, train: Rows, evals: Vec<Rows>, target: Affine) -> Fold {
        let columns = vec![ColumnKind::Number; train.x.ncols()].into();
        Fold { key, train, evals, may_stop_early: true, target, columns }
    }

    /// Every row set on which a lane gets a score: the training rows, then those to score.
    pub fn row_sets(&self) -> impl Iterator<Item = &Rows> {
        std::iter::once(&self.train).chain(&self.evals)
    }
}

/// All that a backend needs to know of the data of a study.
#[derive(Clone)]
pub struct Problem {
    /// What is predicted.
    pub task: Task,
    /// Outputs of a row's prediction: the number of classes, or 1.
    pub outputs: usize,
    /// A lane's full budget in the model's unit: learning-rate schedules end here, whatever rungs a scheduler makes.
    pub budget: u64,
    /// The score of a lane.
    pub metric: &'static dyn metrics::Metric,
    /// Every fold of every repeat; a lane names one by its index.
    pub folds: Vec<Arc<Fold>>,
}
