//! Differential evolution: a member moves by differences of others and is replaced by what is better. `de` is L-SHADE
//! (Tanabe & Fukunaga 2014, doi:10.1109/CEC.2014.6900380), which learns its rates from successes and shrinks its
//! population; `de_rand` is DE/rand/1/bin (Storn & Price 1997).

use super::cube::{Axis, Cube, choice};
use super::generation::{self, GenerationMethod};
use super::generations::{Draws, Generations, Member, Method, by_value};
use super::{Strategy, StrategyEntry, StrategyOptions};
use crate::base::random::Key;
use crate::base::registry::Named;
use crate::data::metrics::Direction;
use crate::space::Space;
use std::sync::Arc;

/// The registry entry of L-SHADE.
pub struct AdaptiveDe;

impl Named for AdaptiveDe {
    fn name(&self) -> &'static str {
        "de"
    }
    fn summary(&self) -> &'static str {
        "differential evolution that learns its rates and shrinks its population (L-SHADE)"
    }
}

impl StrategyEntry for AdaptiveDe {
    fn follows_candidates(&self) -> bool {
        true
    }

    fn generations(&self) -> Option<&'static dyn GenerationMethod> {
        Some(&generation::DE)
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        let size = size(&space, options, ADAPTIVE_MEMBERS);
        let rates = Rates::Learned(Memory::new());
        Box::new(Generations::new(space, options, size, De::new(rates, size, options)))
    }
}

/// The registry entry of DE/rand/1/bin.
pub struct PlainDe;

impl Named for PlainDe {
    fn name(&self) -> &'static str {
        "de_rand"
    }
    fn summary(&self) -> &'static str {
        "differential evolution as it was first: random donors, drawn rates (DE/rand/1/bin)"
    }
}

impl StrategyEntry for PlainDe {
    fn follows_candidates(&self) -> bool {
        true
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        let size = size(&space, options, PLAIN_MEMBERS);
        Box::new(Generations::new(space, options, size, De::new(Rates::Drawn, size, options)))
    }
}

/// A trial needs its target, two others, and one more to be the best.
const FEWEST: usize = 4;

/// Members an axis at most: 18 is what Tanabe & Fukunaga found best at 10,000 evaluations an axis; rand/1/bin never
/// shrinks, and 3 are enough for it.
const ADAPTIVE_MEMBERS: u64 = 18;
const PLAIN_MEMBERS: u64 = 3;
/// A study is divided into so many generations at least, as long as ten members are left: on test functions in 5 and 20
/// dimensions at 2,000 candidates, 30 generations ended orders of magnitude before the optimum that 100 came to.
const GENERATIONS: u64 = 100;

fn size(space: &Arc<Space>, options: &StrategyOptions, members: u64) -> usize {
    let axes = Cube::new(space.clone()).axes().len() as u64;
    let size = options.population.unwrap_or((members * axes).min(options.candidates / GENERATIONS).max(10));
    usize::try_from(size).unwrap_or(usize::MAX).max(FEWEST)
}

/// The share of the best members that lead, Tanabe & Fukunaga 2014, table I.
const LEADERS: f64 = 0.11;
/// Beaten members that are kept as donors, by members.
const ARCHIVE: f64 = 2.6;
/// Entries of the memory of rates.
const MEMORY: usize = 6;

/// How far a trial moves (`scale`, F) and how many axes it takes from the mutant (`crossover`, CR).
#[derive(Debug, Clone, Copy)]
struct Rate {
    scale: f64,
    crossover: f64,
}

enum Rates {
    /// From what succeeded: current-to-pbest/1 with archive.
    Learned(Memory),
    /// Uniformly from what is known to work: rand/1.
    Drawn,
}

struct De {
    direction: Direction,
    candidates: u64,
    /// Members at first.
    size: usize,
    rates: Rates,
    /// Best first.
    population: Vec<Member>,
    /// Places that were left for better ones.
    archive: Vec<Vec<f64>>,
    /// The rates of the generation under way, one a target.
    tried: Vec<Rate>,
}

