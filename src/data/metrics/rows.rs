//! Metrics that are a mean of one term a row. Terms are made in f64 from f32 predictions and summed in row order.

use super::{Direction, Metric, Reduced, RowTerm, Statistic};
use crate::base::registry::Named;
use crate::data::{Prediction, Target, Task, Truth};

/// The sum of a term over all rows, each with its weight.
pub(super) fn row_sum(term: RowTerm, truth: Truth<'_>, prediction: Prediction<'_>) -> f64 {
    match (truth.target, prediction) {
        (Target::Classes { codes, .. }, Prediction::Probabilities { classes, values }) => {
            let rows = codes.iter().zip(values.chunks_exact(classes));
            sum(truth, rows.map(|(code, row)| term.of_class(*code as usize, row)))
        }
        (Target::Values(y), Prediction::Values(values)) => {
            sum(truth, y.iter().zip(values).map(|(y, p)| term.of_value(f64::from(*y), f64::from(*p))))
        }
        _ => f64::NAN,
    }
}

/// The sum of one value a row, in their order.
fn sum(truth: Truth<'_>, terms: impl Iterator<Item = f64>) -> f64 {
    match truth.weight {
        None => terms.sum(),
        Some(weight) => terms.zip(weight).map(|(term, weight)| f64::from(*weight) * term).sum(),
    }
}

impl RowTerm {
    /// Of a row of probabilities whose true class has this code.
    pub fn of_class(self, code: usize, row: &[f32]) -> f64 {
        match self {
            RowTerm::LogLoss => -libm::log(f64::from(row[code].clamp(f32::EPSILON, 1.0 - f32::EPSILON))),
            RowTerm::Brier if row.len() == 2 => {
                let distance = f64::from(row[1]) - code as f64;
                distance * distance
            }
            RowTerm::Brier => row
                .iter()
                .enumerate()
                .map(|(class, p)| {
                    let distance = f64::from(*p) - f64::from(u8::from(class == code));
                    distance * distance
                })
                .sum(),
            _ => f64::NAN,
        }
    }

    /// Of a number.
    pub fn of_value(self, truth: f64, prediction: f64) -> f64 {
        let error = truth - prediction;
        match self {
            RowTerm::Squared => error * error,
            RowTerm::Absolute => error.abs(),
            RowTerm::AbsolutePercentage => error.abs() / truth.abs().max(f64::EPSILON),
            RowTerm::Pinball(quantile) => (quantile * error).max((quantile - 1.0) * error),
            RowTerm::LogLoss | RowTerm::Brier => f64::NAN,
        }
    }
}

fn sum_of(reduced: Reduced<'_>) -> f64 {
    if let Reduced::RowSum(sum) = reduced { sum } else { f64::NAN }
}

macro_rules! mean_metric {
    ($(#[$doc:meta])* $type:ident, $name:literal, $summary:literal, $task:ident, $term:expr, |$mean:ident| $score:expr
        $(, slope |$at:ident| $slope:expr)?) => {
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
                Direction::Minimize
            }
            fn supports(&self, task: Task, outputs: usize) -> bool {
                task == Task::$task && (task == Task::Regression || outputs >= 2)
            }
            fn statistic(&self) -> Statistic {
                Statistic::RowSum($term)
            }
            fn finish(&self, truth: Truth<'_>, reduced: Reduced<'_>) -> f64 {
                let $mean = sum_of(reduced) / truth.total();
                $score
            }
            $(fn slope(&self, truth: Truth<'_>, $at: f64) -> Option<f64> {
                Some($slope / truth.total())
            })?
        }
    };
}

mean_metric!(
    /// Mean negative log likelihood of the true class; probabilities are clipped as scikit-learn clips f32 ones.
    LogLoss,
    "log_loss",
    "mean negative log probability of the true class",
    Classification,
    RowTerm::LogLoss,
    |mean| mean,
    slope |_score| 1.0
);

mean_metric!(
    /// Mean squared distance of the probabilities to the truth (Brier 1950): the second class's alone where there are
    /// two, the sum over classes where there are more.
    Brier,
    "brier",
    "mean squared distance of probabilities to the true class",
    Classification,
    RowTerm::Brier,
    |mean| mean,
    slope |_score| 1.0
);

mean_metric!(
    /// Root of the mean squared error.
    Rmse,
    "rmse",
    "root of the mean squared error",
    Regression,
    RowTerm::Squared,
    |mean| mean.sqrt(),
    slope |score| 0.5 / score
);

mean_metric!(
    /// Mean absolute error.
    Mae,
    "mae",
    "mean absolute error",
    Regression,
    RowTerm::Absolute,
    |mean| mean
);

mean_metric!(
    /// Mean absolute error as a share of the truth; a truth of 0 counts as `f64::EPSILON`, as in scikit-learn.
    Mape,
    "mape",
    "mean absolute error as a share of the true value",
    Regression,
    RowTerm::AbsolutePercentage,
    |mean| mean
);

/// Mean pinball loss of a quantile.
pub struct Pinball {
    pub(super) name: &'static str,
    pub(super) quantile: f64,
}

impl Named for Pinball {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        match self.name {
            "pinball_10" => "mean pinball loss of the 10 % quantile",
            "pinball_90" => "mean pinball loss of the 90 % quantile",
            _ => "mean pinball loss of the median, half the mean absolute error",
        }
    }
}

impl Metric for Pinball {
    fn direction(&self) -> Direction {
        Direction::Minimize
    }
    fn supports(&self, task: Task, _: usize) -> bool {
        task == Task::Regression
    }
    fn statistic(&self) -> Statistic {
        Statistic::RowSum(RowTerm::Pinball(self.quantile))
    }
    fn finish(&self, truth: Truth<'_>, reduced: Reduced<'_>) -> f64 {
        sum_of(reduced) / truth.total()
    }
}

/// Share of the target's variance that is explained. On a constant target it is 1 for perfect predictions, else 0; NaN
/// of fewer than two rows.
pub struct R2;

impl Named for R2 {
    fn name(&self) -> &'static str {
        "r2"
    }
    fn summary(&self) -> &'static str {
        "share of the target's variance that is explained"
    }
}

impl Metric for R2 {
    fn direction(&self) -> Direction {
        Direction::Maximize
    }
    fn supports(&self, task: Task, _: usize) -> bool {
        task == Task::Regression
    }
    fn statistic(&self) -> Statistic {
        Statistic::RowSum(RowTerm::Squared)
    }
    fn finish(&self, truth: Truth<'_>, reduced: Reduced<'_>) -> f64 {
        let Some(spread) = spread(truth) else { return f64::NAN };
        let error = sum_of(reduced);
        match (spread > 0.0, error == 0.0) {
            (true, _) => 1.0 - error / spread,
            (false, true) => 1.0,
            (false, false) => 0.0,
        }
    }
    fn slope(&self, truth: Truth<'_>, _: f64) -> Option<f64> {
        spread(truth).filter(|spread| *spread > 0.0).map(|spread| -1.0 / spread)
    }
}

/// The sum of squared distances to the mean; none of fewer than two rows.
fn spread(truth: Truth<'_>) -> Option<f64> {
    let Target::Values(y) = truth.target else { return None };
    let mean = sum(truth, y.iter().map(|y| f64::from(*y))) / truth.total();
    let spread = sum(truth, y.iter().map(|y| (f64::from(*y) - mean) * (f64::from(*y) - mean)));
    (y.len() >= 2).then_some(spread)
}
