//! Naive Bayes on the GPU: the layout of a lane for shaders/models/naive_bayes.wgsl.
//!
//! Rows and moments are uploaded in units of each feature's own deviation around its mean, so that f32 has room for them
//! whatever their scale. The moments are the host's, in f64.

use super::NaiveBayesParams;
use super::moments::Moments;
use crate::backend::gpu::{
    Binding, DeviceRows, DeviceScoring, GpuPlan, Kernel, LanePlan, LaneSets, Phase, Role, wgsl_struct,
    with_lane_header, words,
};
use crate::backend::{LaneStatus, Weights};
use crate::data::{Problem, Rows};
use crate::space::Space;
use rayon::prelude::*;
use std::sync::Arc;

/// Threads of a workgroup.
const WORKGROUP: u32 = 128;
/// Rows that scoring predicts at a time.
const TILE_ROWS: u32 = 128;
/// The logarithm of a prior of 0: less than any likelihood, and still a number.
const ABSENT: f32 = -1e30;
/// No variance is larger, so that its reciprocal and logarithm are normal numbers.
const LARGEST_VARIANCE: f64 = 1e30;
/// No feature is further out, in its deviations: its square by the smallest variance is still a number.
const FURTHEST: f64 = 1e9;

wgsl_struct! {
    /// One lane. The first two words are the trainer's.
    pub struct NaiveBayesLane {
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
        /// First word of the fold's moments.
        pub moments: u32,
        /// The fold's index, for who reads the weights.
        pub fold: u32,
        /// Share of the largest variance that is added to every variance.
        pub smoothing: f32,
        /// 1 for equal priors.
        pub has_uniform_priors: u32,
    }
}

/// Naive Bayes opened on a GPU.
pub struct NaiveBayesPlan {
    space: Space,
    problem: Arc<Problem>,
    rows: DeviceRows,
    scoring: DeviceScoring,
    folds: Vec<Moments>,
    /// Each fold's moments in the features' own units, as the shader reads them, and where they begin.
    moments: Vec<u32>,
    firsts: Vec<u32>,
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
            include_str!("../../../shaders/models/naive_bayes.wgsl"),
        ];
        let kernel = with_lane_header(Kernel::new(name, entry, &sources)).constant("WORKGROUP", WORKGROUP);
        DeviceScoring::header(kernel, TILE_ROWS).layout::<NaiveBayesLane>().bind(&[
            Binding::new(Role::Lanes, "lanes", "array<NaiveBayesLane>"),
            Binding::new(Role::Progress, "progress", "array<Progress>"),
            Binding::new(Role::State, "state", "array<f32>"),
            Binding::new(Role::Results, "results", "array<u32>"),
            Binding::new(Role::Span, "span", "Span"),
            Binding::new(Role::Shared(0), "x", "array<f32>"),
            Binding::new(Role::Shared(1), "y", "array<u32>"),
            Binding::new(Role::Shared(2), "moments", "array<f32>"),
        ])
    };
    vec![kernel("naive_bayes_train", "train"), kernel("naive_bayes_score", "score")]
}

impl NaiveBayesPlan {
    /// Takes a problem's moments and lays both out.
    pub fn new(space: Space, problem: Arc<Problem>) -> NaiveBayesPlan {
        let mut kernels = kernels();
        let score = kernels.split_off(1);
        let folds: Vec<Moments> = problem.folds.par_iter().map(|fold| Moments::new(&fold.train)).collect();
        let units: Vec<Vec<f64>> = folds.iter().map(units).collect();
        let rows = DeviceRows::pack(&problem, |fold, rows| in_units(rows, &folds[fold].overall, &units[fold]));
        let (mut moments, mut firsts) = (Vec::new(), Vec::new());
        for (fold, units) in folds.iter().zip(&units) {
            firsts.push(moments.len() as u32);
            moments.extend(device_moments(fold, units).into_iter().map(f32::to_bits));
        }
        let scoring = DeviceScoring::new(problem.clone(), TILE_ROWS);
        NaiveBayesPlan { space, problem, rows, scoring, folds, moments, firsts, train: kernels, score }
    }
}

