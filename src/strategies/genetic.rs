//! Genetic algorithm: parents by tournament, children by crossover and mutation, the best of both live on. Simulated binary
//! crossover and polynomial mutation where there is an order, uniform ones where there is none; rates follow what succeeds.

use super::cube::Cube;
use super::generation::{self, GenerationMethod};
use super::generations::{Draws, Generations, Member, Method, by_value};
use super::variation::{self, Variation};
use super::{Strategy, StrategyEntry, StrategyOptions};
use crate::base::random::Key;
use crate::base::registry::Named;
use crate::data::metrics::Direction;
use crate::space::Space;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The registry entry.
pub struct GeneticSearch;

impl Named for GeneticSearch {
    fn name(&self) -> &'static str {
        "genetic"
    }
    fn summary(&self) -> &'static str {
        "genetic algorithm: tournaments, crossover, mutation; rates follow what succeeds"
    }
}

impl StrategyEntry for GeneticSearch {
    fn follows_candidates(&self) -> bool {
        true
    }

    fn generations(&self) -> Option<&'static dyn GenerationMethod> {
        Some(&generation::GENETIC)
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        let default = (options.candidates / GENERATIONS).clamp(*MEMBERS.start(), *MEMBERS.end());
        let size = usize::try_from(options.population.unwrap_or(default)).unwrap_or(usize::MAX).max(2);
        let axes = Cube::new(space.clone()).axes().len();
        let genetic = Genetic {
            direction: options.direction(),
            size,
            crossover: Rate::new(options.crossover_rate, 0.9),
            mutation: Rate::new(options.mutation_rate, 1.0 / axes.max(2) as f64),
            population: Vec::new(),
            tried: Vec::new(),
        };
        Box::new(Generations::new(space, options, size, genetic))
    }
}

/// Members where the study does not say: as many as leave it eighty generations.
const GENERATIONS: u64 = 80;
const MEMBERS: std::ops::RangeInclusive<u64> = 20..=100;

/// How near children are to their parents, and how small a mutation is ([`Variation`]).
const CROSSOVER_INDEX: f64 = 15.0;
const MUTATION_INDEX: f64 = 20.0;

/// How children are made.
#[derive(Debug, Clone, Copy)]
struct Tried {
    crossover: f64,
    mutation: f64,
    /// The value of the parent that a child comes from.
    parent: f64,
}

struct Genetic {
    direction: Direction,
    size: usize,
    /// The share of children that have two parents.
    crossover: Rate,
    /// The share of a child's axes that mutate.
    mutation: Rate,
    /// Best first, each candidate once.
    population: Vec<Member>,
    /// How the children under way were made.
    tried: Vec<Tried>,
}

impl Method for Genetic {
    fn next(&mut self, cube: &Cube, told: Vec<Member>, _: u64, key: Key) -> Vec<Member> {
        let is_better = |(child, tried): &(&Member, &Tried)| self.direction.compare(child.value, tried.parent).is_lt();
        let successes: Vec<Tried> = told.iter().zip(&self.tried).filter(is_better).map(|(_, tried)| *tried).collect();
        self.crossover.learn(successes.iter().map(|tried| tried.crossover));
        self.mutation.learn(successes.iter().map(|tried| tried.mutation));
        self.select(told);
        let (tried, children) = (0..self.size as u32).map(|tag| self.child(cube, key.child(tag))).unzip();
        self.tried = tried;
        children
    }
}

impl Genetic {
    /// The best of parents and children live on.
    fn select(&mut self, children: Vec<Member>) {
        self.population.extend(children);
        self.population.sort_by(by_value(self.direction));
        let mut seen = BTreeSet::new();
        self.population
            .retain(|member| seen.insert(member.row.iter().map(|value| value.to_bits()).collect::<Vec<u64>>()));
        self.population.truncate(self.size);
    }

    /// A member that wins a tournament of two: of a population in order, the one that stands before.
    fn parent(&self, draws: &mut Draws) -> &Member {
        let count = self.population.len();
        &self.population[draws.below(count).min(draws.below(count))]
    }

    fn child(&self, cube: &Cube, key: Key) -> (Tried, Member) {
        let mut draws = Draws::new(key);
        let (mother, father) = (self.parent(&mut draws), self.parent(&mut draws));
        let (crossover, mutation) = (self.crossover.draw(&mut draws), self.mutation.draw(&mut draws));
        let child = variation::child(
            cube,
            key.child(0),
            mother,
            father,
            Variation { crossover, mutation, crossover_index: CROSSOVER_INDEX, mutation_index: MUTATION_INDEX },
        );
        (Tried { crossover, mutation, parent: mother.value }, child)
    }
}

/// A rate that follows what succeeds, or one that the study sets.
#[derive(Debug, Clone, Copy)]
struct Rate {
    mean: f64,
    is_fixed: bool,
}

