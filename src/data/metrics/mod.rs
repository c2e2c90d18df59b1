//! Metrics on predictions, equal to scikit-learn's on the same predictions. One family a file, one registry line each.
//!
//! A metric is a small statistic of the predictions ([`Statistic`]) and what is made of it. Whoever holds the
//! predictions reduces them, a device included; the last step is the same host arithmetic for all.

mod confusion;
mod ranking;
mod rows;

use super::{Prediction, Task, Truth};
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

impl Direction {
    /// Better scores first, NaN last.
    pub fn compare(self, a: f64, b: f64) -> std::cmp::Ordering {
        match self {
            Direction::Minimize => crate::base::order::ascending(a, b),
            Direction::Maximize => crate::base::order::descending(a, b),
        }
    }

    /// 1 where more is better, -1 where less is.
    pub fn sign(self) -> f64 {
        match self {
            Direction::Minimize => -1.0,
            Direction::Maximize => 1.0,
        }
    }
}

/// What a metric needs to know of the predictions of some rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// How often each true class was taken for each class; without weights whole numbers, equal on every device.
    Confusion,
    /// The sum of one term a row.
    RowSum(RowTerm),
    /// Every prediction: the metric depends on their order.
    Predictions,
}

/// A term that is summed over rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RowTerm {
    /// `-ln p(true class)`, with p clipped to `[f32::EPSILON, 1 - f32::EPSILON]`.
    LogLoss,
    /// Squared distance of the probabilities to the one-hot truth; of two classes only the second counts.
    Brier,
    /// `(truth - prediction)^2`
    Squared,
    /// `|truth - prediction|`
    Absolute,
    /// `|truth - prediction| / max(|truth|, f64::EPSILON)`
    AbsolutePercentage,
    /// `max(q (truth - prediction), (q - 1)(truth - prediction))` for the quantile `q`.
    Pinball(f64),
}

/// A statistic's value on some rows.
#[derive(Debug, Clone, Copy)]
pub enum Reduced<'a> {
    /// Row-major `[true class, predicted class]`: the sum of the rows' weights. Whole numbers without weights, which f64
    /// holds exactly.
    Confusion(&'a [f64]),
    /// The sum over the rows, each with its weight.
    RowSum(f64),
    /// The predictions as they are.
    Predictions(Prediction<'a>),
}

/// A score of predictions against true targets.
pub trait Metric: Named {
    /// Which of two scores is better.
    fn direction(&self) -> Direction;
    /// Whether it has a meaning for this task with this many outputs.
    fn supports(&self, task: Task, outputs: usize) -> bool;
    /// What it needs to know of the predictions.
    fn statistic(&self) -> Statistic;
    /// The score from its statistic. What has no meaning on these rows (one class only, constant target) gives the
    /// answer that the metric's own documentation states.
    fn finish(&self, truth: Truth<'_>, reduced: Reduced<'_>) -> f64;
    /// How the score changes with the sum of its terms, where it is this; `None` where the score isn't smooth.
    fn slope(&self, _truth: Truth<'_>, _score: f64) -> Option<f64> {
        None
    }
    /// The score. A NaN among the predictions gives NaN.
    fn score(&self, truth: Truth<'_>, prediction: Prediction<'_>) -> f64 {
        let values = match prediction {
            Prediction::Probabilities { values, .. } | Prediction::Values(values) => values,
        };
        if values.iter().any(|value| value.is_nan()) {
            return f64::NAN;
        }
        match self.statistic() {
            Statistic::Confusion => self.finish(truth, Reduced::Confusion(&confusion::confusion(truth, prediction))),
            Statistic::RowSum(term) => self.finish(truth, Reduced::RowSum(rows::row_sum(term, truth, prediction))),
            Statistic::Predictions => self.finish(truth, Reduced::Predictions(prediction)),
        }
    }
}

/// Every metric. The first that supports a task is its default.
pub static METRICS: &[&dyn Metric] = &[
    &rows::LogLoss,
    &confusion::Accuracy,
    &confusion::BalancedAccuracy,
    &ranking::RocAuc,
    &ranking::AveragePrecision,
    &confusion::MacroF1,
    &confusion::Mcc,
    &rows::Brier,
    &rows::Rmse,
    &rows::Mae,
    &ranking::MedianAbsoluteError,
    &rows::R2,
    &rows::Mape,
    &rows::Pinball { name: "pinball", quantile: 0.5 },
    &rows::Pinball { name: "pinball_10", quantile: 0.1 },
    &rows::Pinball { name: "pinball_90", quantile: 0.9 },
];

/// Finds a metric by name.
pub fn find(name: &str) -> Result<&'static dyn Metric, UnknownName> {
    registry::find("metric", METRICS, name)
}

/// The metric of a study that names none.
pub fn default_for(task: Task) -> &'static dyn Metric {
    let outputs = if task == Task::Classification { 2 } else { 1 };
    METRICS.iter().copied().find(|metric| metric.supports(task, outputs)).unwrap_or(METRICS[0])
}