/// What the keys of a generation are for.
mod tag {
    pub const RATES: u32 = 0;
    pub const TRIALS: u32 = 1;
    pub const ARCHIVE: u32 = 2;
}

impl Method for De {
    fn next(&mut self, cube: &Cube, told: Vec<Member>, spent: u64, key: Key) -> Vec<Member> {
        if self.population.is_empty() {
            self.population = told;
        } else {
            self.select(told, key.child(tag::ARCHIVE));
        }
        self.population.sort_by(by_value(self.direction));
        self.shrink(spent);
        let targets = 0..self.population.len() as u32;
        self.tried = targets.clone().map(|target| self.draw_rate(key.child(tag::RATES).child(target))).collect();
        targets.map(|target| self.trial(cube, target as usize, key.child(tag::TRIALS).child(target))).collect()
    }
}

impl De {
    fn new(rates: Rates, size: usize, options: &StrategyOptions) -> De {
        De {
            direction: options.direction(),
            candidates: options.candidates,
            size,
            rates,
            population: Vec::new(),
            archive: Vec::new(),
            tried: Vec::new(),
        }
    }

    /// Replaces targets by trials that are no worse, and learns from those that are better.
    fn select(&mut self, trials: Vec<Member>, key: Key) {
        let mut successes = Vec::new();
        let mut draws = Draws::new(key);
        let most = (ARCHIVE * self.population.len() as f64) as usize;
        for ((target, trial), rate) in self.population.iter_mut().zip(trials).zip(&self.tried) {
            let order = self.direction.compare(trial.value, target.value);
            if order.is_gt() || trial.value.is_nan() {
                continue;
            }
            let beaten = std::mem::replace(target, trial);
            if order.is_lt() {
                successes.push((*rate, (target.value - beaten.value).abs()));
                if self.archive.len() < most {
                    self.archive.push(beaten.place);
                } else {
                    let forgotten = draws.below(self.archive.len());
                    self.archive[forgotten] = beaten.place;
                }
            }
        }
        if let Rates::Learned(memory) = &mut self.rates {
            memory.learn(&mut successes);
        }
    }

    /// Linear population size reduction, equation 10: from all members to four over the candidates of the study. It also
    /// leaves the founders that are too many where there are more starts than members.
    fn shrink(&mut self, spent: u64) {
        let size = match self.rates {
            Rates::Drawn => self.size,
            Rates::Learned(_) => {
                let share = (spent as f64 / self.candidates.max(1) as f64).min(1.0);
                libm::round(self.size as f64 - (self.size - FEWEST) as f64 * share) as usize
            }
        };
        self.population.truncate(size);
        self.archive.truncate((ARCHIVE * size as f64) as usize);
    }

    fn draw_rate(&self, key: Key) -> Rate {
        let mut draws = Draws::new(key);
        match &self.rates {
            Rates::Learned(memory) => memory.draw(&mut draws),
            Rates::Drawn => Rate { scale: 0.5 + 0.3 * draws.uniform(), crossover: 0.7 + 0.2 * draws.uniform() },
        }
    }

    /// A mutant crossed with its target.
    fn trial(&self, cube: &Cube, target: usize, key: Key) -> Member {
        let Rate { scale, crossover } = self.tried[target];
        let parent = &self.population[target];
        Member::propose(cube, key, Some(parent), |draws| {
            let (base, leader, donors) = self.donors(target, draws);
            let axes = cube.axes();
            // One axis is always the mutant's.
            let certain = draws.below(axes.len().max(1));
            let mut place = parent.place.clone();
            for (axis, place) in place.iter_mut().enumerate() {
                if draws.uniform() < crossover || axis == certain {
                    let donors = [donors[0][axis], donors[1][axis]];
                    let leader = leader.map(|leader| leader[axis]);
                    *place = mutate(axes[axis], *place, base[axis], leader, donors, scale, draws);
                }
            }
            place
        })
    }

