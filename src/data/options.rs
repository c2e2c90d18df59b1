//! The `[data]` section of a study, as it is written.

use super::Task;
use super::read::ReadOptions;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which file, what to predict, and what part each column plays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataOptions {
    /// CSV, gzip CSV or Parquet.
    pub file: PathBuf,
    /// The column to predict.
    pub target: String,
    /// Taken from the target's cells where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Share of the rows that is locked away until the end; 0 locks none. Not together with the next two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<f64>,
    /// A column that marks test rows with test, true or 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_column: Option<String>,
    /// A second file whose rows are the test rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_file: Option<PathBuf>,
    /// Rows with the same value here are never split between training and validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Orders the rows for time series splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Names each row's validation fold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<String>,
    /// How much each row counts, in training and in scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Columns that are not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// Columns that are categories though they hold numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Markers of missing cells, beside the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

impl DataOptions {
    /// A file and its target, and the default for everything else.
    pub fn new(file: impl Into<PathBuf>, target: impl Into<String>) -> DataOptions {
        DataOptions {
            file: file.into(),
            target: target.into(),
            task: None,
            test: None,
            test_column: None,
            test_file: None,
            group: None,
            time: None,
            fold: None,
            weight: None,
            drop: Vec::new(),
            categories: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// How its files are read.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            only: None,
            skip: self.drop.clone(),
            categories: self.categories.clone(),
            missing: self.missing.clone(),
        }
    }
}
