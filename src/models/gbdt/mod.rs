//! Gradient boosted trees, histogram-based, as LightGBM grows them (Ke et al. 2017).
//!
//! A round computes every training row's gradient and hessian ([`objective`]), makes them whole numbers, and grows a tree
//! on them ([`grow`]), or one a class. From there on all that decides is a sum of whole numbers, or a fixed sequence of
//! f32 operations on such sums, each rounded once and none of them fused ([`split`]): bits depend neither on the
//! processor nor on the order of sums. What keeps to the following grows the same trees to the last bit on a GPU:
//! products are kept from being fused with a following sum (WGSL allows fusing: the product goes through its bits and an
//! exclusive or with a zero that the compiler does not know), quotients are corrected to the nearest f32 by whole-number
//! arithmetic on mantissas (WGSL's may be 2.5 ulp off), and gradients and hessians are summed in two 32-bit words.
//!
//! Weights read back: those of [`crate::models::trees::tree::Trees`], round by round and class by class, with [`START`],
//! where the scores start, and [`OBJECTIVE`].

mod cpu;
pub mod exact;
pub mod fold;
mod frozen;
mod gpu;
pub mod grow;
pub mod objective;
pub mod params;
pub mod sample;
pub mod split;
mod validate;

use super::predict::{floats, integers};
use super::trees::explain::ShareOf;
use super::trees::tree::Trees;
use super::{Agreement, Budget, DataShape, Explanation, Model, ToOnnx, WeightsError, Work, onnx};
use crate::backend::cpu::{CpuOptions, CpuTrainer};
use crate::backend::gpu::{Gpu, GpuTrainer, Kernel};
use crate::backend::{BackendError, IntegerArray, Trainer, WeightArray, Weights};
use crate::base::onnx::{Attribute, Graph, Value};
use crate::base::registry::Named;
use crate::data::{Affine, Input, Problem, Target, Task};
use crate::space::{self, Domain, Space};
use cpu::Workspace;
use ndarray::{Array2, ArrayView2};
use objective::Loss;
use params::{GbdtParams, Objective};
use std::sync::{Arc, Mutex};

/// The weights' array of where scores start, one a score.
pub const START: &str = "start";
/// The weights' one number of the objective, as [`Objective::from_code`] reads it.
pub const OBJECTIVE: &str = "objective";

/// The model's registry entry.
pub struct Gbdt;

/// Boosting opened on a space.
struct GbdtLanes {
    space: Space,
    task: Task,
    /// The study's full budget.
    budget: u64,
    workspaces: Mutex<Vec<Workspace>>,
}

impl Named for Gbdt {
    fn name(&self) -> &'static str {
        "gbdt"
    }

    fn summary(&self) -> &'static str {
        "gradient boosted trees on binned columns, with missing values and categories as they are"
    }
}

impl Model for Gbdt {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification, Task::Regression]
    }

    fn input(&self) -> Input {
        Input::Columns
    }

    fn budget(&self) -> Budget {
        Budget { unit: "trees", default: 500 }
    }

    fn schedulable(&self) -> &'static [&'static str] {
        &["learning_rate", "min_child_weight", "l2", "row_share", "column_share"]
    }

    fn space(&self, shape: DataShape) -> Space {
        params::space(shape.task == Task::Regression)
    }

    fn stops_by_validation(&self, space: &Space, point: &[f64]) -> bool {
        GbdtParams::read(space, point).early_stopping > 0
    }

    /// Leaves of all trees.
    fn cost(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        let params = GbdtParams::read(space, point);
        let scores = if shape.outputs > 2 { shape.outputs } else { 1 };
        (params.trees * scores as u64) as f64 * params.most_leaves(shape.rows) as f64
    }

    /// Comparisons on the way down each tree, as deep as a balanced one of so many leaves, and an addition.
    fn prediction(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        let leaves = GbdtParams::read(space, point).most_leaves(shape.rows) as f64;
        self.cost(space, point, shape) / leaves * (leaves.log2().ceil() + 1.0)
    }

    /// A row is added to a histogram of every column once for the root, and on every level below for the smaller child of
    /// each node; every leaf scans two words and twenty operations a bin.
    fn work(&self, space: &Space, point: &[f64], shape: DataShape, used: u64) -> Work {
        let params = GbdtParams::read(space, point);
        let trees = used as f64 * if shape.outputs > 2 { shape.outputs as f64 } else { 1.0 };
        let leaves = params.most_leaves(shape.rows) as f64;
        let added = shape.rows as f64 * f64::from(params.row_share) * (1.0 + 0.5 * leaves.log2());
        let columns = shape.features as f64 * f64::from(params.column_share);
        let scanned = 2.0 * leaves * f64::from(params.bins.min(shape.rows as u32));
        Work { flops: trees * columns * 20.0 * scanned, bytes: trees * columns * (17.0 * added + 8.0 * scanned) }
    }

    /// All that decides is whole numbers and single rounded operations: the same trees, and so the same scores but for
    /// the last step to probabilities.
    fn agreement(&self) -> Agreement {
        Agreement { budget: 50, tolerance: 1e-6 }
    }

    fn open_cpu(
        &self,
        space: &Space,
        problem: Arc<Problem>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Trainer>, BackendError> {
        check(space, &problem)?;
        let lanes = GbdtLanes {
            space: space.clone(),
            task: problem.task,
            budget: problem.budget,
            workspaces: Mutex::default(),
        };
        Ok(Box::new(CpuTrainer::open(lanes, problem, options)?))
    }

    fn open_gpu(&self, space: &Space, problem: Arc<Problem>, device: &Gpu) -> Result<Box<dyn Trainer>, BackendError> {
        check(space, &problem)?;
        Ok(Box::new(GpuTrainer::open(device, gpu::GbdtPlan::new(space.clone(), problem)?)?))
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
        let Boosted { trees, start, objective, loss } = parse(weights, task, x.ncols())?;
        let outputs = if loss == Loss::Binary { 2 } else { start.len() };
        let mut out = Array2::zeros((x.nrows(), outputs));
        let (mut scores, mut row, mut predicted) = (start.to_vec(), vec![0.0; x.ncols()], vec![0.0; outputs]);
        for (from, mut out) in x.rows().into_iter().zip(out.rows_mut()) {
            row.iter_mut().zip(from).for_each(|(row, x)| *row = *x);
            scores.copy_from_slice(start);
            for tree in 0..trees.len() {
                scores[tree % start.len()] += trees.values(trees.leaf_of(tree, &row))[0];
            }
            objective::predict(loss, &scores, &mut predicted);
            if fold::is_scaled(task, objective) {
                predicted.iter_mut().for_each(|y| *y = *y * target.scale + target.shift);
            }
            out.iter_mut().zip(&predicted).for_each(|(out, value)| *out = *value);
        }
        Ok(out)
    }

    /// Gains are LightGBM's: twice what a split takes off the loss.
    fn explain(&self, weights: &Weights, task: Task, _: Affine, features: usize) -> Result<Explanation, WeightsError> {
        let Boosted { trees, start, .. } = parse(weights, task, features)?;
        let mut explanation = trees.explain(features, ShareOf::AllTrees);
        explanation.facts.insert(0, ("rounds", (trees.len() / start.len()).to_string()));
        Ok(explanation)
    }

    fn onnx(&self) -> Option<ToOnnx> {
        Some(to_onnx)
    }
}

