//! What a split takes off the impurity: what features' importance is made of.

use super::plant::Outcome;
use super::recipe::Criterion;
use super::sums;

/// How much less impure both sides of a split are than the node was, weighted by their rows (scikit-learn's
/// `weight * impurity - sides' weights * impurities`), from the totals of the sides. Classes: Gini's impurity, or entropy
/// in bits. Numbers: squared errors, in the steps of [`super::recipe::Steps`]: like all gains of a forest they are
/// compared within a tree only.
pub fn decrease(outcome: Outcome, criterion: Criterion, [left, right]: [&[u32]; 2]) -> f32 {
    match outcome {
        Outcome::Numbers(_) => {
            let ((left, left_weight), (right, right_weight)) = (sums::of_words(left), sums::of_words(right));
            let (left, right) = ((left as f64, f64::from(left_weight)), (right as f64, f64::from(right_weight)));
            distance(left, right) as f32
        }
        Outcome::Classes(_) => {
            let weight = |side: &[u32]| side.iter().map(|count| f64::from(*count)).sum::<f64>();
            let (left_weight, right_weight) = (weight(left), weight(right));
            let of = |left: &u32, right: &u32| [f64::from(*left), f64::from(*right)];
            let counts = left.iter().zip(right).map(|(left, right)| of(left, right));
            match criterion {
                Criterion::Gini => {
                    counts.map(|[l, r]| distance((l, left_weight), (r, right_weight))).sum::<f64>() as f32
                }
                Criterion::Entropy => {
                    let classes: f64 = counts.map(|[l, r]| product(l) + product(r) - product(l + r)).sum();
                    let sides = product(left_weight) + product(right_weight) - product(left_weight + right_weight);
                    // Where a split tells nothing apart, rounding may leave less than nothing.
                    (classes - sides).max(0.0) as f32
                }
            }
        }
    }
}

/// `left^2 / left_weight + right^2 / right_weight - (left + right)^2 / (left_weight + right_weight)`, in the form that
/// cancels nothing.
fn distance((left, left_weight): (f64, f64), (right, right_weight): (f64, f64)) -> f64 {
    let apart = left * right_weight - right * left_weight;
    apart * apart / (left_weight * right_weight * (left_weight + right_weight))
}

/// `c log2 c`
fn product(count: f64) -> f64 {
    if count > 0.0 { count * libm::log2(count) } else { 0.0 }
}