/// By how much a child's log odds differ from the mean's: 0.22 in Thierens 2002 (doi:10.1109/CEC.2002.1007026).
const SPREAD: f64 = 0.22;
/// How far a generation's successes move a mean.
const PURSUIT: f64 = 0.1;

impl Rate {
    fn new(set: Option<f64>, default: f64) -> Rate {
        let mean = set.unwrap_or(default);
        Rate { mean: if mean.is_nan() { default } else { mean.clamp(0.0, 1.0) }, is_fixed: set.is_some() }
    }

    /// `1 / (1 + (1 - p) / p exp(-gamma N(0, 1)))`, Thierens 2002.
    fn draw(&self, draws: &mut Draws) -> f64 {
        let normal = draws.normal();
        if self.is_fixed {
            return self.mean;
        }
        1.0 / (1.0 + (1.0 - self.mean) / self.mean * libm::exp(-SPREAD * normal))
    }

    fn learn(&mut self, successes: impl ExactSizeIterator<Item = f64>) {
        let count = successes.len();
        if count > 0 && !self.is_fixed {
            let mean = successes.sum::<f64>() / count as f64;
            self.mean = ((1.0 - PURSUIT) * self.mean + PURSUIT * mean).clamp(1e-3, 1.0 - 1e-3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::generations::testing::*;
    use super::super::random::RandomSearch;
    use super::*;
    use crate::space::SpaceBuilder;

    #[test]
    fn genetic_search_keeps_what_strategies_with_generations_promise() {
        keeps_the_contract(&GeneticSearch);
    }

    #[test]
    fn smooth_optima_are_found_a_thousand_times_nearer_than_by_chance() {
        let space = box_space(5);
        let chance = median_best(&RandomSearch, &space, 2000, sphere);
        let found = median_best(&GeneticSearch, &space, 2000, sphere);
        assert!(found < 1e-3 * chance, "{found:e} {chance:e}");
    }

    #[test]
    fn choices_whole_numbers_and_conditions_are_found_together() {
        let chance = median_best(&RandomSearch, &mixed_space(), 2000, mixed_value);
        let found = median_best(&GeneticSearch, &mixed_space(), 2000, mixed_value);
        assert!(found < 0.1 * chance, "{found} {chance}");
    }

    #[test]
    fn the_best_lives_on_and_nobody_lives_twice() {
        let cube = Cube::new(Arc::new(box_space(1)));
        let member = |(place, value)| Member { value, ..Member::new(&cube, vec![place]) };
        let (crossover, mutation) = (Rate::new(None, 0.9), Rate::new(None, 0.5));
        let (population, tried) = (vec![member((0.1, 1.0)), member((0.2, f64::NAN))], Vec::new());
        let mut genetic = Genetic { direction: Direction::Minimize, size: 3, crossover, mutation, population, tried };
        genetic.select([(0.1, 1.0), (0.3, 2.0), (0.4, 3.0), (0.5, f64::NAN)].map(member).into());
        assert_eq!(genetic.population.iter().map(|member| member.value).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn rates_follow_successes_unless_they_are_set() {
        let mut rate = Rate::new(None, 0.2);
        (0..100).for_each(|_| rate.learn([0.6].into_iter()));
        assert!((rate.mean - 0.6).abs() < 1e-3);
        let mut set = Rate::new(Some(0.2), 0.5);
        set.learn([0.6].into_iter());
        assert_eq!(set.draw(&mut Draws::new(Key::from_seed(1))), 0.2);
        assert!(Rate::new(Some(f64::NAN), 0.5).mean == 0.5 && Rate::new(Some(7.0), 0.5).mean == 1.0);
    }

    #[test]
    fn without_crossover_and_mutation_only_uniform_draws_bring_anything_new() {
        // Both rates 0: every child is its mother, and that is what is proposed.
        let options = StrategyOptions { crossover_rate: Some(0.0), mutation_rate: Some(0.0), ..options(1, 300) };
        let (rows, _) = search(&GeneticSearch, box_space(3), &options, &[50], sphere);
        let distinct = bits(&rows).into_iter().collect::<BTreeSet<_>>().len();
        assert_eq!(distinct, 20, "founders alone");
    }

    #[test]
    fn choices_alone_are_enough() {
        let space =
            (0..12).fold(SpaceBuilder::new(), |s, i| s.categorical(&format!("c{i}"), &["u", "v", "w", "x"], "u"));
        let wrong = |row: &[f64]| (0..).zip(row).filter(|(i, code)| **code as usize != (i * 5 + 2) % 4).count() as f64;
        let found = median_best(&GeneticSearch, &space.build(), 1000, wrong);
        assert_eq!(found, 0.0);
    }
}
