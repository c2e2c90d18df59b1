//! Which outcomes of a group are the best, without a look at all of them each time: of one objective a sorted list, of
//! several an archive of the first fronts. What is beyond the study's limits stands behind all that is within.

use super::group::GOOD;
use crate::base::order::ascending;
use crate::base::pareto::{Scores, subset};
use std::cmp::Ordering;

/// Outcomes of an archive when it was last cut to its first fronts; it grows to twice as many before it is cut again. Of a
/// front that does not fit, the loneliest stay.
const ARCHIVE: usize = 2 * GOOD;
/// Most objectives of which hypervolumes are looked at: of more they are slow.
const SWEPT: usize = 3;

/// Of a front, so many by those that are sought of it are looked at for their hypervolumes, the loneliest; the time that it
/// takes grows with both.
const LOOKS: usize = 10_000;

/// The best outcomes by number; what failed is never among them.
#[derive(Debug)]
pub(super) enum Ranking {
    /// By violation and value, best first.
    One(Vec<(f64, f64, u32)>),
    /// In the order in which they came.
    Several(Archive),
}

#[derive(Debug)]
pub(super) struct Archive {
    numbers: Vec<u32>,
    scores: Scores,
    objectives: usize,
}

impl Default for Ranking {
    fn default() -> Ranking {
        Ranking::One(Vec::new())
    }
}

impl Ranking {
    /// Of outcomes with so many values.
    pub(super) fn new(objectives: usize) -> Ranking {
        match objectives {
            0 | 1 => Ranking::One(Vec::new()),
            _ => Ranking::Several(Archive { numbers: Vec::new(), scores: Scores::new(objectives), objectives }),
        }
    }

    /// Learns an outcome whose values are to be minimised.
    pub(super) fn tell(&mut self, number: u32, values: &[f64], violation: f64) {
        match self {
            Ranking::One(best) => {
                let Some(value) = values.first().copied().filter(|value| !value.is_nan()) else { return };
                let violation = violation.max(0.0);
                let is_no_worse = |other: &(f64, f64, u32)| {
                    ascending(other.0, violation).then(ascending(other.1, value)) != Ordering::Greater
                };
                let place = best.partition_point(is_no_worse);
                if place < GOOD {
                    best.insert(place, (violation, value, number));
                    best.truncate(GOOD);
                }
            }
            Ranking::Several(archive) => archive.tell(number, values, violation),
        }
    }

    /// How many are known.
    #[cfg(test)]
    fn len(&self) -> usize {
        match self {
            Ranking::One(best) => best.len(),
            Ranking::Several(archive) => archive.numbers.len(),
        }
    }

    /// The best `count`, best first.
    pub(super) fn ordered(&self, count: usize) -> Vec<u32> {
        match self {
            Ranking::One(best) => best.iter().take(count).map(|(.., number)| *number).collect(),
            Ranking::Several(archive) => archive.best(count, SWEPT),
        }
    }

    /// The best `count`, by number, with weights of mean 1. Of one objective, the better count for more: by the logarithms
    /// of their ranks, as parents do in CMA-ES (Hansen 2016, arXiv:1604.00772), so that any scale of values is as good as
    /// another. Of several objectives all count alike.
    pub(super) fn weighted(&self, count: usize) -> Vec<(u32, f64)> {
        match self {
            Ranking::One(_) => weighted(&self.ordered(count)),
            Ranking::Several(archive) => {
                let mut best = archive.best(count, SWEPT);
                best.sort_unstable();
                best.into_iter().map(|number| (number, 1.0)).collect()
            }
        }
    }
}

/// Numbers, best first, with the weights of their ranks; by number.
pub(super) fn weighted(best: &[u32]) -> Vec<(u32, f64)> {
    let weight = |rank: usize| libm::log(best.len() as f64 + 0.5) - libm::log(rank as f64 + 1.0);
    let mean = (0..best.len()).map(weight).sum::<f64>() / best.len() as f64;
    let weight = |(rank, number): (usize, &u32)| (*number, weight(rank) / mean);
    let mut weighted: Vec<(u32, f64)> = best.iter().enumerate().map(weight).collect();
    weighted.sort_unstable_by_key(|(number, _)| *number);
    weighted
}

