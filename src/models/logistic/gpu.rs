//! The softmax on the GPU: the layout of a lane for shaders/models/logistic/.
//!
//! Rows are uploaded in the fold's eigenbasis, those to score too, so that weights predict where they were trained; they
//! come back into the features' own basis when they are read. Lanes with an L1 term have rows of their own, in the features'
//! own basis. The nodes of the folds' paths are solved on the host, with
//! the CPU's own walk, when the model is opened: sixteen lanes a fold, which every lane of the fold without an L1 term then
//! starts from. A
//! node is solved as far as f32 goes, whatever tolerance a candidate asks for: a lane with a tolerance of its own may end at
//! another point within it than on the CPU.

use super::basis::Basis;
use super::cpu;
use super::orthant::LEAST_PRODUCT;
use super::path::{NODES, Stencil};
use super::searched;
use super::solver::{
    ABSENT, CERTAIN, FLAT_TURNS, LEAST_CURVATURE, LEAST_GAIN, LEAST_PROGRESS, LOSS_NOISE, LogisticParams, MEMORY, NEAR,
    REFRESH, SHORTEST_STEP, STALLED, STEEPEST_CLIMB, VARIANTS, penalty, tolerance,
};
use crate::backend::cpu::simd::Level;
use crate::backend::gpu::{
    Binding, DeviceRows, DeviceScoring, DeviceSet, GpuPlan, Kernel, LanePlan, LaneSets, Phase, Role, wgsl_struct,
    with_lane_header, words,
};
use crate::backend::{LaneStatus, WeightArray, Weights};
use crate::data::{Fold, Problem, Rows};
use crate::models::linear::{self, row_weights};
use crate::space::Space;
use ndarray::ArrayView2;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Threads of a workgroup.
const WORKGROUP: u32 = 128;
/// Rows of a block, in training and in scoring: a tick of either.
const TILE_ROWS: u32 = 512;
/// Words of a lane's state before its vectors.
const SEARCH_WORDS: u32 = 32;
/// Weights, gradient, direction, inverse curvature; the trial with its gradient and curvature; the pairs.
const VECTORS: u32 = 7 + 2 * MEMORY as u32;
/// Threads side by side in a product's outputs at most, each with four of them.
const WIDEST: u32 = 8;
/// Steps of the inner index that a tile holds for each of its splits, at most.
const DEEPEST: u32 = 16;
/// Vectors of four that the tiles of a product's left and right side have room for.
const TILE: [u32; 2] = [640, 128];

wgsl_struct! {
    /// One lane. The first two words are the trainer's.
    pub struct LogisticLane {
        /// First word of its state.
        pub state: u32,
        /// First word of its results.
        pub result: u32,
        /// Columns of x.
        pub features: u32,
        /// Classes.
        pub outputs: u32,
        /// What it is scored on.
        pub sets: LaneSets,
        /// The fold's index, for who reads the weights.
        pub fold: u32,
        /// 1 with intercepts.
        pub has_intercept: u32,
        /// Which of the fold's problems it is, for who reads the weights.
        pub variant: u32,
        /// 1 where training rows have weights.
        pub is_weighted: u32,
        /// First word of those, among the nodes.
        pub row_weights: u32,
        /// Weights and intercepts.
        pub entries: u32,
        /// Rows that activations have room for.
        pub capacity: u32,
        /// Threads of a product side by side in its outputs.
        pub wide: u32,
        /// Threads of a gradient's product that share the rows of one tile.
        pub splits: u32,
        /// Outputs, raised to a power of two.
        pub columns: u32,
        /// 1 with an L1 term.
        pub has_l1: u32,
        /// Nodes that it starts from: 4, or 1 of zeros.
        pub starts: u32,
        /// Of half the squared weights.
        pub penalty: f32,
        /// Of the weights' sizes.
        pub l1: f32,
        /// The gradient's norm at which it may have converged.
        pub tolerance: f32,
        /// The gradient's norm at which its candidate lets it end.
        pub enough: f32,
        /// First word of the nodes that it starts from.
        pub nodes: u32,
        /// What it takes of each.
        pub shares: [f32; 4],
        /// What its start's weights are multiplied with.
        pub shrink: f32,
    }
}