    /// Where a mutant starts, whom it is led to, and the two whose difference it takes.
    fn donors(&self, target: usize, draws: &mut Draws) -> (&[f64], Option<&[f64]>, [&[f64]; 2]) {
        let size = self.population.len();
        // Of `bound` members, one that is none of these.
        let other = |draws: &mut Draws, bound: usize, taken: &[usize]| {
            let mut taken = taken.to_vec();
            taken.sort_unstable();
            let left = bound.saturating_sub(taken.len()).max(1);
            taken.iter().fold(draws.below(left), |drawn, taken| drawn + usize::from(drawn >= *taken)).min(bound - 1)
        };
        let place = |member: usize| match self.population.get(member) {
            Some(member) => &member.place[..],
            None => &self.archive[member - size],
        };
        match self.rates {
            Rates::Learned(_) => {
                let leaders = libm::round(LEADERS * size as f64).max(2.0) as usize;
                let leader = draws.below(leaders.min(size));
                let first = other(draws, size, &[target]);
                let second = other(draws, size + self.archive.len(), &[target, first]);
                (place(target), Some(place(leader)), [place(first), place(second)])
            }
            Rates::Drawn => {
                let base = other(draws, size, &[target]);
                let first = other(draws, size, &[target, base]);
                let second = other(draws, size, &[target, base, first]);
                (place(base), None, [place(first), place(second)])
            }
        }
    }
}

/// The mutant on one axis: `base + scale (leader - base) + scale (donor - donor)`. A place outside the cube goes half-way
/// from the target to the bound (Zhang & Sanderson 2009, JADE). Among choices the leader's is taken with probability
/// `scale`, and where the donors differ any choice with the same probability: like a difference, that ends once all agree.
fn mutate(
    axis: Axis,
    target: f64,
    base: f64,
    leader: Option<f64>,
    donors: [f64; 2],
    scale: f64,
    draws: &mut Draws,
) -> f64 {
    let Axis::Choices(count) = axis else {
        let place = base + leader.map_or(0.0, |leader| scale * (leader - base)) + scale * (donors[0] - donors[1]);
        return match place {
            place if place < 0.0 => target / 2.0,
            place if place > 1.0 => (target + 1.0) / 2.0,
            place => place,
        };
    };
    let led = if draws.uniform() < scale { leader.unwrap_or(base) } else { base };
    let differ = choice(donors[0], count) != choice(donors[1], count);
    if differ && draws.uniform() < scale { draws.choice(count) } else { led }
}

/// Rates that succeeded lately.
struct Memory {
    scales: [f64; MEMORY],
    /// `None` once only a crossover rate of 0 succeeds: one axis at a time from then on.
    crossovers: [Option<f64>; MEMORY],
    /// The entry that is written next.
    next: usize,
}

impl Memory {
    fn new() -> Memory {
        Memory { scales: [0.5; MEMORY], crossovers: [Some(0.5); MEMORY], next: 0 }
    }

    fn draw(&self, draws: &mut Draws) -> Rate {
        let entry = draws.below(MEMORY);
        let crossover = self.crossovers[entry].map_or(0.0, |mean| (mean + 0.1 * draws.normal()).clamp(0.0, 1.0));
        // Cauchy; what is not above 0 is drawn again. Memory is above 0, so one in two succeeds.
        let mut scale = 0.0;
        for _ in 0..64 {
            scale = self.scales[entry] + 0.1 * libm::tan(std::f64::consts::PI * (draws.uniform() - 0.5));
            if scale > 0.0 {
                break;
            }
        }
        Rate { scale: if scale > 0.0 { scale.min(1.0) } else { self.scales[entry] }, crossover }
    }

    /// Algorithm 1: weighted Lehmer means of the rates that succeeded, by how much each improved. An improvement without
    /// a number (on one that failed) counts as the largest that has one.
    fn learn(&mut self, successes: &mut [(Rate, f64)]) {
        if successes.is_empty() {
            return;
        }
        let most = successes.iter().map(|success| success.1).filter(|gain| gain.is_finite()).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        successes.iter_mut().for_each(|success| success.1 = if success.1.is_finite() { success.1 / most } else { 1.0 });
        let lehmer = |rate: fn(&Rate) -> f64| {
            let sum: f64 = successes.iter().map(|(success, gain)| gain * rate(success)).sum();
            let squares: f64 = successes.iter().map(|(success, gain)| gain * rate(success) * rate(success)).sum();
            if sum > 0.0 { squares / sum } else { 0.0 }
        };
        let scale = lehmer(|rate| rate.scale);
        if scale > 0.0 {
            self.scales[self.next] = scale;
        }
        let crossover = lehmer(|rate| rate.crossover);
        self.crossovers[self.next] = self.crossovers[self.next].and((crossover > 0.0).then_some(crossover));
        self.next = (self.next + 1) % MEMORY;
    }
}

