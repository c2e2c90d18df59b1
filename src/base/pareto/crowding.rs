//! How crowded the points of a front are: the sum over the objectives of the distance between a point's neighbours to both
//! sides, by the objective's range (Deb et al. 2002, section III-B). Points at an objective's ends are infinitely far out.

use super::Scores;
use crate::base::order::ascending;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

impl Scores {
    /// The crowding distance of each candidate of a front: more is lonelier.
    pub fn crowding(&self, front: &[usize]) -> Vec<f64> {
        let neighbours = Neighbours::new(self, front);
        (0..front.len()).map(|place| neighbours.distance(place)).collect()
    }

    /// At most `count` of a front, in its order: the most crowded is taken out again and again, and the distances of its
    /// neighbours follow (Kukkonen & Deb 2006, doi:10.1109/CEC.2006.1688443). Of equals the last goes first.
    ///
    /// In time O(n log n).
    pub fn thin(&self, front: &[usize], count: usize) -> Vec<usize> {
        let mut neighbours = Neighbours::new(self, front);
        // Distances are never negative, once -0 is 0: their bits order as they do.
        let bits = |neighbours: &Neighbours, place: usize| (neighbours.distance(place) + 0.0).to_bits();
        let entry = |neighbours: &Neighbours, place: usize| Reverse((bits(neighbours, place), Reverse(place)));
        let mut heap: BinaryHeap<_> = (0..front.len()).map(|place| entry(&neighbours, place)).collect();
        let mut is_kept = vec![true; front.len()];
        let mut left = front.len();
        while left > count {
            let Some(Reverse((distance, Reverse(place)))) = heap.pop() else { break };
            // Every change of a distance made another entry.
            if !is_kept[place] || distance != bits(&neighbours, place) {
                continue;
            }
            is_kept[place] = false;
            left -= 1;
            for neighbour in neighbours.remove(place) {
                heap.push(entry(&neighbours, neighbour));
            }
        }
        front.iter().zip(is_kept).filter(|(_, is_kept)| *is_kept).map(|(candidate, _)| *candidate).collect()
    }
}

/// Points of a front by their neighbours along each objective.
struct Neighbours {
    objectives: Vec<Objective>,
}

struct Objective {
    values: Vec<f64>,
    /// Neighbours below and above.
    links: Vec<[Option<usize>; 2]>,
    range: f64,
}

impl Neighbours {
    fn new(scores: &Scores, front: &[usize]) -> Neighbours {
        let objective = |objective: usize| {
            let values: Vec<f64> = front.iter().map(|candidate| scores.values(*candidate)[objective]).collect();
            let mut order: Vec<usize> = (0..front.len()).collect();
            order.sort_by(|a, b| ascending(values[*a], values[*b]));
            let mut links = vec![[None; 2]; front.len()];
            for pair in order.windows(2) {
                links[pair[0]][1] = Some(pair[1]);
                links[pair[1]][0] = Some(pair[0]);
            }
            let end = |place: Option<&usize>| place.map_or(0.0, |place| values[*place]);
            Objective { range: end(order.last()) - end(order.first()), values, links }
        };
        Neighbours { objectives: (0..scores.objectives).map(objective).collect() }
    }

    fn distance(&self, place: usize) -> f64 {
        self.objectives.iter().map(|objective| objective.distance(place)).sum()
    }

    /// Takes a point out; returns who stood beside it.
    fn remove(&mut self, place: usize) -> Vec<usize> {
        let mut beside = Vec::with_capacity(2 * self.objectives.len());
        for objective in &mut self.objectives {
            let [below, above] = objective.links[place];
            if let Some(below) = below {
                objective.links[below][1] = above;
            }
            if let Some(above) = above {
                objective.links[above][0] = below;
            }
            beside.extend([below, above].into_iter().flatten());
        }
        beside
    }
}

impl Objective {
    fn distance(&self, place: usize) -> f64 {
        // Where all are equal nobody stands at an end; failures are equal too.
        if self.range.is_nan() || self.range <= 0.0 {
            return 0.0;
        }
        match self.links[place] {
            [Some(below), Some(above)] => {
                let share = (self.values[above] - self.values[below]) / self.range;
                // Between infinite values there is no distance to compare.
                if share.is_nan() { 0.0 } else { share }
            }
            _ => f64::INFINITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, below};

    fn scores(points: &[[f64; 2]]) -> Scores {
        let mut scores = Scores::new(2);
        points.iter().for_each(|point| scores.push(*point, 0.0));
        scores
    }

    #[test]
    fn distances_are_those_of_the_paper() {
        let scores = scores(&[[0.0, 10.0], [4.0, 1.0], [1.0, 6.0], [10.0, 0.0]]);
        let all = [0, 1, 2, 3];
        // (10 - 1) / 10 + (6 - 0) / 10; (4 - 0) / 10 + (10 - 1) / 10.
        assert_eq!(scores.crowding(&all), [f64::INFINITY, 1.5, 1.3, f64::INFINITY]);
        assert_eq!(scores.crowding(&[0, 3]), [f64::INFINITY; 2]);
        assert!(scores.crowding(&[]).is_empty());
    }

    #[test]
    fn what_is_equal_or_infinite_or_failed_has_no_distance_and_is_thinned_all_the_same() {
        let nan = f64::NAN;
        for points in [[[1.0, 1.0]; 4], [[nan, nan]; 4]] {
            let scores = scores(&points);
            assert_eq!(scores.crowding(&[0, 1, 2, 3]), [0.0; 4]);
            assert_eq!(scores.thin(&[0, 1, 2, 3], 2), [0, 1]);
        }
        let infinite = f64::INFINITY;
        let scores = scores(&[[-infinite, infinite], [0.0, 0.0], [1.0, -1.0], [infinite, -infinite]]);
        assert_eq!(scores.crowding(&[0, 1, 2, 3]), [infinite, 0.0, 0.0, infinite]);
        assert!(scores.thin(&[0, 1, 2, 3], 0).is_empty());
    }

    #[test]
    fn thinning_takes_out_the_most_crowded_of_those_that_are_left() {
        for seed in 0..40 {
            let key = Key::from_seed(seed);
            let mut scores = Scores::new(3);
            for i in 0..50 {
                scores.push((0..3).map(|o| below(key, i * 3 + o, 40) as f64), 0.0);
            }
            let mut left: Vec<usize> = (0..50).collect();
            for count in (5..50).rev() {
                let distances = scores.crowding(&left);
                let most = (0..left.len()).rev().min_by(|a, b| ascending(distances[*a], distances[*b]));
                left.remove(most.unwrap_or_else(|| panic!("nobody is left")));
                assert_eq!(scores.thin(&(0..50).collect::<Vec<_>>(), count), left, "{count} of seed {seed}");
            }
        }
    }
}
