//! Ridge on the GPU: the layout of a lane for shaders/models/ridge.wgsl. Folds are diagonalised on the host when the model
//! is opened; a lane is then two small products in f32.

use super::fold::Prepared;
use super::{RidgeParams, variants};
use crate::backend::gpu::{
    Binding, DeviceRows, DeviceScoring, GpuPlan, Kernel, LanePlan, LaneSets, Phase, Role, wgsl_struct,
    with_lane_header, words,
};
use crate::backend::{LaneStatus, Weights};
use crate::data::{Problem, Task};
use crate::models::linear;
use crate::space::Space;
use rayon::prelude::*;
use std::sync::Arc;

/// Threads of a workgroup.
const WORKGROUP: u32 = 128;
/// Rows that are scored at a time.
const TILE_ROWS: u32 = 512;

wgsl_struct! {
    /// One lane. The first two words are the trainer's.
    pub struct RidgeLane {
        /// First word of its state.
        pub state: u32,
        /// First word of its results.
        pub result: u32,
        /// Columns of x.
        pub features: u32,
        /// Classes, or 1.
        pub outputs: u32,
        /// 1 for classes.
        pub is_classifier: u32,
        /// What it is scored on.
        pub sets: LaneSets,
        /// Rows that a tile's predictions have room for.
        pub capacity: u32,
        /// Directions of its fold's basis.
        pub rank: u32,
        /// First word of its fold's spectrum.
        pub solution: u32,
        /// The penalty.
        pub l2: f32,
        /// What an eigenvalue with the penalty must exceed.
        pub least: f32,
        /// Of a regression target.
        pub target_shift: f32,
        /// Of a regression target.
        pub target_scale: f32,
    }
}

/// Ridge opened on a GPU.
pub struct RidgePlan {
    space: Space,
    problem: Arc<Problem>,
    rows: DeviceRows,
    scoring: DeviceScoring,
    solutions: Vec<u32>,
    /// Each variant's folds, where the space has it.
    folds: [Vec<PlanFold>; 4],
    train: Vec<Kernel>,
    score: Vec<Kernel>,
}

/// Where a fold lies in the solutions.
struct PlanFold {
    first: usize,
    rank: usize,
    least: f64,
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
            include_str!("../../../shaders/shared/linear.wgsl"),
            include_str!("../../../shaders/models/ridge.wgsl"),
        ];
        let kernel = with_lane_header(Kernel::new(name, entry, &sources)).constant("WORKGROUP", WORKGROUP);
        DeviceScoring::header(kernel, TILE_ROWS).layout::<RidgeLane>().bind(&[
            Binding::new(Role::Lanes, "lanes", "array<RidgeLane>"),
            Binding::new(Role::Progress, "progress", "array<Progress>"),
            Binding::new(Role::State, "state", "array<f32>"),
            Binding::new(Role::Results, "results", "array<u32>"),
            Binding::new(Role::Span, "span", "Span"),
            Binding::new(Role::Shared(0), "x", "array<f32>"),
            Binding::new(Role::Shared(1), "y", "array<u32>"),
            Binding::new(Role::Shared(2), "solutions", "array<f32>"),
        ])
    };
    vec![kernel("ridge_train", "train"), kernel("ridge_score", "score")]
}

impl RidgePlan {
    /// Diagonalises a problem's folds and lays them out.
    pub fn new(space: Space, problem: Arc<Problem>) -> RidgePlan {
        let mut kernels = kernels();
        let score = kernels.split_off(1);
        let rows = DeviceRows::pack(&problem, |_, rows| linear::by_feature(rows));
        let (mut solutions, mut folds) = (Vec::new(), <[Vec<PlanFold>; 4]>::default());
        for params in variants(&space) {
            let prepare = |fold: &Arc<_>| Prepared::new(fold, params.fit_intercept, params.class_weight);
            let prepared: Vec<Prepared> = problem.folds.par_iter().map(prepare).collect();
            for fold in prepared {
                folds[params.variant()].push(PlanFold { first: solutions.len(), rank: fold.rank, least: fold.least });
                solutions.extend(fold.device_words());
            }
        }
        let scoring = DeviceScoring::new(problem.clone(), TILE_ROWS);
        RidgePlan { space, problem, rows, scoring, solutions, folds, train: kernels, score }
    }
}

impl Prepared {
    /// Spectrum, products, basis `[rank, features]` and means, as the kernel reads them.
    fn device_words(&self) -> impl Iterator<Item = u32> + '_ {
        let basis = (0..self.rank).flat_map(|r| self.basis[r..].iter().step_by(self.rank));
        let parts = self.spectrum.iter().chain(&self.products).chain(basis);
        parts.chain(&self.mean).chain(&self.target_mean).map(|value| (*value as f32).to_bits())
    }
}

impl GpuPlan for RidgePlan {
    fn kernels(&self, phase: Phase) -> &[Kernel] {
        match phase {
            Phase::Train => &self.train,
            Phase::Score => &self.score,
        }
    }

    fn shared(&self) -> Vec<Vec<u32>> {
        vec![self.rows.x.clone(), self.rows.y.clone(), self.solutions.clone()]
    }

    fn lane(&self, point: &[f64], fold_index: usize) -> LanePlan {
        let params = RidgeParams::read(&self.space, point);
        let (rows, fold) = (&self.problem.folds[fold_index], &self.folds[params.variant()][fold_index]);
        let (features, outputs) = (rows.train.x.ncols(), self.problem.outputs);
        let longest = rows.row_sets().map(|rows| rows.y.len()).max().unwrap_or(0);
        let capacity = longest.min(TILE_ROWS as usize);
        let lane = RidgeLane {
            features: features as u32,
            outputs: outputs as u32,
            is_classifier: u32::from(self.problem.task == Task::Classification),
            sets: self.scoring.lane_sets(fold_index, &self.rows.sets[fold_index]),
            capacity: capacity as u32,
            rank: fold.rank as u32,
            solution: fold.first as u32,
            l2: params.l2 as f32,
            least: fold.least as f32,
            target_shift: rows.target.shift,
            target_scale: rows.target.scale,
            ..RidgeLane::default()
        };
        LanePlan {
            descriptor: words(&lane),
            state_words: ((features + 1 + capacity) * outputs + fold.rank) as u64,
            result_words: self.scoring.result_words(fold_index),
            cost: (features * outputs * (fold.rank + longest)) as f64,
        }
    }

    fn score_units(&self) -> u64 {
        self.scoring.units()
    }

    fn status_at_budget(&self) -> LaneStatus {
        LaneStatus::Trained
    }

    fn can_converge(&self) -> bool {
        true
    }

    fn scores(&self, fold: usize, results: &[u32]) -> (f64, Vec<f64>) {
        self.scoring.scores(fold, results)
    }

    fn weights(&self, descriptor: &[u32], state: &[u32]) -> Weights {
        let lane: RidgeLane = bytemuck::pod_read_unaligned(bytemuck::cast_slice(descriptor));
        linear::device_weights(state, lane.features as usize, lane.outputs as usize)
    }
}
