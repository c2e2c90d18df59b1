//! A lane of a forest as shaders/models/forest/ sees it, and the kernels.

use crate::backend::gpu::{Binding, DeviceScoring, Kernel, LaneSets, Role, wgsl_struct, with_lane_header};
use crate::base::random::CHILD;
use crate::data::Task;
use crate::models::forest::hash;
use crate::models::forest::recipe::{BOOTSTRAP, ROOT};

/// Threads of a workgroup: one for each bin that a feature may have, that of missing values among them.
const WORKGROUP: u32 = 256;
/// Rows that scoring predicts at a time.
pub const TILE_ROWS: u32 = 256;
/// Portions of a tree, by which dispatches are cut.
pub const TICKS: u32 = 16;
/// What a node takes beside its rows, as so many of them.
pub const NODE_ROWS: u32 = 2048;
/// Rows of a word of codes.
pub const WORD_ROWS: usize = 4;
/// Words of a node that waits, without the bits of its constant columns.
pub const ENTRY_WORDS: usize = 8;
/// Bit of what is known of a column, above its bins.
pub const COLUMN_IS_CATEGORY: u32 = 1 << 16;

wgsl_struct! {
    /// Where a lane stands: the first words of its state.
    pub struct Standing {
        /// Trees that are whole.
        pub trees: u32,
        /// Nodes of the tree at hand that wait.
        pub open: u32,
        /// Hash of the tree at hand.
        pub tree_hash: [u32; 2],
        /// Hash of all whole trees.
        pub hash: [u32; 2],
    }
}

wgsl_struct! {
    /// One lane. The first two words are the trainer's; `_at` are places in its state.
    pub struct ForestLane {
        /// First word of its state.
        pub state: u32,
        /// First word of its results.
        pub result: u32,
        /// Classes, or 1.
        pub outputs: u32,
        /// What it is scored on; of the training rows none. x is a set's first row among all that are scored.
        pub sets: LaneSets,
        /// The fold's index and its bins, for who reads the weights.
        pub fold: u32,
        /// See `fold`.
        pub bins: u32,
        /// 1 where classes have the same weight in sum, for who reads the weights.
        pub is_balanced: u32,
        /// Draws that were asked for, for who reads the weights.
        pub draws_asked: u32,
        /// 1 for extra trees.
        pub is_extra: u32,
        /// 1 where splits of classes are judged by entropy.
        pub is_entropy: u32,
        /// Trees at most.
        pub trees: u32,
        /// Splits between the root and a leaf at most.
        pub depth: u32,
        /// Rows of a leaf at least.
        pub min_leaf: u32,
        /// Features that a node looks at.
        pub looked_at: u32,
        /// Training rows, and rows to score.
        pub train_rows: u32,
        /// See `train_rows`.
        pub scored_rows: u32,
        /// Columns.
        pub columns: u32,
        /// First word of the columns' bins in `codes`: `[columns, code_words]`, four rows a word.
        pub codes: u32,
        /// Words of a column.
        pub code_words: u32,
        /// What is known of the columns, in `table`.
        pub column_table: u32,
        /// Classes, or numbers in steps above -2^23, of the training rows, in `table`.
        pub y: u32,
        /// 1 where rows have weights.
        pub has_weights: u32,
        /// Whole weights of the training rows, in `table`.
        pub weights: u32,
        /// Their sums up to each row and with it, in `table`.
        pub weight_sums: u32,
        /// The sum of them all.
        pub all_weight: u32,
        /// Draws of a tree's bootstrap; 0 for none.
        pub draws: u32,
        /// The key whose children are the trees' keys.
        pub trees_key: [u32; 2],
        /// A step of numbers in the target's own units: the nearest f32, and the rest.
        pub step_size: [f32; 2],
        /// The middle of the numbers likewise.
        pub middle: [f32; 2],
        /// Rows that a tick counts at least.
        pub tick_rows: u32,
        /// `[rows to score, outputs]`: what the trees say, summed in their order.
        pub sums_at: u32,
        /// How often each training row counts in the tree at hand.
        pub weights_at: u32,
        /// `[2, training rows]`: the tree's rows by node, of even and of odd depths.
        pub rows_at: u32,
        /// `[2, rows to score]` likewise.
        pub scored_at: u32,
        /// Nodes that wait.
        pub entries_at: u32,
        /// Words of one.
        pub entry_words: u32,
        /// Class weights of the node at hand.
        pub totals_at: u32,
        /// What the leaf at hand says.
        pub values_at: u32,
        /// All features, and which places were swapped.
        pub order_at: u32,
        /// See `order_at`.
        pub swaps_at: u32,
        /// A tile's predictions.
        pub tile_at: u32,
    }
}

