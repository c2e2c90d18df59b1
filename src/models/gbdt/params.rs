//! A candidate's hyperparameters, and what they are called.

use super::objective::{Quanta, power};
use super::split::{CategoryRules, Rules};
use crate::space::{Space, SpaceBuilder};

/// What regression minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Objective {
    /// Half the squared error.
    Squared = 0,
    /// The absolute error; leaves are medians.
    Absolute = 1,
    /// The pinball loss of one quantile; leaves are quantiles.
    Quantile = 2,
    /// The deviance of a Poisson count; scores are logarithms of means.
    Poisson = 3,
}

impl Objective {
    /// Names in the space, in the order of the codes.
    pub const NAMES: [&'static str; 4] = ["squared", "absolute", "quantile", "poisson"];

    /// From its code.
    pub fn from_code(code: u32) -> Option<Objective> {
        [Objective::Squared, Objective::Absolute, Objective::Quantile, Objective::Poisson].get(code as usize).copied()
    }
}

/// In which order nodes are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// The leaf that gains most, until there are so many leaves.
    LeafWise {
        /// Leaves of a tree at most.
        leaves: u32,
        /// Levels below the root at most; 0 for any number.
        depth: u32,
    },
    /// All of a level, down to a depth.
    LevelWise {
        /// Levels below the root.
        depth: u32,
    },
}

/// One candidate's hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GbdtParams {
    /// What regression minimises.
    pub objective: Objective,
    /// Which quantile, for that objective.
    pub quantile: f32,
    /// Rounds of boosting at most; one tree each, or one a class.
    pub trees: u64,
    /// What leaves' values are multiplied with.
    pub learning_rate: f32,
    /// The trees' shape.
    pub growth: Growth,
    /// Rows of a leaf at least.
    pub min_leaf: u32,
    /// Hessian of a leaf at least.
    pub min_child_weight: f32,
    /// Penalty on the absolute value of a leaf.
    pub l1: f32,
    /// Penalty on the square of a leaf's value.
    pub l2: f32,
    /// What a split must gain at least.
    pub min_gain: f32,
    /// Share of the rows that a round trains on.
    pub row_share: f32,
    /// Share of the columns that a tree may split.
    pub column_share: f32,
    /// Bins of a column's values at most.
    pub bins: u32,
    /// Whether classes count alike, however many rows they have.
    pub is_balanced: bool,
    /// Rounds without a better validation score after which a lane stops; 0 never.
    pub early_stopping: u64,
    /// Columns with so few categories part one from the others.
    pub one_hot_levels: u32,
    /// Added to a category's hessian before categories are ordered; categories with fewer rows are left out.
    pub category_smoothing: f32,
    /// Added to `l2` where a subset of categories is chosen.
    pub category_l2: f32,
    /// Categories of a subset at most.
    pub most_categories: u32,
    /// Rows between neighbouring cuts of the order of categories.
    pub category_rows: u32,
}

/// The default space. `is_regression` adds what only numbers have.
pub fn space(is_regression: bool) -> Space {
    let space = SpaceBuilder::new()
        .log_int("trees", 20, 500, 100)
        .within_whole(1, 100_000)
        .log("learning_rate", 0.01, 0.3, 0.1)
        .within(1e-6, 10.0)
        .categorical("growth", &["leaf_wise", "level_wise"], "leaf_wise")
        .log_int("leaves", 4, 255, 31)
        .within_whole(2, 65_536)
        .when("leaves", "growth", &["leaf_wise"])
        .int("depth", 2, 10, 6)
        .within_whole(1, 64)
        .when("depth", "growth", &["level_wise"])
        .log_int("min_leaf", 1, 100, 20)
        .within_whole(1, 1_000_000)
        .log("min_child_weight", 1e-3, 10.0, 1e-3)
        .within(0.0, 1e9)
        .log("l2", 1e-3, 100.0, 1e-3)
        .within(0.0, 1e9)
        .float("row_share", 0.5, 1.0, 1.0)
        .within(0.0, 1.0)
        .float("column_share", 0.3, 1.0, 1.0)
        .within(0.0, 1.0)
        .float("l1", 0.0, 10.0, 0.0)
        .within(0.0, 1e9)
        .held()
        .float("min_gain", 0.0, 1.0, 0.0)
        .within(0.0, 1e9)
        .held()
        .int("max_depth", 0, 64, 0)
        .held()
        .int("bins", 2, 255, 255)
        .held()
        .int("early_stopping", 0, 10_000, 0)
        .held()
        .int("one_hot_levels", 0, 255, 3)
        .held()
        .float("category_smoothing", 0.0, 1e6, 10.0)
        .held()
        .float("category_l2", 0.0, 1e6, 10.0)
        .held()
        .int("most_categories", 1, 255, 32)
        .held()
        .int("category_rows", 1, 1_000_000, 100)
        .held();
    let space = match is_regression {
        true => {
            space.categorical("objective", &Objective::NAMES, "squared").held().float("quantile", 0.0, 1.0, 0.5).held()
        }
        false => space.categorical("class_weight", &["none", "balanced"], "none"),
    };
    space.build()
}

