//! Population-based bandits (Parker-Holder, Nguyen & Roberts 2020, arXiv:2002.02518): as `pbt`, but where a population goes on
//! is chosen by a Gaussian process over how much hyperparameters have improved scores so far, which forgets with time.
//!
//! An observation is a member's interval: its hyperparameters in [0, 1], the interval's number, and by how much its score fell,
//! standardised. The covariance is `exp(-|x - x'|^2 / (2 l^2)) (1 - e)^(|t - t'| / 2)` (equation 5). A fork takes the point with the
//! greatest `mean + sqrt(beta) deviation`, where those chosen before it in the round count as observed (algorithm 2). What has
//! no order is perturbed as in `pbt`.

use super::pbt::Perturb;
use super::population::{self, Population};
use super::{Explorer, ExplorerOptions, Fork, Reached, Scheduler, SchedulerEntry, SchedulerOptions};
use crate::base::random::uniform_f64;
use crate::base::registry::Named;
use crate::space::Domain;
use std::collections::HashMap;

/// Observations that the process knows, the latest; more would take longer than they tell.
const KNOWN: usize = 128;
/// Of the members of one interval so many are known, so that several intervals are.
const KNOWN_OF_ONE: usize = KNOWN / 4;
/// Forks of a round that count as observed; those after them are chosen beside these alone.
const EXPECTED: usize = 128;
/// Fewer say nothing.
const FEWEST: usize = 8;
/// Points among which a fork's is chosen.
const DRAWS: u64 = 256;
/// Length scales, shares forgotten from one interval to the next, and variances of noise, among which the likeliest are taken.
const LENGTHS: [f64; 5] = [0.1, 0.2, 0.4, 0.8, 1.6];
const FORGOTTEN: [f64; 3] = [0.02, 0.1, 0.4];
const NOISES: [f64; 3] = [0.05, 0.25, 1.0];

/// The registry entry.
pub struct PopulationBasedBandits;

impl Named for PopulationBasedBandits {
    fn name(&self) -> &'static str {
        "pb2"
    }
    fn summary(&self) -> &'static str {
        "the same, with hyperparameters that a Gaussian process over the population's progress chooses (`quantile`)"
    }
}

impl SchedulerEntry for PopulationBasedBandits {
    fn explores(&self) -> bool {
        true
    }

    fn rungs(&self, options: &SchedulerOptions) -> Vec<u64> {
        population::rungs(options)
    }

    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        Box::new(Population::new(options))
    }

    fn explorer(&self, options: ExplorerOptions) -> Option<Box<dyn Explorer>> {
        Some(Box::new(Bandit::new(options)))
    }
}

/// What a member's hyperparameters did in one interval.
#[derive(Debug, Clone)]
struct Observation {
    place: Vec<f64>,
    interval: f64,
    /// By how much its score fell.
    gain: f64,
}

/// Explores where the process expects most.
struct Bandit {
    perturb: Perturb,
    /// Columns with an order.
    ordered: Vec<usize>,
    /// The score of each member at its last rung.
    last: HashMap<u64, f64>,
    observed: Vec<Observation>,
    /// Rounds so far.
    intervals: u64,
    /// Fitted to what was observed; what is chosen in a round counts as observed.
    process: Option<Process>,
}

impl Bandit {
    fn new(options: ExplorerOptions) -> Bandit {
        let has_order = |column: &usize| {
            let domain = &options.space.parameters[*column].domain;
            matches!(domain, Domain::Float { .. } | Domain::Int { .. } | Domain::Ordinal(_))
        };
        let ordered = options.columns.iter().copied().filter(has_order).collect();
        let (last, observed) = (HashMap::new(), Vec::new());
        Bandit { perturb: Perturb::new(options), ordered, last, observed, intervals: 0, process: None }
    }
}

/// Where a point is along the columns with an order; what does not exist in it stands in the middle.
fn place_of(perturb: &Perturb, ordered: &[usize], point: &[f64]) -> Vec<f64> {
    let place = |column: &usize| match point[*column] {
        value if value.is_nan() => 0.5,
        value => perturb.codec(*column).encode(value),
    };
    ordered.iter().map(place).collect()
}

impl Explorer for Bandit {
    fn explore(&mut self, fork: Fork, parent: &[f64]) -> Vec<f64> {
        // What has no order, and where nothing is known yet everything, is perturbed.
        let mut point = self.perturb.explore(fork, parent);
        if let Some(value) = self.last.get(&fork.parent).copied() {
            self.last.insert(fork.candidate, value);
        }
        let Some(process) = &mut self.process else { return point };
        let key = self.perturb.key_of(fork.candidate, fork.budget).child(u32::MAX);
        let now = self.intervals as f64;
        let (mut best, mut highest) = (None, f64::NEG_INFINITY);
        for draw in 0..DRAWS {
            let key = key.child_of_number(draw);
            let mut drawn = point.clone();
            for (counter, &column) in (0..).zip(&self.ordered) {
                if !parent[column].is_nan() {
                    drawn[column] = self.perturb.codec(column).decode(uniform_f64(key.words(counter)));
                }
            }
            if !self.perturb.is_allowed(&drawn) {
                continue;
            }
            let place = place_of(&self.perturb, &self.ordered, &drawn);
            let bound = process.upper_bound(&place, now);
            if bound > highest {
                (best, highest) = (Some((drawn, place)), bound);
            }
        }
        if let Some((drawn, place)) = best {
            if process.points.len() < process.coefficients.len() + EXPECTED {
                process.expect(place, now);
            }
            point = drawn;
        }
        point
    }

