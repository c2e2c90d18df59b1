//! The eigenbasis of a fold's features, in which the softmax's Hessian is nearly diagonal.
//!
//! The Gram matrix and its eigenvectors come from faer in f64: their last bits depend on the processor's instruction set
//! (not on threads: faer runs on one here), and so do this model's.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par, Side};
use ndarray::{ArrayView2, Axis, s};

/// Beyond this many features the basis stays as it is: its eigenvectors would cost more than they save.
const MOST_ROTATED: usize = 1024;
/// Rows that are rotated at a time.
const CHUNK_ROWS: usize = 1024;

/// `rotated = (x - mean) vectors`.
pub struct Basis {
    /// Of each feature over the training rows; zeros where there is no intercept to take them up.
    pub mean: Vec<f64>,
    /// `[features, features]`, one eigenvector a column; none where the basis is the features' own: for lanes with an L1 term, and
    /// of many features.
    pub vectors: Option<Mat<f64>>,
}

impl Basis {
    /// The features' own, about their means if it is centred.
    pub fn own(x: ArrayView2<'_, f32>, is_centred: bool) -> Basis {
        let mut mean = vec![0.0; x.ncols()];
        if is_centred {
            for row in x.rows() {
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += f64::from(*x));
            }
            mean.iter_mut().for_each(|mean| *mean /= x.nrows() as f64);
        }
        Basis { mean, vectors: None }
    }

    /// The eigenbasis of some training rows, `[rows, features]`.
    pub fn new(x: ArrayView2<'_, f32>, is_centred: bool) -> Basis {
        let mut basis = Basis::own(x, is_centred);
        if x.ncols() <= MOST_ROTATED {
            let mut gram = Mat::zeros(x.ncols(), x.ncols());
            for chunk in x.axis_chunks_iter(Axis(0), CHUNK_ROWS) {
                let centred = basis.centred(chunk);
                matmul(gram.as_mut(), Accum::Add, centred.transpose(), centred.as_ref(), 1.0, Par::Seq);
            }
            // Features that overflow have no eigenvectors; training on them then fails by its own checks.
            basis.vectors = gram.self_adjoint_eigen(Side::Lower).ok().map(|eigen| eigen.U().to_owned());
        }
        basis
    }

    fn centred(&self, x: ArrayView2<'_, f32>) -> Mat<f64> {
        Mat::from_fn(x.nrows(), x.ncols(), |i, j| f64::from(x[[i, j]]) - self.mean[j])
    }

    /// The rows in this basis, in blocks of at most `rows` rows: each `[rows, features]`, row-major.
    pub fn rotated<'a>(&'a self, x: ArrayView2<'a, f32>, rows: usize) -> impl Iterator<Item = Vec<f32>> + 'a {
        (0..x.nrows()).step_by(rows).map(move |first| {
            let block = self.centred(x.slice(s![first..(first + rows).min(x.nrows()), ..]));
            let block = match &self.vectors {
                Some(vectors) => {
                    let mut rotated = Mat::zeros(block.nrows(), block.ncols());
                    matmul(rotated.as_mut(), Accum::Replace, block.as_ref(), vectors.as_ref(), 1.0, Par::Seq);
                    rotated
                }
                None => block,
            };
            (0..block.nrows() * block.ncols())
                .map(|at| block[(at / block.ncols(), at % block.ncols())] as f32)
                .collect()
        })
    }
}
