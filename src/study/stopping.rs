//! When a search stops by itself, and the reason that is kept. Fed with outcomes in the order of their ids.

use super::choice::mean;
use super::parts::Parts;
use super::regret::Allowed;
use crate::data::metrics::Direction;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// The `[stop]` section of a study.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StopOptions {
    /// Wall time of the search: "10m", "2h 30m".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
    /// Stops at a candidate at least as good as this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Stops when so many candidates in a row brought no significant improvement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// What an improvement must be more than, in the metric's unit.
    pub min_delta: f64,
    /// Stops where no more than this is left to gain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regret: Option<Allowed>,
}

/// A length of time as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let span = humantime::parse_duration(text);
        span.map(Span).map_err(|_| format!("\"{text}\" is not a length of time; write \"90s\", \"10m\" or \"2h 30m\""))
    }
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// All candidates that were asked for are done.
    Candidates,
    /// The strategy has no further one.
    SpaceExhausted,
    /// `stop.time` is over.
    Time,
    /// `stop.target` is reached.
    Target,
    /// `stop.patience` is exhausted.
    Patience,
    /// No more than `stop.regret` is left to gain.
    Regret,
    /// The user interrupted it.
    Interrupted,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopReason::Candidates => "all candidates are done",
            StopReason::SpaceExhausted => "every point of the space was tried",
            StopReason::Time => "the time is over",
            StopReason::Target => "the target was reached",
            StopReason::Patience => "no significant improvement in the last candidates",
            StopReason::Regret => "what is left to gain is less than matters",
            StopReason::Interrupted => "interrupted",
        })
    }
}

/// Watches outcomes for target and patience.
#[derive(Debug, Clone)]
pub struct Stopping {
    direction: Direction,
    target: Option<f64>,
    patience: Option<u64>,
    min_delta: f64,
    parts: Parts,
    best: Option<Vec<f64>>,
    best_value: f64,
    since_improvement: u64,
}

impl Stopping {
    /// Before the first outcome.
    pub fn new(direction: Direction, options: &StopOptions, parts: Parts) -> Stopping {
        Stopping {
            direction,
            target: options.target,
            patience: options.patience,
            min_delta: options.min_delta,
            parts,
            best: None,
            best_value: f64::NAN,
            since_improvement: 0,
        }
    }

    /// Takes the next outcome; says whether the search has reached its end.
    pub fn tell(&mut self, value: f64, folds: &[f64]) -> Option<StopReason> {
        if self.is_significant(value, folds) {
            self.best = Some(folds.to_vec());
            self.best_value = value;
            self.since_improvement = 0;
        } else {
            self.since_improvement += 1;
        }
        let is_reached = |target: f64| !value.is_nan() && self.direction.compare(value, target).is_le();
        if self.target.is_some_and(is_reached) {
            Some(StopReason::Target)
        } else if self.patience.is_some_and(|patience| self.since_improvement >= patience) {
            Some(StopReason::Patience)
        } else {
            None
        }
    }

    /// Better than the best by more than `min_delta` and, where folds are paired, by more than their noise: a one-sided
    /// paired t test of the folds' differences against `min_delta` at 5 %. The noise of the choice among many
    /// candidates is not in it, so it rather goes on too long than stops too early.
    fn is_significant(&self, value: f64, folds: &[f64]) -> bool {
        let Some(best) = &self.best else { return !value.is_nan() };
        let gain = self.direction.sign() * (value - self.best_value);
        if gain.is_nan() || gain <= self.min_delta {
            return false;
        }
        let gains: Vec<f64> = folds.iter().zip(best).map(|(a, b)| self.direction.sign() * (a - b)).collect();
        match self.parts.std_error(&gains) {
            Some(noise) => mean(&gains) - self.min_delta > t_quantile_95(self.parts.a_repeat() - 1) * noise,
            None => true,
        }
    }
}

/// 95 % quantile of Student's t distribution (NIST/SEMATECH e-Handbook, table 1.3.6.7.2).
fn t_quantile_95(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753, 1.746,
        1.740, 1.734, 1.729, 1.725, 1.721, 1.717, 1.714, 1.711, 1.708, 1.706, 1.703, 1.701, 1.699, 1.697,
    ];
    TABLE.get(degrees.max(1) - 1).copied().unwrap_or(1.645)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopping(options: StopOptions, folds: usize) -> Stopping {
        Stopping::new(Direction::Minimize, &options, Parts::one_each(folds))
    }

    #[test]
    fn patience_counts_candidates_without_a_significant_improvement() {
        let mut stopping = stopping(StopOptions { patience: Some(3), ..StopOptions::default() }, 3);
        assert_eq!(stopping.tell(0.50, &[0.5, 0.5, 0.5]), None);
        assert_eq!(stopping.tell(f64::NAN, &[f64::NAN, 0.1, 0.1]), None, "a failed candidate is no improvement");
        // Better by 0.01 in the mean, but not on every fold: within the noise.
        assert_eq!(stopping.tell(0.49, &[0.30, 0.60, 0.57]), None);
        // Clearly better: every fold by nearly the same. t = 0.1 / 0.0057 > 2.92.
        assert_eq!(stopping.tell(0.40, &[0.41, 0.40, 0.39]), None);
        assert_eq!(stopping.tell(0.45, &[0.45, 0.45, 0.45]), None);
        assert_eq!(stopping.tell(0.45, &[0.45, 0.45, 0.45]), None);
        assert_eq!(stopping.tell(0.45, &[0.45, 0.45, 0.45]), Some(StopReason::Patience));
    }

    #[test]
    fn min_delta_is_what_an_improvement_must_exceed() {
        let options = StopOptions { patience: Some(1), min_delta: 0.1, ..StopOptions::default() };
        let mut stopping = stopping(options, 1);
        assert_eq!(stopping.tell(0.5, &[0.5]), None);
        assert_eq!(stopping.tell(0.45, &[0.45]), Some(StopReason::Patience));
    }

    #[test]
    fn the_target_is_reached_from_the_right_side() {
        let options = StopOptions { target: Some(0.9), ..StopOptions::default() };
        let mut up = Stopping::new(Direction::Maximize, &options, Parts::one_each(1));
        assert_eq!(up.tell(0.8, &[0.8]), None);
        assert_eq!(up.tell(f64::NAN, &[f64::NAN]), None);
        assert_eq!(up.tell(0.9, &[0.9]), Some(StopReason::Target));
        assert_eq!(stopping(options, 1).tell(0.95, &[0.95]), None);
    }
}
