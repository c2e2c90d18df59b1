//! How much of the space below a reference point a set of points dominates, exactly: by sweeps of two and three objectives,
//! of more by exclusive volumes, one objective fewer at a time (WFG: While, Bradstreet & Barone 2012,
//! doi:10.1109/TEVC.2010.2077298).
//!
//! Within, a point is its gains, reference - value on each objective: the box from the origin to there.

use crate::base::order::{ascending, descending};
use std::collections::BinaryHeap;

/// The volume that points, each value to be minimised, dominate within a reference point. A point that is not better than
/// the reference on every objective adds nothing, nor does one with NaN. Values of -infinity make it infinite.
///
/// In time O(n log n) for two and three objectives, in practice; it grows fast with more.
pub fn hypervolume<'a>(points: impl IntoIterator<Item = &'a [f64]>, reference: &[f64]) -> f64 {
    let gains: Vec<Vec<f64>> = points.into_iter().filter_map(|point| gains(point, reference)).collect();
    if gains.iter().flatten().any(|gain| gain.is_infinite()) {
        return f64::INFINITY;
    }
    volume(gains, reference.len())
}

/// What each of the points alone dominates, of all that they do.
///
/// In time O(n log n) for two objectives if no point dominates another, else and for three O(n^2 log n).
pub fn contributions(points: &[&[f64]], reference: &[f64]) -> Vec<f64> {
    let all: Vec<Option<Vec<f64>>> = points.iter().map(|point| gains(point, reference)).collect();
    let others = |place: usize| all.iter().enumerate().filter(move |(other, _)| *other != place);
    let alone = |place: usize| {
        let own = all[place].as_ref().filter(|own| own.iter().all(|gain| gain.is_finite()));
        own.map_or(0.0, |own| exclusive(own, others(place).filter_map(|(_, other)| other.as_deref())))
    };
    let gain = |place: usize, objective: usize| all[place].as_ref().map_or(0.0, |gains| gains[objective]);
    // From the right: whatever is dominated by nothing is higher than all before.
    let mut order: Vec<usize> = (0..all.len()).filter(|place| all[*place].is_some()).collect();
    order.sort_by(|a, b| descending(gain(*a, 0), gain(*b, 0)));
    let is_step = |pair: &[usize]| gain(pair[0], 0) > gain(pair[1], 0) && gain(pair[0], 1) < gain(pair[1], 1);
    if reference.len() != 2 || !order.windows(2).all(is_step) {
        return (0..all.len()).map(alone).collect();
    }
    let mut contributions = vec![0.0; all.len()];
    for (step, place) in order.iter().enumerate() {
        let below = step.checked_sub(1).map_or(0.0, |step| gain(order[step], 1));
        let left = order.get(step + 1).map_or(0.0, |next| gain(*next, 0));
        let own = (gain(*place, 0) - left) * (gain(*place, 1) - below);
        contributions[*place] = if own.is_finite() { own } else { 0.0 };
    }
    contributions
}

/// `count` of the points that dominate much together, each the one that adds most to those before it; of equals the first.
///
/// Greedy, which is within 1 - 1/e of the best (Guerreiro, Fonseca & Paquete 2016, doi:10.1162/EVCO_a_00188). What a point
/// adds only shrinks as others join, so that few are looked at again each time.
pub fn subset(points: &[&[f64]], reference: &[f64], count: usize) -> Vec<usize> {
    let gains: Vec<Option<Vec<f64>>> = points.iter().map(|point| gains(point, reference)).collect();
    let mut chosen: Vec<usize> = Vec::with_capacity(count.min(points.len()));
    let entry = |place: usize, chosen: &[usize]| {
        let own = gains[place].as_ref().filter(|own| own.iter().all(|gain| gain.is_finite()));
        let before = chosen.iter().filter_map(|place| gains[*place].as_deref());
        let added = own.map_or(0.0, |own| exclusive(own, before).max(0.0));
        // Numbers that are not negative order as their bits do.
        (added.to_bits(), std::cmp::Reverse(place), chosen.len())
    };
    let mut heap: BinaryHeap<_> = (0..points.len()).map(|place| entry(place, &[])).collect();
    while chosen.len() < count {
        let Some((_, std::cmp::Reverse(place), seen)) = heap.pop() else { break };
        if seen == chosen.len() {
            chosen.push(place);
        } else {
            heap.push(entry(place, &chosen));
        }
    }
    chosen
}

