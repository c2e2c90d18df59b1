//! A lane of boosting as shaders/models/gbdt/ sees it, and the kernels.

use crate::backend::gpu::{Binding, DeviceScoring, Kernel, LaneSets, Role, wgsl_struct, with_lane_header};
use crate::base::random::CHILD;
use crate::models::gbdt::objective::{ABSENT, POISSON_STEP};
use crate::models::gbdt::validate;

/// Threads of a workgroup: 64 for each of four columns.
const WORKGROUP: u32 = 256;
/// Rows that scoring predicts at a time.
pub const TILE_ROWS: u32 = 256;
/// Columns of a word of codes.
pub const WORD_COLUMNS: usize = 4;
/// Portions of a tree, by which dispatches are cut.
pub const TICKS: u32 = 16;
/// Words of a leaf without the bits of its dead columns, and of a split without a subset of categories.
pub const LEAF_WORDS: usize = 24;
/// See [`LEAF_WORDS`].
pub const SPLIT_WORDS: usize = 4;
/// Words of a tree: its leaves, and the powers of two by which its gradients and hessians became whole numbers.
pub const TREE_WORDS: usize = 3;
/// Words of a subset of categories.
pub const SET_WORDS: usize = 8;
/// Bits of a split's feature: missing values go left, and it is a category.
pub const MISSING_LEFT: u32 = 1 << 31;
/// See [`MISSING_LEFT`].
pub const IS_CATEGORY: u32 = 1 << 30;
/// Bits of what is known of a column, above its slots.
pub const COLUMN_IS_CATEGORY: u32 = 1 << 16;
/// See [`COLUMN_IS_CATEGORY`].
pub const COLUMN_HAS_MISSING: u32 = 1 << 17;

/// Codes of what is learnt.
pub const BINARY: u32 = 0;
/// See [`BINARY`].
pub const SOFTMAX: u32 = 1;
/// See [`BINARY`].
pub const SQUARED: u32 = 2;
/// See [`BINARY`].
pub const ABSOLUTE: u32 = 3;
/// See [`BINARY`].
pub const QUANTILE: u32 = 4;
/// See [`BINARY`].
pub const POISSON: u32 = 5;

wgsl_struct! {
    /// Where a lane stands: the first words of its state.
    pub struct Standing {
        /// Leaves of the tree at hand.
        pub leaves: u32,
        /// Level by level: the next leaf to be split, the leaf behind the level, and levels that may follow.
        pub cursor: u32,
        /// See `cursor`.
        pub level_end: u32,
        /// See `cursor`.
        pub levels_left: u32,
        /// Whether the round has split anything.
        pub is_changed: u32,
        /// Trees that are whole.
        pub trees: u32,
        /// Splits of all trees.
        pub splits: u32,
        /// Leaves of all whole trees.
        pub values: u32,
        /// Rows that the round trains on, and all others.
        pub row_count: u32,
        /// See `row_count`.
        pub other_count: u32,
        /// Bits of the powers of two by which the tree's gradients and hessians became whole numbers.
        pub gradient_exponent: u32,
        /// See `gradient_exponent`.
        pub hessian_exponent: u32,
        /// The round with the least validation loss; 0 before the first.
        pub best_round: u32,
        /// That loss.
        pub best_loss_high: u32,
        /// See `best_loss_high`.
        pub best_loss_low: u32,
    }
}

