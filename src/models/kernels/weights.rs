//! A kernel function among the weights of a model, and predictions on the host from weights that may come from a file.

use super::measure::Columns;
use super::{KernelFunction, KernelKind};
use crate::backend::cpu::simd::Level;
use crate::backend::{WeightArray, Weights};
use crate::models::WeightsError;
use crate::models::predict::{floats, wrong_shape};
use ndarray::ArrayView2;

/// A named array.
pub fn array(name: &str, shape: &[usize], values: Vec<f32>) -> WeightArray {
    WeightArray { name: name.to_owned(), shape: shape.to_vec(), values }
}

/// A matrix as its shape says.
pub fn matrix(array: &WeightArray) -> Result<ArrayView2<'_, f32>, WeightsError> {
    let [rows, columns] = array.shape[..] else { return Err(wrong_shape(array)) };
    ArrayView2::from_shape((rows, columns), &array.values).map_err(|_| wrong_shape(array))
}

/// The two f32 whose sum an f64 is, to 48 bits.
pub fn parts(value: f64) -> [f32; 2] {
    let first = value as f32;
    [first, (value - f64::from(first)) as f32]
}

/// `kernel`: code of the kind, degree, and both parts of gamma and of coef0.
pub fn kernel(function: &KernelFunction) -> WeightArray {
    let KernelFunction { kind, gamma, degree, coef0 } = *function;
    let ([gamma, gamma_rest], [coef0, coef0_rest]) = (parts(gamma), parts(coef0));
    array("kernel", &[6], vec![kind.code() as f32, degree as f32, gamma, gamma_rest, coef0, coef0_rest])
}

/// The function that [`kernel`] holds.
pub fn read_kernel(weights: &Weights) -> Result<KernelFunction, WeightsError> {
    let array = floats(weights, "kernel")?;
    let [code, degree, gamma, gamma_rest, coef0, coef0_rest] = array.values[..] else { return Err(wrong_shape(array)) };
    let kind = KernelKind::from_code(code as u32).filter(|kind| kind.code() as f32 == code);
    let sum = |first: f32, rest: f32| f64::from(first) + f64::from(rest);
    let (gamma, coef0) = (sum(gamma, gamma_rest), sum(coef0, coef0_rest));
    let Some(kind) = kind.filter(|_| (0.0..=1e3).contains(&degree) && gamma.is_finite() && coef0.is_finite()) else {
        return Err(WeightsError(format!("no kernel is {:?}", array.values)));
    };
    Ok(KernelFunction { kind, gamma, degree: degree as u32, coef0 })
}

/// The kernel of each of `x` with each row that the weights hold: `take(row of x, values)`.
pub fn kernel_rows(
    function: &KernelFunction,
    x: ArrayView2<'_, f32>,
    rows: ArrayView2<'_, f32>,
    mut take: impl FnMut(usize, &[f64]),
) -> Result<(), WeightsError> {
    if rows.ncols() != x.ncols() {
        return Err(WeightsError(format!("the model has {} features, the rows have {}", rows.ncols(), x.ncols())));
    }
    let mut values = vec![0.0; rows.nrows()];
    Columns::of(rows).measure(Level::detect(), function.kind.measure(), x, |row, measures| {
        values.copy_from_slice(measures);
        function.of_all(Level::detect(), &mut values);
        take(row, &values);
    });
    Ok(())
}
