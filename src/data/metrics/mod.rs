//! Metrics on predictions, equal to scikit-learn's on the same predictions. One file a family, one registry line each.

use super::{Prediction, Target, Task};
use crate::base::registry::{self, Named, UnknownName};

/// Which of two scores is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Losses and errors.
    Minimize,
    /// Shares and correlations.
    Maximize,
}

/// A score of predictions against true targets.
pub trait Metric: Named {
    /// Which of two scores is better.
    fn direction(&self) -> Direction;
    /// Whether it has a meaning for this task with this many outputs.
    fn supports(&self, task: Task, outputs: usize) -> bool;
    /// The score. NaN predictions give NaN; what has no meaning on these rows (one class only, constant target) gives
    /// the answer that the metric's own documentation states.
    fn score(&self, truth: &Target, prediction: Prediction<'_>) -> f64;
}

/// Every metric.
pub static METRICS: &[&dyn Metric] = &[];

/// Finds a metric by name.
pub fn find(name: &str) -> Result<&'static dyn Metric, UnknownName> {
    registry::find("metric", METRICS, name)
}
