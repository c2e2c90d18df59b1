//! Between a fold's rows and [`super::hypergradient`], which knows plain arrays alone.

use super::hypergradient::{Features, Linear, pull};
use crate::data::metrics::RowTerm;
use crate::data::{Affine, Rows, Target};
use crate::space::Space;

/// A row set's features.
pub fn features(rows: &Rows) -> Option<Features<'_>> {
    Some(Features { values: rows.x.as_slice()?, width: rows.x.ncols() })
}

/// Slopes of a term's sum over a row set along a model's outputs `[rows, outputs]`, whose numbers are learnt as `target`
/// scales them; `None` of a term that isn't smooth.
pub fn pulls(rows: &Rows, target: Affine, term: RowTerm, z: &[f64], outputs: usize) -> Option<Vec<f64>> {
    let weight = rows.weight.as_deref();
    match (&rows.y, term) {
        (Target::Values(y), RowTerm::Squared) => {
            Some(pull::squared(z, y, weight, f64::from(target.shift), f64::from(target.scale)))
        }
        (Target::Classes { codes, .. }, RowTerm::LogLoss) => Some(pull::log_loss(z, codes, weight, outputs)),
        (Target::Classes { codes, .. }, RowTerm::Brier) => Some(pull::brier(z, codes, weight, outputs)),
        _ => None,
    }
}

/// The same along the weights of a linear model.
pub fn pulled(rows: &Rows, target: Affine, term: RowTerm, line: &Linear) -> Option<Linear> {
    let (x, outputs) = (features(rows)?, line.intercept.len());
    let pulls = pulls(rows, target, term, &line.outputs(x), outputs)?;
    Some(Linear::pull(x, &pulls, outputs))
}

/// Slopes along a point's columns: those of the named parameters, NaN elsewhere; `None` where the space has none of them.
pub fn columns(space: &Space, named: &[(&str, f64)]) -> Option<Vec<f64>> {
    let mut columns = vec![f64::NAN; space.parameters.len()];
    let mut has_one = false;
    for (name, slope) in named {
        if let Some(column) = space.index(name).and_then(|column| columns.get_mut(column)) {
            *column = *slope;
            has_one = true;
        }
    }
    has_one.then_some(columns)
}
