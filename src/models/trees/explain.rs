//! What trees say of themselves: how many there are, how large they are, and how much splits on each feature gained.

use super::tree::Trees;
use crate::models::{Explanation, FeatureKind, FeatureNumbers};

/// What a feature's share of the gains is a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareOf {
    /// What all trees gained together, as LightGBM's `feature_importance("gain")` adds up.
    AllTrees,
    /// What a tree gained, in the mean over the trees that have any split, as scikit-learn's `feature_importances_`.
    EachTree,
}

impl Trees {
    /// Trees in numbers, with each feature's share of what the splits gained. The shares sum to 1, or are all 0 where no
    /// split gained anything.
    pub fn explain(&self, features: usize, of: ShareOf) -> Explanation {
        let mut sums = vec![0.0f64; features];
        for tree in 0..self.len() {
            let all = match of {
                ShareOf::AllTrees => 1.0,
                ShareOf::EachTree => self.gains(tree).map(|(_, gain)| f64::from(gain)).sum(),
            };
            // A tree without a split has no share to give.
            for (feature, gain) in self.gains(tree).filter(|_| all > 0.0) {
                if let Some(sum) = sums.get_mut(feature as usize) {
                    *sum += f64::from(gain) / all;
                }
            }
        }
        let total: f64 = sums.iter().sum();
        let share = |sum: f64| if total > 0.0 { (sum / total) as f32 } else { 0.0 };
        let leaves = self.leaves() as f64 / self.len().max(1) as f64;
        Explanation {
            facts: vec![
                ("trees", self.len().to_string()),
                ("leaves", format!("{leaves:.1} a tree")),
                ("depth", self.depth().to_string()),
            ],
            features: vec![FeatureNumbers {
                kind: FeatureKind::Gain,
                output: None,
                intercept: None,
                values: sums.into_iter().map(share).collect(),
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ColumnKind;
    use crate::models::trees::bins::FeatureBins;
    use crate::models::trees::tree::{Cut, Split};

    /// A tree that splits feature 0 and then its right child on feature 2, one that splits feature 2, and a stump.
    fn trees() -> Trees {
        let bins = FeatureBins::fit(ColumnKind::Number, ndarray::aview1(&[0.0, 1.0]), 2);
        let split = |feature| Split { feature, cut: Cut::UpTo(0), missing_left: false };
        let mut trees = Trees::new(1);
        let root = trees.grow();
        let left = trees.split(root, &split(0), &bins, 6.0);
        trees.leaf(left, [1.0]);
        let below = trees.split(left + 1, &split(2), &bins, 2.0);
        trees.leaf(below, [2.0]);
        trees.leaf(below + 1, [3.0]);
        let root = trees.grow();
        let left = trees.split(root, &split(2), &bins, 0.5);
        trees.leaf(left, [1.0]);
        trees.leaf(left + 1, [2.0]);
        let root = trees.grow();
        trees.leaf(root, [0.0]);
        trees
    }

    #[test]
    fn gains_are_shared_over_all_trees_or_tree_by_tree() {
        let shares = |of| trees().explain(3, of).features[0].values.clone();
        assert_eq!(shares(ShareOf::AllTrees), [6.0 / 8.5, 0.0, 2.5 / 8.5]);
        // The stump counts for nothing: the mean is of two trees.
        assert_eq!(shares(ShareOf::EachTree), [0.375, 0.0, 0.625]);
        let mut fewer = trees();
        fewer.truncate(1);
        assert_eq!(fewer.explain(3, ShareOf::AllTrees).features[0].values, [0.75, 0.0, 0.25]);
    }

    #[test]
    fn trees_are_counted_with_their_leaves_and_levels() {
        let facts = |trees: &Trees| {
            trees.explain(3, ShareOf::AllTrees).facts.into_iter().map(|fact| fact.1).collect::<Vec<_>>()
        };
        assert_eq!(facts(&trees()), ["3", "2.0 a tree", "2"]);
        let mut stump = Trees::new(1);
        let root = stump.grow();
        stump.leaf(root, [0.0]);
        assert_eq!(facts(&stump), ["1", "1.0 a tree", "0"]);
        assert_eq!(stump.explain(3, ShareOf::EachTree).features[0].values, [0.0; 3]);
    }
}
