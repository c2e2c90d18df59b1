//! A metric on the device: which statistic shaders/shared/metric.wgsl reduces predictions to, and the score made of it.

use super::kernel::Kernel;
use crate::data::metrics::{Metric, Reduced, RowTerm, Statistic};
use crate::data::{Prediction, Target, Truth};

const CONFUSION: u32 = 0;
const ROW_SUM: u32 = 1;
const PREDICTIONS: u32 = 2;

const LOG_LOSS: u32 = 0;
const BRIER: u32 = 1;
const SQUARED: u32 = 2;
const ABSOLUTE: u32 = 3;
const ABSOLUTE_PERCENTAGE: u32 = 4;
const PINBALL: u32 = 5;

/// A metric's statistic, as kernels and their results hold it.
#[derive(Clone, Copy)]
pub struct DeviceStatistic {
    metric: &'static dyn Metric,
    /// The kernels' code of the statistic.
    pub code: u32,
    /// The kernels' code of the term that is summed.
    pub term: u32,
    /// The quantile of a pinball loss.
    pub quantile: f32,
}

impl DeviceStatistic {
    /// Of a metric. Weighted rows are reduced on the host, from their predictions.
    pub fn new(metric: &'static dyn Metric, has_weights: bool) -> DeviceStatistic {
        let (code, term, quantile) = match metric.statistic() {
            _ if has_weights => (PREDICTIONS, 0, 0.0),
            Statistic::Confusion => (CONFUSION, 0, 0.0),
            Statistic::Predictions => (PREDICTIONS, 0, 0.0),
            Statistic::RowSum(term) => match term {
                RowTerm::LogLoss => (ROW_SUM, LOG_LOSS, 0.0),
                RowTerm::Brier => (ROW_SUM, BRIER, 0.0),
                RowTerm::Squared => (ROW_SUM, SQUARED, 0.0),
                RowTerm::Absolute => (ROW_SUM, ABSOLUTE, 0.0),
                RowTerm::AbsolutePercentage => (ROW_SUM, ABSOLUTE_PERCENTAGE, 0.0),
                RowTerm::Pinball(quantile) => (ROW_SUM, PINBALL, quantile as f32),
            },
        };
        DeviceStatistic { metric, code, term, quantile }
    }

    /// Words of a row set's results.
    pub fn words(&self, rows: usize, outputs: usize) -> usize {
        match self.code {
            CONFUSION => outputs * outputs,
            ROW_SUM => 2,
            _ => rows * outputs,
        }
    }

    /// The score that a row set's results hold.
    pub fn score(&self, truth: Truth<'_>, results: &[u32]) -> f64 {
        match self.code {
            CONFUSION => {
                let counts: Vec<f64> = results.iter().map(|count| f64::from(*count)).collect();
                self.metric.finish(truth, Reduced::Confusion(&counts))
            }
            ROW_SUM => {
                let parts = results.iter().take(2).map(|word| f64::from(f32::from_bits(*word)));
                self.metric.finish(truth, Reduced::RowSum(parts.sum()))
            }
            _ => {
                let values: Vec<f32> = results.iter().map(|word| f32::from_bits(*word)).collect();
                let prediction = match truth.target {
                    Target::Classes { classes, .. } => Prediction::Probabilities { classes: *classes, values: &values },
                    Target::Values(_) => Prediction::Values(&values),
                };
                self.metric.score(truth, prediction)
            }
        }
    }

    /// The codes that a scoring kernel needs.
    pub fn constants(kernel: Kernel) -> Kernel {
        kernel
            .constant("STATISTIC_CONFUSION", CONFUSION)
            .constant("STATISTIC_ROW_SUM", ROW_SUM)
            .constant("STATISTIC_PREDICTIONS", PREDICTIONS)
            .constant("TERM_LOG_LOSS", LOG_LOSS)
            .constant("TERM_BRIER", BRIER)
            .constant("TERM_SQUARED", SQUARED)
            .constant("TERM_ABSOLUTE", ABSOLUTE)
            .constant("TERM_ABSOLUTE_PERCENTAGE", ABSOLUTE_PERCENTAGE)
    }
}

/// All folds' rows in two arrays: features, and targets as class codes or bits of numbers.
pub struct DeviceRows {
    /// Features of every set of every fold, as the model lays them out.
    pub x: Vec<u32>,
    /// Targets in their own units.
    pub y: Vec<u32>,
    /// Each fold's sets: the training rows first.
    pub sets: Vec<Vec<DeviceSet>>,
}

/// Where a row set lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceSet {
    /// Number of rows.
    pub rows: u32,
    /// First word of its features.
    pub x: u32,
    /// First word of its targets.
    pub y: u32,
}

impl DeviceRows {
    /// Packs a problem; `transform` gives the features of a fold's set in the order in which the model wants them.
    pub fn pack(
        problem: &crate::data::Problem,
        mut transform: impl FnMut(usize, &crate::data::Rows) -> Vec<f32>,
    ) -> DeviceRows {
        let mut packed = DeviceRows { x: Vec::new(), y: Vec::new(), sets: Vec::new() };
        for (index, fold) in problem.folds.iter().enumerate() {
            let sets = fold.row_sets().map(|rows| {
                let set = DeviceSet { rows: rows.y.len() as u32, x: packed.x.len() as u32, y: packed.y.len() as u32 };
                packed.x.extend(transform(index, rows).into_iter().map(f32::to_bits));
                match &rows.y {
                    Target::Classes { codes, .. } => packed.y.extend(codes),
                    Target::Values(values) => packed.y.extend(values.iter().map(|value| value.to_bits())),
                }
                set
            });
            let sets = sets.collect();
            packed.sets.push(sets);
        }
        packed
    }
}
