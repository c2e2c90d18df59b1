//! Metrics that depend on the order of the predictions.

use super::{Direction, Metric, Reduced, Statistic};
use crate::base::registry::Named;
use crate::data::{Prediction, Target, Task, Truth};

/// One class against the rest: whether each row is of the class, in descending order of its probability, as runs of
/// equal probability: (weight of the class's rows, of the others). Without weights these are counts: their sums and
/// products are whole numbers that f64 holds exactly up to 67 million rows.
fn runs(truth: Truth<'_>, codes: &[u32], values: &[f32], classes: usize, class: usize) -> Vec<(f64, f64)> {
    let mut ranked: Vec<(f32, u32)> = values.iter().skip(class).step_by(classes).copied().zip(0..).collect();
    // Rows of equal probability in their own order, so that weights are summed in it.
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked
        .chunk_by(|a, b| a.0 == b.0)
        .map(|tied| {
            tied.iter().fold((0.0, 0.0), |(hits, others), &(_, row)| {
                let weight = truth.weight_of(row as usize);
                match codes[row as usize] as usize == class {
                    true => (hits + weight, others),
                    false => (hits, others + weight),
                }
            })
        })
        .collect()
}

/// The mean of a score over classes against the rest: of the second class alone where there are two, else of every
/// class that has the score.
fn one_vs_rest(truth: Truth<'_>, reduced: Reduced<'_>, score: impl Fn(&[(f64, f64)]) -> Option<f64>) -> Option<f64> {
    let (Target::Classes { codes, .. }, Reduced::Predictions(Prediction::Probabilities { classes, values })) =
        (truth.target, reduced)
    else {
        return Some(f64::NAN);
    };
    let first = if classes == 2 { 1 } else { 0 };
    let scores = (first..classes).filter_map(|class| score(&runs(truth, codes, values, classes, class)));
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
            fn finish(&self, truth: Truth<'_>, reduced: Reduced<'_>) -> f64 {
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
        // Twice the number of pairs in the right order.
        let (mut hits, mut pairs) = (0.0, 0.0);
        for (tied_hits, others) in runs {
            pairs += others * (2.0 * hits + tied_hits);
            hits += tied_hits;
        }
        let others: f64 = runs.iter().map(|(_, others)| others).sum();
        let all = 2.0 * hits * others;
        (all > 0.0).then(|| pairs / all)
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
        let all: f64 = runs.iter().map(|(hits, _)| hits).sum();
        let (mut hits, mut rows, mut sum) = (0.0, 0.0, 0.0);
        for (tied_hits, others) in runs.iter().filter(|(hits, others)| hits + others > 0.0) {
            hits += tied_hits;
            rows += tied_hits + others;
            sum += tied_hits / all * (hits / rows);
        }
        (all > 0.0).then_some(sum)
    }
);

/// Median of the absolute errors, half of the weight on either side; NaN of no rows.
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
    fn finish(&self, truth: Truth<'_>, reduced: Reduced<'_>) -> f64 {
        let (Target::Values(y), Reduced::Predictions(Prediction::Values(values))) = (truth.target, reduced) else {
            return f64::NAN;
        };
        let error = |(y, p): (&f32, &f32)| (f64::from(*y) - f64::from(*p)).abs();
        let mut errors: Vec<(f64, f64)> =
            y.iter().zip(values).map(error).zip((0..).map(|row| truth.weight_of(row))).collect();
        errors.retain(|(_, weight)| *weight > 0.0);
        errors.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let half = errors.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
        // The error at which half of the weight is reached; the mean with the next where it is reached exactly.
        let mut below = 0.0;
        for (place, (error, weight)) in errors.iter().enumerate() {
            below += weight;
            if below > half {
                return *error;
            }
            if below == half {
                return (error + errors.get(place + 1).map_or(*error, |next| next.0)) / 2.0;
            }
        }
        f64::NAN
    }
}
