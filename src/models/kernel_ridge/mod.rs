//! Kernel ridge regression; equals scikit-learn's `KernelRidge` on the scaled target.
//!
//! `KernelRidge` has no intercept: its predictions are pulled towards 0. Here the target is centred (and scaled) by the
//! fold's training rows first, as every regression's is unless a study says otherwise, so they are pulled towards the mean.
//!
//! A kernel matrix is brought to a band once (`band`, of the products in `block` and the reflections in `panel`), after which
//! every `l2` is cheap; `cpu` and `gpu` use what the band gives.
//!
//! Weights read back: `dual` and `dual_rest` `[rows]`, whose sums are the dual weights (for a small `l2` they are large and
//! cancel, and f32 would not do), `rows` `[rows, features]` (the training rows) and `kernel`.

mod band;
mod block;
mod cpu;
mod gpu;
mod panel;
mod predict;

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
pub struct KernelRidge;

/// One candidate's hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RidgeParams {
    /// The kernel.
    pub function: KernelFunction,
    /// scikit-learn's `alpha`.
    pub l2: f64,
}

impl RidgeParams {
    /// Reads a candidate's encoded values; what a space does not have takes the model's default.
    fn read(space: &Space, point: &[f64]) -> RidgeParams {
        let l2 = space.number(point, "l2").unwrap_or(1.0);
        RidgeParams { function: KernelFunction::read(space, point), l2 }
    }
}

impl Named for KernelRidge {
    fn name(&self) -> &'static str {
        "kernel_ridge"
    }

    fn summary(&self) -> &'static str {
        "ridge regression on a kernel (rbf, laplacian, polynomial, linear), for up to some thousand rows"
    }
}

impl Model for KernelRidge {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Regression]
    }

    fn suits(&self, shape: DataShape, memory: u64) -> Result<(), BackendError> {
        // Before folds are prepared: what opening them then counts, if there are five.
        let rows = shape.rows;
        kernels::check_memory("kernel_ridge", rows, cpu::reduced_bytes(rows, rows / 4), memory)
    }

    fn budget(&self) -> Budget {
        Budget { unit: "solve", default: 1 }
    }

    fn space(&self, shape: DataShape) -> Space {
        let kinds = [KernelKind::Rbf, KernelKind::Laplacian, KernelKind::Polynomial, KernelKind::Linear];
        kernels::add_space(SpaceBuilder::new(), &kinds, shape.features, 1.0)
            .log("l2", 1e-4, 1e3, 1.0)
            .within(1e-12, 1e12)
            .build()
    }

    /// Effective degrees of freedom, roughly: the kernel's own, of which the penalty takes its share.
    fn cost(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        let RidgeParams { function, l2 } = RidgeParams::read(space, point);
        let rows = shape.rows as f64;
        let reach = function.gamma * shape.features as f64;
        let own = match function.kind {
            KernelKind::Linear => shape.features as f64,
            KernelKind::Polynomial => shape.features as f64 * f64::from(function.degree),
            _ => rows * reach / (1.0 + reach),
        };
        own.min(rows) / (1.0 + l2)
    }

    /// The kernel of every training row, and a sum over them.
    fn prediction(&self, _: &Space, _: &[f64], shape: DataShape) -> f64 {
        (shape.rows * (shape.features + 1)) as f64
    }

    fn work(&self, _: &Space, _: &[f64], shape: DataShape, _: u64) -> Work {
        let (rows, band) = (shape.rows as f64, band::BAND as f64);
        // What a lane has alone: the band's factor, two products with Q's vectors, and the solution's vectors.
        Work { flops: rows * band * band + 2.0 * rows * rows, bytes: 8.0 * rows * (2.0 * band + 4.0) }
    }

    /// A solution is the same on both: f64, on the host. The device predicts with dual weights and a kernel in f32, whose
    /// rounding (1e-7) the dual weights, up to `1 / l2` of the target, enlarge; over a set's rows the errors have both signs.
    fn agreement(&self) -> Agreement {
        Agreement { budget: 1, tolerance: 1e-4 }
    }

    fn open_cpu(
        &self,
        space: &Space,
        problem: Arc<Problem>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Trainer>, BackendError> {
        let lanes = cpu::RidgeLanes::new(space.clone(), &problem, options)?;
        Ok(Box::new(CpuTrainer::open(lanes, problem, options)?))
    }

    fn open_gpu(&self, space: &Space, problem: Arc<Problem>, device: &Gpu) -> Result<Box<dyn Trainer>, BackendError> {
        let lanes = cpu::RidgeLanes::new(space.clone(), &problem, &CpuOptions::default())?;
        Ok(Box::new(GpuTrainer::open(device, gpu::RidgePlan::new(lanes, problem))?))
    }

    fn kernels(&self) -> Vec<Kernel> {
        gpu::kernels(1)
    }

    fn predict(
        &self,
        weights: &Weights,
        _: Task,
        target: Affine,
        x: ArrayView2<'_, f32>,
    ) -> Result<Array2<f32>, WeightsError> {
        predict::predict(weights, target, x)
    }

    fn onnx(&self) -> Option<ToOnnx> {
        Some(predict::to_onnx)
    }
}