wgsl_struct! {
    /// One lane. The first two words are the trainer's; `_at` are places in its state.
    pub struct GbdtLane {
        /// First word of its state.
        pub state: u32,
        /// First word of its results.
        pub result: u32,
        /// Classes, or 1.
        pub outputs: u32,
        /// What it is scored on; x is a set's first row among all of the fold.
        pub sets: LaneSets,
        /// The fold's index and its bins, for who reads the weights.
        pub fold: u32,
        /// See `fold`.
        pub bins: u32,
        /// The objective, for who reads the weights.
        pub objective: u32,
        /// Code of what is learnt.
        pub loss: u32,
        /// Where leaves take a quantile of their rows: its share, and the same in steps of 2^-32.
        pub quantile: f32,
        /// See `quantile`.
        pub quantile_word: u32,
        /// Scores of a row, and trees of a round.
        pub scores: u32,
        /// Rows that are trained on, and all of the fold.
        pub train_rows: u32,
        /// See `train_rows`.
        pub rows: u32,
        /// Columns.
        pub columns: u32,
        /// First word of the columns' codes in `codes`: `[columns / 4, rows]`.
        pub codes: u32,
        /// What is known of the columns, in `table`.
        pub column_table: u32,
        /// Whole weights of the training rows, in `table`.
        pub whole: u32,
        /// Targets of the training rows, in `targets`.
        pub y: u32,
        /// Their weights.
        pub weight: u32,
        /// Targets of the first set to score.
        pub eval_y: u32,
        /// Their weights.
        pub eval_weight: u32,
        /// Where classes' scores start.
        pub start: u32,
        /// Where a number's score starts.
        pub start_value: f32,
        /// 1 where there is nothing to learn.
        pub is_hopeless: u32,
        /// Rounds of boosting at most.
        pub rounds: u32,
        /// Rounds without a better validation loss after which the lane stops; 0 never.
        pub patience: u32,
        /// By which power of two validation losses become whole numbers.
        pub loss_exponent: i32,
        /// 1 where trees grow level by level.
        pub is_level_wise: u32,
        /// Leaves of a tree at most.
        pub most_leaves: u32,
        /// Levels below the root at most.
        pub depth: u32,
        /// Splits of a tick.
        pub tick_splits: u32,
        /// Rows of a leaf at least.
        pub min_rows: f32,
        /// Hessian of a leaf at least.
        pub min_child_weight: f32,
        /// Penalties.
        pub l1: f32,
        /// See `l1`.
        pub l2: f32,
        /// What a split must gain.
        pub min_gain: f32,
        /// What leaves' values are multiplied with.
        pub learning_rate: f32,
        /// Share of the rows that a round trains on.
        pub row_share: f32,
        /// Columns that a tree may split.
        pub columns_taken: u32,
        /// 1 where rounds or trees see a part of the data.
        pub is_sampled: u32,
        /// Keys of the draws of rows and of columns.
        pub row_key: [u32; 2],
        /// See `row_key`.
        pub column_key: [u32; 2],
        /// Columns with so many slots or fewer part one category from the others.
        pub one_hot: u32,
        /// Added to a category's hessian; also the rows that it must have.
        pub smoothing: f32,
        /// Added to `l2` for subsets.
        pub category_l2: f32,
        /// Categories of a subset at most.
        pub most_categories: u32,
        /// Rows between cuts of the order.
        pub group_rows: f32,
        /// Of the target.
        pub target_shift: f32,
        /// Of the target.
        pub target_scale: f32,
        /// `[scores, rows]`
        pub scores_at: u32,
        /// The same of the best round; `scores_at` where none is kept.
        pub best_at: u32,
        /// `[scores, training rows]` gradients and hessians.
        pub gradients_at: u32,
        /// The same of one score as whole numbers.
        pub words_at: u32,
        /// The round's rows, then all others.
        pub sampled_at: u32,
        /// The tree's rows, by leaf.
        pub rows_at: u32,
        /// The other rows, by leaf.
        pub others_at: u32,
        /// Room for a leaf's rows.
        pub spare_at: u32,
        /// A bit for each column that the tree may split, then a word for each.
        pub chosen_at: u32,
        /// Leaves of the tree at hand.
        pub leaves_at: u32,
        /// Words of a leaf.
        pub leaf_words: u32,
        /// Each whole tree.
        pub trees_at: u32,
        /// Splits of all trees.
        pub splits_at: u32,
        /// Words of a split.
        pub split_words: u32,
        /// Values of all whole trees' leaves.
        pub values_at: u32,
        /// A tile's predictions.
        pub tile_at: u32,
    }
}