/// The softmax opened on a GPU.
pub struct LogisticPlan {
    space: Space,
    problem: Arc<Problem>,
    scoring: DeviceScoring,
    /// Features of the folds in each basis that the space has candidates for.
    x: Vec<u32>,
    y: Vec<u32>,
    /// The folds' nodes, and what their rows count for.
    nodes: Vec<u32>,
    first_node: usize,
    /// Each variant's folds, where the space has it.
    folds: [Vec<PlanFold>; VARIANTS],
    train: Vec<Kernel>,
    score: Vec<Kernel>,
}

/// A fold in its basis.
struct PlanFold {
    basis: Arc<Basis>,
    present: Vec<bool>,
    sets: Vec<DeviceSet>,
    /// What all training rows count for.
    total: f32,
    /// First word of what each does, where they have weights.
    row_weights: Option<usize>,
    /// First word of its nodes.
    nodes: usize,
}

/// The kernels, for the trainer and for the translation tests.
pub fn kernels() -> Vec<Kernel> {
    let kernel = |name, entry| {
        let sources = [
            include_str!("../../../shaders/shared/math.wgsl"),
            include_str!("../../../shaders/shared/metric.wgsl"),
            include_str!("../../../shaders/shared/held.wgsl"),
            include_str!("../../../shaders/shared/lane.wgsl"),
            include_str!("../../../shaders/shared/train.wgsl"),
            include_str!("../../../shaders/shared/score.wgsl"),
            include_str!("../../../shaders/models/logistic/solver.wgsl"),
            include_str!("../../../shaders/models/logistic/loss.wgsl"),
            include_str!("../../../shaders/models/logistic/orthant.wgsl"),
            include_str!("../../../shaders/models/logistic/walk.wgsl"),
        ];
        let kernel = with_lane_header(Kernel::new(name, entry, &sources)).constant("WORKGROUP", WORKGROUP);
        DeviceScoring::header(kernel, TILE_ROWS)
            .constant("SEARCH_WORDS", SEARCH_WORDS)
            .constant("VECTORS", VECTORS)
            .constant("TILE_A", TILE[0])
            .constant("TILE_B", TILE[1])
            .constant("DEEPEST", DEEPEST)
            .constant("MEMORY", MEMORY as u32)
            .constant("REFRESH", REFRESH as u32)
            .constant("FLAT_TURNS", FLAT_TURNS)
            .constant("STALLED_ABOVE", STALLED[0] as u32)
            .constant("STALLED_BELOW", STALLED[1] as u32)
            .float_constant("ABSENT", ABSENT)
            .float_constant("LEAST_CURVATURE", LEAST_CURVATURE)
            .float_constant("LEAST_GAIN", LEAST_GAIN)
            .float_constant("LEAST_PRODUCT", LEAST_PRODUCT)
            .float_constant("LEAST_PROGRESS", LEAST_PROGRESS)
            .float_constant("STEEPEST_CLIMB", STEEPEST_CLIMB)
            .float_constant("LOSS_NOISE", LOSS_NOISE as f32)
            .float_constant("SHORTEST_STEP", SHORTEST_STEP)
            .float_constant("NEAR", NEAR)
            .float_constant("CERTAIN", CERTAIN)
            .float_constant("INFINITE", f32::MAX)
            .layout::<LogisticLane>()
            .bind(&[
                Binding::new(Role::Lanes, "lanes", "array<LogisticLane>"),
                Binding::new(Role::Progress, "progress", "array<Progress>"),
                Binding::new(Role::State, "state", "array<f32>"),
                Binding::new(Role::Results, "results", "array<u32>"),
                Binding::new(Role::Span, "span", "Span"),
                Binding::new(Role::Shared(0), "x", "array<f32>"),
                Binding::new(Role::Shared(1), "y", "array<u32>"),
                Binding::new(Role::Shared(2), "nodes", "array<f32>"),
            ])
    };
    vec![kernel("logistic_train", "train"), kernel("logistic_score", "score")]
}