impl Archive {
    fn tell(&mut self, number: u32, values: &[f64], violation: f64) {
        if values.len() != self.objectives || values.iter().any(|value| value.is_nan()) {
            return;
        }
        self.numbers.push(number);
        self.scores.push(values.iter().copied(), violation);
        if self.numbers.len() > 2 * ARCHIVE {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let mut kept: Vec<usize> = Vec::with_capacity(ARCHIVE);
        for front in self.scores.fronts() {
            kept.extend(self.scores.thin(&front, ARCHIVE - kept.len()));
            if kept.len() >= ARCHIVE {
                break;
            }
        }
        kept.sort_unstable();
        let mut scores = Scores::new(self.objectives);
        kept.iter()
            .for_each(|place| scores.push(self.scores.values(*place).iter().copied(), self.scores.violation(*place)));
        self.numbers = kept.into_iter().map(|place| self.numbers[place]).collect();
        self.scores = scores;
    }

    /// Front after front; of the one that does not fit, those that dominate most together (MOTPE, Ozaki et al. 2022,
    /// doi:10.1613/jair.1.13188), as in Optuna.
    fn best(&self, count: usize, swept: usize) -> Vec<u32> {
        let mut best: Vec<usize> = Vec::with_capacity(count);
        for front in self.scores.fronts() {
            let room = count - best.len();
            if room == 0 {
                break;
            }
            if front.len() <= room {
                best.extend(front);
            } else if self.objectives > swept {
                best.extend(self.scores.thin(&front, room));
            } else {
                let front = self.scores.thin(&front, room.max(LOOKS / room));
                let points: Vec<&[f64]> = front.iter().map(|place| self.scores.values(*place)).collect();
                let chosen = subset(&points, &reference(&points, self.objectives), room);
                best.extend(chosen.into_iter().map(|place| front[place]));
            }
        }
        best.into_iter().map(|place| self.numbers[place]).collect()
    }
}

/// A tenth of a front's range beyond its worst value of each objective, so that its ends count whatever the units.
fn reference(points: &[&[f64]], objectives: usize) -> Vec<f64> {
    let beyond = |objective: usize| {
        let values = points.iter().map(|point| point[objective]);
        let (least, most) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (value.min(least), value.max(most)));
        let range = most - least;
        most + if range > 0.0 { 0.1 * range } else { 1.0 }
    };
    (0..objectives).map(beyond).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, uniform_f64};

    impl Ranking {
        /// The best `count`, by number.
        fn best(&self, count: usize) -> Vec<u32> {
            self.weighted(count).into_iter().map(|(number, _)| number).collect()
        }
    }

    fn ranked(objectives: usize, outcomes: &[(&[f64], f64)]) -> Ranking {
        let mut ranking = Ranking::new(objectives);
        (0..).zip(outcomes).for_each(|(number, (values, violation))| ranking.tell(number, values, *violation));
        ranking
    }

    #[test]
    fn limits_come_before_values_and_failures_are_not_among_the_best() {
        let nan = f64::NAN;
        let one = ranked(1, &[(&[1.0], 1.0), (&[3.0], 0.0), (&[nan], 0.0), (&[2.0], -1.0), (&[0.0], 2.0)]);
        assert_eq!((one.len(), one.best(1), one.best(2), one.best(3)), (4, vec![3], vec![1, 3], vec![0, 1, 3]));
        let several = ranked(2, &[(&[0.0, 0.0], 1.0), (&[3.0, 3.0], 0.0), (&[nan, 0.0], 0.0), (&[2.0, 2.0], 0.0)]);
        assert_eq!((several.best(1), several.best(2), several.best(9)), (vec![3], vec![1, 3], vec![0, 1, 3]));
        assert_eq!(ranked(2, &[(&[1.0], 0.0)]).len(), 0, "a value is missing");
    }

    #[test]
    fn the_better_of_the_best_count_for_more_whatever_the_scale() {
        let weighted = |of: fn(f64) -> f64| {
            let values = [3.0, 1.0, 2.0, 9.0].map(|value| [of(value)]);
            ranked(1, &values.each_ref().map(|value| (&value[..], 0.0))).weighted(3)
        };
        let [(0, third), (1, first), (2, second)] = weighted(|value| value)[..] else { panic!("three, by number") };
        assert!(first > second && second > third && third > 0.0);
        assert!((first + second + third - 3.0).abs() < 1e-12);
        assert_eq!(weighted(|value| value), weighted(libm::exp));
        assert_eq!(ranked(2, &[(&[1.0, 2.0], 0.0), (&[2.0, 1.0], 0.0)]).weighted(2), [(0, 1.0), (1, 1.0)]);
    }

    #[test]
    fn of_a_front_that_does_not_fit_those_count_that_dominate_most_together() {
        // Next to the middle stands another: the ends say more than the two together.
        let front: [(&[f64], f64); 4] =
            [(&[0.0, 1.0], 0.0), (&[0.4, 0.4], 0.0), (&[0.41, 0.39], 0.0), (&[1.0, 0.0], 0.0)];
        let ranking = ranked(2, &front);
        assert_eq!(ranking.best(1), [1]);
        assert_eq!(ranking.best(3), [0, 1, 3]);
        let Ranking::Several(archive) = ranking else { panic!("two objectives") };
        assert_eq!(archive.best(3, 1).len(), 3, "without hypervolumes");
    }

    #[test]
    fn an_archive_that_was_cut_has_the_same_first_fronts() {
        let key = Key::from_seed(1);
        let place = |number: u32| uniform_f64(key.words(u64::from(number)));
        let values = |number: u32| [place(2 * number), place(2 * number + 1)];
        let mut ranking = Ranking::new(2);
        let mut all = Scores::new(2);
        for number in 0..10_000 {
            ranking.tell(number, &values(number), 0.0);
            all.push(values(number), 0.0);
        }
        assert!(ranking.len() <= 2 * ARCHIVE);
        let mut first: Vec<u32> = all.fronts()[..10].concat().into_iter().map(|place| place as u32).collect();
        first.sort_unstable();
        assert_eq!(ranking.best(first.len()), first);
    }
}