/// What each feature is measured in: its deviation, and where it does not vary the largest of the others.
fn units(moments: &Moments) -> Vec<f64> {
    let largest = moments.spread.iter().copied().fold(0.0, f64::max);
    let unit = |spread: &f64| if *spread > 0.0 { spread.sqrt() } else { largest.sqrt() };
    moments.spread.iter().map(unit).map(|unit| if unit > 0.0 { unit } else { 1.0 }).collect()
}

fn in_units(rows: &Rows, means: &[f64], units: &[f64]) -> Vec<f32> {
    let scaled = |row: ndarray::ArrayView1<'_, f32>| -> Vec<f32> {
        let moments = means.iter().zip(units);
        row.iter()
            .zip(moments)
            .map(|(x, (mean, unit))| ((f64::from(*x) - mean) / unit).clamp(-FURTHEST, FURTHEST) as f32)
            .collect()
    };
    rows.x.rows().into_iter().flat_map(scaled).collect()
}

/// Means `[classes, features]`, variances `[classes, features]`, what a smoothing of 1 adds to each feature's variance,
/// and the logarithms of both kinds of priors, `[2, classes]`.
fn device_moments(moments: &Moments, units: &[f64]) -> Vec<f32> {
    let largest = moments.added(&NaiveBayesParams { smoothing: 1.0, has_uniform_priors: false });
    let columns = || (0..moments.classes()).flat_map(|_| moments.overall.iter().zip(units));
    let bounded = |variance: f64| variance.min(LARGEST_VARIANCE) as f32;
    let means = moments.means.iter().zip(columns()).map(|(mean, (overall, unit))| ((mean - overall) / unit) as f32);
    let variances = moments.variances.iter().zip(columns()).map(|(v, (_, unit))| bounded(v / (unit * unit)));
    // Where no feature varies nothing is added to nothing: any variance will do that is the same for all classes.
    let added = units.iter().map(|unit| if largest > 0.0 { bounded(largest / (unit * unit)) } else { 1.0 });
    let priors = [false, true].into_iter().flat_map(|has_uniform_priors| {
        let priors = moments.priors(&NaiveBayesParams { smoothing: 1.0, has_uniform_priors });
        // Where no row weighs anything there are no shares either: NaN stays NaN.
        priors.into_iter().map(|prior| if prior == 0.0 { ABSENT } else { libm::log(prior) as f32 })
    });
    means.chain(variances).chain(added).chain(priors).collect()
}

impl GpuPlan for NaiveBayesPlan {
    fn kernels(&self, phase: Phase) -> &[Kernel] {
        match phase {
            Phase::Train => &self.train,
            Phase::Score => &self.score,
        }
    }

    fn shared(&self) -> Vec<Vec<u32>> {
        vec![self.rows.x.clone(), self.rows.y.clone(), self.moments.clone()]
    }

    fn lane(&self, point: &[f64], fold: usize) -> LanePlan {
        let params = NaiveBayesParams::read(&self.space, point);
        let (rows, features) = self.problem.folds[fold].train.x.dim();
        let outputs = self.problem.outputs;
        let lane = NaiveBayesLane {
            features: features as u32,
            outputs: outputs as u32,
            sets: self.scoring.lane_sets(fold, &self.rows.sets[fold]),
            moments: self.firsts[fold],
            fold: fold as u32,
            smoothing: params.smoothing as f32,
            has_uniform_priors: u32::from(params.has_uniform_priors),
            ..NaiveBayesLane::default()
        };
        LanePlan {
            descriptor: words(&lane),
            // Factors and constants; then a tile's logits and what their sums have lost.
            state_words: ((features + 1) * outputs + 2 * TILE_ROWS as usize * outputs) as u64,
            result_words: self.scoring.result_words(fold),
            cost: (rows * features * outputs) as f64,
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
        let lane: NaiveBayesLane = bytemuck::pod_read_unaligned(bytemuck::cast_slice(descriptor));
        let has_uniform_priors = lane.has_uniform_priors == 1;
        self.folds[lane.fold as usize]
            .weights(&NaiveBayesParams { smoothing: f64::from(lane.smoothing), has_uniform_priors })
    }
}
