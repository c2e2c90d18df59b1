//! Ridge regression, and classification by it: scikit-learn's `Ridge` and `RidgeClassifier`.
//!
//! Minimises `sum of weight (y - x w - b)^2 + l2 |w|^2` exactly; the intercept is not penalised. `fold` diagonalises a
//! fold once, `cpu` and `gpu` solve every penalty in its basis.
//!
//! A number is fitted on the fold's scaled target. The solution is linear in the target, so in the target's own units it is
//! that of scikit-learn with `alpha = l2`. Classes have one target each, 1 for a row's own class and -1 for others; what is
//! predicted is the class with the largest decision value `x w + b`, as `RidgeClassifier` does. Probabilities are the softmax
//! of the decision values: in their order, but not calibrated. Of two classes the second has `1 / (1 + exp(-2 d))`, where
//! `d` is `RidgeClassifier`'s decision value.
//!
//! Weights read back: `weight` `[outputs, features]` and `intercept` `[outputs]`, for prepared features and the scaled
//! target. A class that no training row has gets weights of zero and the intercept [`ABSENT`]: probability 0.
//!
//! The eigenbasis comes from a library's factorisation, so the last bits of a score may differ between processors; on
//! one processor they do not depend on threads, batches or neighbours.

mod cpu;
mod fold;
mod gpu;

pub use super::logistic::solver::ABSENT;

use super::linear::{self, ClassWeight};
use super::{Agreement, Budget, DataShape, Explanation, Model, ToOnnx, WeightsError, Work, explain, onnx, predict};
use crate::backend::cpu::{CpuOptions, CpuTrainer};
use crate::backend::gpu::{Gpu, GpuTrainer, Kernel};
use crate::backend::{BackendError, Trainer, Weights};
use crate::base::registry::Named;
use crate::data::{Affine, Problem, Rows, Task};
use crate::space::{Space, SpaceBuilder};
use ndarray::{Array2, ArrayView2};
use std::sync::Arc;

/// Rows or features, whichever are fewer, whose products can be diagonalised: minutes, and 512 MiB a fold at this many.
const MOST_DIRECTIONS: usize = 8192;

/// The model's registry entry.
pub struct Ridge;

/// Ridge opened on a space.
struct RidgeLanes {
    space: Space,
}

/// One candidate's hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RidgeParams {
    /// The penalty of the squared weights, against the sum (not the mean) of the rows' squared errors.
    pub l2: f64,
    /// Whether there is an intercept.
    pub fit_intercept: bool,
    /// What a row counts for by its class.
    pub class_weight: ClassWeight,
}

impl RidgeParams {
    /// Reads a candidate's encoded values; what a space does not have takes the model's default.
    pub fn read(space: &Space, point: &[f64]) -> RidgeParams {
        RidgeParams {
            l2: space.number(point, "l2").unwrap_or(1.0),
            fit_intercept: space.number(point, "fit_intercept") != Some(0.0),
            class_weight: ClassWeight::from_name(space.text(point, "class_weight").as_deref()),
        }
    }

    /// Which of a fold's four problems it is: with or without an intercept and class weights.
    fn variant(&self) -> usize {
        usize::from(self.fit_intercept) + 2 * usize::from(self.class_weight == ClassWeight::Balanced)
    }
}

/// One candidate of each variant that a space has.
fn variants(space: &Space) -> Vec<RidgeParams> {
    let rows = linear::variants(space, &["fit_intercept", "class_weight"]);
    rows.iter().map(|row| RidgeParams::read(space, row)).collect()
}

impl Named for Ridge {
    fn name(&self) -> &'static str {
        "ridge"
    }

    fn summary(&self) -> &'static str {
        "least squares with an L2 penalty, solved exactly; classes by one target each (RidgeClassifier)"
    }
}

impl Model for Ridge {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification, Task::Regression]
    }

    fn budget(&self) -> Budget {
        Budget { unit: "fit", default: 1 }
    }

    fn space(&self, shape: DataShape) -> Space {
        let builder =
            SpaceBuilder::new().log("l2", 1e-4, 1e4, 1.0).within(0.0, 1e12).boolean("fit_intercept", true).held();
        match shape.task {
            Task::Classification => builder.categorical("class_weight", &ClassWeight::NAMES, "none").held().build(),
            Task::Regression => builder.build(),
        }
    }

    fn cost(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        // Effective degrees of freedom: a feature of unit variance has an eigenvalue of about the number of rows.
        let params = RidgeParams::read(space, point);
        let (rows, features) = (shape.rows as f64, shape.features.min(shape.rows) as f64);
        let freedom = features * rows / (rows + params.l2);
        let outputs = if shape.task == Task::Classification { shape.outputs.saturating_sub(1) } else { 1 };
        outputs as f64 * (freedom + f64::from(u8::from(params.fit_intercept)))
    }

    fn work(&self, _: &Space, _: &[f64], shape: DataShape, used: u64) -> Work {
        // The product with the basis; the fold's factorisation is shared.
        let weights = (shape.features * shape.outputs) as f64;
        Work { flops: used as f64 * 2.0 * weights * shape.features.min(shape.rows) as f64, bytes: 4.0 * weights }
    }

    /// The CPU solves in f64, a GPU in f32 from the same factorisation: each weight is a sum of terms that round to some
    /// ulps (6e-8), and a score is a mean over rows.
    fn agreement(&self) -> Agreement {
        Agreement { budget: 1, tolerance: 2e-5 }
    }

    fn open_cpu(
        &self,
        space: &Space,
        problem: Arc<Problem>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Trainer>, BackendError> {
        self.check(&problem)?;
        Ok(Box::new(CpuTrainer::open(RidgeLanes { space: space.clone() }, problem, options)?))
    }

    fn open_gpu(&self, space: &Space, problem: Arc<Problem>, device: &Gpu) -> Result<Box<dyn Trainer>, BackendError> {
        self.check(&problem)?;
        Ok(Box::new(GpuTrainer::open(device, gpu::RidgePlan::new(space.clone(), problem))?))
    }

    fn kernels(&self) -> Vec<Kernel> {
        gpu::kernels()
    }

    fn predict(
        &self,
        weights: &Weights,
        task: Task,
        target: Affine,
        x: ArrayView2<'_, f32>,
    ) -> Result<Array2<f32>, WeightsError> {
        predict::linear(weights, task, target, x)
    }

    fn explain(&self, weights: &Weights, task: Task, target: Affine, _: usize) -> Result<Explanation, WeightsError> {
        explain::linear(weights, task, target)
    }

    fn onnx(&self) -> Option<ToOnnx> {
        Some(onnx::linear)
    }
}

impl Ridge {
    /// Refuses what has too many features and too many rows to be diagonalised.
    fn check(&self, problem: &Problem) -> Result<(), BackendError> {
        let directions = |rows: &Rows| rows.x.nrows().min(rows.x.ncols());
        let most = problem.folds.iter().map(|fold| directions(&fold.train)).max().unwrap_or(0);
        if most <= MOST_DIRECTIONS {
            return Ok(());
        }
        Err(BackendError::Unsuited {
            model: self.name(),
            reason: format!(
                "a fold has {most} rows and as many features or more, and its exact solution takes their cube"
            ),
            alternative: "Fewer features or rows, or an iterative model: mlp; logistic for classes.".to_owned(),
        })
    }
}
