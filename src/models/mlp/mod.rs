//! The multilayer perceptron: 1 to 3 hidden layers for classes or numbers, trained by minibatches.
//!
//! [`recipe`] says what training is; `cpu` and `gpu` do it; `predict` uses what was trained.

mod activation;
mod alone;
mod cpu;
mod gpu;
mod networks;
mod optimizer;
mod predict;
pub mod recipe;
mod together;

use super::linear::ClassWeight;
use super::{Agreement, Budget, DataShape, Explanation, Model, ToOnnx, WeightsError, Work};
use crate::backend::cpu::{CpuOptions, CpuTrainer};
use crate::backend::gpu::{Gpu, GpuTrainer, Kernel};
use crate::backend::{BackendError, Trainer, Weights};
use crate::base::registry::Named;
use crate::data::{Affine, Problem, Task};
use crate::space::{Space, SpaceBuilder};
use ndarray::{Array2, ArrayView2};
use recipe::{Activation, MlpParams, Optimizer, Schedule};
use std::sync::Arc;

/// The model's registry entry.
pub struct Mlp;

/// The perceptron opened on a space, with the budget that its schedules are made for.
struct MlpLanes {
    space: Space,
    budget: u64,
}

impl Named for Mlp {
    fn name(&self) -> &'static str {
        "mlp"
    }

    fn summary(&self) -> &'static str {
        "multilayer perceptron, 1 to 3 hidden layers, Adam or SGD, for classes and numbers"
    }
}

