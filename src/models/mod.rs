//! Layer 3: the built-in models. One file or folder, one shader, one line in [`MODELS`].

pub mod elastic_net;
mod explain;
pub mod forest;
pub mod gbdt;
mod hypergradient;
pub mod kernel_ridge;
mod kernels;
pub mod knn;
mod linear;
pub mod logistic;
pub mod mlp;
pub mod naive_bayes;
mod onnx;
mod predict;
pub mod ridge;
mod slopes;
mod squared_errors;
pub mod svm;
pub mod trees;

pub use explain::{Explanation, FeatureKind, FeatureNumbers};

use crate::backend::cpu::CpuOptions;
use crate::backend::gpu::{Gpu, Kernel};
use crate::backend::{BackendError, Trainer, Weights};
use crate::base::onnx::{Graph, Value};
use crate::base::registry::{self, Named, UnknownName};
use crate::data::{Affine, Input, Problem, Task};
use crate::space::Space;
use ndarray::{Array2, ArrayView2};
use std::sync::Arc;

/// What a default space may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataShape {
    /// What is predicted.
    pub task: Task,
    /// Training rows of a fold.
    pub rows: usize,
    /// Prepared features; with [`Input::Columns`] the columns that vary.
    pub features: usize,
    /// Number of classes, or 1.
    pub outputs: usize,
}

/// What a model's budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The unit's name: "epochs", "iterations".
    pub unit: &'static str,
    /// What a lane gets when the study says nothing.
    pub default: u64,
}

impl Budget {
    /// Whether a lane can be scored on its way to its budget. What is trained in one step cannot.
    pub fn has_steps(&self) -> bool {
        self.default > 1
    }

    /// What schedulers count: the unit, or where a model has one step, the rows that it is trained on.
    pub fn counted(&self) -> &'static str {
        if self.has_steps() { self.unit } else { "rows" }
    }
}

/// What training a lane takes at least: counted from the algorithm, so that it is the same on every backend.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work {
    /// f32 operations of its matrix products, a fused multiply-add as two.
    pub flops: f64,
    /// Bytes of the lane's own state (weights, moments, pairs) that its steps read and write. What all lanes of a fold
    /// share is not counted. Where state stays in registers and caches, memory sees less.
    pub bytes: f64,
}

/// How closely two backends agree on a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Units of budget after which lanes are compared.
    pub budget: u64,
    /// Largest relative difference of their scores by a metric that moves with every prediction (log loss, RMSE).
    pub tolerance: f64,
}

/// A family of models that can be trained in lanes.
pub trait Model: Named {
    /// The tasks it can learn.
    fn tasks(&self) -> &'static [Task];
    /// What it wants of a table's columns.
    fn input(&self) -> Input {
        Input::Features
    }
    /// Whether sample weights have a meaning for its training.
    fn takes_weights(&self) -> bool {
        true
    }
    /// Whether its method is sane for data of this shape, with so many bytes of memory for all lanes in training.
    fn suits(&self, _: DataShape, _memory: u64) -> Result<(), BackendError> {
        Ok(())
    }
    /// What its budget counts.
    fn budget(&self) -> Budget;
    /// Whether a candidate's lanes may end before their budget because of how they score on their fold's first row set to
    /// score. What such a lane reports as used is then a choice, like a hyperparameter, and is what the candidate gets
    /// where it is trained without such rows.
    fn stops_by_validation(&self, _: &Space, _point: &[f64]) -> bool {
        false
    }
    /// Hyperparameters that may change while a lane is trained: each step reads them afresh, and a lane's state is laid out
    /// alike whatever they are. Population-based training schedules these.
    fn schedulable(&self) -> &'static [&'static str] {
        &[]
    }
    /// Every hyperparameter with its default range, scale, condition and default value.
    fn space(&self, shape: DataShape) -> Space;
    /// Size of a candidate, to break ties and for the one-standard-error choice: less is simpler. Roughly the number of
    /// effective weights; stronger regularisation counts as simpler.
    fn cost(&self, space: &Space, point: &[f64], shape: DataShape) -> f64;
    /// What predicting a row takes, in operations: products that are added, comparisons, distances' terms. Of what only the
    /// trained model knows (support rows, leaves) it is the most that there can be. A linear model's, where a model doesn't say.
    fn prediction(&self, _space: &Space, _point: &[f64], shape: DataShape) -> f64 {
        (shape.features * shape.outputs) as f64
    }
    /// What training one lane takes, for shares of a device's peaks; `used` is what its report says of its budget.
    fn work(&self, space: &Space, point: &[f64], shape: DataShape, used: u64) -> Work;
    /// How closely the CPU and a GPU agree; each model says why.
    fn agreement(&self) -> Agreement;
    /// Opens the model on the CPU.
    fn open_cpu(
        &self,
        space: &Space,
        problem: Arc<Problem>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Trainer>, BackendError>;
    /// Opens the model on a GPU.
    fn open_gpu(&self, space: &Space, problem: Arc<Problem>, gpu: &Gpu) -> Result<Box<dyn Trainer>, BackendError>;
    /// Every kernel that it runs on a GPU, as it is compiled there.
    fn kernels(&self) -> Vec<Kernel>;
    /// Predicts on the host from weights that were read back: `[rows, outputs]` probabilities, or values in the
    /// target's own units. Errors when the weights' names or shapes are not this model's.
    fn predict(
        &self,
        weights: &Weights,
        task: Task,
        target: Affine,
        x: ArrayView2<'_, f32>,
    ) -> Result<Array2<f32>, WeightsError>;
    /// What trained weights for rows of so many features say of themselves, in the features' order. Errors as `predict` does.
    fn explain(
        &self,
        _weights: &Weights,
        _task: Task,
        _target: Affine,
        _features: usize,
    ) -> Result<Explanation, WeightsError> {
        Ok(Explanation::default())
    }
    /// How the operators of ONNX say what `predict` does; `None` where they cannot.
    fn onnx(&self) -> Option<ToOnnx> {
        None
    }
}

/// Adds a model to a graph: from the features `[rows, features]` to what `predict` gives of them.
pub type ToOnnx = fn(&Weights, Task, Affine, &mut Graph, &Value) -> Result<Value, WeightsError>;

/// Weights that do not fit the model or the rows they are used on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the weights do not fit the model: {0}")]
pub struct WeightsError(pub String);

/// Every model.
pub static MODELS: &[&dyn Model] = &[
    // A line each: what is linear in the features, what compares rows, trees, networks.
    &ridge::Ridge,
    &elastic_net::ElasticNet,
    &logistic::Logistic,
    &naive_bayes::NaiveBayes,
    &knn::Knn,
    &kernel_ridge::KernelRidge,
    &svm::Svm,
    &forest::Forest,
    &gbdt::Gbdt,
    &mlp::Mlp,
];

/// Finds a model by name.
pub fn find(name: &str) -> Result<&'static dyn Model, UnknownName> {
    registry::find("model", MODELS, name)
}
