//! The perceptron on the GPU: the layout of a lane for shaders/models/mlp.wgsl.

use super::recipe::{self, BETA2, EPSILON, MAX_LAYERS, MlpParams};
use crate::backend::gpu::{
    Binding, DeviceRows, DeviceScoring, GpuPlan, Kernel, LanePlan, LaneSets, Phase, Role, padded, wgsl_struct,
    with_lane_header, words,
};
use crate::backend::{LaneStatus, WeightArray, Weights};
use crate::data::{Fold, Problem, Task};
use crate::space::Space;
use std::ops::Range;
use std::sync::Arc;

/// Threads of a workgroup: 8 x 16 register tiles of 4 x 4.
const WORKGROUP: u32 = 128;
/// Rows of a tick, where no minibatch is larger: batches that divide it have equally many rows in every tick.
const TICK_ROWS: u32 = 128;
/// Rows that scoring predicts at a time: `TILE_M` of the shader.
const TILE_ROWS: u32 = 32;
const LAYERS: usize = MAX_LAYERS + 1;
/// Words of a lane's state before its weights: what is left of 1 by each moment's decay.
const POWERS: u32 = 2;

wgsl_struct! {
    /// One lane. The first two words are the trainer's.
    pub struct MlpLane {
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
        /// First word of what its training rows count for; 0 where all count alike.
        pub weight: u32,
        /// First entry of the fold in an epoch's part of the window.
        pub order_at: u32,
        /// Entries of an epoch in the window.
        pub order_stride: u32,
        /// Units of each hidden layer.
        pub hidden: [u32; MAX_LAYERS],
        /// Hidden layers.
        pub layers: u32,
        /// Weights and biases of all layers.
        pub weights: u32,
        /// Rows that activations have room for.
        pub capacity: u32,
        /// Words of all layers' outputs.
        pub stretch: u32,
        /// Rows of a minibatch.
        pub batch: u32,
        /// Rows of a tick, the same for all lanes.
        pub tick_rows: u32,
        /// Steps of the full budget.
        pub steps: u32,
        /// Codes of recipe.rs.
        pub activation: u32,
        /// Codes of recipe.rs.
        pub optimizer: u32,
        /// Codes of recipe.rs.
        pub schedule: u32,
        /// The schedule's peak.
        pub learning_rate: f32,
        /// Adam's first decay, or SGD's momentum.
        pub momentum: f32,
        /// Decoupled decay.
        pub weight_decay: f32,
        /// Share of hidden units that a step leaves out.
        pub dropout: f32,
        /// Share of each target spread over all classes.
        pub label_smoothing: f32,
        /// Half the width of each layer's initial weights.
        pub start_bounds: [f32; LAYERS],
        /// Two words a layer.
        pub start_keys: [u32; 8],
        /// Two words a hidden layer.
        pub dropout_keys: [u32; 6],
        /// Of a regression target.
        pub target_shift: f32,
        /// Of a regression target.
        pub target_scale: f32,
    }
}

/// The perceptron opened on a GPU.
pub struct MlpPlan {
    space: Space,
    problem: Arc<Problem>,
    rows: DeviceRows,
    /// What training rows count for, behind a word that is not used.
    weight: Vec<u32>,
    /// First word there of each fold, without and with classes balanced; 0 where all count alike.
    weights: Vec<[u32; 2]>,
    scoring: DeviceScoring,
    tick_rows: u32,
    train: Vec<Kernel>,
    score: Vec<Kernel>,
}