impl LogisticPlan {
    /// Rotates a problem's folds, solves the nodes of their paths, and lays both out.
    pub fn new(space: Space, problem: Arc<Problem>) -> LogisticPlan {
        let mut kernels = kernels();
        let score = kernels.split_off(1);
        let solved = needed_nodes(&space);
        let first_node = solved.start;
        let scoring = DeviceScoring::new(problem.clone(), TILE_ROWS);
        let mut plan = LogisticPlan {
            space,
            problem,
            scoring,
            x: Vec::new(),
            y: Vec::new(),
            nodes: Vec::new(),
            first_node,
            folds: Default::default(),
            train: kernels,
            score,
        };
        let mut variants: Vec<LogisticParams> =
            linear::variants(&plan.space, &["penalty", "fit_intercept", "class_weight"])
                .iter()
                .map(|row| LogisticParams::read(&plan.space, row))
                .collect();
        // Those that share a basis stand together.
        variants.sort_by_key(|params| (params.l1.is_some(), params.fit_intercept, params.variant()));
        variants.dedup_by_key(|params| params.variant());
        for alike in variants.chunk_by(|a, b| (a.fit_intercept, a.l1.is_some()) == (b.fit_intercept, b.l1.is_some())) {
            plan.add_folds(alike, solved.clone());
        }
        plan
    }

    /// Adds the folds of variants that share a basis.
    fn add_folds(&mut self, variants: &[LogisticParams], nodes: Range<usize>) {
        let Some(like) = variants.first() else { return };
        let nodes: Vec<usize> = nodes.collect();
        let level = Level::detect();
        let basis = |fold: &Arc<Fold>| Arc::new(cpu::basis(fold, like));
        let bases: Vec<Arc<Basis>> = self.problem.folds.par_iter().map(basis).collect();
        let rows = DeviceRows::pack(&self.problem, |fold, rows| by_feature(&bases[fold], rows));
        let first = self.x.len() as u32;
        self.x.extend(rows.x);
        self.y = rows.y;
        for params in variants {
            let prepare = |(fold, basis): (&Arc<Fold>, &Arc<Basis>)| {
                let prepared = cpu::prepare(fold, basis, params);
                let solved = match params.l1 {
                    Some(_) => vec![prepared.zero_weights().as_flattened().iter().map(|weight| weight.0[0]).collect()],
                    None => cpu::solve_nodes(level, &prepared, 0.0, &nodes),
                };
                let solved = solved.iter().flat_map(|weights| prepared.shape.device_entries(weights)).map(f32::to_bits);
                (solved.collect::<Vec<u32>>(), prepared.present, prepared.total)
            };
            let prepared: Vec<(Vec<u32>, Vec<bool>, f32)> =
                self.problem.folds.par_iter().zip(&bases).map(prepare).collect();
            for (index, (solved, present, total)) in prepared.into_iter().enumerate() {
                let sets = rows.sets[index].iter().map(|set| DeviceSet { x: first + set.x, ..*set }).collect();
                let nodes = self.nodes.len();
                self.nodes.extend(solved);
                let weights = row_weights(&self.problem.folds[index].train, params.class_weight);
                let row_weights = weights.is_some().then_some(self.nodes.len());
                self.nodes.extend(weights.into_iter().flatten().map(|weight| (weight as f32).to_bits()));
                let basis = bases[index].clone();
                self.folds[params.variant()].push(PlanFold { basis, present, sets, total, row_weights, nodes });
            }
        }
    }
}

/// Rows in the fold's basis, a feature after the other.
fn by_feature(basis: &Basis, rows: &Rows) -> Vec<f32> {
    let (n, features) = rows.x.dim();
    let rotated: Vec<f32> = basis.rotated(rows.x.view(), TILE_ROWS as usize).flatten().collect();
    // A view of as many numbers as there are: the shape always fits.
    let rotated = ArrayView2::from_shape((n, features), &rotated);
    rotated.map(|rows| rows.t().iter().copied().collect()).unwrap_or_default()
}

