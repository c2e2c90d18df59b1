//! The elastic net on the GPU: the layout of a lane for shaders/models/elastic_net.wgsl. Folds are summed up on the host when
//! the model is opened. A lane works in units in which the largest `|c_j|` is 1, so that f32 holds the squares of what is
//! left of it, whatever the target's units.

use super::fold::Prepared;
use super::solver::{CERTAIN, DEVICE_TOLERANCE, ENOUGH, ElasticNetParams, MORE_STEPS, NEAR, PATIENCE, STEPS};
use crate::backend::gpu::{
    Binding, DeviceRows, DeviceScoring, GpuPlan, Kernel, LanePlan, LaneSets, Phase, Role, wgsl_struct,
    with_lane_header, words,
};
use crate::backend::{LaneStatus, Weights};
use crate::data::Problem;
use crate::models::linear;
use crate::space::Space;
use rayon::prelude::*;
use std::sync::Arc;

/// Threads of a workgroup.
const WORKGROUP: u32 = 128;
/// Rows that are scored at a time.
const TILE_ROWS: u32 = 512;
/// Gradient, residual, direction, product.
const VECTORS: u32 = 4;
/// Words of a lane's search.
const SEARCH_WORDS: usize = 2;

wgsl_struct! {
    /// One lane. The first two words are the trainer's.
    pub struct ElasticNetLane {
        /// First word of its state.
        pub state: u32,
        /// First word of its results.
        pub result: u32,
        /// Columns of x.
        pub features: u32,
        /// 1: a number.
        pub outputs: u32,
        /// 0: a number.
        pub is_classifier: u32,
        /// What it is scored on.
        pub sets: LaneSets,
        /// Rows that a tile's predictions have room for.
        pub capacity: u32,
        /// First word of its fold's Gram matrix.
        pub sums: u32,
        /// The penalty of the weights' sizes, as a share of the largest `|c_j|`.
        pub l1: f32,
        /// The penalty of half their squares.
        pub l2: f32,
        /// 1 where no weight may be negative.
        pub is_positive: u32,
        /// Of the target.
        pub target_shift: f32,
        /// Of the target, times the largest `|c_j|`.
        pub target_scale: f32,
        /// The largest `|c_j|`, for who reads the weights.
        pub unit: f32,
    }
}

/// The elastic net opened on a GPU.
pub struct ElasticNetPlan {
    space: Space,
    problem: Arc<Problem>,
    rows: DeviceRows,
    scoring: DeviceScoring,
    sums: Vec<u32>,
    /// First word and unit of the folds without and with an intercept, where the space has them.
    folds: [Vec<(usize, f64)>; 2],
    train: Vec<Kernel>,
    score: Vec<Kernel>,
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
            include_str!("../../../shaders/models/elastic_net.wgsl"),
        ];
        let kernel = with_lane_header(Kernel::new(name, entry, &sources)).constant("WORKGROUP", WORKGROUP);
        DeviceScoring::header(kernel, TILE_ROWS)
            .constant("VECTORS", VECTORS)
            .constant("STEPS", STEPS as u32)
            .constant("MORE_STEPS", MORE_STEPS as u32)
            .float_constant("ENOUGH", ENOUGH as f32)
            .float_constant("CERTAIN", CERTAIN as f32)
            .float_constant("TOLERANCE", DEVICE_TOLERANCE)
            .float_constant("NEAR", NEAR as f32)
            .float_constant("PATIENCE", PATIENCE as f32)
            .float_constant("INFINITE", f32::MAX)
            .layout::<ElasticNetLane>()
            .bind(&[
                Binding::new(Role::Lanes, "lanes", "array<ElasticNetLane>"),
                Binding::new(Role::Progress, "progress", "array<Progress>"),
                Binding::new(Role::State, "state", "array<f32>"),
                Binding::new(Role::Results, "results", "array<u32>"),
                Binding::new(Role::Span, "span", "Span"),
                Binding::new(Role::Shared(0), "x", "array<f32>"),
                Binding::new(Role::Shared(1), "y", "array<u32>"),
                Binding::new(Role::Shared(2), "sums", "array<f32>"),
            ])
    };
    vec![kernel("elastic_net_train", "train"), kernel("elastic_net_score", "score")]
}