/// The kernels, for the trainer and for the translation tests.
pub fn kernels() -> Vec<Kernel> {
    let kernel = |name, entry| {
        let sources = [
            include_str!("../../../shaders/shared/random.wgsl"),
            include_str!("../../../shaders/shared/math.wgsl"),
            include_str!("../../../shaders/shared/metric.wgsl"),
            include_str!("../../../shaders/shared/held.wgsl"),
            include_str!("../../../shaders/shared/lane.wgsl"),
            include_str!("../../../shaders/shared/train.wgsl"),
            include_str!("../../../shaders/shared/score.wgsl"),
            include_str!("../../../shaders/models/mlp.wgsl"),
        ];
        let kernel = with_lane_header(Kernel::new(name, entry, &sources)).constant("WORKGROUP", WORKGROUP);
        DeviceScoring::header(kernel, TILE_ROWS)
            .float_constant("BETA2", BETA2)
            .float_constant("ONE_MINUS_BETA2", 1.0 - BETA2)
            .float_constant("EPSILON_SQUARED", EPSILON * EPSILON)
            .layout::<MlpLane>()
            .bind(&[
                Binding::new(Role::Lanes, "lanes", "array<MlpLane>"),
                Binding::new(Role::Progress, "progress", "array<Progress>"),
                Binding::new(Role::State, "state", "array<f32>"),
                Binding::new(Role::Results, "results", "array<u32>"),
                Binding::new(Role::Span, "span", "Span"),
                Binding::new(Role::Window, "order", "array<u32>"),
                Binding::new(Role::Shared(0), "x", "array<f32>"),
                Binding::new(Role::Shared(1), "y", "array<u32>"),
                Binding::new(Role::Shared(2), "weight", "array<f32>"),
            ])
    };
    vec![kernel("mlp_train", "train"), kernel("mlp_score", "score")]
}

impl MlpPlan {
    /// Lays a problem out.
    pub fn new(space: Space, problem: Arc<Problem>) -> MlpPlan {
        let mut kernels = kernels();
        let score = kernels.split_off(1);
        let rows = DeviceRows::pack(&problem, |_, rows| rows.x.iter().copied().collect());
        let scoring = DeviceScoring::new(problem.clone(), TILE_ROWS);
        let tick_rows = tick_rows(&space);
        let mut weight = vec![0];
        let mut place = |weights: Option<Vec<f32>>| match weights {
            None => 0,
            Some(weights) => {
                let first = weight.len() as u32;
                weight.extend(weights.into_iter().map(f32::to_bits));
                first
            }
        };
        let of_fold = |fold: &Arc<Fold>| [false, true].map(|is_balanced| recipe::row_weights(&fold.train, is_balanced));
        let weights = problem.folds.iter().map(|fold| of_fold(fold).map(&mut place)).collect();
        MlpPlan { space, problem, rows, weight, weights, scoring, tick_rows, train: kernels, score }
    }
}

/// Rows by which dispatches are cut: no minibatch of the space has more, so that no tick within an epoch is without a
/// step.
fn tick_rows(space: &Space) -> u32 {
    space.numbers("batch").into_iter().fold(TICK_ROWS, |most, batch| most.max(batch as u32))
}

impl GpuPlan for MlpPlan {
    fn kernels(&self, phase: Phase) -> &[Kernel] {
        match phase {
            Phase::Train => &self.train,
            Phase::Score => &self.score,
        }
    }

    fn shared(&self) -> Vec<Vec<u32>> {
        vec![self.rows.x.clone(), self.rows.y.clone(), self.weight.clone()]
    }

    fn lane(&self, point: &[f64], fold_index: usize) -> LanePlan {
        let params = MlpParams::read(&self.space, point);
        let fold = &self.problem.folds[fold_index];
        let (rows, features) = fold.train.x.dim();
        let outputs = self.problem.outputs;
        let shapes: Vec<(usize, usize)> = params.shapes(features, outputs).collect();
        let weights = params.weights(features, outputs) as u32;
        let capacity = (params.batch.min(rows as u32)).max(TILE_ROWS);
        let stretch = u64::from(capacity) * shapes.iter().map(|(_, units)| *units as u64).sum::<u64>();
        let layers = params.layers as usize;
        let mut start_bounds = [0.0; LAYERS];
        let mut start_keys = [0; 8];
        for (layer, (inputs, _)) in shapes.iter().enumerate() {
            start_bounds[layer] = params.start_bound(layer, *inputs);
            let key = recipe::start_key(fold.key, if layer == layers { MAX_LAYERS } else { layer });
            start_keys[2 * layer..][..2].copy_from_slice(&key.0);
        }
        let dropout_keys = (0..MAX_LAYERS).flat_map(|layer| recipe::dropout_key(fold.key, layer).0);
        let order_at: usize = self.problem.folds[..fold_index].iter().map(|fold| fold.train.y.len()).sum();
        let lane = MlpLane {
            features: features as u32,
            outputs: outputs as u32,
            is_classifier: u32::from(self.problem.task == Task::Classification),
            sets: self.scoring.lane_sets(fold_index, &self.rows.sets[fold_index]),
            weight: self.weights[fold_index][usize::from(params.is_balanced)],
            order_at: order_at as u32,
            order_stride: self.window_words() as u32,
            hidden: params.hidden,
            layers: params.layers,
            weights,
            capacity,
            stretch: stretch as u32,
            batch: params.batch,
            tick_rows: self.tick_rows,
            steps: (params.steps_per_epoch(rows) * self.problem.budget) as u32,
            activation: params.activation as u32,
            optimizer: params.optimizer as u32,
            schedule: params.schedule as u32,
            learning_rate: params.learning_rate,
            momentum: params.momentum,
            weight_decay: params.weight_decay,
            dropout: params.dropout,
            label_smoothing: params.label_smoothing,
            start_bounds,
            start_keys,
            dropout_keys: padded(dropout_keys),
            target_shift: fold.target.shift,
            target_scale: fold.target.scale,
            ..MlpLane::default()
        };
        LanePlan {
            descriptor: words(&lane),
            state_words: u64::from(POWERS) + 3 * u64::from(weights) + 3 * stretch,
            result_words: self.scoring.result_words(fold_index),
            cost: rows as f64 * f64::from(weights),
        }
    }

