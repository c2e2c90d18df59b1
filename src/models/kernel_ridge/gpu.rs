//! Kernel ridge on the GPU: lanes are solved on the host, by the CPU's own reduction, and predict and are scored on the
//! device.
//!
//! WGSL has no f64, and in f32 a penalty below 1e-7 of the kernel's largest eigenvalue is lost. A lane's descriptor holds its
//! dual weights in two parts, of which the device reads the first, and what its own equation says of its training rows.

use super::RidgeParams;
use super::cpu::{RidgeFold, RidgeLanes, weights};
use crate::backend::cpu::simd::Level;
use crate::backend::gpu::{
    Binding, DeviceScoring, GpuPlan, Kernel, LanePlan, LaneSets, Phase, Role, WgslStruct, wgsl_struct,
    with_lane_header, words,
};
use crate::backend::{LaneStatus, Weights};
use crate::data::Problem;
use crate::models::kernels;
use crate::models::kernels::device::DeviceMeasures;
use std::sync::Arc;

/// Threads of a workgroup, and rows of a tile.
const WORKGROUP: u32 = 128;

wgsl_struct! {
    /// One lane, before its weights. The first two words are the trainer's.
    pub struct KernelRidgeLane {
        /// First word of its state.
        pub state: u32,
        /// First word of its results.
        pub result: u32,
        /// 1
        pub outputs: u32,
        /// What it is scored on.
        pub sets: LaneSets,
        /// The fold's index, for who reads the weights.
        pub fold: u32,
        /// Code of the kernel function.
        pub kind: u32,
        /// Its parameters.
        pub gamma: f32,
        /// See `gamma`.
        pub degree: u32,
        /// See `gamma`.
        pub coef0: f32,
        /// What f32 leaves of gamma; the device does without, the weights that are read back do not.
        pub gamma_rest: f32,
        /// The same of coef0.
        pub coef0_rest: f32,
        /// Of the target.
        pub shift: f32,
        /// Of the target.
        pub scale: f32,
        /// What the kernel is less where the lane's weights are multiplied with it: 1 for one that is a distance's.
        pub less: f32,
        /// The sum of its weights, times that, in two parts.
        pub sum: f32,
        /// See `sum`.
        pub sum_rest: f32,
    }
}

/// The kernels of lanes with room for so many training rows.
pub fn kernels(rows: usize) -> Vec<Kernel> {
    let kernel = |name, entry| {
        let sources = [
            include_str!("../../../shaders/shared/math.wgsl"),
            include_str!("../../../shaders/shared/metric.wgsl"),
            include_str!("../../../shaders/shared/held.wgsl"),
            include_str!("../../../shaders/shared/lane.wgsl"),
            include_str!("../../../shaders/shared/train.wgsl"),
            include_str!("../../../shaders/shared/score.wgsl"),
            include_str!("../../../shaders/shared/kernel.wgsl"),
            include_str!("../../../shaders/models/kernel_ridge.wgsl"),
        ];
        let kernel = with_lane_header(Kernel::new(name, entry, &sources)).constant("WORKGROUP", WORKGROUP);
        let kernel = kernels::device::constants(DeviceScoring::header(kernel, WORKGROUP));
        let head = KernelRidgeLane::wgsl();
        let head = head.trim_end().trim_end_matches('}');
        let arrays = ["duals", "fitted", "duals_rest"].map(|name| format!("{name}: array<f32, {rows}>,")).join(" ");
        kernel.generated(&format!("{head}    {arrays}\n}}\n")).bind(&[
            Binding::new(Role::Lanes, "lanes", "array<KernelRidgeLane>"),
            Binding::new(Role::Progress, "progress", "array<Progress>"),
            Binding::new(Role::State, "state", "array<f32>"),
            Binding::new(Role::Results, "results", "array<u32>"),
            Binding::new(Role::Span, "span", "Span"),
            Binding::new(Role::Shared(0), "x", "array<f32>"),
            Binding::new(Role::Shared(1), "y", "array<u32>"),
        ])
    };
    vec![kernel("kernel_ridge_train", "train"), kernel("kernel_ridge_score", "score")]
}

/// Kernel ridge opened on a GPU.
pub struct RidgePlan {
    lanes: RidgeLanes,
    folds: Vec<RidgeFold>,
    scoring: DeviceScoring,
    measures: DeviceMeasures,
    rows: usize,
    train: Vec<Kernel>,
    score: Vec<Kernel>,
}

