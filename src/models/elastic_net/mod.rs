//! Linear regression with L1 and L2 penalties: scikit-learn's `ElasticNet`, and `Lasso` where `l1_ratio` is 1.
//!
//! [`solver`] says what is minimised and how; `fold` sums a fold up once, so that no lane needs its rows to be trained;
//! `cpu` and `gpu` do it.
//!
//! `alpha` is against the fold's scaled target, of standard deviation 1: with standardised features no weight is left where
//! `alpha l1_ratio` is 1 or more, whatever the target's units. With `[prepare] target = "none"` it is scikit-learn's `alpha` on
//! the target as it is. Without an intercept the target is scaled but not shifted, so that models go through its own zero.
//!
//! Weights read back: `weight` `[1, features]` and `intercept` `[1]`, for prepared features and the scaled target.
//!
//! The Gram matrix comes from a library's product, so the last bits of a score may differ between processors; on one
//! processor they do not depend on threads, batches or neighbours.

mod cpu;
mod fold;
mod gpu;
pub mod solver;
mod walk;

use super::{Agreement, Budget, DataShape, Explanation, Model, ToOnnx, WeightsError, Work, explain, onnx, predict};
use crate::backend::cpu::{CpuOptions, CpuTrainer};
use crate::backend::gpu::{Gpu, GpuTrainer, Kernel};
use crate::backend::{BackendError, Trainer, Weights};
use crate::base::registry::Named;
use crate::data::{Affine, Problem, Task};
use crate::space::{Space, SpaceBuilder};
use ndarray::{Array2, ArrayView2};
use solver::ElasticNetParams;
use std::sync::Arc;

/// Where the search begins: a hundredth of what leaves no weight.
const ALPHA: f64 = 0.01;
/// Where the search begins, as scikit-learn's.
const L1_RATIO: f64 = 0.5;
/// Features whose Gram matrix is worth having; it takes 512 MiB a fold at this many.
const MOST_FEATURES: usize = 8192;

/// The model's registry entry.
pub struct ElasticNet;

/// The elastic net opened on a space.
struct ElasticNetLanes {
    space: Space,
}

impl Named for ElasticNet {
    fn name(&self) -> &'static str {
        "elastic_net"
    }

    fn summary(&self) -> &'static str {
        "linear regression with L1 and L2 penalties (lasso where l1_ratio is 1), solved to convergence"
    }
}

impl Model for ElasticNet {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Regression]
    }

    fn budget(&self) -> Budget {
        Budget { unit: "iterations", default: 1000 }
    }

    fn space(&self, _: DataShape) -> Space {
        SpaceBuilder::new()
            .log("alpha", 1e-4, 1.0, ALPHA)
            .within(0.0, 1e12)
            .float("l1_ratio", 0.0, 1.0, L1_RATIO)
            .boolean("fit_intercept", true)
            .held()
            .boolean("positive", false)
            .held()
            .build()
    }

    fn cost(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        // Weights that are left of standardised features, roughly: an L1 penalty of 1 leaves none, an L2 penalty of 1 half
        // of each.
        let params = ElasticNetParams::read(space, point);
        let left = (1.0 - params.l1.min(1.0).sqrt()) / (1.0 + params.l2);
        shape.features.min(shape.rows) as f64 * left + f64::from(u8::from(params.fit_intercept))
    }

    fn work(&self, _: &Space, _: &[f64], shape: DataShape, used: u64) -> Work {
        // An iteration is at least a sweep, which is a product with the Gram matrix.
        let features = shape.features as f64;
        Work { flops: used as f64 * 2.0 * features * features, bytes: used as f64 * 16.0 * features }
    }

    /// The CPU solves in f64, a GPU in f32 to a violation of 1e-6, where the objective is flat: a score, a mean over rows,
    /// moves by the violation times the condition of the problem at most.
    fn agreement(&self) -> Agreement {
        Agreement { budget: self.budget().default, tolerance: 5e-5 }
    }

    fn open_cpu(
        &self,
        space: &Space,
        problem: Arc<Problem>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Trainer>, BackendError> {
        self.check(&problem)?;
        Ok(Box::new(CpuTrainer::open(ElasticNetLanes { space: space.clone() }, problem, options)?))
    }

    fn open_gpu(&self, space: &Space, problem: Arc<Problem>, device: &Gpu) -> Result<Box<dyn Trainer>, BackendError> {
        self.check(&problem)?;
        Ok(Box::new(GpuTrainer::open(device, gpu::ElasticNetPlan::new(space.clone(), problem))?))
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

impl ElasticNet {
    /// Refuses more features than a Gram matrix is sane for.
    fn check(&self, problem: &Problem) -> Result<(), BackendError> {
        let features = problem.folds.iter().map(|fold| fold.train.x.ncols()).max().unwrap_or(0);
        if features <= MOST_FEATURES {
            return Ok(());
        }
        Err(BackendError::Unsuited {
            model: self.name(),
            reason: format!("its products of all pairs of {features} features would take gigabytes"),
            alternative: "Fewer features, or ridge, which takes products of rows where those are fewer.".to_owned(),
        })
    }
}
