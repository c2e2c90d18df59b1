//! Metrics that depend on the order of the predictions.

use super::{Direction, Metric, Reduced, Statistic};
use crate::base::registry::Named;
use crate::data::{Prediction, Target, Task};

/// One class against the rest: whether each row is of the class, in descending order of its probability, as runs of
/// equal probability: (rows of the class, other rows).
fn runs(codes: &[u32], values: &[f32], classes: usize, class: usize) -> Vec<(u64, u64)> {
    let mut ranked: Vec<(f32, bool)> = codes
        .iter()
        .zip(values.chunks_exact(classes))
        .map(|(code, row)| (row[class], *code as usize == class))
        .collect();
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    ranked
        .chunk_by(|a, b| a.0 == b.0)
        .map(|tied| {
            let hits = tied.iter().filter(|(_, is_hit)| *is_hit).count() as u64;
            (hits, tied.len() as u64 - hits)
        })
        .collect()
}

/// The mean of a score over classes against the rest: of the second class alone where there are two, else of every
/// class that has the score.
fn one_vs_rest(truth: &Target, reduced: Reduced<'_>, score: impl Fn(&[(u64, u64)]) -> Option<f64>) -> Option<f64> {
    let (Target::Classes { codes, .. }, Reduced::Predictions(Prediction::Probabilities { classes, values })) =
        (truth, reduced)
    else {
        return Some(f64::NAN);
    };
    let first = if classes == 2 { 1 } else { 0 };
    let scores = (first..classes).filter_map(|class| score(&runs(codes, values, classes, class)));
    let (sum, count) = scores.fold((0.0, 0.0), |(sum, count), score| (sum + score, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

macro_rules! ranking_metric {
    ($(#[$doc:meta])* $type:ident, $name:literal, $summary:literal, $none:expr, $score:expr) => {
        $(#[$doc])*
        pub struct $type;

        impl Named for $type {
            fn name(&self) -> &'static str {
                $name
            }
            fn summary(&self) -> &'static str {
                $summary
            }
        }

        impl Metric for $type {
            fn direction(&self) -> Direction {
                Direction::Maximize
            }
            fn supports(&self, task: Task, outputs: usize) -> bool {
                task == Task::Classification && outputs >= 2
            }
            fn statistic(&self) -> Statistic {
                Statistic::Predictions
            }
            fn finish(&self, truth: &Target, reduced: Reduced<'_>) -> f64 {
                one_vs_rest(truth, reduced, $score).unwrap_or($none)
            }
        }
    };
}

ranking_metric!(
    /// Area under the ROC curve: the chance that a row of the class is ranked before one of the rest, ties counted half.
    /// A class that does not occur, or alone occurs, is left out of the mean; if none is left the answer is 0.5, the
    /// score of no information (scikit-learn has none).
    RocAuc,
    "roc_auc",
    "area under the ROC curve; of several classes the mean of each against the rest",
    0.5,
    |runs| {
        // Twice the number of pairs in the right order, in integers.
        let (mut hits, mut pairs) = (0u64, 0u128);
        for (tied_hits, others) in runs {
            pairs += u128::from(*others) * u128::from(2 * hits + tied_hits);
            hits += tied_hits;
        }
        let others: u64 = runs.iter().map(|(_, others)| others).sum();
        let all = 2 * u128::from(hits) * u128::from(others);
        (all > 0).then(|| pairs as f64 / all as f64)
    }
);

ranking_metric!(
    /// Average precision: the sum over thresholds of precision times gained recall, without interpolation. A class that
    /// does not occur is left out of the mean; if none is left the answer is 0.
    AveragePrecision,
    "average_precision",
    "area under the precision-recall steps; of several classes the mean of each against the rest",
    0.0,
    |runs| {
        let all: u64 = runs.iter().map(|(hits, _)| hits).sum();
        let (mut hits, mut rows, mut sum) = (0u64, 0u64, 0.0);
        for (tied_hits, others) in runs {
            hits += tied_hits;
            rows += tied_hits + others;
            sum += *tied_hits as f64 / all as f64 * (hits as f64 / rows as f64);
        }
        (all > 0).then_some(sum)
    }
);

/// Median of the absolute errors; NaN of no rows.
pub struct MedianAbsoluteError;

impl Named for MedianAbsoluteError {
    fn name(&self) -> &'static str {
        "median_absolute_error"
    }
    fn summary(&self) -> &'static str {
        "median of the absolute errors"
    }
}

impl Metric for MedianAbsoluteError {
    fn direction(&self) -> Direction {
        Direction::Minimize
    }
    fn supports(&self, task: Task, _: usize) -> bool {
        task == Task::Regression
    }
    fn statistic(&self) -> Statistic {
        Statistic::Predictions
    }
    fn finish(&self, truth: &Target, reduced: Reduced<'_>) -> f64 {
        let (Target::Values(truth), Reduced::Predictions(Prediction::Values(values))) = (truth, reduced) else {
            return f64::NAN;
        };
        let mut errors: Vec<f64> =
            truth.iter().zip(values).map(|(y, p)| (f64::from(*y) - f64::from(*p)).abs()).collect();
        if errors.is_empty() {
            return f64::NAN;
        }
        let middle = errors.len() / 2;
        let is_even = errors.len().is_multiple_of(2);
        let (below, upper, _) = errors.select_nth_unstable_by(middle, f64::total_cmp);
        match below.iter().copied().max_by(f64::total_cmp) {
            Some(lower) if is_even => (lower + *upper) / 2.0,
            _ => *upper,
        }
    }
}