/// The nodes that starts can be read from: all, where the space does not give penalties as a range.
fn needed_nodes(space: &Space) -> Range<usize> {
    let (low, high) = searched(space).into_inner();
    if high.is_finite() { Stencil::new(low).first..Stencil::new(high).nodes().end } else { 0..NODES }
}

/// Threads side by side in a product's outputs, and those that share the rows of a gradient's tile: as many as leave
/// places for all features, and as fit in the tiles.
fn grid(features: u32, outputs: u32) -> (u32, u32) {
    let wide = outputs.div_ceil(4).next_power_of_two().min(WIDEST);
    let largest = (32 / (wide * wide)).max(1);
    let mut splits = 1;
    while splits < largest && 4 * WORKGROUP / (wide * 2 * splits) >= features {
        splits *= 2;
    }
    (wide, splits)
}

impl GpuPlan for LogisticPlan {
    fn kernels(&self, phase: Phase) -> &[Kernel] {
        match phase {
            Phase::Train => &self.train,
            Phase::Score => &self.score,
        }
    }

    fn shared(&self) -> Vec<Vec<u32>> {
        vec![self.x.clone(), self.y.clone(), self.nodes.clone()]
    }

    fn lane(&self, point: &[f64], fold_index: usize) -> LanePlan {
        let params = LogisticParams::read(&self.space, point);
        let fold = &self.folds[params.variant()][fold_index];
        let (rows, features) = self.problem.folds[fold_index].train.x.dim();
        let outputs = self.problem.outputs;
        let entries = (features + 1) * outputs;
        let longest = self.problem.folds[fold_index].row_sets().map(|rows| rows.y.len()).max().unwrap_or(0);
        let capacity = longest.min(TILE_ROWS as usize);
        let penalty = penalty(params.l2, fold.present.iter().filter(|present| **present).count());
        let stencil = Stencil::new(params.l2);
        let (starts, shares, shrink, first_node) = match params.l1 {
            Some(_) => (1, [1.0, 0.0, 0.0, 0.0], 1.0, 0),
            None => (4, stencil.coefficients, stencil.shrink, stencil.first.saturating_sub(self.first_node)),
        };
        let (wide, splits) = grid(features as u32, outputs as u32);
        let lane = LogisticLane {
            features: features as u32,
            outputs: outputs as u32,
            sets: self.scoring.lane_sets(fold_index, &fold.sets),
            fold: fold_index as u32,
            has_intercept: u32::from(params.fit_intercept),
            variant: params.variant() as u32,
            is_weighted: u32::from(fold.row_weights.is_some()),
            row_weights: fold.row_weights.unwrap_or(0) as u32,
            entries: entries as u32,
            capacity: capacity as u32,
            wide,
            splits,
            columns: (outputs as u32).next_power_of_two(),
            has_l1: u32::from(params.l1.is_some()),
            starts,
            penalty,
            l1: params.l1.unwrap_or(0.0),
            tolerance: if params.l1.is_some() { 0.0 } else { tolerance(penalty, fold.total) },
            enough: params.tolerance * fold.total,
            nodes: (fold.nodes + first_node * entries) as u32,
            shares,
            shrink,
            ..LogisticLane::default()
        };
        LanePlan {
            descriptor: words(&lane),
            state_words: u64::from(SEARCH_WORDS) + u64::from(VECTORS) * entries as u64 + (capacity * outputs) as u64,
            result_words: self.scoring.result_words(fold_index),
            // Small penalties take longest, by about the logarithm; those who ask for little are done first.
            cost: (rows * entries) as f64
                * (1.0 - 0.05 * f64::from(params.l1.unwrap_or(params.l2).max(1e-8).log10().min(8.0))),
        }
    }