/// The kernels, for the trainer and for the translation tests.
pub fn kernels() -> Vec<Kernel> {
    let with_codes = |kernel: Kernel| {
        [
            ("LOSS_BINARY", BINARY),
            ("LOSS_SOFTMAX", SOFTMAX),
            ("LOSS_SQUARED", SQUARED),
            ("LOSS_ABSOLUTE", ABSOLUTE),
            ("LOSS_QUANTILE", QUANTILE),
            ("LOSS_POISSON", POISSON),
            ("WORKGROUP", WORKGROUP),
        ]
        .into_iter()
        .fold(DeviceScoring::header(with_lane_header(kernel), TILE_ROWS), |kernel, (name, code)| {
            kernel.constant(name, code)
        })
        .layout::<GbdtLane>()
    };
    let train = [
        include_str!("../../../../shaders/shared/math.wgsl"),
        include_str!("../../../../shaders/shared/held.wgsl"),
        include_str!("../../../../shaders/shared/exact.wgsl"),
        include_str!("../../../../shaders/shared/random.wgsl"),
        include_str!("../../../../shaders/shared/lane.wgsl"),
        include_str!("../../../../shaders/shared/train.wgsl"),
        include_str!("../../../../shaders/models/gbdt/lane.wgsl"),
        include_str!("../../../../shaders/models/gbdt/reduce.wgsl"),
        include_str!("../../../../shaders/models/gbdt/gradient.wgsl"),
        include_str!("../../../../shaders/models/gbdt/split.wgsl"),
        include_str!("../../../../shaders/models/gbdt/grow.wgsl"),
        include_str!("../../../../shaders/models/gbdt/quantile.wgsl"),
        include_str!("../../../../shaders/models/gbdt/validate.wgsl"),
        include_str!("../../../../shaders/models/gbdt/train.wgsl"),
    ];
    let score = [
        include_str!("../../../../shaders/shared/math.wgsl"),
        include_str!("../../../../shaders/shared/metric.wgsl"),
        include_str!("../../../../shaders/shared/held.wgsl"),
        include_str!("../../../../shaders/shared/lane.wgsl"),
        include_str!("../../../../shaders/shared/score.wgsl"),
        include_str!("../../../../shaders/models/gbdt/score.wgsl"),
    ];
    let train = with_codes(Kernel::new("gbdt_train", "train", &train))
        .constant("TICKS", TICKS)
        .constant("TREE_WORDS", TREE_WORDS as u32)
        .constant("CHILD", CHILD)
        .float_constant("ABSENT", -ABSENT)
        .float_constant("POISSON_STEP", POISSON_STEP)
        .float_constant("MOST_LOSS", validate::MOST)
        .layout::<Standing>()
        .bind(&[
            Binding::new(Role::Lanes, "lanes", "array<GbdtLane>"),
            Binding::new(Role::Progress, "progress", "array<Progress>"),
            Binding::new(Role::State, "state", "array<u32>"),
            Binding::new(Role::Span, "span", "Span"),
            Binding::new(Role::Shared(0), "codes", "array<u32>"),
            Binding::new(Role::Shared(1), "table", "array<u32>"),
            Binding::new(Role::Shared(2), "targets", "array<f32>"),
        ]);
    let score = with_codes(Kernel::new("gbdt_score", "score", &score)).bind(&[
        Binding::new(Role::Lanes, "lanes", "array<GbdtLane>"),
        Binding::new(Role::Progress, "progress", "array<Progress>"),
        Binding::new(Role::State, "state", "array<f32>"),
        Binding::new(Role::Results, "results", "array<u32>"),
        Binding::new(Role::Span, "span", "Span"),
        Binding::new(Role::Shared(3), "y", "array<u32>"),
    ]);
    vec![train, score]
}
