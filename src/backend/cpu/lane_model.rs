//! What a model says of its lanes to be trained on the CPU: how one group of them walks, and what they share.

use super::simd::{LANES, Lanes, Level};
use crate::backend::Weights;
use crate::data::Fold;
use crate::data::metrics::RowTerm;
use ndarray::ArrayView2;
use std::sync::Arc;

/// What lanes of a group must have in common, and what they are sorted by so that neighbours are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// Lanes walk in step only where these are equal (minibatch size, depth).
    pub step: [u32; 2],
    /// Alike lanes waste less: widths, or a measure of how long a lane takes.
    pub likeness: [u32; 4],
}

/// How far a lane of a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneProgress {
    /// Units of budget used since its start.
    pub used: u64,
    /// Whether its solver stopped at its cap.
    pub is_capped: bool,
}

/// Some neighbouring rows of one of a fold's row sets.
#[derive(Debug, Clone, Copy)]
pub struct RowBlock<'a> {
    /// 0 for the training rows, then those to score, in the order of [`Fold::row_sets`].
    pub set: usize,
    /// The block's first row in its set.
    pub first: usize,
    /// Prepared features of the block's rows.
    pub x: ArrayView2<'a, f32>,
}

/// A model whose lanes walk in step, as the CPU runs it.
pub trait LaneModel: Send + Sync + 'static {
    /// A candidate's hyperparameters.
    type Params: Clone + Send + Sync;
    /// A fold as this model's lanes want it: padded, rotated, targets scaled; what its lanes share is computed here once.
    type Fold: Send + Sync;
    /// The state of a group's lanes on one fold.
    type Group: Send + Sync;

    /// Reads a candidate's encoded values.
    fn params(&self, point: &[f64]) -> Self::Params;
    /// Lanes of a group at most; 1 for a model whose lanes do not walk in step.
    fn group_lanes(&self) -> usize {
        LANES
    }
    /// Whether lanes are scored on the rows that they were trained on.
    fn scores_training_rows(&self) -> bool {
        true
    }
    /// Which lanes may share a group, and which should.
    fn key(&self, params: &Self::Params) -> GroupKey;
    /// Prepares a fold, once. Called on one thread; what takes long waits for the fold's first `start` or `advance`.
    fn open_fold(&self, fold: &Arc<Fold>) -> Self::Fold;
    /// Bytes of a group's state.
    fn bytes(&self, fold: &Self::Fold, lanes: &[Self::Params]) -> u64;
    /// Bytes that [`LaneModel::slopes`] takes beside that, of one lane at a time, where that is much.
    fn slope_bytes(&self, _fold: &Self::Fold, _lanes: &[Self::Params]) -> u64 {
        0
    }
    /// Bytes that a fold holds of shared work when that of these lanes is done, what is there already included. Where the
    /// folds of a call do not fit into memory together, they are trained some at a time, and what they shared is dropped.
    fn shared_bytes(&self, _fold: &Self::Fold, _lanes: &[Self::Params]) -> u64 {
        0
    }
    /// Numbers of the pieces of shared work that these lanes need and the fold does not have yet. Pieces may be done on
    /// any thread in any order, or left because of a stop: each depends on the fold alone, and the fold keeps it whole. When
    /// all are done the model is asked again, until there are none: what needs one stage's pieces is the next stage.
    fn missing_pieces(&self, _fold: &Self::Fold, _lanes: &[Self::Params]) -> Vec<usize> {
        Vec::new()
    }
    /// Does a piece of shared work; short enough for a stop to be heard between two.
    fn do_piece(&self, _level: Level, _fold: &Self::Fold, _piece: usize) {}
    /// How long a group trains, in units of the model's own; 0 where groups sorted by their keys already are longest
    /// first.
    fn duration(&self, _fold: &Self::Fold, _lanes: &[Self::Params]) -> u64 {
        0
    }
    /// A group at its start; `lanes` are 1 to [`LaneModel::group_lanes`] with one step key.
    fn start(&self, fold: &Self::Fold, lanes: &[Self::Params]) -> Self::Group;
    /// A group made of lanes of other groups, whose bits go on as if nothing had happened.
    fn gather(&self, fold: &Self::Fold, lanes: &[(&Self::Group, usize)]) -> Self::Group;
    /// A lane's state as bytes: all that [`LaneModel::thaw`] does not know from fold and hyperparameters. `None` of a model that is
    /// trained in one step, and of a group that was not advanced.
    fn freeze(&self, _fold: &Self::Fold, _group: &Self::Group, _lane: usize) -> Option<Vec<u8>> {
        None
    }
    /// A group of one lane that goes on from such bytes as if nothing had happened, with the hyperparameters that it stands with.
    /// `None` where the bytes are no state of such a lane on such a fold.
    fn thaw(&self, _fold: &Self::Fold, _params: &Self::Params, _state: &[u8]) -> Option<Self::Group> {
        None
    }
    /// Lets a lane go on with other hyperparameters. Only those differ that the model lets change on the way; one that has none
    /// is never asked.
    fn turn(&self, _fold: &Self::Fold, _group: &mut Self::Group, _lane: usize, _params: &Self::Params) {}
    /// Trains every lane of a group up to `budget`, counted from its start; one entry a lane.
    fn advance(&self, level: Level, fold: &Self::Fold, group: &mut Self::Group, budget: u64) -> Vec<LaneProgress>;
    /// Predicts a block of rows: `out[row * outputs + output]`, probabilities or values in the target's own units. What
    /// was computed of these rows in training may be taken from there.
    fn predict(&self, level: Level, fold: &Self::Fold, group: &mut Self::Group, rows: RowBlock<'_>, out: &mut [Lanes]);
    /// The sum of each lane's squared errors on a row set, each times what its row counts for, in the target's own units:
    /// where the model can tell without predicting the rows. It is asked where the metric needs no more.
    fn squared_errors(
        &self,
        _level: Level,
        _fold: &Self::Fold,
        _group: &Self::Group,
        _set: usize,
    ) -> Option<[f64; LANES]> {
        None
    }
    /// How the sum of a term over a row set (see [`RowBlock::set`]) changes with each encoded value of a lane's point, one a
    /// column, NaN where the model doesn't say; `None` where it says nothing of this term. In f64 from what the lane ends
    /// with; asked only where gradients are wanted.
    fn slopes(
        &self,
        _level: Level,
        _fold: &Self::Fold,
        _group: &Self::Group,
        _lane: usize,
        _set: usize,
        _term: RowTerm,
    ) -> Option<Vec<f64>> {
        None
    }
    /// One lane's weights.
    fn read_back(&self, fold: &Self::Fold, group: &Self::Group, lane: usize) -> Weights;
}