#[cfg(test)]
mod tests {
    use super::super::generations::testing::*;
    use super::super::random::RandomSearch;
    use super::*;

    #[test]
    fn differential_evolution_keeps_what_strategies_with_generations_promise() {
        keeps_the_contract(&AdaptiveDe);
        keeps_the_contract(&PlainDe);
    }

    #[test]
    fn smooth_optima_are_found_a_million_times_nearer_than_by_chance() {
        let space = box_space(5);
        let chance = median_best(&RandomSearch, &space, 2000, sphere);
        let (adaptive, plain) =
            (median_best(&AdaptiveDe, &space, 2000, sphere), median_best(&PlainDe, &space, 2000, sphere));
        assert!(adaptive < 1e-6 * chance && plain < 1e-4 * chance, "{adaptive:e} {plain:e} {chance:e}");
        let valley = median_best(&AdaptiveDe, &space, 5000, rosenbrock);
        assert!(valley < 1e-4, "{valley:e}");
    }

    #[test]
    fn choices_whole_numbers_and_conditions_are_found_together() {
        let (adaptive, plain) = (
            median_best(&AdaptiveDe, &mixed_space(), 2000, mixed_value),
            median_best(&PlainDe, &mixed_space(), 2000, mixed_value),
        );
        let chance = median_best(&RandomSearch, &mixed_space(), 2000, mixed_value);
        assert!(adaptive < 0.05 * chance && plain < 0.2 * chance, "{adaptive} {plain} {chance}");
    }

    #[test]
    fn the_population_shrinks_linearly_to_four() {
        let mut de = De::new(Rates::Learned(Memory::new()), 100, &options(0, 1000));
        let cube = Cube::new(Arc::new(box_space(2)));
        de.population = (0..100).map(|tag| Member::draw(&cube, Key::from_seed(tag))).collect();
        let mut sizes = Vec::new();
        for spent in [0, 500, 1000, 5000] {
            de.shrink(spent);
            sizes.push(de.population.len());
        }
        assert_eq!(sizes, [100, 52, 4, 4]);
    }

    #[test]
    fn memory_holds_weighted_lehmer_means_of_what_succeeded() {
        let mut memory = Memory::new();
        let success = |scale, crossover, gain| (Rate { scale, crossover }, gain);
        memory.learn(&mut [success(0.2, 0.0, 1.0), success(0.8, 1.0, 3.0)]);
        // (1 0.04 + 3 0.64) / (1 0.2 + 3 0.8); (3 1) / (3 1).
        assert!((memory.scales[0] - 1.96 / 2.6).abs() < 1e-12);
        assert_eq!(memory.crossovers[0], Some(1.0));
        // A gain over what failed counts as the largest that is known.
        memory.learn(&mut [success(0.5, 0.0, f64::NAN), success(0.5, 0.0, 7.0)]);
        assert_eq!((memory.scales[1], memory.crossovers[1]), (0.5, None));
        (0..MEMORY).for_each(|_| memory.learn(&mut [success(0.5, 0.9, 1.0)]));
        assert_eq!(memory.crossovers[1], None, "what was given up does not come back");
        memory.learn(&mut []);
        assert_eq!(memory.next, 2);
    }

    #[test]
    fn a_mutant_beyond_a_bound_ends_half_way_there() {
        let mut draws = Draws::new(Key::from_seed(0));
        let mut mutant = |donors| mutate(Axis::Continuous, 0.6, 0.6, Some(0.6), donors, 1.0, &mut draws);
        assert_eq!([mutant([0.9, 0.1]), mutant([0.1, 0.9]), mutant([0.2, 0.1])], [0.8, 0.3, 0.7]);
    }
}
