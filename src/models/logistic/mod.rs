//! Multinomial logistic regression (softmax) with L2, L1 and elastic-net penalties; converges to scikit-learn's
//! `LogisticRegression`.
//!
//! [`solver`] says what training is, `orthant` what is otherwise where there is an L1 term; [`path`] where it starts; `cpu`
//! and `gpu` do it. The fold's eigenbasis comes from a library's factorisation, so the last bits of a score may differ between
//! processors, but not with an L1 term; on one processor they do not depend on threads, batches or neighbours.
//!
//! Weights read back: `weight` `[classes, features]` and `intercept` `[classes]`, in the prepared features' own basis.
//! A class that no training row of the fold has gets weights of zero and the intercept [`solver::ABSENT`], which
//! predicts it with probability 0. With two classes the rows of `weight` are `-w/2` and `+w/2` of scikit-learn's `coef_`.

mod basis;
mod cpu;
mod gpu;
mod loss;
mod orthant;
pub mod path;
pub mod solver;
mod walk;

use super::{Agreement, Budget, DataShape, Explanation, Model, ToOnnx, WeightsError, Work, explain, onnx, predict};
use crate::backend::cpu::{CpuOptions, CpuTrainer};
use crate::backend::gpu::{Gpu, GpuTrainer, Kernel};
use crate::backend::{BackendError, Trainer, Weights};
use crate::base::registry::Named;
use crate::data::{Affine, Problem, Task};
use crate::space::{Domain, Space, SpaceBuilder};
use ndarray::{Array2, ArrayView2};
use solver::{ClassWeight, LogisticParams, PENALTIES};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Where the search of each penalty begins: scikit-learn's, `C = 1`.
const L2: f64 = 1.0;
/// See [`L2`].
const L1: f64 = 1.0;
/// See [`L2`].
const ALPHA: f64 = 1.0;
/// Half of each.
const L1_RATIO: f64 = 0.5;

/// The model's registry entry.
pub struct Logistic;

/// The softmax opened on a space.
struct LogisticLanes {
    space: Space,
    /// The penalties that the space can give.
    searched: RangeInclusive<f32>,
}

impl Named for Logistic {
    fn name(&self) -> &'static str {
        "logistic"
    }

    fn summary(&self) -> &'static str {
        "multinomial logistic regression with an L2, L1 or elastic-net penalty (1/C of scikit-learn), solved to convergence"
    }
}

impl Model for Logistic {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification]
    }

    fn budget(&self) -> Budget {
        Budget { unit: "iterations", default: 1000 }
    }

    fn space(&self, _: DataShape) -> Space {
        SpaceBuilder::new()
            .categorical("penalty", &PENALTIES, "l2")
            .held()
            .log("l2", 1e-4, 1e4, L2)
            .within(1e-8, 1e8)
            .when("l2", "penalty", &["l2"])
            .log("l1", 1e-4, 1e4, L1)
            .within(0.0, 1e8)
            .when("l1", "penalty", &["l1"])
            .log("alpha", 1e-4, 1e4, ALPHA)
            .within(0.0, 1e8)
            .when("alpha", "penalty", &["elastic_net"])
            .float("l1_ratio", 0.0, 1.0, L1_RATIO)
            .when("l1_ratio", "penalty", &["elastic_net"])
            .boolean("fit_intercept", true)
            .held()
            .float("tolerance", 0.0, 1e-2, 0.0)
            .within(0.0, 1.0)
            .held()
            .categorical("class_weight", &ClassWeight::NAMES, "none")
            .held()
            .build()
    }

    fn cost(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        // Effective degrees of freedom: a feature of unit variance has a curvature of about rows / 4 against the penalty. With
        // an L1 term they are about the weights that are left, which are none where it is rows / 2, a feature's largest
        // gradient.
        let params = LogisticParams::read(space, point);
        let curvature = 0.25 * shape.rows as f64;
        let left = 1.0 - (f64::from(params.l1.unwrap_or(0.0)) / (2.0 * curvature)).min(1.0).sqrt();
        let freedom = left * shape.features as f64 * curvature / (curvature + f64::from(params.l2));
        (shape.outputs.saturating_sub(1)) as f64 * (freedom + f64::from(u8::from(params.fit_intercept)))
    }

    fn work(&self, _: &Space, _: &[f64], shape: DataShape, used: u64) -> Work {
        let weights = (shape.features * shape.outputs) as f64;
        // Logits and gradient; then every pair of the memory twice, with weights, gradient, direction and curvature.
        let arrays = (4 * solver::MEMORY + 8) as f64;
        Work { flops: used as f64 * 4.0 * shape.rows as f64 * weights, bytes: used as f64 * 4.0 * arrays * weights }
    }

    /// Both solve to the same optimum, where the loss is flat: what is left is what f32 cannot tell apart of a mean
    /// over rows, some ulps (6e-8) times the condition of the problem.
    fn agreement(&self) -> Agreement {
        Agreement { budget: self.budget().default, tolerance: 5e-5 }
    }

    fn open_cpu(
        &self,
        space: &Space,
        problem: Arc<Problem>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Trainer>, BackendError> {
        let lanes = LogisticLanes { space: space.clone(), searched: searched(space) };
        Ok(Box::new(CpuTrainer::open(lanes, problem, options)?))
    }

    fn open_gpu(&self, space: &Space, problem: Arc<Problem>, device: &Gpu) -> Result<Box<dyn Trainer>, BackendError> {
        Ok(Box::new(GpuTrainer::open(device, gpu::LogisticPlan::new(space.clone(), problem))?))
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

impl LogisticParams {
    /// Reads a candidate's encoded values; what a space does not have takes the model's default.
    pub fn read(space: &Space, point: &[f64]) -> LogisticParams {
        let number = |name: &str, default: f64| space.number(point, name).unwrap_or(default);
        let (l2, l1) = match space.text(point, "penalty").as_deref() {
            Some("l1") => (0.0, Some(number("l1", L1))),
            Some("elastic_net") => {
                let (alpha, l1_ratio) = (number("alpha", ALPHA), number("l1_ratio", L1_RATIO));
                (alpha * (1.0 - l1_ratio), Some(alpha * l1_ratio))
            }
            _ => (number("l2", L2), None),
        };
        LogisticParams {
            l2: l2 as f32,
            l1: l1.map(|l1| l1 as f32),
            fit_intercept: space.number(point, "fit_intercept") != Some(0.0),
            tolerance: number("tolerance", 0.0) as f32,
            class_weight: ClassWeight::from_name(space.text(point, "class_weight").as_deref()),
        }
    }
}

/// The penalties that a space can give, as far as it is a range of numbers.
fn searched(space: &Space) -> RangeInclusive<f32> {
    match space.index("l2").map(|column| &space.parameters[column].domain) {
        Some(Domain::Float { low, high, .. }) => *low as f32..=*high as f32,
        Some(Domain::Int { low, high, .. }) => *low as f32..=*high as f32,
        _ => f32::INFINITY..=f32::INFINITY,
    }
}
