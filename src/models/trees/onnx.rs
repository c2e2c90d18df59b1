//! Trees as a `TreeEnsembleRegressor` of ai.onnx.ml.
//!
//! What goes left is what the operator calls true. A split by categories becomes a chain of tests for one category each,
//! the way in which other libraries' trees are written too: all of a chain's ends lead to the same child.

use super::tree::{Branch, Trees};
use crate::base::onnx::{Attribute, Graph, Value};
use crate::models::WeightsError;

/// A category that no column has: codes count from 0.
const NO_CODE: f32 = -1.0;

/// The operator's nodes, a list a property.
#[derive(Default)]
struct Nodes {
    trees: Vec<i64>,
    ids: Vec<i64>,
    features: Vec<i64>,
    modes: Vec<String>,
    values: Vec<f32>,
    trues: Vec<i64>,
    falses: Vec<i64>,
    missing_tracks_true: Vec<i64>,
}

/// What leaves add to which target.
#[derive(Default)]
struct Leaves {
    trees: Vec<i64>,
    ids: Vec<i64>,
    targets: Vec<i64>,
    values: Vec<f32>,
}

impl Nodes {
    /// A node `[tree, id]` with its ways `[true, false]`.
    fn push(&mut self, [tree, id]: [usize; 2], mode: &str, test: (u32, f32), ways: [usize; 2], missing: bool) {
        self.trees.push(tree as i64);
        self.ids.push(id as i64);
        self.modes.push(mode.to_owned());
        self.features.push(i64::from(test.0));
        self.values.push(test.1);
        self.trues.push(ways[0] as i64);
        self.falses.push(ways[1] as i64);
        self.missing_tracks_true.push(i64::from(missing));
    }
}

impl Trees {
    /// The sum over trees of the values of the leaves to which they lead each row of `x` `[rows, features]`, NaN where a
    /// cell is missing: `[rows, targets]`. A tree's values belong to the targets from `first_target(tree)` on.
    pub fn onnx(
        &self,
        graph: &mut Graph,
        x: &Value,
        targets: usize,
        first_target: impl Fn(usize) -> usize,
    ) -> Result<Value, WeightsError> {
        let (mut nodes, mut leaves) = (Nodes::default(), Leaves::default());
        let mut reached = 0;
        for tree in 0..self.len() {
            let mut more = self.nodes();
            let branches = self.branches(tree);
            // A file may let trees share their nodes, and so say more than it holds.
            reached += branches.len();
            if reached > self.nodes() {
                return Err(WeightsError("its trees share nodes".to_owned()));
            }
            // A node's id is its index; the root comes first, as readers want it.
            for (id, branch) in branches {
                match branch {
                    Branch::Leaf(values) => {
                        nodes.push([tree, id], "LEAF", (0, 0.0), [0, 0], false);
                        for (output, value) in values.iter().enumerate() {
                            leaves.trees.push(tree as i64);
                            leaves.ids.push(id as i64);
                            leaves.targets.push((first_target(tree) + output) as i64);
                            leaves.values.push(*value);
                        }
                    }
                    Branch::UpTo { feature, threshold, missing_left, child } => {
                        nodes.push([tree, id], "BRANCH_LEQ", (feature, threshold), [child, child + 1], missing_left);
                    }
                    Branch::Subset { feature, left, right, missing_left, child } => {
                        // The shorter list is looked for; what is on none of it goes the other way, and so does what is
                        // missing unless it goes with those on the list.
                        let is_left = left.len() <= right.len();
                        let (codes, found, other) =
                            if is_left { (left, child, child + 1) } else { (right, child + 1, child) };
                        let codes = if codes.is_empty() { vec![NO_CODE] } else { codes };
                        let mut at = id;
                        for (place, code) in codes.iter().enumerate() {
                            let next = if place + 1 == codes.len() { other } else { more };
                            nodes.push(
                                [tree, at],
                                "BRANCH_EQ",
                                (feature, *code),
                                [found, next],
                                missing_left == is_left,
                            );
                            (at, more) = (next, more + usize::from(next == more));
                        }
                    }
                }
            }
        }
        let settings = [
            ("n_targets", Attribute::Integer(targets as i64)),
            ("aggregate_function", Attribute::Text("SUM")),
            ("nodes_treeids", Attribute::Integers(nodes.trees)),
            ("nodes_nodeids", Attribute::Integers(nodes.ids)),
            ("nodes_featureids", Attribute::Integers(nodes.features)),
            ("nodes_modes", Attribute::Texts(nodes.modes)),
            ("nodes_values", Attribute::Floats(nodes.values)),
            ("nodes_truenodeids", Attribute::Integers(nodes.trues)),
            ("nodes_falsenodeids", Attribute::Integers(nodes.falses)),
            ("nodes_missing_value_tracks_true", Attribute::Integers(nodes.missing_tracks_true)),
            ("target_treeids", Attribute::Integers(leaves.trees)),
            ("target_nodeids", Attribute::Integers(leaves.ids)),
            ("target_ids", Attribute::Integers(leaves.targets)),
            ("target_weights", Attribute::Floats(leaves.values)),
        ];
        Ok(graph.ml_node("TreeEnsembleRegressor", &[x], &settings))
    }
}
