//! Nearest neighbours: a row is what the training rows around it are. scikit-learn's `KNeighborsClassifier` and
//! `KNeighborsRegressor`.
//!
//! Nothing is trained. For each fold and kind of distance the lists of the rows to score are made once, as long as the space
//! asks for, in the exact order of distances, equal ones in the order of the training rows; every candidate then reads the
//! head of the lists.
//!
//! Weights read back: the fold's training rows `rows` `[n, features]`, with `classes` `[n]` or `targets` `[n]`, and
//! `settings`: neighbours, 1 for weights by distance, the code of the distance, outputs.

mod cpu;
pub mod distance;
mod gpu;
mod onnx;
mod predict;
pub mod search;
mod vote;

use super::{Agreement, Budget, DataShape, Model, ToOnnx, WeightsError, Work};
use crate::backend::cpu::{CpuOptions, CpuTrainer};
use crate::backend::gpu::{Gpu, GpuTrainer, Kernel};
use crate::backend::{BackendError, Trainer, Weights};
use crate::base::registry::Named;
use crate::data::{Affine, Problem, Task};
use crate::space::{Domain, Space, SpaceBuilder, Value};
use distance::Distance;
use ndarray::{Array2, ArrayView2};
use std::sync::Arc;

/// No candidate has more neighbours.
const LARGEST: i64 = 10_000;

/// The model's registry entry.
pub struct Knn;

/// Neighbours opened on a space.
struct KnnLanes {
    space: Space,
    /// The most neighbours that a candidate of the space has.
    most: usize,
}

/// A candidate's hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnnParams {
    /// How many neighbours count; all training rows where there are fewer.
    pub neighbours: usize,
    /// Whether they count by the inverse of their distance.
    pub is_by_distance: bool,
    /// How distances are measured.
    pub distance: Distance,
}

impl KnnParams {
    /// Reads a candidate's encoded values; what a space does not have takes the model's default.
    pub fn read(space: &Space, point: &[f64]) -> KnnParams {
        let metric = space.text(point, "metric");
        let code = Distance::NAMES.iter().position(|name| Some(*name) == metric.as_deref());
        KnnParams {
            neighbours: space.number(point, "k").unwrap_or(5.0).max(1.0) as usize,
            is_by_distance: space.text(point, "weights").as_deref() == Some("distance"),
            distance: Distance::ALL[code.unwrap_or(0)],
        }
    }
}

/// The most neighbours that a candidate of a space has.
fn most_neighbours(space: &Space) -> usize {
    let Some(parameter) = space.index("k").map(|column| &space.parameters[column]) else { return 5 };
    let most = match &parameter.domain {
        Domain::Int { high, .. } => *high as f64,
        Domain::Float { high, .. } => *high,
        Domain::Ordinal(values) | Domain::Categorical(values) => {
            values.iter().filter_map(Value::number).fold(1.0, f64::max)
        }
        Domain::Fixed(value) => value.number().unwrap_or(1.0),
        Domain::Bool => 1.0,
    };
    most.clamp(1.0, LARGEST as f64) as usize
}

/// The kinds of distance that candidates of a space have.
fn distances(space: &Space) -> Vec<Distance> {
    let Some(parameter) = space.index("metric").map(|column| &space.parameters[column]) else {
        return vec![Distance::Euclidean];
    };
    let named = |name: &str| parameter.encode(&Value::Text(name.to_owned())).is_some();
    Distance::ALL.into_iter().filter(|distance| named(Distance::NAMES[distance.code()])).collect()
}

impl Named for Knn {
    fn name(&self) -> &'static str {
        "knn"
    }

    fn summary(&self) -> &'static str {
        "nearest neighbours, weighted alike or by distance, for classes and numbers"
    }
}

impl Model for Knn {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification, Task::Regression]
    }

    fn takes_weights(&self) -> bool {
        false
    }

    fn budget(&self) -> Budget {
        Budget { unit: "pass", default: 1 }
    }

    fn space(&self, shape: DataShape) -> Space {
        SpaceBuilder::new()
            .log_int("k", 1, (shape.rows as i64 / 2).clamp(2, 50), (shape.rows as i64 / 2).clamp(2, 5))
            .within_whole(1, LARGEST)
            .categorical("weights", &["uniform", "distance"], "uniform")
            .categorical("metric", &Distance::NAMES, "euclidean")
            .build()
    }

    fn cost(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        // Rows over neighbours: about as many neighbourhoods with a value of their own (Hastie et al. 2009, 2.3.2).
        let params = KnnParams::read(space, point);
        shape.rows as f64 / params.neighbours.min(shape.rows.max(1)) as f64
    }

    /// Every training row's distance, and the neighbours' votes.
    fn prediction(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        let neighbours = KnnParams::read(space, point).neighbours.min(shape.rows);
        (shape.rows * shape.features + neighbours) as f64
    }

    fn work(&self, space: &Space, point: &[f64], shape: DataShape, used: u64) -> Work {
        // The lists are the fold's. Of five folds a lane scores a quarter of the rows that it has for neighbours.
        let params = KnnParams::read(space, point);
        let votes = used as f64 * 0.25 * shape.rows as f64 * params.neighbours.min(shape.rows) as f64;
        Work { flops: 2.0 * votes, bytes: 8.0 * votes }
    }

    /// Votes are a few sums in f32. Order is decided in f64 on the processor and in pairs of f32 on a GPU, which tell apart
    /// what differs by 1e-13 of a distance; where nothing is nearer to a tie than that, scores differ by roundings.
    fn agreement(&self) -> Agreement {
        Agreement { budget: 1, tolerance: 1e-5 }
    }

    fn open_cpu(
        &self,
        space: &Space,
        problem: Arc<Problem>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Trainer>, BackendError> {
        let lanes = KnnLanes { space: space.clone(), most: most_neighbours(space) };
        Ok(Box::new(CpuTrainer::open(lanes, problem, options)?))
    }

    fn open_gpu(&self, space: &Space, problem: Arc<Problem>, device: &Gpu) -> Result<Box<dyn Trainer>, BackendError> {
        Ok(Box::new(GpuTrainer::open(device, gpu::KnnPlan::new(space.clone(), problem)?)?))
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
