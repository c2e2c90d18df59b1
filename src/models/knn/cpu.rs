//! Neighbours on the CPU: lists are made in blocks of rows, which all threads share; then sixteen candidates at a time read
//! them.

use super::distance::Distance;
use super::predict;
use super::search::{Index, Neighbour};
use super::vote::{Labels, Shares, Vote};
use super::{KnnLanes, KnnParams};
use crate::backend::Weights;
use crate::backend::cpu::simd::{Lanes, Level, dispatch};
use crate::backend::cpu::{GroupKey, LaneModel, LaneProgress, RowBlock};
use crate::data::Fold;
use ndarray::{ArrayView2, s};
use std::sync::{Arc, OnceLock};

/// Rows whose lists are made in one piece: enough to read the training rows from memory seldom, few enough that a fold of
/// some hundred rows has pieces for all threads.
pub const BLOCK: usize = 64;

/// A fold with the lists of the rows that it scores.
pub struct KnnFold {
    fold: Arc<Fold>,
    labels: Labels,
    /// Neighbours of a list.
    most: usize,
    /// Of each kind of distance.
    near: [Near; Distance::ALL.len()],
}

/// What one kind of distance says.
struct Near {
    index: OnceLock<Index>,
    /// The lists of each block; the blocks of the first set to score come first.
    blocks: Vec<OnceLock<Vec<Neighbour>>>,
}

impl KnnFold {
    fn new(fold: Arc<Fold>, most: usize) -> KnnFold {
        let blocks: usize = fold.evals.iter().map(|rows| rows.y.len().div_ceil(BLOCK)).sum();
        let near = || Near { index: OnceLock::new(), blocks: (0..blocks).map(|_| OnceLock::new()).collect() };
        let most = most.min(fold.train.y.len());
        KnnFold { labels: Labels::of(&fold), most, near: std::array::from_fn(|_| near()), fold }
    }

    fn blocks(&self) -> usize {
        self.near[0].blocks.len()
    }

    /// The lists of a block, made if they are not there.
    fn block(&self, level: Level, distance: Distance, block: usize) -> &[Neighbour] {
        let near = &self.near[distance.code()];
        near.blocks[block]
            .get_or_init(|| self.index(distance).nearest(level, self.fold.train.x.view(), self.rows(block), self.most))
    }

    /// The training rows as a search reads them, packed if they are not yet.
    fn index(&self, distance: Distance) -> &Index {
        self.near[distance.code()].index.get_or_init(|| Index::new(distance, self.fold.train.x.view()))
    }

    /// The rows of a block.
    fn rows(&self, mut block: usize) -> ArrayView2<'_, f32> {
        for rows in &self.fold.evals {
            let blocks = rows.y.len().div_ceil(BLOCK);
            if block < blocks {
                let first = block * BLOCK;
                return rows.x.slice(s![first..(first + BLOCK).min(rows.y.len()), ..]);
            }
            block -= blocks;
        }
        self.fold.train.x.slice(s![..0, ..])
    }

    /// The first block of a set to score.
    fn first_block(&self, set: usize) -> usize {
        self.fold.evals.iter().take(set).map(|rows| rows.y.len().div_ceil(BLOCK)).sum()
    }
}

/// Up to sixteen candidates of one kind of distance on one fold.
pub struct Group {
    params: Vec<KnnParams>,
    shares: Shares,
}

impl LaneModel for KnnLanes {
    type Params = KnnParams;
    type Fold = KnnFold;
    type Group = Group;

    fn params(&self, point: &[f64]) -> KnnParams {
        KnnParams::read(&self.space, point)
    }

    fn scores_training_rows(&self) -> bool {
        // Each row is its own nearest neighbour there.
        false
    }

    fn key(&self, params: &KnnParams) -> GroupKey {
        GroupKey { step: [params.distance.code() as u32, 0], likeness: [params.neighbours as u32, 0, 0, 0] }
    }

    fn open_fold(&self, fold: &Arc<Fold>) -> KnnFold {
        KnnFold::new(fold.clone(), self.most)
    }

