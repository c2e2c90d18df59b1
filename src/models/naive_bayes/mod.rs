//! Gaussian naive Bayes: within a class, features are independent and normal. scikit-learn's `GaussianNB`.
//!
//! [`moments`] says what a fold's rows give, once for all lanes; a lane adds its smoothing. On the CPU likelihoods are f64:
//! where a feature is constant within its classes, a row off it costs every class a billion nats alike, and what decides
//! between them is the rest.
//!
//! Weights read back: `mean` and `deviation` `[classes, features]`, the deviation with the lane's smoothing in it, and
//! `prior` `[classes]`, 0 for a class that no training row has. Such a class is predicted with probability 0.

mod cpu;
mod gpu;
pub mod moments;
mod predict;

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
pub struct NaiveBayes;

/// Naive Bayes opened on a space.
struct NaiveBayesLanes {
    space: Space,
}

/// A candidate's hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NaiveBayesParams {
    /// Share of the largest variance of a feature that is added to every variance.
    pub smoothing: f64,
    /// Whether classes are taken to be equally frequent, rather than as frequent as they are.
    pub has_uniform_priors: bool,
}

impl NaiveBayesParams {
    /// Reads a candidate's encoded values; what a space does not have takes the model's default.
    pub fn read(space: &Space, point: &[f64]) -> NaiveBayesParams {
        NaiveBayesParams {
            smoothing: space.number(point, "smoothing").unwrap_or(1e-9),
            has_uniform_priors: space.text(point, "priors").as_deref() == Some("uniform"),
        }
    }
}

impl Named for NaiveBayes {
    fn name(&self) -> &'static str {
        "naive_bayes"
    }

    fn summary(&self) -> &'static str {
        "Gaussian naive Bayes with smoothed variances"
    }
}

impl Model for NaiveBayes {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification]
    }

    fn budget(&self) -> Budget {
        Budget { unit: "pass", default: 1 }
    }

    fn space(&self, _: DataShape) -> Space {
        SpaceBuilder::new()
            .log("smoothing", 1e-10, 1.0, 1e-9)
            .within(1e-15, 1e6)
            .categorical("priors", &["empirical", "uniform"], "empirical")
            .build()
    }

    fn cost(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        // A mean and a variance a class and feature; smoothing as large as the largest variance leaves half of what
        // variances say.
        let params = NaiveBayesParams::read(space, point);
        let moments = (shape.features * shape.outputs) as f64 * (1.0 + 1.0 / (1.0 + params.smoothing));
        moments + if params.has_uniform_priors { 0.0 } else { shape.outputs.saturating_sub(1) as f64 }
    }

    /// A difference, its square and its product, a class and feature.
    fn prediction(&self, _: &Space, _: &[f64], shape: DataShape) -> f64 {
        3.0 * (shape.features * shape.outputs) as f64
    }

    fn work(&self, _: &Space, _: &[f64], shape: DataShape, used: u64) -> Work {
        // The moments are the fold's; a lane adds its smoothing to each, and takes its reciprocal and its logarithm.
        let entries = used as f64 * (shape.features * shape.outputs) as f64;
        Work { flops: 3.0 * entries, bytes: 8.0 * entries }
    }

    /// A GPU has f32, whose rounding of a variance by 6e-8 moves the log likelihoods by as much of themselves; their sums
    /// are compensated. That shows where two classes are about equally likely at thousands of nats; measured on lavapipe,
    /// on four data sets with smoothings from 1e-10 to 100, probabilities differed by 5e-7 at most.
    fn agreement(&self) -> Agreement {
        Agreement { budget: 1, tolerance: 1e-4 }
    }

    fn open_cpu(
        &self,
        space: &Space,
        problem: Arc<Problem>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Trainer>, BackendError> {
        Ok(Box::new(CpuTrainer::open(NaiveBayesLanes { space: space.clone() }, problem, options)?))
    }

    fn open_gpu(&self, space: &Space, problem: Arc<Problem>, device: &Gpu) -> Result<Box<dyn Trainer>, BackendError> {
        Ok(Box::new(GpuTrainer::open(device, gpu::NaiveBayesPlan::new(space.clone(), problem))?))
    }

    fn kernels(&self) -> Vec<Kernel> {
        gpu::kernels()
    }

    fn predict(
        &self,
        weights: &Weights,
        _: Task,
        _: Affine,
        x: ArrayView2<'_, f32>,
    ) -> Result<Array2<f32>, WeightsError> {
        predict::predict(weights, x)
    }

    fn onnx(&self) -> Option<ToOnnx> {
        Some(predict::to_onnx)
    }
}
