//! From a data set and its splits to what backends train on: every fold prepared by what its own training rows say.

use super::dataset::Dataset;
use super::error::DataError;
use super::metrics::Metric;
use super::prepare::{Preparation, PrepareOptions, fit_target};
use super::{Fold, Input, Problem, Rows, Target};
use crate::base::random::{Key, stream};
use rayon::prelude::*;
use std::sync::Arc;

/// The rows of one fold of one repeat, by their index in the data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldRows {
    /// Which repeat of the splits, from 0.
    pub repeat: u32,
    /// Which fold of the repeat, from 0.
    pub fold: u32,
    /// Training rows, ascending.
    pub train: Vec<u32>,
    /// Row sets to score.
    pub evals: Vec<Vec<u32>>,
}

/// Whether all folds, prepared, fit into so many bytes of memory: each holds its training rows and the rows that it
/// scores, a 32-bit number a feature. `preparation` says how many features there are, about.
pub fn check_memory(
    dataset: &Dataset,
    preparation: &Preparation,
    folds: &[FoldRows],
    memory: u64,
) -> Result<(), DataError> {
    let rows_of = |fold: &FoldRows| fold.train.len() + fold.evals.iter().map(Vec::len).sum::<usize>();
    let rows: u64 = folds.iter().map(|fold| rows_of(fold) as u64).sum();
    let features = preparation.features().len();
    let bytes = rows.saturating_mul(features as u64).saturating_mul(size_of::<f32>() as u64);
    if bytes <= memory {
        return Ok(());
    }
    let widest = preparation.widest_category().map(|(column, features)| (column.to_owned(), features));
    let path = dataset.features.source.clone();
    Err(DataError::TooLarge { path, bytes, memory, features, folds: folds.len(), widest })
}

/// Prepares every fold, in parallel. `budget` is a lane's full one; `key` is the study's: what training draws is keyed by
/// repeat and fold below it.
pub fn build_problem(
    dataset: &Dataset,
    folds: &[FoldRows],
    options: &PrepareOptions,
    input: Input,
    metric: &'static dyn Metric,
    budget: u64,
    key: Key,
) -> Result<Problem, DataError> {
    let folds = build_folds(dataset, folds, options, input, key)?;
    Ok(Problem { task: dataset.task, outputs: dataset.target.outputs(), budget, metric, folds })
}

/// The folds of [`build_problem`], which do not depend on metric and budget.
pub fn build_folds(
    dataset: &Dataset,
    folds: &[FoldRows],
    options: &PrepareOptions,
    input: Input,
    key: Key,
) -> Result<Vec<Arc<Fold>>, DataError> {
    let prepare = |rows: &FoldRows| prepare_fold(dataset, rows, options, input, key).map(|(fold, _)| Arc::new(fold));
    folds.par_iter().map(prepare).collect()
}

/// Prepares one fold, and gives the preparation that was fitted on its training rows.
pub fn prepare_fold(
    dataset: &Dataset,
    rows: &FoldRows,
    options: &PrepareOptions,
    input: Input,
    key: Key,
) -> Result<(Fold, Preparation), DataError> {
    let preparation = Preparation::fit(dataset, &rows.train, options, input);
    if preparation.features().is_empty() {
        let (repeat, fold, rows) = (rows.repeat, rows.fold, rows.train.len());
        return Err(DataError::NothingToLearn { repeat, fold, rows });
    }
    let ready = |rows: &[u32]| -> Result<Rows, DataError> {
        let weight = dataset.weight.as_ref().map(|weight| rows.iter().map(|&row| weight[row as usize]).collect());
        Ok(Rows { x: preparation.transform(&dataset.features, rows)?, y: pick(&dataset.target, rows), weight })
    };
    let fold = Fold {
        key: key.child(stream::TRAINING).child(rows.repeat).child(rows.fold),
        train: ready(&rows.train)?,
        evals: rows.evals.iter().map(|rows| ready(rows)).collect::<Result<_, _>>()?,
        may_stop_early: true,
        target: fit_target(&dataset.target, &rows.train, options.target),
        columns: preparation.kinds().into(),
    };
    Ok((fold, preparation))
}

/// The targets of some rows.
pub fn pick(target: &Target, rows: &[u32]) -> Target {
    match target {
        Target::Classes { codes, classes } => {
            Target::Classes { codes: rows.iter().map(|&row| codes[row as usize]).collect(), classes: *classes }
        }
        Target::Values(values) => Target::Values(rows.iter().map(|&row| values[row as usize]).collect()),
    }
}
