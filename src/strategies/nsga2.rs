//! NSGA-II (Deb, Pratap, Agarwal & Meyarivan 2002, doi:10.1109/4235.996017): of parents and children the first fronts live
//! on, and of the front that does not fit those that are least crowded; tournaments heed front and crowding too.
//!
//! Where the paper cuts the last front by one look at its distances, here the most crowded goes one by one, so that what is
//! left is even; no candidate lives twice; and a generation has no more children than a batch: sooner parents of the next.

use super::generations::{Draws, Generations, Member, Method};
use super::variation::{self, Variation};
use super::{Strategy, StrategyEntry, StrategyOptions, minimized};
use crate::base::order::descending;
use crate::base::pareto::Scores;
use crate::base::random::Key;
use crate::base::registry::Named;
use crate::data::metrics::Direction;
use crate::space::Space;
use crate::strategies::cube::Cube;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The registry entry.
pub struct Nsga2;

impl Named for Nsga2 {
    fn name(&self) -> &'static str {
        "nsga2"
    }
    fn summary(&self) -> &'static str {
        "genetic algorithm for trade-offs of several objectives: fronts and crowding (NSGA-II)"
    }
}

impl StrategyEntry for Nsga2 {
    fn takes_several_objectives(&self) -> bool {
        true
    }

    fn follows_candidates(&self) -> bool {
        true
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        let default = (options.candidates / GENERATIONS).clamp(*MEMBERS.start(), *MEMBERS.end());
        let size = usize::try_from(options.population.unwrap_or(default)).unwrap_or(usize::MAX).max(2);
        let axes = Cube::new(space.clone()).axes().len();
        let rate =
            |set: Option<f64>, default: f64| set.filter(|rate| !rate.is_nan()).unwrap_or(default).clamp(0.0, 1.0);
        let method = Sorted {
            directions: options.directions.clone(),
            size,
            children: usize::try_from(options.batch).unwrap_or(usize::MAX).clamp(1, size),
            variation: Variation {
                crossover: rate(options.crossover_rate, 0.9),
                mutation: rate(options.mutation_rate, 1.0 / axes.max(2) as f64),
                crossover_index: 15.0,
                mutation_index: 15.0,
            },
            population: Vec::new(),
        };
        Box::new(Generations::new(space, options, size, method))
    }
}

/// Members where the study does not say: as many as leave it fifty generations, and the paper's hundred at most.
const GENERATIONS: u64 = 50;
const MEMBERS: std::ops::RangeInclusive<u64> = 20..=100;

/// Members of a tournament. Three, and mutation index 15, where the paper and its followers have two, and 20: on ZDT and
/// DTLZ2 that was nearer to the front after 10,000 candidates.
const TOURNAMENT: usize = 3;

struct Sorted {
    directions: Vec<Direction>,
    size: usize,
    /// Children of a generation.
    children: usize,
    variation: Variation,
    /// By front, the loneliest of each first; each candidate once.
    population: Vec<Member>,
}

impl Method for Sorted {
    fn next(&mut self, cube: &Cube, told: Vec<Member>, _: u64, key: Key) -> Vec<Member> {
        self.select(told);
        (0..self.children as u32).map(|tag| self.child(cube, key.child(tag))).collect()
    }
}

impl Sorted {
    /// The best of parents and children live on.
    fn select(&mut self, children: Vec<Member>) {
        let mut all = std::mem::take(&mut self.population);
        all.extend(children);
        let mut seen = BTreeSet::new();
        all.retain(|member| seen.insert(member.row.iter().map(|value| value.to_bits()).collect::<Vec<u64>>()));
        let mut scores = Scores::new(self.directions.len());
        for member in &all {
            scores.push(minimized(&self.directions, &member.values), member.violation);
        }
        let mut order = Vec::with_capacity(self.size);
        for front in scores.fronts() {
            let front = scores.thin(&front, self.size - order.len());
            let mut lonely: Vec<(f64, usize)> = scores.crowding(&front).into_iter().zip(front).collect();
            lonely.sort_by(|a, b| descending(a.0, b.0));
            order.extend(lonely.into_iter().map(|(_, candidate)| candidate));
            if order.len() >= self.size {
                break;
            }
        }
        let mut all: Vec<Option<Member>> = all.into_iter().map(Some).collect();
        self.population = order.into_iter().filter_map(|candidate| all[candidate].take()).collect();
    }

    /// A member that wins a tournament: of a population in order, the one that stands before the others.
    fn parent(&self, draws: &mut Draws) -> &Member {
        let count = self.population.len();
        let first = (1..TOURNAMENT).fold(draws.below(count), |first, _| first.min(draws.below(count)));
        &self.population[first]
    }

