//! A finished candidate: how it ended, and with which numbers.

use super::choice::mean;
use crate::backend::LaneStatus;
use serde::{Deserialize, Serialize};

/// How a candidate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum TrialStatus {
    /// Every lane trained to its budget, or converged.
    Complete = 0,
    /// Scored, but some lane's solver stopped at its cap.
    IterationLimit = 1,
    /// Some lane's weights or predictions became NaN or infinite.
    NotFinite = 2,
    /// No draw met the constraints.
    Infeasible = 3,
    /// Ended by the scheduler before its full budget; its scores are those that it had there.
    Pruned = 4,
    /// Its program, or its objective in Rust, gave no score; [`Trial::failure`] says why.
    Failed = 5,
}

impl TrialStatus {
    pub(super) fn from_code(code: u8) -> TrialStatus {
        match code {
            0 => TrialStatus::Complete,
            1 => TrialStatus::IterationLimit,
            3 => TrialStatus::Infeasible,
            4 => TrialStatus::Pruned,
            5 => TrialStatus::Failed,
            _ => TrialStatus::NotFinite,
        }
    }

    /// The worse of two.
    pub(super) fn with(self, lane: LaneStatus) -> TrialStatus {
        match (self, lane) {
            (TrialStatus::Infeasible | TrialStatus::Pruned, _) => self,
            (_, LaneStatus::Failed) | (TrialStatus::Failed, _) => TrialStatus::Failed,
            (_, LaneStatus::NotFinite) | (TrialStatus::NotFinite, _) => TrialStatus::NotFinite,
            (_, LaneStatus::IterationLimit) | (TrialStatus::IterationLimit, _) => TrialStatus::IterationLimit,
            _ => TrialStatus::Complete,
        }
    }

    /// Whether it has a score.
    pub fn is_scored(self) -> bool {
        matches!(self, TrialStatus::Complete | TrialStatus::IterationLimit)
    }

    /// What a user can do where it is how every candidate ended.
    pub fn remedy(self) -> &'static str {
        match self {
            TrialStatus::Infeasible => "Loosen [space] constraints, or widen the ranges that they are about",
            TrialStatus::Failed => {
                "Run the command by hand with one candidate's values; docs/command.md says what it is to print"
            }
            _ => "Narrow the ranges of [space], or look at the data for columns of huge numbers",
        }
    }

    /// In words.
    pub fn reason(self) -> &'static str {
        match self {
            TrialStatus::Complete => "complete",
            TrialStatus::IterationLimit => "its solver stopped at its cap",
            TrialStatus::NotFinite => "its weights or predictions became NaN or infinite",
            TrialStatus::Infeasible => "no draw met the constraints",
            TrialStatus::Pruned => "it was ended early",
            TrialStatus::Failed => "its program gave no value",
        }
    }
}

/// How many numbers each candidate of a study has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Lanes: one a fold.
    pub lanes: usize,
    /// Scores: one a row set of each fold.
    pub scores: usize,
    /// Values beside the score.
    pub others: usize,
}

/// A finished candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Its id.
    pub candidate: u64,
    /// How it ended.
    pub status: TrialStatus,
    /// One score for each row set of each fold.
    pub scores: Vec<f64>,
    /// Means over the folds of the values beside the score, where an objective has several. On a command's way NaN where it has not
    /// said one yet.
    pub others: Vec<f64>,
    /// Mean score on training rows.
    pub train: f32,
    /// Seconds of training over all its lanes.
    pub seconds: f32,
    /// Units of budget that each lane used, in the order of the folds; 0 where it was not trained.
    pub used: Vec<u64>,
    /// How the mean score changes with each encoded value, NaN where nobody says; empty without.
    pub gradient: Vec<f64>,
    /// Of [`TrialStatus::Failed`] the reason.
    pub failure: Option<String>,
}

impl Trial {
    /// Mean of the scores; NaN where it has none.
    pub fn value(&self) -> f64 {
        if self.status.is_scored() { mean(&self.scores) } else { f64::NAN }
    }

    /// The same of one that is on its way, or was ended there: of the scores that it has so far.
    pub fn reached(&self) -> f64 {
        if !self.status.is_scored() && self.status != TrialStatus::Pruned {
            return f64::NAN;
        }
        let (sum, count) = self
            .scores
            .iter()
            .filter(|score| !score.is_nan())
            .fold((0.0, 0.0), |(sum, n), score| (sum + score, n + 1.0));
        sum / count
    }

    /// One value for each objective, then those that have a limit alone; NaN where it has no score.
    pub fn values(&self) -> Vec<f64> {
        let others = self.others.iter().map(|value| if self.status.is_scored() { *value } else { f64::NAN });
        std::iter::once(self.value()).chain(others).collect()
    }

    /// The mean of what some of its lanes used in whole units, 1 at least; `None` where it has none of them.
    pub fn mean_used(&self, lanes: impl Iterator<Item = usize>) -> Option<u64> {
        let (sum, count) = lanes
            .filter_map(|lane| self.used.get(lane))
            .fold((0u128, 0u128), |(sum, count), used| (sum + u128::from(*used), count + 1));
        // Halves go up. No mean is larger than the largest of what it is of.
        (count > 0).then(|| ((2 * sum + count) / (2 * count)).max(1) as u64)
    }

    /// One that never trained.
    pub fn infeasible(candidate: u64, shape: Shape) -> Trial {
        Trial {
            candidate,
            status: TrialStatus::Infeasible,
            scores: vec![f64::NAN; shape.scores],
            others: vec![f64::NAN; shape.others],
            train: f32::NAN,
            seconds: 0.0,
            used: vec![0; shape.lanes],
            gradient: Vec::new(),
            failure: None,
        }
    }

    /// Why it has no score, in words.
    pub fn reason(&self) -> &str {
        self.failure.as_deref().unwrap_or_else(|| self.status.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lanes_used_has_a_whole_mean() {
        let used = |used: &[u64]| Trial { used: used.to_vec(), ..Trial::infeasible(0, Shape::default()) };
        assert_eq!(used(&[10, 11, 13]).mean_used(0..3), Some(11));
        assert_eq!(used(&[10, 11, 13]).mean_used([0, 1].into_iter()), Some(11), "halves go up");
        assert_eq!(used(&[0, 0]).mean_used(0..2), Some(1), "no training is no model");
        assert_eq!(used(&[u64::MAX; 3]).mean_used(0..3), Some(u64::MAX));
        assert_eq!(used(&[7]).mean_used(1..2), None);
    }

    #[test]
    fn what_a_candidate_has_reached_is_the_mean_of_the_scores_that_it_has() {
        let of = |status, scores: &[f64]| Trial {
            status,
            scores: scores.to_vec(),
            ..Trial::infeasible(0, Shape::default())
        };
        let part = of(TrialStatus::Complete, &[1.0, 4.0, f64::NAN]);
        assert_eq!((part.reached(), part.value().is_nan()), (2.5, true));
        assert_eq!(of(TrialStatus::Pruned, &[1.0, f64::NAN, f64::NAN]).reached(), 1.0);
        assert!(of(TrialStatus::NotFinite, &[1.0, f64::NAN, f64::NAN]).reached().is_nan());
        let whole = of(TrialStatus::Complete, &[0.1, 0.2, 0.4]);
        assert_eq!(whole.reached().to_bits(), whole.value().to_bits());
    }
}
