//! Non-dominated sorting by divide and conquer (Jensen 2003, doi:10.1109/TEVC.2003.817234; for equal values Buzdalov &
//! Shalyto 2014, doi:10.1007/978-3-319-10762-2_52): an objective's median splits the points, and what crosses it is
//! compared on one objective fewer, until two are left and a sweep does.

use super::Scores;
use crate::base::order::ascending;
use std::cmp::Ordering;

/// Fronts of candidates that have values, by domination of values alone; within each in the order in which they came.
pub(super) fn fronts(scores: &Scores, candidates: Vec<usize>) -> Vec<Vec<usize>> {
    let mut order = candidates.clone();
    order.sort_by(|a, b| lexicographic(scores.values(*a), scores.values(*b)));
    // Equal points share a rank: one of each is sorted.
    let mut unique: Vec<usize> = Vec::with_capacity(order.len());
    let mut place = vec![0; scores.len()];
    for candidate in order {
        if unique.last().is_none_or(|last| scores.values(*last) != scores.values(candidate)) {
            unique.push(candidate);
        }
        place[candidate] = unique.len() - 1;
    }
    let mut sorting = Sorting {
        width: scores.objectives,
        grid: vec![0; unique.len() * scores.objectives],
        ranks: vec![0; unique.len()],
    };
    for objective in 0..scores.objectives {
        sorting.rank_values(scores, &unique, objective);
    }
    match scores.objectives {
        0 => {}
        1 => sorting.ranks.clone_from(&sorting.grid),
        objectives => sorting.sort(&(0..unique.len() as u32).collect::<Vec<u32>>(), objectives),
    }
    let mut fronts = vec![Vec::new(); sorting.ranks.iter().max().map_or(0, |rank| *rank as usize + 1)];
    for candidate in candidates {
        fronts[sorting.ranks[place[candidate]] as usize].push(candidate);
    }
    fronts
}

fn lexicographic(a: &[f64], b: &[f64]) -> Ordering {
    let differing = a.iter().zip(b).map(|(a, b)| ascending(*a, *b)).find(|order| order.is_ne());
    differing.unwrap_or(Ordering::Equal)
}

/// Sets so small are compared pair by pair.
const FEW: usize = 12;

/// Points that differ, in lexicographic order. Whoever is listed before another is never dominated by it.
struct Sorting {
    width: usize,
    /// `[point][objective]`: the rank of its value among the values of all.
    grid: Vec<u32>,
    /// The front of each point, as far as it is known.
    ranks: Vec<u32>,
}

impl Sorting {
    fn rank_values(&mut self, scores: &Scores, unique: &[usize], objective: usize) {
        let value = |point: usize| scores.values(unique[point])[objective];
        let mut order: Vec<usize> = (0..unique.len()).collect();
        order.sort_by(|a, b| ascending(value(*a), value(*b)));
        let mut rank = 0;
        for (step, point) in order.iter().enumerate() {
            if step > 0 && value(order[step - 1]) < value(*point) {
                rank += 1;
            }
            self.grid[point * self.width + objective] = rank;
        }
    }

    fn at(&self, point: u32, objective: usize) -> u32 {
        self.grid[point as usize * self.width + objective]
    }

    /// Puts `worse` behind `better`, if that is no worse on the first `k` objectives.
    fn compare(&mut self, better: u32, worse: u32, k: usize) {
        if (0..k).all(|objective| self.at(better, objective) <= self.at(worse, objective)) {
            self.raise(worse, self.ranks[better as usize] + 1);
        }
    }

    fn raise(&mut self, point: u32, rank: u32) {
        let known = &mut self.ranks[point as usize];
        *known = rank.max(*known);
    }

    /// Points below, at and above a value of an objective.
    fn split(&self, points: &[u32], objective: usize, pivot: u32) -> [Vec<u32>; 3] {
        let part = |side: Ordering| {
            points.iter().copied().filter(|point| self.at(*point, objective).cmp(&pivot) == side).collect()
        };
        [Ordering::Less, Ordering::Equal, Ordering::Greater].map(part)
    }

    fn median(&self, points: impl Iterator<Item = u32>, objective: usize) -> u32 {
        let mut values: Vec<u32> = points.map(|point| self.at(point, objective)).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable(middle).1
    }

    /// Ranks points among themselves by their first `k` objectives; on the others they are equal.
    fn sort(&mut self, points: &[u32], k: usize) {
        if points.len() <= FEW {
            for (place, worse) in points.iter().enumerate() {
                points[..place].iter().for_each(|better| self.compare(*better, *worse, k));
            }
        } else if k == 2 {
            let mut stairs = Stairs::default();
            for point in points {
                let height = self.at(*point, 1);
                self.raise(*point, stairs.rank(height));
                stairs.insert(height, self.ranks[*point as usize] + 1);
            }
        } else {
            let pivot = self.median(points.iter().copied(), k - 1);
            let [below, at, above] = self.split(points, k - 1, pivot);
            self.sort(&below, k);
            self.pass(&below, &at, k - 1);
            self.sort(&at, k - 1);
            self.pass(&merge(&below, &at), &above, k - 1);
            self.sort(&above, k);
        }
    }

    /// Ranks `worse` behind whoever of `better` is no worse on the first `k` objectives; on the others all of these are no
    /// worse.
    fn pass(&mut self, better: &[u32], worse: &[u32], k: usize) {
        if better.is_empty() || worse.is_empty() {
        } else if better.len().min(worse.len()) <= 2 || better.len() * worse.len() <= FEW * FEW {
            for worse in worse {
                better.iter().for_each(|better| self.compare(*better, *worse, k));
            }
        } else if k == 2 {
            let mut stairs = Stairs::default();
            let mut better = better.iter().copied().peekable();
            for point in worse {
                let here = (self.at(*point, 0), self.at(*point, 1));
                while let Some(other) = better.next_if(|other| (self.at(*other, 0), self.at(*other, 1)) <= here) {
                    stairs.insert(self.at(other, 1), self.ranks[other as usize] + 1);
                }
                self.raise(*point, stairs.rank(here.1));
            }
        } else {
            let pivot = self.median(better.iter().chain(worse).copied(), k - 1);
            let [better_below, better_at, better_above] = self.split(better, k - 1, pivot);
            let [worse_below, worse_at, worse_above] = self.split(worse, k - 1, pivot);
            self.pass(&better_below, &worse_below, k);
            let better_to = merge(&better_below, &better_at);
            self.pass(&better_to, &worse_at, k - 1);
            self.pass(&better_to, &worse_above, k - 1);
            self.pass(&better_above, &worse_above, k);
        }
    }
}

/// Two sorted lists as one: points stay in lexicographic order.
fn merge(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut merged = [a, b].concat();
    merged.sort_unstable();
    merged
}

/// Of points swept over: by height, the rank that whoever is as high or higher has at least. Ranks grow with the height.
#[derive(Default)]
struct Stairs(Vec<(u32, u32)>);

impl Stairs {
    fn rank(&self, height: u32) -> u32 {
        let above = self.0.partition_point(|step| step.0 <= height);
        if above == 0 { 0 } else { self.0[above - 1].1 }
    }

    fn insert(&mut self, height: u32, rank: u32) {
        let from = self.0.partition_point(|step| step.0 < height);
        if from > 0 && self.0[from - 1].1 >= rank
            || self.0.get(from).is_some_and(|step| step.0 == height && step.1 >= rank)
        {
            return;
        }
        let to = from + self.0[from..].partition_point(|step| step.1 <= rank);
        self.0.splice(from..to, [(height, rank)]);
    }
}