    fn child(&self, cube: &Cube, key: Key) -> Member {
        let mut draws = Draws::new(key);
        let (mother, father) = (self.parent(&mut draws), self.parent(&mut draws));
        variation::child(cube, key.child(0), mother, father, self.variation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::generations::testing::*;
    use super::super::random::RandomSearch;
    use super::*;
    use crate::base::pareto::hypervolume;
    use crate::functions;
    use crate::strategies::{Ask, Outcome};

    fn sorted(size: usize) -> Sorted {
        let directions = vec![Direction::Minimize, Direction::Maximize];
        let variation = Variation { crossover: 0.9, mutation: 0.5, crossover_index: 15.0, mutation_index: 15.0 };
        Sorted { directions, size, children: size, variation, population: Vec::new() }
    }

    #[test]
    fn with_one_objective_it_keeps_what_strategies_with_generations_promise() {
        keeps_the_contract(&Nsga2);
        let space = box_space(5);
        let chance = median_best(&RandomSearch, &space, 2000, sphere);
        let found = median_best(&Nsga2, &space, 2000, sphere);
        assert!(found < 1e-2 * chance, "{found:e} {chance:e}");
    }

    #[test]
    fn first_fronts_and_lonely_members_live_on_and_nobody_lives_twice() {
        let cube = Cube::new(Arc::new(box_space(1)));
        let mut sorted = sorted(5);
        let member = |(place, values, violation): (f64, [f64; 2], f64)| Member {
            value: values[0],
            values: values.to_vec(),
            violation,
            ..Member::new(&cube, vec![place])
        };
        // The second is to be maximised: a front from (0, 0) to (4, 4), of which (1, 1) and (1.1, 1.1) are close.
        let children = [
            (0.1, [0.0, 0.0], 0.0),
            (0.2, [4.0, 4.0], 0.0),
            (0.3, [1.0, 1.0], 0.0),
            (0.4, [1.1, 1.1], 0.0),
            (0.5, [2.5, 2.5], 0.0),
            (0.5, [2.5, 2.5], 0.0),
            (0.6, [4.0, 3.0], 0.0),
            (0.7, [0.0, 9.0], 1.0),
            (0.8, [f64::NAN, 9.0], 0.0),
        ];
        sorted.select(children.map(member).into());
        let alive = |sorted: &Sorted| sorted.population.iter().map(|member| member.place[0]).collect::<Vec<f64>>();
        assert_eq!(alive(&sorted)[..2], [0.1, 0.2], "the ends are loneliest");
        assert_eq!(alive(&sorted)[2..], [0.5, 0.4, 0.3]);
        sorted.size = 4;
        sorted.select(Vec::new());
        // Their neighbours are 1.1 and 2.5 away from each other, and 1.5.
        assert_eq!(alive(&sorted), [0.1, 0.2, 0.5, 0.4]);
    }

    /// How much of a function's trade-offs is found, reference (0.937, 1.1).
    fn covered(entry: &dyn StrategyEntry, seed: u64) -> f64 {
        let function = functions::find("zdt3").unwrap_or_else(|error| panic!("{error}"));
        let opened = function.open(10, 1);
        let options = StrategyOptions { directions: vec![Direction::Minimize; 2], ..options(seed, 2500) };
        let mut strategy = entry.open(Arc::new(function.space(10)), &options);
        let mut found: Vec<Vec<f64>> = Vec::new();
        while found.len() < 2500 {
            let first = found.len() as u64;
            let Ask::Proposals(points) = strategy.ask(first, 50) else { panic!("no proposals after {first}") };
            let outcome = |(candidate, row): (u64, &[f64])| {
                let mut values = vec![0.0; 2];
                opened.evaluate(row, &mut values);
                Outcome { values, ..Outcome::new(candidate, row.to_vec(), 0.0) }
            };
            let outcomes: Vec<Outcome> = (first..).zip(points.rows()).map(outcome).collect();
            found.extend(outcomes.iter().map(|outcome| outcome.values.clone()));
            strategy.tell(&outcomes);
        }
        hypervolume(found.iter().map(Vec::as_slice), &[0.937, 1.1])
    }

    #[test]
    fn most_of_a_front_in_pieces_is_found_and_next_to_nothing_by_chance() {
        // The whole front has 1.026.
        for seed in 0..5 {
            let (found, chance) = (covered(&Nsga2, seed), covered(&RandomSearch, seed));
            assert!(found > 0.96 && chance < 0.2, "seed {seed}: {found} {chance}");
        }
    }
}