impl RidgePlan {
    /// Measures a problem's rows to score.
    pub fn new(lanes: RidgeLanes, problem: Arc<Problem>) -> RidgePlan {
        let folds: Vec<RidgeFold> =
            problem.folds.iter().enumerate().map(|(id, fold)| RidgeFold::new(id, fold)).collect();
        let columns: Vec<_> = folds.iter().map(|fold| &fold.columns).collect();
        let measures = DeviceMeasures::new(&problem, &kernels::measures(&lanes.space), &columns, |fold, rows| {
            // Training rows are predicted by their own equation.
            (!std::ptr::eq(rows, &problem.folds[fold].train)).then(|| rows.x.clone())
        });
        let rows = folds.iter().map(|fold| fold.y.len()).max().unwrap_or(0).max(1);
        let mut train = kernels(rows);
        let score = train.split_off(1);
        let scoring = DeviceScoring::new(problem, WORKGROUP);
        RidgePlan { lanes, folds, scoring, measures, rows, train, score }
    }

    /// A lane's dual weights, and its scaled predictions of the training rows.
    fn solve(&self, params: &RidgeParams, fold: &RidgeFold) -> (Vec<f64>, Vec<f64>) {
        let level = Level::detect();
        let duals = self.lanes.solve(level, fold, std::slice::from_ref(params));
        let duals: Vec<f64> = duals.iter().map(|row| row.0[0]).collect();
        let alone = |row: usize| -> f64 {
            let x = fold.fold.train.x.slice(ndarray::s![row..row + 1, ..]);
            fold.kernel_rows(level, &params.function, x).iter().zip(&duals).map(|(value, dual)| value * dual).sum()
        };
        let value = |row: usize| fold.fitted(row, duals[row], params.l2).unwrap_or_else(|| alone(row));
        let fitted = (0..duals.len()).map(value).collect();
        (duals, fitted)
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
        vec![self.measures.x.clone(), self.measures.y.clone()]
    }

    fn lane(&self, point: &[f64], fold_index: usize) -> LanePlan {
        let params = RidgeParams::read(&self.lanes.space, point);
        let fold = &self.folds[fold_index];
        let (duals, fitted) = self.solve(&params, fold);
        let target = fold.fold.target;
        // Of rows that are close a kernel of distances is almost 1, of which f32 keeps less than of the difference from 1.
        let less = if params.function.kind.measure() == kernels::Measure::Product { 0.0 } else { 1.0 };
        let device: f64 = duals.iter().map(|dual| f64::from(*dual as f32)).sum();
        let [sum, sum_rest] = kernels::weights::parts(f64::from(less) * device);
        let sets = self.measures.sets(params.function.kind.measure(), fold_index);
        let ([gamma, gamma_rest], [coef0, coef0_rest]) =
            (kernels::weights::parts(params.function.gamma), kernels::weights::parts(params.function.coef0));
        let lane = KernelRidgeLane {
            outputs: 1,
            sets: self.scoring.lane_sets(fold_index, sets),
            fold: fold_index as u32,
            kind: params.function.kind.code(),
            gamma,
            degree: params.function.degree,
            coef0,
            gamma_rest,
            coef0_rest,
            shift: target.shift,
            scale: target.scale,
            less,
            sum,
            sum_rest,
            ..KernelRidgeLane::default()
        };
        let mut descriptor = words(&lane);
        let (duals, rests): (Vec<f32>, Vec<f32>) =
            duals.iter().map(|dual| kernels::weights::parts(*dual)).map(|[dual, rest]| (dual, rest)).unzip();
        let fitted = fitted.iter().map(|value| *value as f32).collect();
        for values in [duals, fitted, rests] {
            descriptor.extend(values.iter().map(|value| value.to_bits()));
            descriptor.extend(std::iter::repeat_n(0, self.rows - values.len()));
        }
        LanePlan {
            // What the lane brings along counts too: a batch has room for as much.
            state_words: u64::from(WORKGROUP).max(descriptor.len() as u64),
            descriptor,
            result_words: self.scoring.result_words(fold_index),
            cost: fold.y.len() as f64,
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

    fn weights(&self, descriptor: &[u32], _: &[u32]) -> Weights {
        let (head, arrays) = descriptor.split_at(size_of::<KernelRidgeLane>() / size_of::<u32>());
        let lane: KernelRidgeLane = bytemuck::pod_read_unaligned(bytemuck::cast_slice(head));
        let fold = &self.folds[lane.fold as usize];
        let number = |word: &u32| f64::from(f32::from_bits(*word));
        let parts = arrays.iter().zip(&arrays[2 * self.rows..]).take(fold.y.len());
        let duals: Vec<f64> = parts.map(|(dual, rest)| number(dual) + number(rest)).collect();
        let function = kernels::KernelFunction {
            kind: kernels::KernelKind::from_code(lane.kind).unwrap_or(kernels::KernelKind::Rbf),
            gamma: f64::from(lane.gamma) + f64::from(lane.gamma_rest),
            degree: lane.degree,
            coef0: f64::from(lane.coef0) + f64::from(lane.coef0_rest),
        };
        weights(fold, &function, &duals)
    }
}
