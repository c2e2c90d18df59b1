//! A fold's ridge problem, diagonalised: one eigendecomposition, after which every penalty is a diagonal.
//!
//! With the centred rows `X` (each times the root of what it counts for) and targets `Y`, the solution for a penalty `l2` is
//! `w = B (q / (s + l2))`:
//! - where there are no more features than rows, `X'X = V s V'`, `B = V`, `q = V' X'Y`;
//! - otherwise `XX' = U s U'`, `B = X'U`, `q = U'Y` (Saunders, Gammerman & Vovk 1998, equation 4).
//!
//! The products and the eigenvectors are f64: a condition number of a million leaves what f32 can hold.

use super::ABSENT;
use crate::data::{Fold, Target};
use crate::models::hypergradient::ridge::Diagonal;
use crate::models::linear::{Centred, ClassWeight, class_counts, in_rows, row_weights};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par, Side};

/// A fold in its eigenbasis, with or without an intercept and class weights.
pub struct Prepared {
    /// Prepared features.
    pub features: usize,
    /// Directions: the lesser of features and rows.
    pub rank: usize,
    /// Columns of the targets.
    pub outputs: usize,
    /// `B`, `[features, rank]`.
    pub basis: Vec<f64>,
    /// `s`, not negative.
    pub spectrum: Vec<f64>,
    /// `q`, `[rank, outputs]`.
    pub products: Vec<f64>,
    /// Of each feature.
    pub mean: Vec<f64>,
    /// Of each target; [`ABSENT`] for a class without training rows, whose products are zero.
    pub target_mean: Vec<f64>,
    /// What `s + l2` must exceed: at or below it is only rounding, and the direction is left out (as a pseudo-inverse does).
    pub least: f64,
}

impl Prepared {
    /// Diagonalises a fold. What cannot be (features that overflow) gives NaN, and training on it fails by that.
    pub fn new(fold: &Fold, has_intercept: bool, class_weight: ClassWeight) -> Prepared {
        let mut rows = Centred::new(fold, row_weights(&fold.train, class_weight), has_intercept);
        let (n, features) = fold.train.x.dim();
        let diagonalised = if features <= n { by_features(&rows, features) } else { by_rows(&rows, n) };
        let rank = features.min(n);
        let (basis, spectrum, mut products) = diagonalised
            .unwrap_or_else(|| (vec![f64::NAN; features * rank], vec![0.0; rank], vec![f64::NAN; rank * rows.outputs]));
        let largest = spectrum.iter().copied().fold(0.0, f64::max);
        if let Target::Classes { codes, classes } = &fold.train.y {
            let counts = class_counts(codes, *classes);
            for absent in (0..*classes).filter(|class| counts[*class] == 0) {
                products.iter_mut().skip(absent).step_by(*classes).for_each(|product| *product = 0.0);
                rows.target_mean[absent] = f64::from(ABSENT);
            }
        }
        Prepared {
            features,
            rank,
            outputs: rows.outputs,
            basis,
            spectrum,
            products,
            mean: rows.mean,
            target_mean: rows.target_mean,
            least: f64::EPSILON * rank as f64 * largest,
        }
    }
}

impl Prepared {
    /// As slopes are computed from.
    pub fn diagonal(&self) -> Diagonal<'_> {
        Diagonal {
            basis: &self.basis,
            spectrum: &self.spectrum,
            products: &self.products,
            mean: &self.mean,
            target_mean: &self.target_mean,
            least: self.least,
        }
    }
}

/// Basis, spectrum and products.
type Diagonalised = (Vec<f64>, Vec<f64>, Vec<f64>);

fn by_features(rows: &Centred<'_>, features: usize) -> Option<Diagonalised> {
    let (gram, cross) = rows.products(1.0);
    let (vectors, spectrum) = eigen(&gram)?;
    let mut products = Mat::zeros(features, rows.outputs);
    matmul(products.as_mut(), Accum::Replace, vectors.transpose(), cross.as_ref(), 1.0, Par::Seq);
    Some((in_rows(vectors.as_ref()), spectrum, in_rows(products.as_ref())))
}

fn by_rows(rows: &Centred<'_>, n: usize) -> Option<Diagonalised> {
    let (x, y) = (rows.features(0..n), rows.targets(0..n));
    let mut gram = Mat::zeros(n, n);
    matmul(gram.as_mut(), Accum::Replace, x.as_ref(), x.transpose(), 1.0, Par::Seq);
    let (vectors, spectrum) = eigen(&gram)?;
    let mut basis = Mat::zeros(x.ncols(), n);
    matmul(basis.as_mut(), Accum::Replace, x.transpose(), vectors.as_ref(), 1.0, Par::Seq);
    let mut products = Mat::zeros(n, rows.outputs);
    matmul(products.as_mut(), Accum::Replace, vectors.transpose(), y.as_ref(), 1.0, Par::Seq);
    Some((in_rows(basis.as_ref()), spectrum, in_rows(products.as_ref())))
}

/// Eigenvectors and eigenvalues of a matrix whose eigenvalues are not negative but for rounding.
fn eigen(gram: &Mat<f64>) -> Option<(Mat<f64>, Vec<f64>)> {
    let is_finite = (0..gram.ncols()).all(|j| (0..gram.nrows()).all(|i| gram[(i, j)].is_finite()));
    let eigen = is_finite.then(|| gram.self_adjoint_eigen(Side::Lower).ok()).flatten()?;
    let spectrum = (0..gram.ncols()).map(|j| eigen.S()[j].max(0.0)).collect();
    Some((eigen.U().to_owned(), spectrum))
}
