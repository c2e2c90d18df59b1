//! Support vector machines: C-SVC, one against one, and epsilon-SVR; equal LIBSVM's within its own tolerance.
//!
//! [`smo`] says what training is; `fold` how a fold's kernels lie in memory, [`vote`] what decisions predict; `cpu` and
//! `gpu` do it. A regression is fitted on the scaled target, and so is `epsilon`.
//!
//! Weights read back: `support` `[vectors, features]`, `dual` `[classes - 1, vectors]` as scikit-learn's `dual_coef_` (of
//! the classes that occur), `intercept` of each pair, `kernel`; whole numbers `class` of each vector among those that occur,
//! `present` their codes, `classes` how many there could be.

mod cpu;
mod fold;
mod gpu;
mod onnx;
mod predict;
pub mod smo;
pub mod vote;

use super::kernels::{self, KernelFunction, KernelKind};
use super::{Agreement, Budget, DataShape, Model, ToOnnx, WeightsError, Work};
use crate::backend::cpu::{CpuOptions, CpuTrainer};
use crate::backend::gpu::{Gpu, GpuTrainer, Kernel};
use crate::backend::{BackendError, Trainer, Weights};
use crate::base::registry::Named;
use crate::data::{Affine, Problem, Task};
use crate::space::{Space, SpaceBuilder};
use ndarray::{Array2, ArrayView2};
use std::sync::Arc;

/// The model's registry entry.
pub struct Svm;

/// One candidate's hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SvmParams {
    /// The kernel.
    pub function: KernelFunction,
    /// Bound of a row's coefficient.
    pub c: f64,
    /// Half the width of the tube in which errors of a regression do not count, in units of the scaled target.
    pub epsilon: f64,
    /// Whether classes weigh the same, however many rows they have.
    pub is_balanced: bool,
    /// Largest violation of the conditions of an optimum: LIBSVM's eps.
    pub tolerance: f64,
}

impl SvmParams {
    /// Reads a candidate's encoded values; what a space does not have takes the model's default.
    pub fn read(space: &Space, point: &[f64]) -> SvmParams {
        let number = |name: &str, default: f64| space.number(point, name).unwrap_or(default);
        SvmParams {
            function: KernelFunction::read(space, point),
            c: number("C", 1.0),
            epsilon: number("epsilon", 0.1),
            is_balanced: space.text(point, "class_weight").as_deref() == Some("balanced"),
            tolerance: number("tolerance", 1e-3),
        }
    }
}

impl Named for Svm {
    fn name(&self) -> &'static str {
        "svm"
    }

    fn summary(&self) -> &'static str {
        "support vector machine (SVC one against one, epsilon-SVR), for up to some ten thousand rows"
    }
}

impl Model for Svm {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification, Task::Regression]
    }

    fn suits(&self, shape: DataShape, memory: u64) -> Result<(), BackendError> {
        // Before folds are prepared: what opening them then counts, if there are five, for a kernel and the two measures that
        // the default space's kernels are functions of.
        let rows = shape.rows as u64;
        kernels::check_memory("svm", shape.rows, rows.saturating_mul(10 * rows), memory)
    }

    fn budget(&self) -> Budget {
        Budget { unit: "iterations", default: 1_000_000 }
    }

    fn space(&self, shape: DataShape) -> Space {
        let builder = SpaceBuilder::new().log("C", 1e-3, 1e3, 1.0).within(1e-9, 1e9);
        let kinds = [KernelKind::Rbf, KernelKind::Polynomial, KernelKind::Linear, KernelKind::Sigmoid];
        let builder = kernels::add_space(builder, &kinds, shape.features, 0.0);
        let builder = match shape.task {
            Task::Classification => builder.categorical("class_weight", &["none", "balanced"], "none"),
            Task::Regression => builder.log("epsilon", 1e-3, 1.0, 0.1).within(0.0, 1e3),
        };
        builder.log("tolerance", 1e-6, 1e-1, 1e-3).within(1e-9, 1.0).held().build()
    }

    /// Effective degrees of freedom, roughly: the kernel's own, as far as C lets them be used.
    fn cost(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        let SvmParams { function, c, .. } = SvmParams::read(space, point);
        let rows = shape.rows as f64;
        let reach = function.gamma * shape.features as f64;
        let own = match function.kind {
            KernelKind::Linear => shape.features as f64,
            KernelKind::Polynomial => shape.features as f64 * f64::from(function.degree),
            _ => rows * reach / (1.0 + reach),
        };
        own.min(rows) * c / (1.0 + c) * shape.outputs.saturating_sub(1).max(1) as f64
    }

    /// The kernel of every training row that supports, all of them at most, and their sums, one a class but one.
    fn prediction(&self, _: &Space, _: &[f64], shape: DataShape) -> f64 {
        (shape.rows * (shape.features + shape.outputs.saturating_sub(1).max(1))) as f64
    }

    fn work(&self, _: &Space, _: &[f64], shape: DataShape, used: u64) -> Work {
        // A step of one pair, whose rows are two classes' share, twice over: the update, and the choice of a partner. The
        // slowest pair's steps are what is reported: one pair's are counted.
        let rows = if shape.outputs > 1 { (2 * shape.rows / shape.outputs) as f64 } else { shape.rows as f64 };
        Work { flops: used as f64 * 8.0 * rows, bytes: used as f64 * 40.0 * rows }
    }

    /// Both make the same steps until two rows are equally good within the rounding of f32 (the GPU keeps its sums in pairs
    /// of f32, the CPU in f64), and then end at other points within LIBSVM's tolerance of the optimum.
    fn agreement(&self) -> Agreement {
        Agreement { budget: 1_000_000, tolerance: 2e-3 }
    }

    fn open_cpu(
        &self,
        space: &Space,
        problem: Arc<Problem>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Trainer>, BackendError> {
        let lanes = cpu::SvmLanes::new(space.clone(), &problem, options)?;
        Ok(Box::new(CpuTrainer::open(lanes, problem, options)?))
    }

    fn open_gpu(&self, space: &Space, problem: Arc<Problem>, device: &Gpu) -> Result<Box<dyn Trainer>, BackendError> {
        cpu::check(space, &problem, true, CpuOptions::default().memory_limit())?;
        Ok(Box::new(GpuTrainer::open(device, gpu::SvmPlan::new(space.clone(), problem))?))
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
        predict::predict(weights, task, target, x)
    }

    fn onnx(&self) -> Option<ToOnnx> {
        Some(onnx::to_onnx)
    }
}