/// A point's gains; None where it has none.
fn gains(point: &[f64], reference: &[f64]) -> Option<Vec<f64>> {
    let gains: Vec<f64> = point.iter().zip(reference).map(|(value, reference)| reference - value).collect();
    (gains.len() == reference.len() && gains.iter().all(|gain| *gain > 0.0)).then_some(gains)
}

/// What a box has beyond the others.
fn exclusive<'a>(own: &[f64], others: impl Iterator<Item = &'a [f64]>) -> f64 {
    let within = |other: &[f64]| own.iter().zip(other).map(|(own, other)| own.min(*other)).collect();
    own.iter().product::<f64>() - volume(others.map(within).collect(), own.len())
}

/// The volume of the union of boxes.
fn volume(mut boxes: Vec<Vec<f64>>, objectives: usize) -> f64 {
    match objectives {
        0 => 0.0,
        1 => boxes.iter().map(|gains| gains[0]).fold(0.0, f64::max),
        2 => sweep_area(boxes),
        3 => sweep_volume(boxes),
        _ => {
            let last = objectives - 1;
            // Smallest first on the last objective: on it, each is within all that follow.
            boxes.sort_by(|a, b| ascending(a[last], b[last]));
            let slice = |place: usize| {
                let own = &boxes[place][..last];
                let limit = |other: &Vec<f64>| own.iter().zip(other).map(|(own, other)| own.min(*other)).collect();
                let others = maximal(boxes[place + 1..].iter().map(limit).collect());
                boxes[place][last] * (own.iter().product::<f64>() - volume(others, last))
            };
            (0..boxes.len()).map(slice).sum()
        }
    }
}

/// Boxes that are within no other one.
fn maximal(boxes: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let mut kept: Vec<Vec<f64>> = Vec::with_capacity(boxes.len());
    let is_within = |inner: &[f64], outer: &[f64]| inner.iter().zip(outer).all(|(inner, outer)| inner <= outer);
    for gains in boxes {
        if !kept.iter().any(|other| is_within(&gains, other)) {
            kept.retain(|other| !is_within(other, &gains));
            kept.push(gains);
        }
    }
    kept
}

fn sweep_area(mut boxes: Vec<Vec<f64>>) -> f64 {
    boxes.sort_by(|a, b| descending(a[0], b[0]));
    let (mut area, mut height) = (0.0, 0.0);
    for gains in &boxes {
        if gains[1] > height {
            area += gains[0] * (gains[1] - height);
            height = gains[1];
        }
    }
    area
}

