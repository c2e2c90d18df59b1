//! Predictions on the host from weights that may come from a file: every name, shape and code is checked. Rows are taken a
//! block at a time, so that memory is bounded by the weights' own.

use super::cpu::BLOCK;
use super::distance::Distance;
use super::search::Index;
use super::vote::{Labels, Shares, Vote};
use super::{KnnParams, LARGEST};
use crate::backend::cpu::simd::{Lanes, Level, dispatch};
use crate::backend::{IntegerArray, WeightArray, Weights};
use crate::data::{Affine, Fold, Target, Task};
use crate::models::WeightsError;
use crate::models::predict::{floats, integers, wrong_shape};
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

/// A candidate's weights on a fold.
pub fn weights(fold: &Fold, params: &KnnParams) -> Weights {
    let (rows, features) = fold.train.x.dim();
    let values = fold.train.x.iter().copied().collect();
    let mut arrays = vec![WeightArray { name: "rows".to_owned(), shape: vec![rows, features], values }];
    let settings =
        [params.neighbours, usize::from(params.is_by_distance), params.distance.code(), fold.train.y.outputs()];
    let settings = settings.into_iter().map(|setting| setting as u32).collect();
    let mut integers = vec![IntegerArray { name: "settings".to_owned(), shape: vec![4], values: settings }];
    match &fold.train.y {
        Target::Classes { codes, .. } => {
            integers.push(IntegerArray { name: "classes".to_owned(), shape: vec![rows], values: codes.clone() });
        }
        Target::Values(values) => {
            arrays.push(WeightArray { name: "targets".to_owned(), shape: vec![rows], values: values.clone() });
        }
    }
    Weights { arrays, integers }
}

/// `[rows, classes]` probabilities, or `[rows, 1]` values.
pub fn predict(
    weights: &Weights,
    task: Task,
    target: Affine,
    x: ArrayView2<'_, f32>,
) -> Result<Array2<f32>, WeightsError> {
    let Neighbours { rows: train, targets, params } = parse(weights, task)?;
    let (features, most) = (train.ncols(), params.neighbours);
    if features != x.ncols() {
        return Err(WeightsError(format!("the model has {features} features, the rows have {}", x.ncols())));
    }
    let (labels, shares) = (Labels::new(&targets, target.shift), Shares::new(&[params], most));
    let shape = (x.nrows(), labels.outputs());
    if x.nrows() == 0 {
        return Ok(Array2::zeros(shape));
    }
    let (index, level) = (Index::new(params.distance, train), Level::detect());
    // Rows as the search reads them: one after another.
    let x = x.as_standard_layout();
    let predict = |block: usize| {
        let x = x.slice(s![block * BLOCK..(block * BLOCK + BLOCK).min(x.nrows()), ..]);
        let lists = index.nearest(level, train, x, most);
        let mut out = vec![Lanes::ZERO; x.nrows() * labels.outputs()];
        dispatch(level, Vote { lists: lists.chunks_exact(most), labels: &labels, shares: &shares, out: &mut out });
        out.into_iter().map(|out| out.0[0])
    };
    let predictions = (0..x.nrows().div_ceil(BLOCK)).into_par_iter().flat_map_iter(predict).collect();
    Array2::from_shape_vec(shape, predictions).map_err(|error| WeightsError(error.to_string()))
}

/// What weights hold.
pub struct Neighbours<'a> {
    /// The training rows.
    pub rows: ArrayView2<'a, f32>,
    /// Theirs.
    pub targets: Target,
    /// With no more neighbours than rows.
    pub params: KnnParams,
}

/// Reads weights that may come from anyone.
pub fn parse(weights: &Weights, task: Task) -> Result<Neighbours<'_>, WeightsError> {
    let rows = floats(weights, "rows")?;
    let [count, features] = rows.shape[..] else { return Err(wrong_shape(rows)) };
    let train = ArrayView2::from_shape((count, features), &rows.values).map_err(|_| wrong_shape(rows))?;
    if count == 0 || features == 0 {
        return Err(wrong_shape(rows));
    }
    let [neighbours, by_distance, distance, outputs] = integers(weights, "settings")?.values[..] else {
        return Err(WeightsError("settings are not four".to_owned()));
    };
    let distance = *Distance::ALL
        .get(distance as usize)
        .ok_or_else(|| WeightsError(format!("there is no distance {distance}")))?;
    let targets = match task {
        Task::Classification => {
            let codes = integers(weights, "classes")?.values.clone();
            if codes.iter().any(|code| *code >= outputs) {
                return Err(WeightsError(format!("a class is not one of {outputs}")));
            }
            Target::Classes { codes, classes: outputs as usize }
        }
        Task::Regression => Target::Values(floats(weights, "targets")?.values.clone()),
    };
    if targets.len() != count || neighbours == 0 || outputs == 0 || (task == Task::Regression && outputs != 1) {
        return Err(WeightsError(format!("{count} rows have {} targets of {outputs} outputs", targets.len())));
    }
    // What a search has room for grows with its lists.
    if i64::from(neighbours) > LARGEST {
        return Err(WeightsError(format!("{neighbours} neighbours are more than any model has")));
    }
    let most = count.min(neighbours as usize);
    let params = KnnParams { neighbours: most, is_by_distance: by_distance == 1, distance };
    Ok(Neighbours { rows: train, targets, params })
}
