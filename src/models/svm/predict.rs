//! Weights of a machine, and predictions on the host from weights that may come from a file: every name and shape is
//! checked.

use super::fold::SvmFold;
use super::vote;
use crate::backend::{IntegerArray, Weights};
use crate::data::{Affine, Task};
use crate::models::WeightsError;
use crate::models::kernels::KernelFunction;
use crate::models::kernels::weights::{array, kernel, kernel_rows, matrix, read_kernel};
use crate::models::predict::{floats, integers, wrong_shape};
use ndarray::{Array2, ArrayView2};

/// What has been trained: coefficients of a fold's places for each pair of classes.
pub struct Machine<'a> {
    /// The kernel.
    pub function: &'a KernelFunction,
    /// Of each pair, the coefficients of its rows' places; of a regression one.
    pub pairs: Vec<Vec<(usize, f64)>>,
    /// Of each pair.
    pub constants: Vec<f64>,
}

/// A machine's weights: its support vectors, and for each the coefficients that it has against every other class.
pub fn weights(fold: &SvmFold, machine: &Machine<'_>) -> Weights {
    let present = fold.runs.len();
    let others = present.saturating_sub(1).max(1);
    let mut coefficients: Vec<Option<Vec<f32>>> = vec![None; fold.rows.len()];
    let mut add = |place: usize, other: usize, value: f64| {
        coefficients[place].get_or_insert_with(|| vec![0.0; others])[other] = value as f32;
    };
    let class_of = |place: usize| {
        let strip = place / crate::backend::cpu::simd::LANES;
        fold.runs.iter().position(|run| (run.first..run.first + run.strips).contains(&strip)).unwrap_or(0)
    };
    let pairs: Vec<(usize, usize)> = vote::every_pair(present).collect();
    for (pair, coefficients) in machine.pairs.iter().enumerate() {
        for (place, value) in coefficients.iter().filter(|(_, value)| *value != 0.0) {
            let other = match pairs.get(pair) {
                Some((a, b)) if class_of(*place) == *a => b - 1,
                Some((a, _)) => *a,
                None => 0,
            };
            add(*place, other, *value);
        }
    }
    // An array has a row at least: a machine without support vectors gets one that adds nothing.
    if coefficients.iter().all(Option::is_none) {
        coefficients[0] = Some(vec![0.0; others]);
    }
    let support: Vec<(usize, &Vec<f32>)> =
        coefficients.iter().enumerate().filter_map(|(place, values)| Some((place, values.as_ref()?))).collect();
    let x = &fold.fold.train.x;
    let rows = support.iter().flat_map(|(place, _)| x.row(fold.rows[*place].unwrap_or(0)).to_vec()).collect();
    let dual = (0..others).flat_map(|other| support.iter().map(move |(_, values)| values[other])).collect();
    let constants: Vec<f32> = machine.constants.iter().map(|constant| *constant as f32).collect();
    let integers =
        |name: &str, values: Vec<u32>| IntegerArray { name: name.to_owned(), shape: vec![values.len()], values };
    Weights {
        arrays: vec![
            kernel(machine.function),
            array("support", &[support.len(), x.ncols()], rows),
            array("dual", &[others, support.len()], dual),
            array("intercept", &[constants.len().max(1)], if constants.is_empty() { vec![0.0] } else { constants }),
        ],
        integers: vec![
            integers("class", support.iter().map(|(place, _)| class_of(*place) as u32).collect()),
            integers("present", fold.runs.iter().map(|run| run.class as u32).collect()),
            integers("classes", vec![fold.fold.train.y.outputs() as u32]),
        ],
    }
}

/// `[rows, classes]` probabilities, or `[rows, 1]` values in the target's own units.
pub fn predict(
    weights: &Weights,
    task: Task,
    target: Affine,
    x: ArrayView2<'_, f32>,
) -> Result<Array2<f32>, WeightsError> {
    let Machines { function, support, coefficients, intercept, class, present, classes } = parse(weights, task)?;
    let others = coefficients.nrows();
    let mut predictions = Array2::zeros((x.nrows(), classes));
    let mut sums = vec![0.0; present.len() * others];
    let mut found = vec![0.0; present.len()];
    kernel_rows(&function, x, support, |row, values| {
        sums.fill(0.0);
        for (vector, value) in values.iter().enumerate() {
            let own = &mut sums[class[vector] as usize * others..][..others];
            own.iter_mut()
                .enumerate()
                .for_each(|(other, sum)| *sum += value * f64::from(coefficients[[other, vector]]));
        }
        if task == Task::Regression {
            let value = sums[0] + f64::from(intercept[0]);
            predictions[[row, 0]] = value.mul_add(f64::from(target.scale), f64::from(target.shift)) as f32;
            return;
        }
        let decision = |((a, b), constant): ((usize, usize), &f32)| {
            (sums[a * others + b - 1] + sums[b * others + a] + f64::from(*constant)) as f32
        };
        let decisions: Vec<f32> = vote::every_pair(present.len()).zip(intercept).map(decision).collect();
        vote::probabilities(&decisions, &mut found);
        present.iter().zip(&found).for_each(|(class, p)| predictions[[row, *class as usize]] = *p);
    })?;
    Ok(predictions)
}

/// The machines of all pairs of classes, or of a regression, as weights hold them.
pub struct Machines<'a> {
    /// The kernel.
    pub function: KernelFunction,
    /// `[vectors, features]`
    pub support: ArrayView2<'a, f32>,
    /// Of each vector against every other class that occurs: `[others, vectors]`.
    pub coefficients: ArrayView2<'a, f32>,
    /// Of each pair.
    pub intercept: &'a [f32],
    /// Of each vector, its class's place among those that occur.
    pub class: &'a [u32],
    /// The classes that occur.
    pub present: &'a [u32],
    /// How many classes the study knows; 1 of a regression.
    pub classes: usize,
}

/// Reads weights that may come from anyone.
pub fn parse(weights: &Weights, task: Task) -> Result<Machines<'_>, WeightsError> {
    let function = read_kernel(weights)?;
    let (dual, support) = (floats(weights, "dual")?, matrix(floats(weights, "support")?)?);
    let (coefficients, intercept) = (matrix(dual)?, floats(weights, "intercept")?);
    let codes = |name: &str| integers(weights, name).map(|array| &array.values[..]);
    let (class, present) = (codes("class")?, codes("present")?);
    let classes = codes("classes")?.first().copied().unwrap_or(0) as usize;
    let others = present.len().saturating_sub(1).max(1);
    if coefficients.dim() != (others, support.nrows()) {
        return Err(wrong_shape(dual));
    }
    if intercept.values.len() != vote::pairs(present.len()).max(1) {
        return Err(wrong_shape(intercept));
    }
    let is_known = |code: &u32| (*code as usize) < classes;
    let is_sound = class.len() == support.nrows()
        && class.iter().all(|class| (*class as usize) < present.len())
        && present.iter().all(is_known)
        && present.is_sorted_by(|a, b| a < b);
    let is_one = classes == 1 && present.len() == 1;
    if !is_sound || (task == Task::Regression && !is_one) {
        return Err(WeightsError("the support vectors' classes make no sense".to_owned()));
    }
    // A file cannot ask for more than its own size: as many classes as a table can have are 2^32.
    if classes > present.len() + (1 << 20) {
        return Err(WeightsError(format!("{classes} classes of which {} occur", present.len())));
    }
    let intercept = &intercept.values[..];
    Ok(Machines { function, support, coefficients, intercept, class, present, classes })
}
