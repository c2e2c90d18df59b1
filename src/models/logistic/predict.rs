//! Predictions on the host from weights that may come from a file: every name and shape is checked.

use crate::backend::Weights;
use crate::models::WeightsError;
use crate::models::predict::{softmax, wrong_shape};
use ndarray::{Array2, ArrayView2, Axis};

/// `[rows, classes]` probabilities.
pub fn predict(weights: &Weights, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, WeightsError> {
    let find = |name: &str| {
        let array = weights.arrays.iter().find(|array| array.name == name);
        array.ok_or_else(|| WeightsError(format!("{name} is missing")))
    };
    let (weight, intercept) = (find("weight")?, find("intercept")?);
    let [classes, features] = weight.shape[..] else { return Err(wrong_shape(weight)) };
    let matrix = ArrayView2::from_shape((classes, features), &weight.values).map_err(|_| wrong_shape(weight))?;
    if intercept.values.len() != classes || classes == 0 {
        return Err(wrong_shape(intercept));
    }
    if features != x.ncols() {
        return Err(WeightsError(format!("the model has {features} features, the rows have {}", x.ncols())));
    }
    let mut logits = x.dot(&matrix.t());
    for mut row in logits.axis_iter_mut(Axis(0)) {
        row.iter_mut().zip(&intercept.values).for_each(|(z, b)| *z += b);
    }
    softmax(&mut logits);
    Ok(logits)
}
