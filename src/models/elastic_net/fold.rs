//! A fold as the elastic net sees it: the Gram matrix of its centred rows, and their products with the target.

use crate::data::Fold;
use crate::models::linear::{Centred, ClassWeight, in_rows, row_weights};

/// A fold's sums, in f64, with or without an intercept.
pub struct Prepared {
    /// Prepared features.
    pub features: usize,
    /// `X'X / total`, `[features, features]`.
    pub gram: Vec<f64>,
    /// `X'y / total`.
    pub cross: Vec<f64>,
    /// Of each feature.
    pub mean: Vec<f64>,
    /// Of the target.
    pub target_mean: f64,
    /// The largest `|c_j|`, which violations are measured by; 1 where all are 0.
    pub scale: f64,
}

impl Prepared {
    /// Sums up a fold's training rows.
    pub fn new(fold: &Fold, has_intercept: bool) -> Prepared {
        let rows = Centred::new(fold, row_weights(&fold.train, ClassWeight::None), has_intercept);
        let features = fold.train.x.ncols();
        let (gram, cross) = rows.products(1.0 / rows.total);
        // A target of classes is not a task of this model: its first column stands for it.
        let cross: Vec<f64> = (0..features).map(|j| cross[(j, 0)]).collect();
        let scale = cross.iter().fold(0.0f64, |scale, c| scale.max(c.abs()));
        Prepared {
            features,
            gram: in_rows(gram.as_ref()),
            cross,
            mean: rows.mean,
            target_mean: rows.target_mean[0],
            scale: if scale > 0.0 { scale } else { 1.0 },
        }
    }
}