    fn bytes(&self, fold: &KnnFold, _: &[KnnParams]) -> u64 {
        let longest = fold.fold.evals.iter().map(|rows| rows.y.len()).max().unwrap_or(0);
        // A set's predictions, and a block's as they are made.
        let predictions = (longest + 256) * fold.labels.outputs() * size_of::<Lanes>();
        Shares::bytes(fold.most) + predictions as u64
    }

    fn shared_bytes(&self, fold: &KnnFold, lanes: &[KnnParams]) -> u64 {
        let (rows, features) = fold.fold.train.x.dim();
        let lists: usize = fold.fold.evals.iter().map(|rows| rows.y.len() * fold.most * size_of::<Neighbour>()).sum();
        let is_there = |distance: &Distance| {
            fold.near[distance.code()].index.get().is_some() || lanes.iter().any(|params| params.distance == *distance)
        };
        let kinds = Distance::ALL.into_iter().filter(is_there);
        kinds.map(|distance| Index::bytes(distance, rows, features) + lists as u64).sum()
    }

    fn missing_pieces(&self, fold: &KnnFold, lanes: &[KnnParams]) -> Vec<usize> {
        let is_asked = |distance: &Distance| lanes.iter().any(|params| params.distance == *distance);
        let kinds = Distance::ALL.into_iter().filter(is_asked);
        let pieces = kinds.flat_map(|distance| {
            let near = &fold.near[distance.code()];
            let missing = near.blocks.iter().enumerate().filter(|(_, block)| block.get().is_none());
            let of_blocks = missing.map(move |(block, _)| distance.code() * fold.blocks() + block);
            // No thread waits for another to pack the rows: that is a stage of its own.
            let (is_packed, first) = (near.index.get().is_some(), Distance::ALL.len() * fold.blocks());
            let of_rows = of_blocks.clone().next().filter(|_| !is_packed).map(|_| first + distance.code());
            of_rows.into_iter().chain(of_blocks.filter(move |_| is_packed))
        });
        pieces.collect()
    }

    fn do_piece(&self, level: Level, fold: &KnnFold, piece: usize) {
        match piece.checked_sub(Distance::ALL.len() * fold.blocks()) {
            Some(code) => _ = fold.index(Distance::ALL[code]),
            None => _ = fold.block(level, Distance::ALL[piece / fold.blocks()], piece % fold.blocks()),
        }
    }

    fn start(&self, fold: &KnnFold, lanes: &[KnnParams]) -> Group {
        Group { params: lanes.to_vec(), shares: Shares::new(lanes, fold.most) }
    }

    fn gather(&self, fold: &KnnFold, lanes: &[(&Group, usize)]) -> Group {
        let params: Vec<KnnParams> = lanes.iter().map(|(group, lane)| group.params[*lane]).collect();
        self.start(fold, &params)
    }

    fn advance(&self, _: Level, _: &KnnFold, group: &mut Group, budget: u64) -> Vec<LaneProgress> {
        vec![LaneProgress { used: budget.min(1), is_capped: false }; group.params.len()]
    }

    fn predict(&self, level: Level, fold: &KnnFold, group: &mut Group, rows: RowBlock<'_>, out: &mut [Lanes]) {
        // Training rows are not scored, and have no lists.
        let (Some(set), Some(params)) = (rows.set.checked_sub(1), group.params.first()) else { return };
        let first_block = fold.first_block(set);
        let outputs = fold.labels.outputs();
        let mut row = rows.first;
        let mut rest = out;
        while !rest.is_empty() {
            let lists = fold.block(level, params.distance, first_block + row / BLOCK);
            let count = (BLOCK - row % BLOCK).min(rest.len() / outputs);
            let (out, later) = rest.split_at_mut(count * outputs);
            let lists = lists.chunks_exact(fold.most).skip(row % BLOCK).take(count);
            dispatch(level, Vote { lists, labels: &fold.labels, shares: &group.shares, out });
            (row, rest) = (row + count, later);
        }
    }

    fn read_back(&self, fold: &KnnFold, group: &Group, lane: usize) -> Weights {
        predict::weights(&fold.fold, &group.params[lane])
    }
}
