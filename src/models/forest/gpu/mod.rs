//! The forest on the GPU, for shaders/models/forest/.
//!
//! A workgroup grows a lane's trees one after the other. Columns in bins, targets and weights are uploaded once for all
//! lanes. A lane's state holds its tree's rows by node and the sum of its trees' predictions of the rows to score, not the
//! trees, as on the CPU: of those it keeps a hash. A lane that is read back is grown again by the processor, to the same
//! hash.

mod layout;

use super::cpu::grow_whole;
use super::fold::{Binned, ForestFold};
use super::gain::MANTISSAS;
use super::plant::row_weights;
use super::recipe::{Criterion, Draws, ForestParams, Kind, Limits, Steps, trees_key, whole_weights};
use crate::backend::cpu::CpuOptions;
use crate::backend::gpu::{DeviceRows, DeviceScoring, DeviceSet, GpuPlan, Kernel, LanePlan, Phase, words};
use crate::backend::{BackendError, LaneStatus, Weights};
use crate::data::{Problem, Target, Task};
use crate::models::trees::bins::FeatureBins;
use crate::models::trees::device::{Places, binnings};
use crate::space::Space;
pub use layout::kernels;
use layout::{
    COLUMN_IS_CATEGORY, ENTRY_WORDS, ForestLane, NODE_ROWS, Standing, TICKS, TILE_ROWS, WORD_ROWS, score_kernel,
    train_kernel,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The forest opened on a GPU.
pub struct ForestPlan {
    space: Space,
    problem: Arc<Problem>,
    scoring: DeviceScoring,
    folds: Vec<PlanFold>,
    codes: Vec<u32>,
    /// The tables of entropy, then what is known of columns, targets and weights.
    table: Vec<u32>,
    y: Vec<u32>,
    train: Vec<Kernel>,
    score: Vec<Kernel>,
}

/// A fold, and where its parts lie.
struct PlanFold {
    fold: ForestFold,
    /// By bins: first word of the codes, and of what is known of the columns.
    binnings: BTreeMap<u32, (usize, usize)>,
    /// First word of the targets, by the bits of their steps; of classes by 0.
    targets: BTreeMap<u32, usize>,
    /// As they are, and with balanced classes; none where all rows count alike.
    weights: [Option<PlanWeights>; 2],
    /// Whose x is the first row among all that are scored.
    sets: Vec<DeviceSet>,
}

/// Where weights of one kind lie.
#[derive(Debug, Clone, Copy)]
struct PlanWeights {
    whole: usize,
    sums: usize,
    all: u32,
}

impl ForestPlan {
    /// Bins a problem's folds.
    pub fn new(space: Space, problem: Arc<Problem>) -> Result<ForestPlan, BackendError> {
        let bins = binnings("forest", &space, ForestParams::read(&space, &space.defaults()).bins)?;
        let rows = DeviceRows::pack(&problem, |_, _| Vec::new());
        let mut plan = ForestPlan {
            space,
            scoring: DeviceScoring::new(problem.clone(), TILE_ROWS),
            problem: problem.clone(),
            folds: Vec::new(),
            codes: Vec::new(),
            table: if problem.task == Task::Classification { MANTISSAS.to_vec() } else { Vec::new() },
            y: rows.y,
            train: vec![train_kernel(problem.task)],
            score: vec![score_kernel()],
        };
        for (fold, sets) in problem.folds.iter().zip(rows.sets) {
            let fold = ForestFold::new(fold.clone());
            let binnings = bins.iter().map(|bins| (*bins, plan.add_bins(&fold, *bins))).collect();
            let weights = [false, true].map(|is_balanced| plan.add_weights(&fold, is_balanced));
            let targets = plan.add_targets(&fold, weights[0]);
            // Of the training rows none is scored.
            let scored = |(set, place): (usize, DeviceSet)| match set {
                0 => DeviceSet { rows: 0, x: 0, ..place },
                _ => DeviceSet { x: fold.firsts[set - 1] as u32, ..place },
            };
            let sets = sets.into_iter().enumerate().map(scored).collect();
            plan.folds.push(PlanFold { fold, binnings, targets, weights, sets });
        }
        Ok(plan)
    }

    /// Packs a fold's columns, four rows a word: the training rows, then the rows to score.
    fn add_bins(&mut self, fold: &ForestFold, bins: u32) -> (usize, usize) {
        let (codes, columns) = (self.codes.len(), self.table.len());
        fold.with_bins(bins, |Binned { features, train, scored }| {
            let mut places = columns + 2 * features.len();
            for feature in features {
                let category = if feature.is_category() { COLUMN_IS_CATEGORY } else { 0 };
                self.table.extend([feature.bins as u32 | category, places as u32]);
                places += 2 * feature.places.len();
            }
            self.table.extend(features.iter().flat_map(|feature: &FeatureBins| &feature.places).flatten());
            for feature in 0..features.len() {
                let column: Vec<u8> = train.column(feature).iter().chain(scored.column(feature)).copied().collect();
                let word = |rows: &[u8]| rows.iter().rev().fold(0, |word, bin| word << 8 | u32::from(*bin));
                self.codes.extend(column.chunks(WORD_ROWS).map(word));
            }
        });
        (codes, columns)
    }

    fn add_weights(&mut self, fold: &ForestFold, is_balanced: bool) -> Option<PlanWeights> {
        let weights = whole_weights(&row_weights(&fold.fold.train, is_balanced)?);
        let whole = self.table.len();
        self.table.extend(&weights);
        let sums = self.table.len();
        let mut all = 0;
        self.table.extend(weights.iter().map(|weight| {
            all += weight;
            all
        }));
        Some(PlanWeights { whole, sums, all })
    }

    /// Classes; or numbers in the steps of every weight that a tree may have, which are few.
    fn add_targets(&mut self, fold: &ForestFold, weights: Option<PlanWeights>) -> BTreeMap<u32, usize> {
        let mut places = BTreeMap::new();
        match &fold.fold.train.y {
            Target::Classes { codes, .. } => {
                places.insert(0, self.table.len());
                self.table.extend(codes);
            }
            Target::Values(values) => {
                let rows = values.len() as u64;
                let all = weights.map_or(rows, |weights| u64::from(weights.all));
                let of_draws = (0..=rows.checked_ilog2().unwrap_or(0)).map(|bit| 1 << bit);
                for weight in of_draws.chain([all]) {
                    let table = &mut self.table;
                    places.entry(Steps::bits(weight)).or_insert_with(|| {
                        let (steps, first) = (Steps::fit(values, weight), table.len());
                        let least = -(1 << 23);
                        let word = |value: &f32| (steps.of(*value).clamp(least, -least - 1) - least) as u32;
                        table.extend(values.iter().map(word));
                        first
                    });
                }
            }
        }
        places
    }

    /// A lane's trees, grown again by the processor, and whether they are those that the device has grown.
    fn grow_again(&self, descriptor: &[u32], state: &[u32]) -> (Weights, bool) {
        let lane: ForestLane = bytemuck::pod_read_unaligned(bytemuck::cast_slice(descriptor));
        let standing: Standing =
            bytemuck::pod_read_unaligned(bytemuck::cast_slice(&state[..size_of::<Standing>() / 4]));
        let draws = Draws {
            kind: if lane.is_extra == 1 { Kind::ExtraTrees } else { Kind::RandomForest },
            criterion: if lane.is_entropy == 1 { Criterion::Entropy } else { Criterion::Gini },
            is_balanced: lane.is_balanced == 1,
            bins: lane.bins,
            features: lane.looked_at,
            rows: lane.draws_asked,
        };
        let limits = Limits { depth: lane.depth, min_leaf: lane.min_leaf };
        let options = CpuOptions::default();
        let fold = &self.folds[lane.fold as usize].fold;
        let (trees, hash) = grow_whole(options.level(), options.thread_count(), fold, draws, limits, standing.trees);
        (trees.to_weights(), hash.0 == standing.hash)
    }
}

/// A number as the nearest f32 and the rest.
fn parts(x: f64) -> [f32; 2] {
    let high = x as f32;
    [high, (x - f64::from(high)) as f32]
}

impl GpuPlan for ForestPlan {
    fn kernels(&self, phase: Phase) -> &[Kernel] {
        match phase {
            Phase::Train => &self.train,
            Phase::Score => &self.score,
        }
    }

    fn shared(&self) -> Vec<Vec<u32>> {
        vec![self.codes.clone(), self.table.clone(), self.y.clone()]
    }

    fn lane(&self, point: &[f64], fold_index: usize) -> LanePlan {
        let params = ForestParams::read(&self.space, point);
        let PlanFold { fold, binnings, targets, weights, sets } = &self.folds[fold_index];
        let draws = fold.draws(&params);
        let weights = weights[usize::from(draws.is_balanced)];
        let (codes, column_table) = binnings.get(&draws.bins).copied().unwrap_or_default();
        let (rows, scored, columns) = (fold.fold.train.y.len(), fold.rows_to_score(), fold.fold.columns.len());
        let all = weights.map_or(rows as u64, |weights| u64::from(weights.all));
        let tree_weight = if draws.rows > 0 { u64::from(draws.rows) } else { all };
        let (bits, steps) = match &fold.fold.train.y {
            Target::Classes { .. } => (0, None),
            Target::Values(values) => (Steps::bits(tree_weight), Some(Steps::fit(values, tree_weight))),
        };
        let outputs = self.problem.outputs;
        let tree_rows = if draws.rows > 0 { rows.min(draws.rows as usize) } else { rows };
        let leaves = (tree_rows / params.min_leaf.max(1) as usize).clamp(1, 1 << params.depth.min(30));
        let levels = params.depth.min(2 * (tree_rows.max(1).ilog2() + 1)) as usize;
        let tick_rows = (tree_rows * levels + 2 * leaves * NODE_ROWS as usize) / TICKS as usize;
        let depth = leaves.min(params.depth as usize);
        let entry_words = ENTRY_WORDS + columns.div_ceil(32);
        let mut places = Places { words: size_of::<Standing>() / 4 };
        let lane = ForestLane {
            outputs: outputs as u32,
            sets: self.scoring.lane_sets(fold_index, sets),
            fold: fold_index as u32,
            bins: draws.bins,
            is_balanced: u32::from(draws.is_balanced),
            draws_asked: draws.rows,
            is_extra: u32::from(draws.kind == Kind::ExtraTrees),
            is_entropy: u32::from(draws.criterion == Criterion::Entropy),
            trees: params.trees,
            depth: params.depth,
            min_leaf: params.min_leaf,
            looked_at: draws.features,
            train_rows: rows as u32,
            scored_rows: scored as u32,
            columns: columns as u32,
            codes: codes as u32,
            code_words: (rows + scored).div_ceil(WORD_ROWS) as u32,
            column_table: column_table as u32,
            y: targets.get(&bits).copied().unwrap_or_default() as u32,
            has_weights: u32::from(weights.is_some()),
            weights: weights.map_or(0, |weights| weights.whole as u32),
            weight_sums: weights.map_or(0, |weights| weights.sums as u32),
            all_weight: all as u32,
            // Where no row weighs anything there is none to draw.
            draws: if all > 0 { draws.rows } else { 0 },
            trees_key: trees_key(fold.fold.key).0,
            step_size: parts(steps.map_or(0.0, |steps| steps.size)),
            middle: parts(steps.map_or(0.0, |steps| steps.middle)),
            tick_rows: tick_rows.min(u32::MAX as usize / 2) as u32,
            sums_at: places.take(scored * outputs),
            weights_at: places.take(rows),
            rows_at: places.take(2 * rows),
            scored_at: places.take(2 * scored),
            entries_at: places.take((depth + 1) * entry_words),
            entry_words: entry_words as u32,
            totals_at: places.take(outputs),
            values_at: places.take(outputs),
            order_at: places.take(columns),
            swaps_at: places.take(columns),
            tile_at: places.take(TILE_ROWS as usize * outputs),
            ..ForestLane::default()
        };
        LanePlan {
            descriptor: words(&lane),
            state_words: places.words as u64,
            result_words: self.scoring.result_words(fold_index),
            cost: f64::from(params.trees) * draws.features as f64 * (tree_rows * levels) as f64,
        }
    }

    fn ticks_per_unit(&self, phase: Phase) -> u64 {
        if phase == Phase::Train { u64::from(TICKS) } else { 1 }
    }

    fn score_units(&self) -> u64 {
        self.scoring.eval_units()
    }

    fn status_at_budget(&self) -> LaneStatus {
        LaneStatus::Trained
    }

    fn can_converge(&self) -> bool {
        true
    }

    fn scores(&self, fold: usize, results: &[u32]) -> (f64, Vec<f64>) {
        (f64::NAN, self.scoring.scores(fold, results).1)
    }

    fn weights(&self, descriptor: &[u32], state: &[u32]) -> Weights {
        self.grow_again(descriptor, state).0
    }

    fn checked_weights(&self, descriptor: &[u32], state: &[u32]) -> Result<Weights, String> {
        match self.grow_again(descriptor, state) {
            (weights, true) => Ok(weights),
            (_, false) => Err("it grew other trees than the processor grows".to_owned()),
        }
    }
}