impl ElasticNetPlan {
    /// Sums up a problem's folds and lays them out.
    pub fn new(space: Space, problem: Arc<Problem>) -> ElasticNetPlan {
        let mut kernels = kernels();
        let score = kernels.split_off(1);
        let rows = DeviceRows::pack(&problem, |_, rows| linear::by_feature(rows));
        let (mut sums, mut folds) = (Vec::new(), <[Vec<(usize, f64)>; 2]>::default());
        for row in linear::variants(&space, &["fit_intercept"]) {
            let has_intercept = ElasticNetParams::read(&space, &row).fit_intercept;
            let prepare = |fold: &Arc<_>| Prepared::new(fold, has_intercept);
            let prepared: Vec<Prepared> = problem.folds.par_iter().map(prepare).collect();
            for fold in prepared {
                folds[usize::from(has_intercept)].push((sums.len(), fold.scale));
                sums.extend(fold.device_words());
            }
        }
        let scoring = DeviceScoring::new(problem.clone(), TILE_ROWS);
        ElasticNetPlan { space, problem, rows, scoring, sums, folds, train: kernels, score }
    }
}

impl Prepared {
    /// Gram matrix, products with the target and means, as the kernel reads them.
    fn device_words(&self) -> impl Iterator<Item = u32> + '_ {
        let cross = self.cross.iter().map(|c| c / self.scale);
        let means = self.mean.iter().copied().chain([self.target_mean / self.scale]);
        self.gram.iter().copied().chain(cross).chain(means).map(|value| (value as f32).to_bits())
    }
}

impl GpuPlan for ElasticNetPlan {
    fn kernels(&self, phase: Phase) -> &[Kernel] {
        match phase {
            Phase::Train => &self.train,
            Phase::Score => &self.score,
        }
    }

    fn shared(&self) -> Vec<Vec<u32>> {
        vec![self.rows.x.clone(), self.rows.y.clone(), self.sums.clone()]
    }

    fn lane(&self, point: &[f64], fold_index: usize) -> LanePlan {
        let params = ElasticNetParams::read(&self.space, point);
        let rows = &self.problem.folds[fold_index];
        let (sums, unit) = self.folds[usize::from(params.fit_intercept)][fold_index];
        let features = rows.train.x.ncols();
        let longest = rows.row_sets().map(|rows| rows.y.len()).max().unwrap_or(0);
        let capacity = longest.min(TILE_ROWS as usize);
        let lane = ElasticNetLane {
            features: features as u32,
            outputs: 1,
            sets: self.scoring.lane_sets(fold_index, &self.rows.sets[fold_index]),
            capacity: capacity as u32,
            sums: sums as u32,
            l1: (params.l1 / unit) as f32,
            l2: params.l2 as f32,
            is_positive: u32::from(params.is_positive),
            target_shift: rows.target.shift,
            target_scale: (f64::from(rows.target.scale) * unit) as f32,
            unit: unit as f32,
            ..ElasticNetLane::default()
        };
        LanePlan {
            descriptor: words(&lane),
            state_words: ((1 + VECTORS as usize) * features + 1 + capacity + SEARCH_WORDS) as u64,
            result_words: self.scoring.result_words(fold_index),
            // Small penalties take longest, by about the logarithm.
            cost: features as f64
                * (features as f64 * (2.0 - (params.l1 + params.l2).max(1e-8).log10().min(0.0)) + longest as f64),
        }
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
        let lane: ElasticNetLane = bytemuck::pod_read_unaligned(bytemuck::cast_slice(descriptor));
        let mut weights = linear::device_weights(state, lane.features as usize, 1);
        weights.arrays.iter_mut().flat_map(|array| &mut array.values).for_each(|value| *value *= lane.unit);
        weights
    }
}
