//! Random forests and extremely randomised trees, for classes and numbers, on columns as they are.
//!
//! [`recipe`] says what growing is and which draws and decisions make it; `search` finds a node's split, `grow` walks a
//! tree, `cpu` spreads trees over lanes and threads, `gpu` has a workgroup for each lane. Everything that decides is
//! counted in whole numbers.
//!
//! Weights read back: those of [`Trees`], whose leaves hold shares of classes, or means in the target's own units. What
//! the forest says of a row is the mean over its trees, summed in their order.

mod counts;
mod cpu;
mod fold;
mod gain;
mod gpu;
mod grow;
mod hash;
mod impurity;
mod plant;
pub mod recipe;
mod search;
mod sums;

use super::trees::explain::ShareOf;
use super::trees::tree::Trees;
use super::{Agreement, Budget, DataShape, Explanation, Model, ToOnnx, WeightsError, Work};
use crate::backend::cpu::simd::Level;
use crate::backend::cpu::{CpuOptions, CpuTrainer};
use crate::backend::gpu::{Gpu, GpuTrainer, Kernel};
use crate::backend::{BackendError, Trainer, Weights};
use crate::base::onnx::{Graph, Value};
use crate::base::registry::Named;
use crate::data::{Affine, Input, Problem, Task};
use crate::space::{Space, SpaceBuilder};
use ndarray::{Array2, ArrayView2};
use recipe::{CLASS_WEIGHTS, Criterion, DEFAULT_DEPTH, DEFAULT_TREES, ForestParams, Kind, MOST_TREES};
use std::sync::Arc;

/// The model's registry entry.
pub struct Forest;

/// The forest opened on a space.
struct ForestLanes {
    space: Space,
    threads: usize,
    level: Level,
}

impl Named for Forest {
    fn name(&self) -> &'static str {
        "forest"
    }

    fn summary(&self) -> &'static str {
        "random forest or extra trees, with categories and missing values as they are"
    }
}

