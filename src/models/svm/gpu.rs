//! Machines on the GPU: the layout of a lane for shaders/models/svm/.
//!
//! A workgroup solves a lane, one pair of classes after the other. Measures of all pairs of rows are computed on the host when
//! the model is opened; kernels are computed from them where they are needed.

use super::SvmParams;
use super::cpu::problems;
use super::fold::SvmFold;
use super::predict::{Machine, weights};
use super::smo::LEAST_CURVATURE;
use super::vote;
use crate::backend::cpu::simd::LANES;
use crate::backend::gpu::{
    Binding, DeviceScoring, GpuPlan, Kernel, LanePlan, LaneSets, Phase, Role, wgsl_struct, with_lane_header, words,
};
use crate::backend::{LaneStatus, Weights};
use crate::data::{Affine, Problem, Target, Task};
use crate::models::kernels::device::{self, DeviceMeasures};
use crate::models::kernels::{self, KernelFunction, KernelKind};
use crate::space::Space;
use std::sync::Arc;

/// Threads of a workgroup, and rows of a tile.
const WORKGROUP: u32 = 128;
/// Words of a pair's header.
const HEADER: usize = 4;

wgsl_struct! {
    /// One lane. The first two words are the trainer's.
    pub struct SvmLane {
        /// First word of its state.
        pub state: u32,
        /// First word of its results.
        pub result: u32,
        /// Classes, or 1.
        pub outputs: u32,
        /// What it is scored on.
        pub sets: LaneSets,
        /// The fold's index, for who reads the weights.
        pub fold: u32,
        /// 1 for numbers.
        pub is_regression: u32,
        /// Code of the kernel function.
        pub kind: u32,
        /// Its parameters.
        pub gamma: f32,
        /// See `gamma`.
        pub degree: u32,
        /// See `gamma`.
        pub coef0: f32,
        /// Bound of a row's coefficient.
        pub c: f32,
        /// Half the tube's width; 0 for classes.
        pub epsilon: f32,
        /// 1 where classes weigh the same.
        pub is_balanced: u32,
        /// Largest violation at which a pair is done.
        pub tolerance: f32,
        /// Of the target.
        pub shift: f32,
        /// Of the target.
        pub scale: f32,
        /// Places of a row of measures.
        pub places: u32,
        /// Classes that occur; 1 for numbers.
        pub present: u32,
        /// Their pairs; 1 for numbers.
        pub pairs: u32,
        /// First word in `table` of the fold's runs.
        pub runs: u32,
        /// First word in `table` of the places of training rows.
        pub place_of_row: u32,
        /// First word in `rows` of the places' weights and targets.
        pub rows: u32,
        /// Word of its state at which the kernel's row at hand starts.
        pub row_at: u32,
        /// Word of its state at which a tile's decisions start.
        pub decisions: u32,
    }
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
            include_str!("../../../shaders/shared/kernel.wgsl"),
            include_str!("../../../shaders/models/svm/smo.wgsl"),
            include_str!("../../../shaders/models/svm/vote.wgsl"),
        ];
        let kernel = with_lane_header(Kernel::new(name, entry, &sources)).constant("WORKGROUP", WORKGROUP);
        device::constants(DeviceScoring::header(kernel, WORKGROUP))
            .constant("HEADER", HEADER as u32)
            .float_constant("INFINITE", f32::MAX)
            .float_constant("LEAST_CURVATURE", LEAST_CURVATURE as f32)
            .layout::<SvmLane>()
            .bind(&[
                Binding::new(Role::Lanes, "lanes", "array<SvmLane>"),
                Binding::new(Role::Progress, "progress", "array<Progress>"),
                Binding::new(Role::State, "state", "array<f32>"),
                Binding::new(Role::Results, "results", "array<u32>"),
                Binding::new(Role::Span, "span", "Span"),
                Binding::new(Role::Shared(0), "x", "array<f32>"),
                Binding::new(Role::Shared(1), "y", "array<u32>"),
                Binding::new(Role::Shared(2), "rows", "array<f32>"),
                Binding::new(Role::Shared(3), "table", "array<u32>"),
            ])
    };
    vec![kernel("svm_train", "train"), kernel("svm_score", "score")]
}

/// Machines opened on a GPU.
pub struct SvmPlan {
    space: Space,
    task: Task,
    folds: Vec<PlanFold>,
    scoring: DeviceScoring,
    measures: DeviceMeasures,
    rows: Vec<u32>,
    layout: Vec<u32>,
    train: Vec<Kernel>,
    score: Vec<Kernel>,
}

/// A fold, and where its runs, places, and weights and targets lie.
struct PlanFold {
    fold: SvmFold,
    runs: usize,
    place_of_row: usize,
    rows: usize,
}

impl SvmPlan {
    /// Sorts and measures a problem's folds.
    pub fn new(space: Space, problem: Arc<Problem>) -> SvmPlan {
        let folds: Vec<SvmFold> = problem.folds.iter().enumerate().map(|(id, fold)| SvmFold::new(id, fold)).collect();
        let columns: Vec<_> = folds.iter().map(|fold| &fold.columns).collect();
        let measures = DeviceMeasures::new(&problem, &kernels::measures(&space), &columns, |fold, rows| {
            let is_training = std::ptr::eq(rows, &problem.folds[fold].train);
            Some(if is_training { folds[fold].placed_rows() } else { rows.x.clone() })
        });
        let mut kernels = kernels();
        let score = kernels.split_off(1);
        let mut plan = SvmPlan {
            space,
            task: problem.task,
            folds: Vec::new(),
            scoring: DeviceScoring::new(problem, WORKGROUP),
            measures,
            rows: Vec::new(),
            layout: Vec::new(),
            train: kernels,
            score,
        };
        folds.into_iter().for_each(|fold| plan.add_fold(fold));
        plan
    }

