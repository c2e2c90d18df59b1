//! The row sets that a lane is scored on, and the scores that its results hold: the host's side of
//! shaders/shared/score.wgsl, one for all models.

use super::kernel::{Kernel, WgslType};
use super::statistic::{DeviceSet, DeviceStatistic};
use super::wgsl_struct;
use crate::data::Problem;
use std::sync::Arc;

/// Training rows and at most two sets to score.
pub const SETS: usize = 3;

wgsl_struct! {
    /// The row sets of one lane: `sets` of its descriptor. The training rows are the first.
    pub struct LaneSets {
        /// How many there are.
        pub count: u32,
        /// Rows of each.
        pub rows: [u32; SETS],
        /// First word of each in x.
        pub x: [u32; SETS],
        /// First word of each in y.
        pub y: [u32; SETS],
        /// First word of each in the lane's results.
        pub result: [u32; SETS],
        /// What predictions are reduced to.
        pub statistic: u32,
        /// The term that is summed.
        pub term: u32,
        /// Of a pinball loss.
        pub quantile: f32,
    }
}

impl WgslType for LaneSets {
    fn name() -> String {
        "LaneSets".to_owned()
    }
}

/// The scoring of a problem's lanes, in tiles of rows.
pub struct DeviceScoring {
    problem: Arc<Problem>,
    statistic: DeviceStatistic,
    tile_rows: u32,
}

impl DeviceScoring {
    /// Scores a problem `tile_rows` rows at a time.
    pub fn new(problem: Arc<Problem>, tile_rows: u32) -> DeviceScoring {
        let has_weights = problem.folds.iter().any(|fold| fold.row_sets().any(|rows| rows.weight.is_some()));
        let statistic = DeviceStatistic::new(problem.metric, has_weights);
        DeviceScoring { problem, statistic, tile_rows }
    }

    /// The constants and structs that a scoring kernel needs; the layout of its lane comes after them.
    pub fn header(kernel: Kernel, tile_rows: u32) -> Kernel {
        DeviceStatistic::constants(kernel).constant("TILE_ROWS", tile_rows).layout::<LaneSets>()
    }

    /// Where a lane finds its fold's row sets, which lie at `sets` in the shared arrays.
    pub fn lane_sets(&self, fold: usize, sets: &[DeviceSet]) -> LaneSets {
        let firsts = self.words(fold).scan(0, |sum, words| Some(std::mem::replace(sum, *sum + words) as u32));
        LaneSets {
            count: sets.len() as u32,
            rows: padded(sets.iter().map(|set| set.rows)),
            x: padded(sets.iter().map(|set| set.x)),
            y: padded(sets.iter().map(|set| set.y)),
            result: padded(firsts),
            statistic: self.statistic.code,
            term: self.statistic.term,
            quantile: self.statistic.quantile,
        }
    }

    /// Words of a lane's results.
    pub fn result_words(&self, fold: usize) -> u64 {
        self.words(fold).sum()
    }

    /// Words of each row set's results.
    fn words(&self, fold: usize) -> impl Iterator<Item = u64> {
        let rows = self.problem.folds[fold].row_sets().map(|rows| rows.y.len());
        rows.map(|rows| self.statistic.words(rows, self.problem.outputs) as u64)
    }

    /// Tiles of the fold that has most.
    pub fn units(&self) -> u64 {
        self.most_tiles(0)
    }

    /// The same for a model that does not score training rows.
    pub fn eval_units(&self) -> u64 {
        self.most_tiles(1)
    }

    /// Tiles of all row sets but the first ones, of the fold that has most.
    fn most_tiles(&self, skipped: usize) -> u64 {
        let tiles = |rows: usize| (rows as u64).div_ceil(u64::from(self.tile_rows));
        let folds = self.problem.folds.iter();
        folds.map(|fold| fold.row_sets().skip(skipped).map(|rows| tiles(rows.y.len())).sum()).max().unwrap_or(0)
    }

    /// The scores that a lane's results hold: on the training rows, and on each row set to score.
    pub fn scores(&self, fold: usize, results: &[u32]) -> (f64, Vec<f64>) {
        let mut rest = results;
        let mut scores = self.problem.folds[fold].row_sets().zip(self.words(fold)).map(|(rows, words)| {
            let (mine, others) = rest.split_at((words as usize).min(rest.len()));
            rest = others;
            self.statistic.score(rows.truth(), mine)
        });
        (scores.next().unwrap_or(f64::NAN), scores.collect())
    }
}

/// The first `N` of some numbers, zeros where there are fewer.
pub fn padded<const N: usize>(values: impl IntoIterator<Item = u32>) -> [u32; N] {
    let mut array = [0; N];
    array.iter_mut().zip(values).for_each(|(to, from)| *to = from);
    array
}
