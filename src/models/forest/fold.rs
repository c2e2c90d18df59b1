//! A fold as forests want it: in bins, once for all lanes with as many of them.

use super::recipe::{Draws, ForestParams};
use crate::data::Fold;
use crate::models::trees::bins::{BinnedFold, BinnedRows, ByBins, FeatureBins};
use std::sync::Arc;

/// A fold, binned when its first lane is trained.
pub struct ForestFold {
    /// The fold itself.
    pub fold: Arc<Fold>,
    /// By how many bins a feature has at most.
    pub binned: ByBins<Binned>,
    /// First row of each set to score among all of them, and how many there are.
    pub firsts: Vec<usize>,
}

/// A fold in bins, the rows to score one set after the other.
pub struct Binned {
    /// How each feature was binned.
    pub features: Vec<FeatureBins>,
    /// The training rows.
    pub train: BinnedRows,
    /// The rows to score.
    pub scored: BinnedRows,
}

impl ForestFold {
    /// Opens a fold without doing any work yet.
    pub fn new(fold: Arc<Fold>) -> ForestFold {
        let mut firsts = vec![0];
        firsts.extend(fold.evals.iter().scan(0, |sum, rows| {
            *sum += rows.y.len();
            Some(*sum)
        }));
        ForestFold { fold, binned: ByBins::default(), firsts }
    }

    /// Rows of all sets to score.
    pub fn rows_to_score(&self) -> usize {
        self.firsts[self.firsts.len() - 1]
    }

    /// Values of a leaf.
    pub fn outputs(&self) -> usize {
        self.fold.train.y.outputs()
    }

    /// What a lane draws here.
    pub fn draws(&self, params: &ForestParams) -> Draws {
        params.draws(self.fold.train.y.len(), self.fold.train.x.ncols())
    }

    /// Uses the fold in at most so many bins a feature.
    pub fn with_bins<R>(&self, most: u32, of: impl FnOnce(&Binned) -> R) -> R {
        let make = || {
            let BinnedFold { features, mut sets } = BinnedFold::new(&self.fold, most as usize);
            let scored = match &sets[1..] {
                [] => BinnedRows::new(&features, self.fold.train.x.slice(ndarray::s![..0, ..])),
                sets => BinnedRows::joined(sets),
            };
            Binned { features, train: sets.swap_remove(0), scored }
        };
        self.binned.with(most as usize, make, of)
    }
}
