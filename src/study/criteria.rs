//! What a study of models asks of a candidate beside its score: that it trains fast, that it is small. Each is an objective of its
//! own, or has a limit.

use super::history::Trial;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that can be asked of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The metric on validation rows.
    Score,
    /// Seconds of training a lane took, on the average.
    Seconds,
    /// How large its model is, in the model's own measure: weights, leaves, support rows.
    Size,
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Criterion::Score => "score",
            Criterion::Seconds => "seconds",
            Criterion::Size => "size",
        })
    }
}

/// What candidates may take at most; those that take more are no choice.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Seconds of training of a lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The model's size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<f64>,
}

impl Limits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// By how much a candidate of this size is beyond them: the sum of what it takes too much, each as a share of its limit.
    pub fn violation(&self, trial: &Trial, size: f64) -> f64 {
        let beyond = |limit: Option<f64>, taken: f64| limit.map_or(0.0, |limit| ((taken - limit) / limit).max(0.0));
        beyond(self.seconds, seconds(trial)) + beyond(self.size, size)
    }
}

/// A criterion's value of a trained candidate of this size.
pub(super) fn value(criterion: Criterion, trial: &Trial, size: f64) -> f64 {
    match criterion {
        Criterion::Score => trial.value(),
        Criterion::Seconds => seconds(trial),
        Criterion::Size => size,
    }
}

/// Seconds of a lane. A copy of an equal candidate took none, and has what that one took among its values.
fn seconds(trial: &Trial) -> f64 {
    f64::from(trial.seconds) / trial.used.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::history::Shape;

    #[test]
    fn what_is_beyond_a_limit_counts_by_its_share() {
        let trial = Trial { seconds: 3.0, ..Trial::infeasible(0, Shape { lanes: 2, scores: 2, others: 0 }) };
        let limits = Limits { seconds: Some(1.0), size: Some(100.0) };
        assert_eq!(limits.violation(&trial, 50.0), 0.5);
        assert_eq!(limits.violation(&trial, 300.0), 2.5);
        assert_eq!(Limits::default().violation(&trial, 300.0), 0.0);
        assert_eq!((value(Criterion::Seconds, &trial, 7.0), value(Criterion::Size, &trial, 7.0)), (1.5, 7.0));
    }
}