    fn report(&mut self, reached: &[Reached], points: &[Vec<f64>]) {
        let interval = self.intervals as f64;
        self.intervals += 1;
        let mut gains = Vec::new();
        for (one, point) in reached.iter().zip(points) {
            let before = self.last.insert(one.candidate, one.value);
            let gain = before.map_or(f64::NAN, |before| before - one.value);
            if gain.is_finite() {
                let drawn = self.perturb.key_of(one.candidate, one.budget).words(u64::MAX);
                gains.push((drawn, gain, point));
            }
        }
        // Of a large population some, whoever they are.
        gains.sort_by_key(|(drawn, ..)| *drawn);
        for (_, gain, point) in gains.into_iter().take(KNOWN_OF_ONE) {
            self.observed.push(Observation { place: place_of(&self.perturb, &self.ordered, point), interval, gain });
        }
        let old = self.observed.len().saturating_sub(KNOWN);
        self.observed.drain(..old);
        self.process = (self.observed.len() >= FEWEST).then(|| Process::fit(&self.observed)).flatten();
    }
}

/// How alike two intervals are.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    length: f64,
    forgotten: f64,
    noise: f64,
}

impl Kernel {
    fn covariance(&self, a: (&[f64], f64), b: (&[f64], f64)) -> f64 {
        let square: f64 = a.0.iter().zip(b.0).map(|(a, b)| (a - b) * (a - b)).sum();
        let kept = libm::log(1.0 - self.forgotten) * (a.1 - b.1).abs() / 2.0;
        libm::exp(kept - square / (2.0 * self.length * self.length))
    }
}

/// A Gaussian process with a variance of 1, by the inverse of its covariance's Cholesky factor: one row more a point.
#[derive(Debug, Clone)]
struct Process {
    kernel: Kernel,
    points: Vec<(Vec<f64>, f64)>,
    /// Row i has i + 1 values.
    rows: Vec<Vec<f64>>,
    /// `K^-1 y` of what was observed, which comes first.
    coefficients: Vec<f64>,
}

impl Process {
    /// The likeliest of the grid; none where all gained the same.
    fn fit(observed: &[Observation]) -> Option<Process> {
        let count = observed.len() as f64;
        let mean = observed.iter().map(|one| one.gain).sum::<f64>() / count;
        let variance = observed.iter().map(|one| (one.gain - mean) * (one.gain - mean)).sum::<f64>() / count;
        if !(variance > 0.0 && variance.is_finite()) {
            return None;
        }
        let deviation = variance.sqrt();
        let gains: Vec<f64> = observed.iter().map(|one| (one.gain - mean) / deviation).collect();
        let (mut best, mut highest) = (None, f64::NEG_INFINITY);
        for length in LENGTHS {
            for forgotten in FORGOTTEN {
                for noise in NOISES {
                    let kernel = Kernel { length, forgotten, noise };
                    let mut process =
                        Process { kernel, points: Vec::new(), rows: Vec::new(), coefficients: Vec::new() };
                    observed.iter().for_each(|one| process.expect(one.place.clone(), one.interval));
                    let whitened: Vec<f64> = process.rows.iter().map(|row| dot(row, &gains)).collect();
                    let likelihood =
                        process.rows.iter().filter_map(|row| row.last()).map(|last| libm::log(*last)).sum::<f64>()
                            - dot(&whitened, &whitened) / 2.0;
                    if likelihood > highest {
                        highest = likelihood;
                        process.coefficients = process.transposed(&whitened);
                        best = Some(process);
                    }
                }
            }
        }
        best
    }

    fn covariances(&self, place: &[f64], interval: f64) -> Vec<f64> {
        let covariance = |(of, at): &(Vec<f64>, f64)| self.kernel.covariance((of, *at), (place, interval));
        self.points.iter().map(covariance).collect()
    }

    /// The transpose of the rows times a vector.
    fn transposed(&self, vector: &[f64]) -> Vec<f64> {
        let mut product = vec![0.0; self.rows.len()];
        for (row, value) in self.rows.iter().zip(vector) {
            product.iter_mut().zip(row).for_each(|(product, entry)| *product += entry * value);
        }
        product
    }

    /// Takes a point in: the means stay as they are, and the variance around it falls.
    fn expect(&mut self, place: Vec<f64>, interval: f64) {
        let covariances = self.covariances(&place, interval);
        let whitened: Vec<f64> = self.rows.iter().map(|row| dot(row, &covariances)).collect();
        let left = (1.0 + self.kernel.noise - dot(&whitened, &whitened)).max(1e-9).sqrt();
        let mut row: Vec<f64> = self.transposed(&whitened).iter().map(|value| -value / left).collect();
        row.push(1.0 / left);
        self.rows.push(row);
        self.points.push((place, interval));
    }

