//! What trained weights say of themselves, in numbers that people read.

use super::WeightsError;
use super::predict::linear_parts;
use crate::backend::Weights;
use crate::data::{Affine, Task};
use serde::Serialize;

/// A model in words and numbers. A model that has none of one kind leaves it empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explanation {
    /// What it is made of: `("layers", "12-64-3")`.
    pub facts: Vec<(&'static str, String)>,
    /// What it makes of its features.
    pub features: Vec<FeatureNumbers>,
}

/// One number a feature, of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureNumbers {
    /// What they are.
    pub kind: FeatureKind,
    /// The output that they speak for; `None` for all of them.
    pub output: Option<usize>,
    /// What is added whatever the features are.
    pub intercept: Option<f32>,
    /// In the features' order.
    pub values: Vec<f32>,
}

/// What a feature's number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// What the prediction grows by where the feature grows by 1: a class's log odds, or the target in its own units.
    Coefficient,
    /// The share of what all splits gained that splits on this feature did.
    Gain,
}

/// Coefficients of a model that is linear in the features: in the target's own units, or of the log odds of the second class
/// where there are two, as scikit-learn's `coef_`; of more classes, of each one's log odds against the mean of all.
pub(super) fn linear(weights: &Weights, task: Task, target: Affine) -> Result<Explanation, WeightsError> {
    let (weight, intercept) = linear_parts(weights)?;
    let of = |output, values: Vec<f32>, intercept| FeatureNumbers {
        kind: FeatureKind::Coefficient,
        output,
        intercept: Some(intercept),
        values,
    };
    let rows = weight.outer_iter().zip(intercept);
    let features = match (task, intercept) {
        (Task::Classification, [first, second]) => {
            vec![of(Some(1), (&weight.row(1) - &weight.row(0)).to_vec(), second - first)]
        }
        (Task::Classification, _) => {
            rows.enumerate().map(|(class, (row, b))| of(Some(class), row.to_vec(), *b)).collect()
        }
        (Task::Regression, _) => {
            let own = |row: ndarray::ArrayView1<'_, f32>| row.iter().map(|w| w * target.scale).collect();
            rows.map(|(row, b)| of(None, own(row), b * target.scale + target.shift)).collect()
        }
    };
    Ok(Explanation { facts: Vec::new(), features })
}