impl Model for Mlp {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification, Task::Regression]
    }

    fn budget(&self) -> Budget {
        Budget { unit: "epochs", default: 30 }
    }

    /// Not the momentum: a lane's bias correction is by its powers from the first step on.
    fn schedulable(&self) -> &'static [&'static str] {
        &["learning_rate", "weight_decay", "dropout", "label_smoothing"]
    }

    fn space(&self, shape: DataShape) -> Space {
        // More rows than 128 in a step, or more than the fold has, only slow learning down.
        let batches: Vec<i64> =
            [16, 32, 64, 128].into_iter().filter(|&rows| rows <= shape.rows.max(16) as i64).collect();
        let builder = SpaceBuilder::new()
            .int("layers", 1, recipe::MAX_LAYERS as i64, 1)
            .log_int("hidden", 8, 256, 64)
            .within_whole(1, 4096)
            .categorical("activation", &Activation::NAMES, "relu")
            .categorical("optimizer", &Optimizer::NAMES, "adam")
            .held()
            .log("learning_rate", 1e-4, 1e-1, 1e-3)
            .within(0.0, 1e3)
            .float("momentum", 0.5, 0.99, 0.9)
            .within(0.0, 0.9999)
            .held()
            .log("weight_decay", 1e-6, 1.0, 1e-4)
            .within(0.0, 1e3)
            .ordinal("batch", &batches, 32.min(batches.last().copied().unwrap_or(32)))
            .within_whole(1, 32_768)
            .categorical("schedule", &Schedule::NAMES, "cosine")
            .float("dropout", 0.0, 0.5, 0.0)
            .within(0.0, 0.99);
        match shape.task {
            Task::Classification => builder
                .float("label_smoothing", 0.0, 0.2, 0.0)
                .within(0.0, 1.0)
                .categorical("class_weight", &ClassWeight::NAMES, "none")
                .held()
                .build(),
            Task::Regression => builder.build(),
        }
    }

    fn cost(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        MlpParams::read(space, point).weights(shape.features, shape.outputs) as f64
    }

    fn prediction(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        self.cost(space, point, shape)
    }

    fn work(&self, space: &Space, point: &[f64], shape: DataShape, used: u64) -> Work {
        let params = MlpParams::read(space, point);
        let products = |skip: usize| -> f64 {
            let shapes = params.shapes(shape.features, shape.outputs).skip(skip);
            shapes.map(|(inputs, units)| (inputs * units) as f64).sum()
        };
        // Outputs and weight gradients of every layer, input gradients of all but the first.
        let flops_a_row = 2.0 * (2.0 * products(0) + products(1));
        let arrays = if params.optimizer == Optimizer::Adam { 3.0 } else { 2.0 };
        let bytes_a_step = 2.0 * 4.0 * arrays * params.weights(shape.features, shape.outputs) as f64;
        let steps = used as f64 * params.steps_per_epoch(shape.rows) as f64;
        Work { flops: used as f64 * shape.rows as f64 * flops_a_row, bytes: steps * bytes_a_step }
    }

    /// Two roundings of the same steps drift apart, the faster the higher the rate. Measured after one epoch: on the
    /// digits, moving the learning rate by one f32 ulp moves the scores of nine random candidates in ten by less than
    /// 1e-7, and of the worst of 1,000 by 3e-6; on california_housing, with many more steps, the worst of 200 (a rate of
    /// 0.05) by 8e-4. A GPU rounds otherwise in every step: on lavapipe the digits' scores differed by 2e-7 in the
    /// default shape, by 6e-5 in random ones. Points that are a fiftieth off differ by more than is allowed here.
    fn agreement(&self) -> Agreement {
        Agreement { budget: 1, tolerance: 1e-3 }
    }

    fn open_cpu(
        &self,
        space: &Space,
        problem: Arc<Problem>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Trainer>, BackendError> {
        let lanes = MlpLanes { space: space.clone(), budget: problem.budget };
        Ok(Box::new(CpuTrainer::open(lanes, problem, options)?))
    }

    fn open_gpu(&self, space: &Space, problem: Arc<Problem>, device: &Gpu) -> Result<Box<dyn Trainer>, BackendError> {
        Ok(Box::new(GpuTrainer::open(device, gpu::MlpPlan::new(space.clone(), problem))?))
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

    fn explain(&self, weights: &Weights, _: Task, _: Affine, _: usize) -> Result<Explanation, WeightsError> {
        predict::explain(weights)
    }

    fn onnx(&self) -> Option<ToOnnx> {
        Some(predict::to_onnx)
    }
}

impl MlpParams {
    /// Reads a candidate's encoded values; what a space does not have takes the model's default.
    pub fn read(space: &Space, point: &[f64]) -> MlpParams {
        let number = |name: &str, default: f64| space.number(point, name).unwrap_or(default);
        let code = |name: &str, names: &[&str]| {
            let chosen = space.text(point, name);
            names.iter().position(|name| Some(*name) == chosen.as_deref()).unwrap_or(0) as f64
        };
        let layers = number("layers", 1.0) as u32;
        let mut hidden = [0; recipe::MAX_LAYERS];
        hidden[..layers as usize].fill(number("hidden", 64.0) as u32);
        MlpParams {
            hidden,
            layers,
            activation: Activation::from_code(code("activation", &Activation::NAMES)),
            optimizer: Optimizer::from_code(code("optimizer", &Optimizer::NAMES)),
            learning_rate: number("learning_rate", 1e-3) as f32,
            momentum: number("momentum", 0.9) as f32,
            weight_decay: number("weight_decay", 1e-4) as f32,
            batch: number("batch", 32.0) as u32,
            schedule: Schedule::from_code(code("schedule", &Schedule::NAMES)),
            dropout: number("dropout", 0.0) as f32,
            label_smoothing: number("label_smoothing", 0.0) as f32,
            is_balanced: code("class_weight", &ClassWeight::NAMES) == 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_by_its_products() {
        let shape = DataShape { task: Task::Classification, rows: 100, features: 64, outputs: 10 };
        let space = Mlp.space(shape);
        let work = Mlp.work(&space, &space.defaults(), shape, 2);
        // 64-64-10 over 2 epochs of 100 rows: 6 operations a weight, but for the first layer's input gradient.
        assert_eq!(work.flops, 200.0 * (6.0 * (64.0 * 64.0 + 64.0 * 10.0) - 2.0 * 64.0 * 64.0));
        // 4 steps an epoch at 32 rows; weights and both moments of Adam, read and written.
        assert_eq!(work.bytes, 8.0 * 24.0 * (65.0 * 64.0 + 65.0 * 10.0));
    }
}
