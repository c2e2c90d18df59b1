//! Boosting on the GPU, for shaders/models/gbdt/.
//!
//! A workgroup boosts a lane, tree after tree. Columns in bins, targets and weights are uploaded once for all lanes; a
//! lane's state holds its scores, its rows in the order of their leaves, and its trees as the splits that made them, from
//! which those trees are made again that the CPU grows.

mod layout;

use super::fold::{Binned, GbdtFold, RowTargets, is_scaled};
use super::objective::{Loss, Quanta, share_of_word};
use super::params::{GbdtParams, Growth, Objective};
use super::{sample, to_weights};
use crate::backend::cpu::simd::Lanes;
use crate::backend::gpu::{DeviceRows, DeviceScoring, DeviceSet, GpuPlan, Kernel, LanePlan, Phase, words};
use crate::backend::{BackendError, LaneStatus, Weights};
use crate::data::{Affine, ColumnKind, Problem};
use crate::models::trees::bins::FeatureBins;
use crate::models::trees::device::{Places, binnings};
use crate::models::trees::histogram::BLOCK;
use crate::models::trees::tree::{BinSet, Cut, Split, Trees};
use crate::space::Space;
pub use layout::kernels;
use layout::{
    ABSOLUTE, BINARY, COLUMN_HAS_MISSING, COLUMN_IS_CATEGORY, GbdtLane, IS_CATEGORY, LEAF_WORDS, MISSING_LEFT, POISSON,
    QUANTILE, SET_WORDS, SOFTMAX, SPLIT_WORDS, SQUARED, Standing, TICKS, TILE_ROWS, TREE_WORDS, WORD_COLUMNS,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Boosting opened on a GPU.
pub struct GbdtPlan {
    space: Space,
    problem: Arc<Problem>,
    scoring: DeviceScoring,
    folds: Vec<PlanFold>,
    codes: Vec<u32>,
    table: Vec<u32>,
    targets: Vec<u32>,
    y: Vec<u32>,
    train: Vec<Kernel>,
    score: Vec<Kernel>,
}

/// A fold, and where its parts lie.
struct PlanFold {
    fold: GbdtFold,
    /// By bins: first word of the codes, and of what is known of the columns.
    binnings: BTreeMap<u32, (usize, usize)>,
    /// As they are, and for classes with balanced weights or for numbers as counts.
    targets: [PlanTargets; 2],
    /// Whose x is the first row among all of the fold.
    sets: Vec<DeviceSet>,
}

/// Where targets of one kind lie.
#[derive(Debug, Clone, Copy)]
struct PlanTargets {
    y: usize,
    weight: usize,
    whole: usize,
    eval_y: usize,
    eval_weight: usize,
    start: usize,
}

impl GbdtPlan {
    /// Bins a problem's folds.
    pub fn new(space: Space, problem: Arc<Problem>) -> Result<GbdtPlan, BackendError> {
        let bins = binnings("gbdt", &space, GbdtParams::read(&space, &space.defaults()).bins)?;
        let rows = DeviceRows::pack(&problem, |_, _| Vec::new());
        let mut kernels = kernels();
        let score = kernels.split_off(1);
        let mut plan = GbdtPlan {
            space,
            scoring: DeviceScoring::new(problem.clone(), TILE_ROWS),
            problem: problem.clone(),
            folds: Vec::new(),
            codes: Vec::new(),
            table: Vec::new(),
            targets: Vec::new(),
            y: rows.y,
            train: kernels,
            score,
        };
        for (fold, sets) in problem.folds.iter().zip(rows.sets) {
            let fold = GbdtFold::new(fold.clone());
            let binnings = bins.iter().map(|bins| (*bins, plan.add_bins(&fold, *bins))).collect();
            let targets = [false, true].map(|is_other| plan.add_targets(&fold, is_other));
            let first = |(set, place): (usize, DeviceSet)| DeviceSet { x: fold.set(set).start as u32, ..place };
            let sets = sets.into_iter().enumerate().map(first).collect();
            plan.folds.push(PlanFold { fold, binnings, targets, sets });
        }
        Ok(plan)
    }

    /// Packs a fold's columns, four slots a word.
    fn add_bins(&mut self, fold: &GbdtFold, bins: u32) -> (usize, usize) {
        let places = (self.codes.len(), self.table.len());
        fold.with_binned(bins, |binned| self.pack(fold, binned));
        places
    }

    fn pack(&mut self, fold: &GbdtFold, Binned { columns, blocks, .. }: &Binned) {
        for column in columns {
            let category = if column.is_category { COLUMN_IS_CATEGORY } else { 0 };
            let missing = if column.has_missing { COLUMN_HAS_MISSING } else { 0 };
            self.table.push(column.slots as u32 | category | missing);
        }
        for four in blocks.places.chunks(WORD_COLUMNS) {
            let first = self.codes.len();
            self.codes.resize(first + fold.rows(), 0);
            for (place, shift) in four.iter().zip([0, 8, 16, 24]) {
                let Some(place) = place else { continue };
                let codes = blocks.blocks[place.block].codes.iter().map(|codes: &[u8; BLOCK]| codes[place.lane]);
                let words = self.codes[first..].iter_mut();
                words.zip(codes).for_each(|(word, code)| *word |= u32::from(code) << shift);
            }
        }
    }

    fn add_targets(&mut self, fold: &GbdtFold, is_other: bool) -> PlanTargets {
        let mut params = GbdtParams::read(&self.space, &self.space.defaults());
        (params.is_balanced, params.objective) =
            (is_other, if is_other { Objective::Poisson } else { Objective::Squared });
        let RowTargets { y, weight, whole } = fold.targets(&params);
        let mut push = |lanes: &[Lanes]| {
            let first = self.targets.len();
            self.targets.extend(lanes.iter().flat_map(|lanes| lanes.0).map(f32::to_bits));
            first
        };
        let (y, weight) = (push(y), push(weight));
        let (eval_y, eval_weight) = match fold.eval_targets(&params) {
            Some(targets) => (push(&targets.y), push(&targets.weight)),
            None => (0, 0),
        };
        let start = self.targets.len();
        self.targets.extend(fold.start(&params).into_iter().map(f32::to_bits));
        self.table.extend(whole);
        PlanTargets { y, weight, whole: self.table.len() - whole.len(), eval_y, eval_weight, start }
    }
}

impl GpuPlan for GbdtPlan {
    fn kernels(&self, phase: Phase) -> &[Kernel] {
        match phase {
            Phase::Train => &self.train,
            Phase::Score => &self.score,
        }
    }

    fn shared(&self) -> Vec<Vec<u32>> {
        vec![self.codes.clone(), self.table.clone(), self.targets.clone(), self.y.clone()]
    }

    fn lane(&self, point: &[f64], fold_index: usize) -> LanePlan {
        let params = GbdtParams::read(&self.space, point);
        let PlanFold { fold, binnings, targets, sets } = &self.folds[fold_index];
        let loss = fold.loss(&params);
        let is_other = match loss {
            Loss::Value { objective, .. } => objective == Objective::Poisson,
            _ => params.is_balanced,
        };
        let (targets, start) = (targets[usize::from(is_other)], fold.start(&params));
        let (codes, column_table) = binnings.get(&params.bins).copied().unwrap_or_default();
        let (rows, train_rows, columns) = (fold.rows(), fold.train_rows(), fold.fold.columns.len());
        let (scores, outputs) = (loss.scores(), self.problem.outputs);
        let rounds = params.trees.min(self.problem.budget) as usize;
        let leaves = params.leaf_bound(train_rows);
        let loss_exponent = fold.loss_exponent(&params, &start);
        let has_categories = fold.fold.columns.iter().any(|kind| matches!(kind, ColumnKind::Category { .. }));
        let column_words = columns.div_ceil(32);
        let leaf_words = LEAF_WORDS + column_words;
        let split_words = SPLIT_WORDS + if has_categories { SET_WORDS } else { 0 };
        let mut places = Places { words: size_of::<Standing>() / 4 };
        let scores_at = places.take(scores * rows);
        let (depth, is_level_wise, most_leaves) = match params.growth {
            Growth::LeafWise { depth: 0, leaves } => (u32::MAX, false, leaves),
            Growth::LeafWise { depth, leaves } => (depth, false, leaves),
            Growth::LevelWise { depth } => (depth, true, u32::MAX),
        };
        let scale = if is_scaled(self.problem.task, params.objective) { fold.fold.target } else { Affine::IDENTITY };
        let quantile = loss.leaf_quantile().unwrap_or(0.0);
        let lane = GbdtLane {
            outputs: outputs as u32,
            sets: self.scoring.lane_sets(fold_index, sets),
            fold: fold_index as u32,
            bins: params.bins,
            objective: params.objective as u32,
            loss: code(loss),
            quantile,
            quantile_word: share_of_word(quantile) as u32,
            scores: scores as u32,
            train_rows: train_rows as u32,
            rows: rows as u32,
            columns: columns as u32,
            codes: codes as u32,
            column_table: column_table as u32,
            whole: targets.whole as u32,
            y: targets.y as u32,
            weight: targets.weight as u32,
            eval_y: targets.eval_y as u32,
            eval_weight: targets.eval_weight as u32,
            start: targets.start as u32,
            start_value: start[0],
            is_hopeless: u32::from(fold.is_hopeless(&params, &start)),
            rounds: rounds as u32,
            patience: loss_exponent.map_or(0, |_| params.early_stopping.min(u64::from(u32::MAX)) as u32),
            loss_exponent: loss_exponent.unwrap_or(0),
            is_level_wise: u32::from(is_level_wise),
            most_leaves,
            depth,
            tick_splits: leaves.div_ceil(TICKS as usize) as u32,
            min_rows: params.min_leaf as f32,
            min_child_weight: params.min_child_weight,
            l1: params.l1,
            l2: params.l2,
            min_gain: params.min_gain,
            learning_rate: params.learning_rate,
            row_share: params.row_share,
            columns_taken: sample::taken(params.column_share, columns) as u32,
            is_sampled: u32::from(params.row_share < 1.0 || params.column_share < 1.0),
            row_key: sample::row_key(fold.fold.key).0,
            column_key: sample::column_key(fold.fold.key).0,
            one_hot: params.one_hot_levels + 1,
            smoothing: params.category_smoothing,
            category_l2: params.category_l2,
            most_categories: params.most_categories,
            group_rows: params.category_rows as f32,
            target_shift: scale.shift,
            target_scale: scale.scale,
            scores_at,
            best_at: if loss_exponent.is_some() { places.take(scores * rows) } else { scores_at },
            gradients_at: places.take(2 * scores * train_rows),
            words_at: places.take(2 * train_rows),
            // Every row is trained on or not; both kinds have room for all that may be theirs.
            sampled_at: places.take(train_rows + rows),
            rows_at: places.take(train_rows),
            others_at: places.take(rows),
            spare_at: places.take(rows),
            chosen_at: places.take(column_words + columns),
            leaves_at: places.take(leaves * leaf_words),
            leaf_words: leaf_words as u32,
            trees_at: places.take(rounds * scores * TREE_WORDS),
            splits_at: places.take(rounds * scores * (leaves - 1) * split_words),
            split_words: split_words as u32,
            values_at: places.take(rounds * scores * leaves),
            tile_at: places.take(TILE_ROWS as usize * outputs),
            ..GbdtLane::default()
        };
        LanePlan {
            descriptor: words(&lane),
            state_words: places.words as u64,
            result_words: self.scoring.result_words(fold_index),
            cost: (rounds * scores) as f64 * (train_rows * columns) as f64 * (1.0 + (leaves as f64).log2()),
        }
    }

    fn ticks_per_unit(&self, phase: Phase) -> u64 {
        let scores = if self.problem.outputs > 2 { self.problem.outputs } else { 1 };
        if phase == Phase::Train { u64::from(TICKS) * scores as u64 } else { 1 }
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

    /// The trees, grown again by the splits that made them.
    fn weights(&self, descriptor: &[u32], state: &[u32]) -> Weights {
        let lane: GbdtLane = bytemuck::pod_read_unaligned(bytemuck::cast_slice(descriptor));
        let standing: Standing =
            bytemuck::pod_read_unaligned(bytemuck::cast_slice(&state[..size_of::<Standing>() / 4]));
        let fold = &self.folds[lane.fold as usize].fold;
        let trees = fold.with_binned(lane.bins, |binned| grown(&lane, &standing, state, &binned.bins));
        let start = match lane.loss {
            BINARY | SOFTMAX => &self.targets[lane.start as usize..][..lane.scores as usize],
            _ => &[lane.start_value.to_bits()],
        };
        let start: Vec<f32> = start.iter().map(|bits| f32::from_bits(*bits)).collect();
        to_weights(&trees, &start, Objective::from_code(lane.objective).unwrap_or(Objective::Squared))
    }
}

/// The trees of a lane's state, grown again by the splits that made them.
fn grown(lane: &GbdtLane, standing: &Standing, state: &[u32], bins: &[FeatureBins]) -> Trees {
    let mut trees = Trees::new(1);
    let (mut split_at, mut value_at) = (lane.splits_at as usize, lane.values_at as usize);
    let whole = if lane.patience > 0 { standing.best_round * lane.scores } else { standing.trees };
    for tree in state[lane.trees_at as usize..].chunks_exact(TREE_WORDS).take(whole as usize) {
        let quanta = Quanta { gradient: tree[1] as i32, hessian: tree[2] as i32 };
        let mut nodes = vec![trees.grow()];
        for _ in 1..tree[0] {
            let record = &state[split_at..][..lane.split_words as usize];
            let (place, split) = (record[0] as usize, split(record));
            let gain = GbdtParams::gain(f32::from_bits(record[3]), quanta, lane.min_gain);
            let left = trees.split(nodes[place], &split, &bins[split.feature as usize], gain);
            nodes[place] = left;
            nodes.push(left + 1);
            split_at += record.len();
        }
        for node in nodes {
            trees.leaf(node, [f32::from_bits(state[value_at])]);
            value_at += 1;
        }
    }
    trees
}

/// The kernels' code of what is learnt.
fn code(loss: Loss) -> u32 {
    match loss {
        Loss::Binary => BINARY,
        Loss::Softmax { .. } => SOFTMAX,
        Loss::Value { objective, .. } => match objective {
            Objective::Squared => SQUARED,
            Objective::Absolute => ABSOLUTE,
            Objective::Quantile => QUANTILE,
            Objective::Poisson => POISSON,
        },
    }
}

/// A split from its record.
fn split(record: &[u32]) -> Split {
    let mut set = BinSet::default();
    set.iter_mut().zip(&record[SPLIT_WORDS..]).for_each(|(set, word)| *set = *word);
    // Slots begin with that of missing values: the last one that goes left is a bin higher.
    let up_to = Cut::UpTo(record[2].saturating_sub(1) as u8);
    Split {
        feature: record[1] & !(MISSING_LEFT | IS_CATEGORY),
        cut: if record[1] & IS_CATEGORY != 0 { Cut::Subset(set) } else { up_to },
        missing_left: record[1] & MISSING_LEFT != 0,
    }
}