    fn ticks_per_unit(&self, phase: Phase) -> u64 {
        let ticks = self.problem.folds.iter().map(|fold| fold.train.y.len().div_ceil(self.tick_rows as usize));
        if phase == Phase::Train { ticks.max().unwrap_or(1) as u64 } else { 1 }
    }

    fn score_units(&self) -> u64 {
        self.scoring.units()
    }

    fn window_words(&self) -> u64 {
        self.problem.folds.iter().map(|fold| fold.train.y.len() as u64).sum()
    }

    fn window(&self, units: Range<u64>) -> Vec<u32> {
        let folds = &self.problem.folds;
        units
            .flat_map(|epoch| {
                folds.iter().flat_map(move |fold| recipe::epoch_order(fold.key, epoch, fold.train.y.len()))
            })
            .collect()
    }

    fn status_at_budget(&self) -> LaneStatus {
        LaneStatus::Trained
    }

    fn can_converge(&self) -> bool {
        false
    }

    fn scores(&self, fold: usize, results: &[u32]) -> (f64, Vec<f64>) {
        self.scoring.scores(fold, results)
    }

    fn weights(&self, descriptor: &[u32], state: &[u32]) -> Weights {
        let lane: MlpLane = bytemuck::pod_read_unaligned(bytemuck::cast_slice(descriptor));
        let mut at = POWERS as usize;
        let mut take = |name: String, shape: Vec<usize>| {
            let count = shape.iter().product();
            let values = state.iter().skip(at).take(count).map(|word| f32::from_bits(*word)).collect();
            at += count;
            WeightArray { name, shape, values }
        };
        let mut arrays = Vec::new();
        let layers = lane.layers as usize;
        for layer in 0..=layers {
            let inputs = if layer == 0 { lane.features } else { lane.hidden[layer - 1] } as usize;
            let units = if layer == layers { lane.outputs } else { lane.hidden[layer] } as usize;
            arrays.push(take(format!("layer_{layer}.weight"), vec![inputs, units]));
            arrays.push(take(format!("layer_{layer}.bias"), vec![units]));
        }
        let activation = vec![lane.activation as f32];
        arrays.push(WeightArray { name: "activation".to_owned(), shape: vec![1], values: activation });
        Weights::of(arrays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{DataShape, Model, mlp::Mlp};

    #[test]
    fn no_minibatch_of_a_space_is_larger_than_a_tick() {
        let space = Mlp.space(DataShape { task: Task::Classification, rows: 1000, features: 4, outputs: 2 });
        let with = |batch: &str| space.clone().with_overrides(&toml::from_str(batch).unwrap()).unwrap();
        assert_eq!(tick_rows(&space), 128);
        assert_eq!(tick_rows(&with("batch = 20")), 128);
        assert_eq!(tick_rows(&with("batch = 640")), 640);
        assert_eq!(tick_rows(&with("batch = { ordinal = [64, 512, 256] }")), 512);
        assert_eq!(tick_rows(&with("batch = { int = [50, 300] }")), 300);
    }
}