    fn add_fold(&mut self, fold: SvmFold) {
        let (runs, rows) = (self.layout.len(), self.rows.len());
        let train = &fold.fold.train;
        for run in &fold.runs {
            let balance = train.y.len() as f32 / (fold.runs.len() * run.rows) as f32;
            let places = [run.first * LANES, run.strips * LANES, run.class].map(|word| word as u32);
            self.layout.extend(places);
            self.layout.push(balance.to_bits());
        }
        let place_of_row = self.layout.len();
        self.layout.extend((0..train.y.len()).map(|row| fold.place(row) as u32));
        let Affine { shift, scale } = fold.fold.target;
        for row in &fold.rows {
            let weight = row.map_or(0.0, |row| train.weight.as_ref().map_or(1.0, |weight| weight[row]));
            let target = match (row, &train.y) {
                (Some(row), Target::Values(values)) => (values[*row] - shift) / scale,
                _ => 0.0,
            };
            self.rows.extend([weight.to_bits(), target.to_bits()]);
        }
        self.folds.push(PlanFold { fold, runs, place_of_row, rows });
    }
}

impl GpuPlan for SvmPlan {
    fn kernels(&self, phase: Phase) -> &[Kernel] {
        match phase {
            Phase::Train => &self.train,
            Phase::Score => &self.score,
        }
    }

    fn shared(&self) -> Vec<Vec<u32>> {
        vec![self.measures.x.clone(), self.measures.y.clone(), self.rows.clone(), self.layout.clone()]
    }

    fn lane(&self, point: &[f64], fold_index: usize) -> LanePlan {
        let params = SvmParams::read(&self.space, point);
        let PlanFold { fold, runs, place_of_row, rows } = &self.folds[fold_index];
        let is_regression = self.task == Task::Regression;
        let problems: Vec<usize> = problems(fold, &params, self.task).iter().map(|(_, rows)| rows.len()).collect();
        let outputs = fold.fold.train.y.outputs();
        let row_at = HEADER * problems.len() + 3 * problems.iter().sum::<usize>();
        let decisions = row_at + problems.iter().copied().max().unwrap_or(0);
        let tile = WORKGROUP as usize * (problems.len() + fold.runs.len() + outputs);
        let sets = self.measures.sets(params.function.kind.measure(), fold_index);
        let lane = SvmLane {
            outputs: outputs as u32,
            sets: self.scoring.lane_sets(fold_index, sets),
            fold: fold_index as u32,
            is_regression: u32::from(is_regression),
            kind: params.function.kind.code(),
            gamma: params.function.gamma as f32,
            degree: params.function.degree,
            coef0: params.function.coef0 as f32,
            c: params.c as f32,
            epsilon: if is_regression { params.epsilon as f32 } else { 0.0 },
            is_balanced: u32::from(params.is_balanced),
            tolerance: params.tolerance as f32,
            shift: fold.fold.target.shift,
            scale: fold.fold.target.scale,
            places: fold.rows.len() as u32,
            present: fold.runs.len() as u32,
            pairs: problems.len() as u32,
            runs: *runs as u32,
            place_of_row: *place_of_row as u32,
            rows: *rows as u32,
            row_at: row_at as u32,
            decisions: decisions as u32,
            ..SvmLane::default()
        };
        LanePlan {
            descriptor: words(&lane),
            state_words: (decisions + tile) as u64,
            result_words: self.scoring.result_words(fold_index),
            // Large C takes longest, about as its logarithm.
            cost: fold.rows.len() as f64 * (1.0 + params.c.max(1e-9).ln_1p()),
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
        let lane: SvmLane = bytemuck::pod_read_unaligned(bytemuck::cast_slice(descriptor));
        let fold = &self.folds[lane.fold as usize].fold;
        let number = |word: usize| f64::from(f32::from_bits(state[word]));
        let function = KernelFunction {
            kind: KernelKind::from_code(lane.kind).unwrap_or(KernelKind::Rbf),
            gamma: f64::from(lane.gamma),
            degree: lane.degree,
            coef0: f64::from(lane.coef0),
        };
        let runs: Vec<Vec<usize>> = match self.task {
            Task::Regression => fold.runs.iter().map(|_| vec![0]).collect(),
            Task::Classification => vote::every_pair(fold.runs.len()).map(|(a, b)| vec![a, b]).collect(),
        };
        let mut word = HEADER * runs.len();
        let mut pairs = Vec::new();
        for runs in &runs {
            let places = runs.iter().map(|run| &fold.runs[*run]);
            let places = places.flat_map(|run| run.first * LANES..(run.first + run.strips) * LANES);
            let pair: Vec<(usize, f64)> = places.enumerate().map(|(row, place)| (place, number(word + row))).collect();
            word += 3 * pair.len();
            pairs.push(pair);
        }
        let constants = (0..runs.len()).map(|pair| number(HEADER * pair + 3)).collect();
        weights(fold, &Machine { function: &function, pairs, constants })
    }
}