impl Model for Forest {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification, Task::Regression]
    }

    fn input(&self) -> Input {
        Input::Columns
    }

    fn budget(&self) -> Budget {
        Budget { unit: "trees", default: MOST_TREES as u64 }
    }

    fn space(&self, shape: DataShape) -> Space {
        let columns = shape.features.max(1) as f64;
        // The square root of the columns for classes and a third of them for numbers (Breiman's own defaults).
        let share = if shape.task == Task::Classification { columns.sqrt().recip() } else { 1.0 / 3.0 };
        let least = columns.recip().min(0.5);
        let builder = SpaceBuilder::new()
            .categorical("kind", &Kind::NAMES, "random_forest")
            .log_int("trees", 10, MOST_TREES, DEFAULT_TREES)
            .within_whole(1, 1_000_000)
            .held()
            .log_int("depth", 2, DEFAULT_DEPTH, DEFAULT_DEPTH)
            .within_whole(1, 1024)
            .log_int("min_leaf", 1, 32, 1)
            .within_whole(1, 1 << 30)
            .log("features", least, 1.0, share.clamp(least, 1.0))
            .within(0.0, 1.0)
            .float("bootstrap", 0.2, 1.0, 1.0)
            .within(0.0, 1.0)
            .when("bootstrap", "kind", &["random_forest"])
            .log_int("bins", 15, 255, 255)
            .within_whole(2, 255)
            .held();
        match shape.task {
            Task::Regression => builder.build(),
            Task::Classification => builder
                .categorical("criterion", &Criterion::NAMES, "gini")
                .categorical("class_weight", &CLASS_WEIGHTS, "none")
                .held()
                .build(),
        }
    }

    /// Leaves of a tree at most, by depth, rows and rows of a leaf.
    fn cost(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        let params = ForestParams::read(space, point);
        let most = shape.rows as f64 / f64::from(params.min_leaf.max(1));
        f64::from(params.trees) * most.min(f64::from(params.depth).min(60.0).exp2()).max(1.0)
    }

    /// Comparisons on the way down each tree, as deep as a balanced one of so many leaves, and an addition an output.
    fn prediction(&self, space: &Space, point: &[f64], shape: DataShape) -> f64 {
        let params = ForestParams::read(space, point);
        let trees = f64::from(params.trees);
        let leaves = self.cost(space, point, shape) / trees.max(1.0);
        trees * (leaves.log2().ceil() + shape.outputs as f64)
    }

    /// Counting: an addition and 16 bytes of its row a looked-at feature, a row, a level of a balanced tree.
    fn work(&self, space: &Space, point: &[f64], shape: DataShape, used: u64) -> Work {
        let params = ForestParams::read(space, point);
        let draws = params.draws(shape.rows, shape.features);
        let levels = (shape.rows.max(2) as f64).log2().min(f64::from(params.depth));
        let rows = if draws.rows > 0 { f64::from(draws.rows) } else { shape.rows as f64 };
        let counted = used as f64 * rows * f64::from(draws.features) * levels;
        Work { flops: counted, bytes: 16.0 * counted }
    }

    /// What decides is counted in whole numbers, so the trees are the same; their values are rounded once each way.
    fn agreement(&self) -> Agreement {
        Agreement { budget: 10, tolerance: 1e-6 }
    }

    fn open_cpu(
        &self,
        space: &Space,
        problem: Arc<Problem>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Trainer>, BackendError> {
        check_rows(&problem)?;
        let lanes = ForestLanes { space: space.clone(), threads: options.thread_count(), level: options.level() };
        Ok(Box::new(CpuTrainer::open(lanes, problem, options)?))
    }

    fn open_gpu(&self, space: &Space, problem: Arc<Problem>, device: &Gpu) -> Result<Box<dyn Trainer>, BackendError> {
        check_rows(&problem)?;
        Ok(Box::new(GpuTrainer::open(device, gpu::ForestPlan::new(space.clone(), problem)?)?))
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
        let trees = Trees::from_weights(weights, x.ncols())?;
        let mut predicted = Array2::zeros((x.nrows(), trees.outputs()));
        let mut row = vec![0.0; x.ncols()];
        for (x, mut predicted) in x.rows().into_iter().zip(predicted.rows_mut()) {
            row.iter_mut().zip(x).for_each(|(to, from)| *to = *from);
            for tree in 0..trees.len() {
                let values = trees.values(trees.leaf_of(tree, &row));
                predicted.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            predicted.mapv_inplace(|sum| sum / trees.len() as f32);
        }
        Ok(predicted)
    }

    /// Gains are what splits take off the impurity of their rows.
    fn explain(&self, weights: &Weights, _: Task, _: Affine, features: usize) -> Result<Explanation, WeightsError> {
        Ok(Trees::from_weights(weights, features)?.explain(features, ShareOf::EachTree))
    }

    fn onnx(&self) -> Option<ToOnnx> {
        Some(to_onnx)
    }
}

/// Whether the counts of trees hold a problem's rows.
fn check_rows(problem: &Problem) -> Result<(), BackendError> {
    let rows = problem.folds.iter().map(|fold| fold.train.y.len()).max().unwrap_or(0);
    if rows > plant::MOST_ROWS {
        return Err(BackendError::Unsuited {
            model: "forest",
            reason: format!("{rows} rows are more than the {} that its counts hold", plant::MOST_ROWS),
            alternative: "Train on fewer rows.".to_owned(),
        });
    }
    Ok(())
}

/// What `predict` gives, in a graph.
fn to_onnx(weights: &Weights, _: Task, _: Affine, graph: &mut Graph, x: &Value) -> Result<Value, WeightsError> {
    // A model is read for the features that it has; here they have no number yet.
    let trees = Trees::from_weights(weights, usize::MAX)?;
    let sums = trees.onnx(graph, x, trees.outputs(), |_| 0)?;
    let count = graph.floats(&[1], &[trees.len() as f32]);
    Ok(graph.node("Div", &[&sums, &count], &[]))
}