impl GbdtParams {
    /// Reads a candidate's encoded values; what a space does not have takes the model's default.
    pub fn read(space: &Space, point: &[f64]) -> GbdtParams {
        let number = |name: &str, default: f64| space.number(point, name).unwrap_or(default);
        let whole = |name: &str, default: u32| number(name, f64::from(default)).max(0.0) as u32;
        let float = |name: &str, default: f32| number(name, f64::from(default)) as f32;
        let is = |name: &str, value: &str| space.text(point, name).is_some_and(|text| text == value);
        let objective = Objective::NAMES.iter().position(|name| is("objective", name)).unwrap_or(0);
        let growth = match is("growth", "level_wise") {
            true => Growth::LevelWise { depth: whole("depth", 6) },
            false => Growth::LeafWise { leaves: whole("leaves", 31), depth: whole("max_depth", 0) },
        };
        GbdtParams {
            objective: Objective::from_code(objective as u32).unwrap_or(Objective::Squared),
            quantile: float("quantile", 0.5),
            trees: number("trees", 100.0).max(0.0) as u64,
            learning_rate: float("learning_rate", 0.1),
            growth,
            min_leaf: whole("min_leaf", 20).max(1),
            min_child_weight: float("min_child_weight", 1e-3),
            l1: float("l1", 0.0),
            l2: float("l2", 1e-3),
            min_gain: float("min_gain", 0.0),
            row_share: float("row_share", 1.0),
            column_share: float("column_share", 1.0),
            bins: whole("bins", 255).clamp(2, 255),
            is_balanced: is("class_weight", "balanced"),
            early_stopping: number("early_stopping", 0.0).max(0.0) as u64,
            one_hot_levels: whole("one_hot_levels", 3),
            category_smoothing: float("category_smoothing", 10.0),
            category_l2: float("category_l2", 10.0),
            most_categories: whole("most_categories", 32),
            category_rows: whole("category_rows", 100),
        }
    }

    /// More leaves a tree cannot have. What a leaf must have at least is counted by its hessian, so that it may have fewer
    /// rows; but a node with fewer than two leaves' rows is not split.
    pub fn leaf_bound(&self, rows: usize) -> usize {
        let by_rows = (rows + 2).saturating_sub(2 * self.min_leaf as usize).max(1);
        match self.growth {
            Growth::LeafWise { leaves, .. } => by_rows.min(leaves as usize),
            Growth::LevelWise { depth } => by_rows.min(1usize.checked_shl(depth).unwrap_or(usize::MAX)),
        }
    }

    /// Leaves of a tree on so many rows, about.
    pub fn most_leaves(&self, rows: usize) -> usize {
        let by_rows = (rows / self.min_leaf as usize).max(1);
        match self.growth {
            Growth::LeafWise { leaves, .. } => by_rows.min(leaves as usize),
            Growth::LevelWise { depth } => by_rows.min(1usize.checked_shl(depth).unwrap_or(usize::MAX)),
        }
    }

    /// What splits of a tree keep to, in its own units.
    pub fn rules(&self, quanta: Quanta) -> Rules {
        let (by_gradient, by_hessian) = (power(quanta.gradient), power(quanta.hessian));
        Rules {
            l1: self.l1 * by_gradient,
            // With no penalty at all, what keeps 0 / 0 away.
            l2: self.l2 * by_hessian,
            min_gain: self.min_gain * power(2 * quanta.gradient - quanta.hessian),
            min_rows: self.min_leaf as f32,
            min_hessian: (self.min_child_weight * by_hessian).max(1.0),
            category: CategoryRules {
                one_hot: self.one_hot_levels as usize + 1,
                smoothing: self.category_smoothing * by_hessian,
                min_rows: self.category_smoothing,
                l2: self.category_l2 * by_hessian,
                most: self.most_categories as usize,
                group_rows: self.category_rows as f32,
            },
        }
    }

    /// Twice what a split takes off the loss, by its second-order approximation (LightGBM's gain), from what it gains
    /// beyond `min_gain` in a tree's own units.
    pub fn gain(beyond: f32, quanta: Quanta, min_gain: f32) -> f32 {
        beyond * power(quanta.hessian - 2 * quanta.gradient) + min_gain
    }

    /// A leaf's value is this times its sum of gradients over its hessian.
    pub fn step(&self, quanta: Quanta) -> f32 {
        -self.learning_rate * power(quanta.hessian - quanta.gradient)
    }
}