fn with_constants(kernel: Kernel) -> Kernel {
    DeviceScoring::header(with_lane_header(kernel), TILE_ROWS).constant("WORKGROUP", WORKGROUP).layout::<ForestLane>()
}

/// The kernel that grows trees of a task.
pub fn train_kernel(task: Task) -> Kernel {
    let (name, tally) = match task {
        Task::Classification => ("forest_train_classes", include_str!("../../../../shaders/models/forest/counts.wgsl")),
        Task::Regression => ("forest_train_numbers", include_str!("../../../../shaders/models/forest/sums.wgsl")),
    };
    let mut sources = vec![
        include_str!("../../../../shaders/shared/held.wgsl"),
        include_str!("../../../../shaders/shared/exact.wgsl"),
        include_str!("../../../../shaders/shared/random.wgsl"),
        include_str!("../../../../shaders/shared/lane.wgsl"),
        include_str!("../../../../shaders/shared/train.wgsl"),
        include_str!("../../../../shaders/models/forest/gain.wgsl"),
        include_str!("../../../../shaders/models/forest/lane.wgsl"),
        include_str!("../../../../shaders/models/forest/fields.wgsl"),
        tally,
        include_str!("../../../../shaders/models/forest/search.wgsl"),
        include_str!("../../../../shaders/models/forest/plant.wgsl"),
        include_str!("../../../../shaders/models/forest/grow.wgsl"),
        include_str!("../../../../shaders/models/forest/train.wgsl"),
    ];
    if task == Task::Regression {
        sources.push(include_str!("../../../../shaders/shared/double.wgsl"));
    }
    with_constants(Kernel::new(name, "train", &sources))
        .constant("TICKS", TICKS)
        .constant("NODE_ROWS", NODE_ROWS)
        .constant("CHILD", CHILD)
        .constant("TAG_BOOTSTRAP", BOOTSTRAP)
        .constant("SIDE_ROOT", ROOT)
        .constant("HASH_LEAF", hash::LEAF)
        .layout::<Standing>()
        .bind(&[
            Binding::new(Role::Lanes, "lanes", "array<ForestLane>"),
            Binding::new(Role::Progress, "progress", "array<Progress>"),
            Binding::new(Role::State, "state", "array<u32>"),
            Binding::new(Role::Span, "span", "Span"),
            Binding::new(Role::Shared(0), "codes", "array<u32>"),
            Binding::new(Role::Shared(1), "table", "array<u32>"),
        ])
}

/// The kernel that scores.
pub fn score_kernel() -> Kernel {
    let sources = [
        include_str!("../../../../shaders/shared/math.wgsl"),
        include_str!("../../../../shaders/shared/held.wgsl"),
        include_str!("../../../../shaders/shared/exact.wgsl"),
        include_str!("../../../../shaders/shared/metric.wgsl"),
        include_str!("../../../../shaders/shared/lane.wgsl"),
        include_str!("../../../../shaders/shared/score.wgsl"),
        include_str!("../../../../shaders/models/forest/score.wgsl"),
    ];
    with_constants(Kernel::new("forest_score", "score", &sources)).bind(&[
        Binding::new(Role::Lanes, "lanes", "array<ForestLane>"),
        Binding::new(Role::Progress, "progress", "array<Progress>"),
        Binding::new(Role::State, "state", "array<f32>"),
        Binding::new(Role::Results, "results", "array<u32>"),
        Binding::new(Role::Span, "span", "Span"),
        Binding::new(Role::Shared(2), "y", "array<u32>"),
    ])
}

/// All of them, for the translation tests.
pub fn kernels() -> Vec<Kernel> {
    vec![train_kernel(Task::Classification), train_kernel(Task::Regression), score_kernel()]
}