/// The weights of trees: what `parse` reads.
fn to_weights(trees: &Trees, start: &[f32], objective: Objective) -> Weights {
    let mut weights = trees.to_weights();
    let (shape, values) = (vec![start.len()], start.to_vec());
    weights.arrays.push(WeightArray { name: START.to_owned(), shape, values });
    let (shape, values) = (vec![1], vec![objective as u32]);
    weights.integers.push(IntegerArray { name: OBJECTIVE.to_owned(), shape, values });
    weights
}

/// What weights hold.
struct Boosted<'a> {
    trees: Trees,
    /// Where scores start.
    start: &'a [f32],
    objective: Objective,
    loss: Loss,
}

/// Refuses counts below 0 where every candidate would count.
fn check(space: &Space, problem: &Problem) -> Result<(), BackendError> {
    let counts = match space.index("objective").map(|column| &space.parameters[column].domain) {
        Some(Domain::Categorical(names)) => names.iter().all(|name| *name == space::Value::Text("poisson".to_owned())),
        _ => GbdtParams::read(space, &space.defaults()).objective == Objective::Poisson,
    };
    let targets = problem.folds.iter().filter_map(|fold| match &fold.train.y {
        Target::Values(values) if counts => values.iter().copied().reduce(f32::min),
        _ => None,
    });
    match targets.reduce(f32::min) {
        Some(least) if least < 0.0 => Err(BackendError::Unsuited {
            model: "gbdt",
            reason: format!("objective = \"poisson\" learns counts, and the target goes down to {least}"),
            alternative: "Take objective = \"squared\", \"absolute\" or \"quantile\"".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Reads weights that may come from anyone, for rows of so many features.
fn parse(weights: &Weights, task: Task, features: usize) -> Result<Boosted<'_>, WeightsError> {
    let trees = Trees::from_weights(weights, features)?;
    let start = floats(weights, START)?.values.as_slice();
    let objective = integers(weights, OBJECTIVE)?.values.first().and_then(|code| Objective::from_code(*code));
    let objective = objective.ok_or_else(|| WeightsError(format!("{OBJECTIVE} is none that is known")))?;
    let loss = match (task, start.len()) {
        (Task::Classification, 1) => Loss::Binary,
        (Task::Classification, classes @ 2..) => Loss::Softmax { classes },
        (Task::Regression, 1) => Loss::Value { objective, quantile: 0.5 },
        (_, scores) => return Err(WeightsError(format!("{START} has {scores} values"))),
    };
    if trees.outputs() != 1 || !trees.len().is_multiple_of(start.len()) {
        return Err(WeightsError("its trees are no rounds of boosting".to_owned()));
    }
    Ok(Boosted { trees, start, objective, loss })
}

/// What `predict` gives, in a graph.
fn to_onnx(weights: &Weights, task: Task, target: Affine, graph: &mut Graph, x: &Value) -> Result<Value, WeightsError> {
    // A model is read for the features that it has; here they have no number yet.
    let Boosted { trees, start, objective, loss } = parse(weights, task, usize::MAX)?;
    let scores = start.len();
    let sums = trees.onnx(graph, x, scores, |tree| tree % scores)?;
    let start = graph.floats(&[scores], start);
    let scores = graph.node("Add", &[&sums, &start], &[]);
    Ok(match loss {
        Loss::Binary => {
            let against = graph.node("Neg", &[&scores], &[]);
            let both = graph.node("Concat", &[&against, &scores], &[("axis", Attribute::Integer(1))]);
            graph.node("Sigmoid", &[&both], &[])
        }
        Loss::Softmax { .. } => onnx::softmax(graph, &scores),
        Loss::Value { .. } if objective == Objective::Poisson => graph.node("Exp", &[&scores], &[]),
        Loss::Value { .. } if fold::is_scaled(task, objective) => onnx::unscale(graph, target, &scores),
        Loss::Value { .. } => scores,
    })
}
