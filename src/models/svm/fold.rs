//! A fold as machines see it: rows sorted by class, each class in whole strips of sixteen, so that every pair of classes
//! has its rows of a kernel matrix in two runs. Measures are computed once a fold, kernels once a fold and function.

use super::smo::Matrix;
use crate::backend::cpu::math;
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::data::{Fold, Target};
use crate::models::kernels::measure::{Columns, Measure};
use crate::models::kernels::{KernelFunction, KernelKind};
use ndarray::{Array2, ArrayView2};
use std::sync::{Arc, OnceLock};

/// The rows of one class, or all rows of a regression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The class; 0 in a regression.
    pub class: usize,
    /// First strip.
    pub first: usize,
    /// Number of strips.
    pub strips: usize,
    /// Number of rows.
    pub rows: usize,
}

/// A fold's training rows in their places.
pub struct SvmFold {
    /// What tells folds apart.
    pub id: usize,
    /// The fold.
    pub fold: Arc<Fold>,
    /// One run a class that has rows with a weight, ascending.
    pub runs: Vec<Run>,
    /// The training row in each place, if there is one.
    pub rows: Vec<Option<usize>>,
    /// The place of each training row.
    places: Vec<usize>,
    /// The rows in their places, as one side of measures.
    pub columns: Columns,
    measured: [OnceLock<Matrices>; 3],
}

/// One number for each training row, and each row to score, with every place.
pub struct Matrices {
    /// Of the training rows, by place.
    pub train: Matrix,
    /// Of each row set to score.
    pub evals: Vec<Matrix>,
}

/// A kernel on a fold.
pub struct Kernels {
    /// Kernel of all pairs.
    pub matrices: Matrices,
    /// Kernel of each place with itself.
    pub diagonal: Vec<Lanes>,
}

impl SvmFold {
    /// Sorts a fold's rows.
    pub fn new(id: usize, fold: &Arc<Fold>) -> SvmFold {
        let train = &fold.train;
        let (codes, classes) = match &train.y {
            Target::Classes { codes, classes } => (codes.clone(), *classes),
            Target::Values(values) => (vec![0; values.len()], 1),
        };
        let mut runs = Vec::new();
        let mut rows: Vec<Option<usize>> = Vec::new();
        let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
        codes.iter().enumerate().for_each(|(row, code)| of_class[*code as usize].push(row));
        for (class, own) in of_class.into_iter().enumerate() {
            let has_weight = own.iter().any(|row| train.weight.as_ref().is_none_or(|weight| weight[*row] > 0.0));
            if own.is_empty() {
                continue;
            }
            let (first, strips) = (rows.len() / LANES, own.len().div_ceil(LANES));
            if has_weight {
                runs.push(Run { class, first, strips, rows: own.len() });
            }
            rows.extend(own.into_iter().map(Some));
            rows.resize((first + strips) * LANES, None);
        }
        let mut places = vec![0; train.y.len()];
        for (place, row) in rows.iter().enumerate() {
            if let Some(row) = row {
                places[*row] = place;
            }
        }
        let columns = Columns::new(rows.iter().map(|row| row.map(|row| train.x.row(row))), train.x.ncols());
        SvmFold { id, fold: fold.clone(), runs, rows, places, columns, measured: Default::default() }
    }

    /// Strips of all places.
    pub fn strips(&self) -> usize {
        self.rows.len() / LANES
    }

    /// The row of the training matrices that a training row has.
    pub fn place(&self, row: usize) -> usize {
        self.places[row]
    }

    /// Training rows in the order of their places; zeros where there is none.
    pub fn placed_rows(&self) -> Array2<f32> {
        let x = &self.fold.train.x;
        Array2::from_shape_fn((self.rows.len(), x.ncols()), |(place, j)| {
            self.rows[place].map_or(0.0, |row| x[[row, j]])
        })
    }

    /// Bytes of the matrices of a measure, and as many of a kernel.
    pub fn bytes(fold: &Fold) -> u64 {
        let (rows, outputs) = (fold.train.y.len(), fold.train.y.outputs());
        let places = rows + outputs * LANES;
        let evals: usize = fold.evals.iter().map(|rows| rows.y.len()).sum();
        ((places + evals) * places * size_of::<f32>()) as u64
    }

    /// Whether the rows' measures of a kind are there.
    pub fn has_measured(&self, measure: Measure) -> bool {
        self.measured[measure as usize].get().is_some()
    }

    fn measured(&self, level: Level, measure: Measure) -> &Matrices {
        self.measured[measure as usize].get_or_init(|| {
            let matrix = |x: ArrayView2<'_, f32>| {
                let mut matrix = Matrix::new(x.nrows(), self.strips());
                self.columns.measure(level, measure, x, |row, measures| {
                    let strips = matrix.values[row * self.strips()..].iter_mut();
                    for (strip, measures) in strips.zip(measures.as_chunks::<LANES>().0) {
                        strip.0 = measures.map(|measure| measure as f32);
                    }
                });
                matrix
            };
            Matrices {
                train: matrix(self.placed_rows().view()),
                evals: self.fold.evals.iter().map(|rows| matrix(rows.x.view())).collect(),
            }
        })
    }

    /// A kernel of all pairs of rows.
    pub fn kernels(&self, level: Level, function: &KernelFunction) -> Kernels {
        let measured = self.measured(level, function.kind.measure());
        let apply = |measures: &Matrix| {
            let mut values = Vec::with_capacity(measures.values.len());
            dispatch(level, Apply { function, measures: &measures.values, values: &mut values });
            Matrix { strips: measures.strips, values }
        };
        let train = apply(&measured.train);
        let own = |place: usize| train.row(place)[place / LANES].0[place % LANES];
        let strip = |strip: usize| Lanes(std::array::from_fn(|lane| own(strip * LANES + lane)));
        let diagonal = (0..self.strips()).map(strip).collect();
        Kernels { matrices: Matrices { train, evals: measured.evals.iter().map(apply).collect() }, diagonal }
    }
}

/// A kernel function on measures in f32.
struct Apply<'a> {
    function: &'a KernelFunction,
    measures: &'a [Lanes],
    values: &'a mut Vec<Lanes>,
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let KernelFunction { kind, gamma, degree, coef0 } = *self.function;
        let (gamma, coef0) = (V::splat(gamma as f32), V::splat(coef0 as f32));
        let minus_gamma = V::zero().sub(gamma);
        for measure in self.measures {
            let measure = V::load(measure);
            let value = match kind {
                KernelKind::Rbf | KernelKind::Laplacian => math::exp(measure.mul(minus_gamma)),
                KernelKind::Polynomial => power(measure.mul_add(gamma, coef0), degree),
                KernelKind::Linear => measure,
                KernelKind::Sigmoid => math::tanh(measure.mul_add(gamma, coef0)),
            };
            let mut lanes = Lanes::ZERO;
            value.store(&mut lanes);
            self.values.push(lanes);
        }
    }
}

#[inline(always)]
fn power<V: Simd>(base: V, exponent: u32) -> V {
    let (mut result, mut square, mut left) = (V::splat(1.0), base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result.mul(square);
        }
        square = square.mul(square);
        left >>= 1;
    }
    result
}