/// From the box that reaches farthest on the third objective: the area of those passed so far, slice by slice.
fn sweep_volume(mut boxes: Vec<Vec<f64>>) -> f64 {
    boxes.sort_by(|a, b| descending(a[2], b[2]));
    // Corners that none covers: to the right, lower.
    let mut stairs: Vec<(f64, f64)> = Vec::new();
    let (mut volume, mut area) = (0.0, 0.0);
    for (place, gains) in boxes.iter().enumerate() {
        let (x, y) = (gains[0], gains[1]);
        let to = stairs.partition_point(|corner| corner.0 < x);
        let height = stairs.get(to).map_or(0.0, |corner| corner.1);
        if height < y {
            let to = to + usize::from(stairs.get(to).is_some_and(|corner| corner.0 == x));
            let from = stairs.partition_point(|corner| corner.1 > y);
            let mut left = if from == 0 { 0.0 } else { stairs[from - 1].0 };
            for corner in &stairs[from..to] {
                area += (corner.0 - left) * (y - corner.1);
                left = corner.0;
            }
            area += (x - left) * (y - stairs.get(to).map_or(0.0, |corner| corner.1));
            stairs.splice(from..to, [(x, y)]);
        }
        volume += area * (gains[2] - boxes.get(place + 1).map_or(0.0, |next| next[2]));
    }
    volume
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, below};

    /// Whole numbers from 0 to 5, below a reference of 5.
    fn drawn(seed: u64, objectives: u64, count: u64) -> Vec<Vec<f64>> {
        let key = Key::from_seed(seed);
        (0..count).map(|i| (0..objectives).map(|o| below(key, i * objectives + o, 6) as f64).collect()).collect()
    }

    fn of(points: &[Vec<f64>], reference: &[f64]) -> f64 {
        hypervolume(points.iter().map(Vec::as_slice), reference)
    }

    /// Unit cells that are dominated.
    fn counted(points: &[Vec<f64>], objectives: usize) -> f64 {
        let cell = |number: usize| (0..objectives).map(move |o| (number / 5usize.pow(o as u32) % 5) as f64);
        let is_dominated =
            |number: &usize| points.iter().any(|p| p.iter().zip(cell(*number)).all(|(p, cell)| *p <= cell));
        (0..5usize.pow(objectives as u32)).filter(is_dominated).count() as f64
    }

    #[test]
    fn volumes_are_those_that_counting_cells_gives() {
        for objectives in 1..6 {
            for seed in 0..40 {
                let points = drawn(seed, objectives as u64, seed % 20);
                let found = of(&points, &vec![5.0; objectives]);
                // Whole numbers: exact.
                assert_eq!(found, counted(&points, objectives), "{objectives} objectives, seed {seed}");
            }
        }
    }

    #[test]
    fn contributions_are_what_is_lost_without_a_point() {
        for objectives in 2..5 {
            for seed in 0..60 {
                let mut points = drawn(seed, objectives as u64, 1 + seed % 9);
                if seed % 2 == 0 {
                    // A front: the sum of the first two is the same.
                    points
                        .iter_mut()
                        .enumerate()
                        .for_each(|(i, p)| (p[0], p[1]) = (i as f64 % 6.0, 5.0 - i as f64 % 6.0));
                }
                let reference = vec![5.0; objectives];
                let slices: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
                for (place, found) in contributions(&slices, &reference).into_iter().enumerate() {
                    let mut others = points.clone();
                    others.remove(place);
                    assert_eq!(found, of(&points, &reference) - of(&others, &reference), "{points:?} {place}");
                }
            }
        }
    }

    #[test]
    fn a_subset_takes_what_adds_most_each_time() {
        for objectives in 2..5 {
            for seed in 0..40 {
                let points = drawn(seed, objectives as u64, 12);
                let reference = vec![5.0; objectives];
                let slices: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
                let found = subset(&slices, &reference, 5);
                let mut chosen: Vec<Vec<f64>> = Vec::new();
                for place in &found {
                    let with =
                        |point: &Vec<f64>| of(&[chosen.as_slice(), std::slice::from_ref(point)].concat(), &reference);
                    let most = points.iter().map(with).fold(0.0, f64::max);
                    assert_eq!(with(&points[*place]), most, "seed {seed}");
                    chosen.push(points[*place].clone());
                }
                assert_eq!(found.len(), 5);
                assert_eq!(subset(&slices, &reference, 20).len(), 12);
            }
        }
    }

    #[test]
    fn points_that_are_not_below_the_reference_add_nothing() {
        let points = [vec![1.0, f64::NAN], vec![1.0, 2.0], vec![f64::INFINITY, 0.0], vec![0.0], vec![0.5, 1.0]];
        assert_eq!(of(&points, &[1.0, 2.0]), 0.5);
        assert_eq!(of(&[vec![f64::NEG_INFINITY, 0.0]], &[1.0, 1.0]), f64::INFINITY);
        assert_eq!(of(&[], &[1.0, 1.0]), 0.0);
    }

    #[test]
    fn the_eighth_of_a_sphere_is_covered_as_geometry_says() {
        // Points of the sphere f1^2 + f2^2 + f3^2 = 1 on a grid: the volume tends to 1 - pi / 6 from below.
        let n = 60;
        let angle = |i: usize| i as f64 / f64::from(n) * std::f64::consts::FRAC_PI_2;
        let point = |i: usize, j: usize| {
            let (a, b) = (angle(i), angle(j));
            vec![libm::cos(a) * libm::cos(b), libm::cos(a) * libm::sin(b), libm::sin(a)]
        };
        let points: Vec<Vec<f64>> = (0..=n as usize).flat_map(|i| (0..=n as usize).map(move |j| point(i, j))).collect();
        let exact = 1.0 - std::f64::consts::PI / 6.0;
        let found = of(&points, &[1.0; 3]);
        assert!(found < exact && found > exact - 0.03, "{found} {exact}");
    }
}
