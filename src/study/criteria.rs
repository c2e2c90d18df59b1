//! What a study of models asks of a candidate beside its score: that it trains and predicts fast, that it is small. Each is an
//! objective of its own, or has a limit.

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
    /// Operations that predicting a row takes. Unlike seconds they are the same every time.
    Prediction,
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Criterion::Score => "score",
            Criterion::Seconds => "seconds",
            Criterion::Size => "size",
            Criterion::Prediction => "prediction",
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
    /// Operations of predicting a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction: Option<f64>,
}

/// What a candidate's model takes, by its point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Footprint {
    /// Its size.
    pub size: f64,
    /// Operations of predicting a row.
    pub prediction: f64,
}

impl Limits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// Every limit that there is.
    pub fn all(&self) -> impl Iterator<Item = f64> {
        [self.seconds, self.size, self.prediction].into_iter().flatten()
    }

    /// By how much a candidate of this footprint is beyond them: the sum of what it takes too much, each as a share of its limit.
    pub fn violation(&self, trial: &Trial, model: Footprint) -> f64 {
        let beyond = |limit: Option<f64>, taken: f64| limit.map_or(0.0, |limit| ((taken - limit) / limit).max(0.0));
        beyond(self.seconds, seconds(trial)) + beyond(self.size, model.size) + beyond(self.prediction, model.prediction)
    }
}

/// A criterion's value of a trained candidate of this footprint.
pub(super) fn value(criterion: Criterion, trial: &Trial, model: Footprint) -> f64 {
    match criterion {
        Criterion::Score => trial.value(),
        Criterion::Seconds => seconds(trial),
        Criterion::Size => model.size,
        Criterion::Prediction => model.prediction,
    }
}

/// Seconds of a lane. A copy of an equal candidate took none, and has what that one took among its values.
fn seconds(trial: &Trial) -> f64 {
    // On its way fold by fold some of its lanes have not been trained.
    let trained = trial.used.iter().filter(|used| **used > 0).count();
    let lanes = if trained == 0 { trial.used.len() } else { trained };
    f64::from(trial.seconds) / lanes.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::history::Shape;

    #[test]
    fn what_is_beyond_a_limit_counts_by_its_share() {
        let trial = Trial { seconds: 3.0, ..Trial::infeasible(0, Shape { lanes: 2, scores: 2, others: 0 }) };
        let limits = Limits { seconds: Some(1.0), size: Some(100.0), prediction: Some(10.0) };
        let model = |size, prediction| Footprint { size, prediction };
        assert_eq!(limits.violation(&trial, model(50.0, 10.0)), 0.5);
        assert_eq!(limits.violation(&trial, model(300.0, 10.0)), 2.5);
        assert_eq!(limits.violation(&trial, model(300.0, 40.0)), 5.5);
        assert_eq!(Limits::default().violation(&trial, model(300.0, 40.0)), 0.0);
        let on_one_of_two = Trial { used: vec![9, 0], ..trial.clone() };
        assert_eq!(limits.violation(&on_one_of_two, model(50.0, 10.0)), 2.0);
        let values = [Criterion::Seconds, Criterion::Size, Criterion::Prediction];
        assert_eq!(values.map(|one| value(one, &trial, model(7.0, 8.0))), [1.5, 7.0, 8.0]);
    }
}
