//! Which rows a round trains on and which columns a tree may split: keyed by the fold and the round, never by the
//! candidate, so that a lane with a smaller share takes some of what one with a larger share takes.

use super::fold::GbdtFold;
use crate::base::random::{Key, uniform};

/// Children of a fold's key.
mod tag {
    pub const ROWS: u32 = 11;
    pub const COLUMNS: u32 = 12;
}

/// The training rows of a round, and all other rows of the fold.
pub fn rows(fold: &GbdtFold, share: f32, round: u64, rows: &mut Vec<u32>, others: &mut Vec<u32>) {
    let (n, all) = (fold.train_rows() as u32, fold.rows() as u32);
    rows.clear();
    others.clear();
    if share < 1.0 {
        let key = row_key(fold.fold.key).child(round as u32);
        for pair in 0..n.div_ceil(2) {
            let words = key.words(u64::from(pair));
            for (row, word) in (2 * pair..n).zip(words) {
                if uniform(word) < share { rows.push(row) } else { others.push(row) }
            }
        }
    } else {
        rows.extend(0..n);
    }
    others.extend(n..all);
}

/// Whether a tree may split each column: the first of an order of the tree's own, one at least.
pub fn columns(fold: Key, share: f32, tree: u64, columns: usize) -> Vec<bool> {
    let key = column_key(fold).child(tree as u32);
    let mut order: Vec<(u32, usize)> = (0..columns).map(|column| (key.words(column as u64)[0], column)).collect();
    order.sort_unstable();
    let taken = taken(share, columns);
    let mut is_in = vec![false; columns];
    order[..taken].iter().for_each(|(_, column)| is_in[*column] = true);
    is_in
}

/// How many columns a tree may split.
pub fn taken(share: f32, columns: usize) -> usize {
    ((f64::from(share) * columns as f64).round() as usize).clamp(1.min(columns), columns)
}

/// The key whose children draw rounds' rows.
pub fn row_key(fold: Key) -> Key {
    fold.child(tag::ROWS)
}

/// The key whose children draw trees' columns.
pub fn column_key(fold: Key) -> Key {
    fold.child(tag::COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_share_of_columns_lies_within_a_larger_one() {
        let key = Key::from_seed(3);
        let count = |share| columns(key, share, 7, 40).into_iter().filter(|is_in| *is_in).count();
        assert_eq!([0.0, 0.3, 0.5, 1.0].map(count), [1, 12, 20, 40]);
        let (small, large) = (columns(key, 0.3, 7, 40), columns(key, 0.5, 7, 40));
        assert!(small.iter().zip(&large).all(|(small, large)| !small || *large));
        assert_ne!(large, columns(key, 0.5, 8, 40));
    }
}