    /// How much a point may gain, optimistically. The width is that of the paper's code: `beta = 0.2 + log(0.4 n)`.
    fn upper_bound(&self, place: &[f64], interval: f64) -> f64 {
        let covariances = self.covariances(place, interval);
        let mean = dot(&self.coefficients, &covariances);
        let whitened: f64 = self.rows.iter().map(|row| dot(row, &covariances)).map(|value| value * value).sum();
        let beta = 0.2 + libm::log(0.4 * self.points.len() as f64).max(0.0);
        mean + (beta * (1.0 - whitened).max(0.0)).sqrt()
    }
}

/// Of as many values as the shorter one has.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Key;
    use crate::space::SpaceBuilder;
    use std::sync::Arc;

    fn bandit() -> Bandit {
        let space = SpaceBuilder::new().log("rate", 1e-4, 1.0, 0.01).categorical("kind", &["a", "b"], "a").build();
        let key = Key::from_seed(5);
        Bandit::new(ExplorerOptions { space: Arc::new(space), columns: vec![0, 1], resample: 0.25, key })
    }

    /// Rounds of a population in which a score falls the faster the nearer the rate is to `best`.
    fn taught(bandit: &mut Bandit, rounds: u64, best: f64) {
        for round in 0..=rounds {
            let points: Vec<Vec<f64>> =
                (0..20).map(|member| vec![libm::pow(10.0, -4.0 + f64::from(member) / 5.0), 0.0]).collect();
            let speed = |point: &Vec<f64>| libm::exp(-libm::pow(libm::log10(point[0] / best), 2.0));
            let reached = points.iter().zip(0..).map(|(point, candidate)| {
                let value = 10.0 - round as f64 * speed(point);
                Reached { candidate, budget: round + 1, value, values: vec![value] }
            });
            let reached: Vec<Reached> = reached.collect();
            bandit.report(&reached, &points);
        }
    }

    #[test]
    fn forks_go_where_scores_have_fallen_fastest() {
        for best in [1e-3, 1e-1] {
            let mut bandit = bandit();
            taught(&mut bandit, 4, best);
            let fork = |candidate| Fork { candidate, parent: 3, budget: 5 };
            let rates: Vec<f64> = (0..5).map(|candidate| bandit.explore(fork(candidate), &[1e-2, 0.0])[0]).collect();
            let near = rates.iter().filter(|rate| libm::log10(*rate / best).abs() < 1.0).count();
            assert!(near >= 4, "{best}: {rates:?}");
        }
    }

    #[test]
    fn forks_of_a_round_are_apart_and_the_first_are_perturbed() {
        let mut bandit = bandit();
        let fork = |candidate| Fork { candidate, parent: 3, budget: 5 };
        assert_eq!(bandit.explore(fork(1), &[1e-2, 0.0]), bandit.perturb.explore(fork(1), &[1e-2, 0.0]));
        taught(&mut bandit, 4, 1e-2);
        let rates: Vec<f64> = (0..6).map(|candidate| bandit.explore(fork(candidate), &[1e-2, 0.0])[0]).collect();
        let apart = rates.iter().enumerate().all(|(place, rate)| rates[..place].iter().all(|other| other != rate));
        assert!(apart, "{rates:?}");
    }

    #[test]
    fn means_and_variances_are_those_of_a_direct_solution() {
        let kernel = Kernel { length: 0.5, forgotten: 0.1, noise: 0.25 };
        let mut process = Process { kernel, points: Vec::new(), rows: Vec::new(), coefficients: Vec::new() };
        process.expect(vec![0.1], 0.0);
        process.expect(vec![0.6], 2.0);
        let gains = [1.0, -0.5];
        let whitened: Vec<f64> = process.rows.iter().map(|row| dot(row, &gains)).collect();
        process.coefficients = process.transposed(&whitened);
        // Two points: the inverse of [[1.25, c], [c, 1.25]] by hand.
        let c = libm::exp(-0.25 / 0.5) * 0.9;
        let at = |x: f64| {
            [
                libm::exp(-(x - 0.1) * (x - 0.1) / 0.5) * libm::pow(0.9, 1.5),
                libm::exp(-(x - 0.6) * (x - 0.6) / 0.5) * libm::pow(0.9, 0.5),
            ]
        };
        let (k, determinant) = (at(0.3), 1.5625 - c * c);
        let solve = |v: [f64; 2]| [(1.25 * v[0] - c * v[1]) / determinant, (1.25 * v[1] - c * v[0]) / determinant];
        let mean = dot(&k, &solve(gains));
        let variance = 1.0 - dot(&k, &solve(k));
        let bound = mean + (0.2 * variance).sqrt();
        assert!((process.upper_bound(&[0.3], 3.0) - bound).abs() < 1e-12);
    }
}
