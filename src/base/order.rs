//! The one place that says how scores and probabilities are ordered: NaN comes last, whichever direction is better.

use std::cmp::Ordering;

/// Ascending order with every NaN after every number; two NaN are equal.
pub fn ascending(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (a_is_nan, b_is_nan) => a_is_nan.cmp(&b_is_nan),
    }
}

/// Descending order with every NaN after every number; two NaN are equal.
pub fn descending(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => ascending(b, a),
        _ => ascending(a, b),
    }
}

/// The class that a row of probabilities predicts: the most likely one, of equally likely ones the first; none of NaN.
pub fn most_likely(row: impl Iterator<Item = f32>) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (class, share) in row.enumerate() {
        if best.is_none_or(|(_, most)| share > most) && !share.is_nan() {
            best = Some((class, share));
        }
    }
    best.map(|(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_sorts_last_in_both_directions() {
        let mut scores = [f64::NAN, 1.0, -3.0, f64::INFINITY, f64::NAN, 2.0];
        scores.sort_by(|a, b| ascending(*a, *b));
        assert_eq!(scores[..4], [-3.0, 1.0, 2.0, f64::INFINITY]);
        assert!(scores[4..].iter().all(|s| s.is_nan()));
        scores.sort_by(|a, b| descending(*a, *b));
        assert_eq!(scores[..4], [f64::INFINITY, 2.0, 1.0, -3.0]);
        assert!(scores[4..].iter().all(|s| s.is_nan()));
    }
}