    fn ticks_per_unit(&self, phase: Phase) -> u64 {
        let blocks = self.problem.folds.iter().map(|fold| (fold.train.y.len() as u64).div_ceil(u64::from(TILE_ROWS)));
        if phase == Phase::Train { blocks.max().unwrap_or(1) } else { 1 }
    }

    fn lead_in(&self) -> u64 {
        // The evaluation of the start.
        1
    }

    fn score_units(&self) -> u64 {
        self.scoring.units()
    }

    fn status_at_budget(&self) -> LaneStatus {
        LaneStatus::IterationLimit
    }

    fn can_converge(&self) -> bool {
        true
    }

    fn scores(&self, fold: usize, results: &[u32]) -> (f64, Vec<f64>) {
        self.scoring.scores(fold, results)
    }

    fn weights(&self, descriptor: &[u32], state: &[u32]) -> Weights {
        let lane: LogisticLane = bytemuck::pod_read_unaligned(bytemuck::cast_slice(descriptor));
        let fold = &self.folds[lane.variant as usize][lane.fold as usize];
        let entries = &state[SEARCH_WORDS as usize..][..lane.entries as usize];
        let entries: Vec<f64> = entries.iter().map(|word| f64::from(f32::from_bits(*word))).collect();
        own_basis(fold, lane.has_intercept == 1, &entries, lane.features as usize, lane.outputs as usize)
    }
}

/// Brings weights back into the features' own basis: `w = vectors rotated`, `b = rotated b - mean w`, and the intercepts'
/// mean over the classes that occur, which the loss does not see, becomes zero.
fn own_basis(fold: &PlanFold, has_intercept: bool, entries: &[f64], features: usize, outputs: usize) -> Weights {
    let (slopes, rotated) = entries.split_at(features * outputs);
    let weight = |output: usize, feature: usize| match &fold.basis.vectors {
        Some(vectors) => (0..features).map(|j| vectors[(feature, j)] * slopes[j * outputs + output]).sum(),
        None => slopes[feature * outputs + output],
    };
    let weight: Vec<f64> = (0..features * outputs).map(|i| weight(i / features, i % features)).collect();
    let mut intercept = rotated.to_vec();
    if has_intercept {
        for (intercept, weight) in intercept.iter_mut().zip(weight.chunks_exact(features)) {
            *intercept -= weight.iter().zip(&fold.basis.mean).map(|(w, mean)| w * mean).sum::<f64>();
        }
        let present = || intercept.iter().zip(&fold.present).filter(|(_, present)| **present);
        let mean = present().map(|(b, _)| b).sum::<f64>() / present().count().max(1) as f64;
        intercept.iter_mut().for_each(|b| *b -= mean);
    }
    let absent = fold.present.iter().map(|present| !present);
    intercept.iter_mut().zip(absent).filter(|(_, absent)| *absent).for_each(|(b, _)| *b = f64::from(ABSENT));
    let array = |name: &str, shape: Vec<usize>, values: &[f64]| {
        let values = values.iter().map(|value| *value as f32).collect();
        WeightArray { name: name.to_owned(), shape, values }
    };
    let arrays = vec![array("weight", vec![outputs, features], &weight), array("intercept", vec![outputs], &intercept)];
    Weights::of(arrays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_every_shape_fit_in_their_room() {
        for outputs in 1..200 {
            for features in [1, 3, 17, 64, 65, 513, 5000] {
                let (wide, splits) = grid(features, outputs);
                for splits in [1, splits] {
                    assert_eq!(WORKGROUP % (wide * splits), 0, "{features} x {outputs}");
                    let (across, depth) = (WORKGROUP / (wide * splits), (4 * wide).min(DEEPEST) * splits);
                    assert!(depth * (across + 1) <= TILE[0] && depth * wide <= TILE[1], "{features} x {outputs}");
                }
                // No thread shares rows where it could have features of its own.
                assert!(splits == 1 || 4 * WORKGROUP / (wide * splits) >= features, "{features} x {outputs}");
            }
        }
    }
}
