//! Particle swarm optimization with constriction (Clerc & Kennedy 2002, doi:10.1109/4235.985692): a particle flies on, and
//! is drawn to the best place it found and to the best that its informants found. In `pso` the whole swarm informs it: on
//! most of six test functions in 5 and 20 dimensions that ended nearer to the optimum, at 2,000 and at 20,000 candidates,
//! than `pso_ring`, where two neighbours do, which spreads news slower and was better on Griewank's function.

use super::cube::{Axis, Cube, reflected};
use super::generation::{self, GenerationMethod};
use super::generations::{Draws, Generations, Member, Method, by_value};
use super::{Strategy, StrategyEntry, StrategyOptions};
use crate::base::random::Key;
use crate::base::registry::Named;
use crate::data::metrics::Direction;
use crate::space::Space;
use std::sync::Arc;

/// The registry entry of the swarm on a ring.
pub struct RingPso;

impl Named for RingPso {
    fn name(&self) -> &'static str {
        "pso_ring"
    }
    fn summary(&self) -> &'static str {
        "particle swarm with constriction, each particle informed by two neighbours on a ring"
    }
}

impl StrategyEntry for RingPso {
    fn follows_candidates(&self) -> bool {
        true
    }

    fn generations(&self) -> Option<&'static dyn GenerationMethod> {
        Some(&generation::PSO_RING)
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        open(space, options, Topology::Ring)
    }
}

/// The registry entry of the swarm whose particles all know the best.
pub struct GlobalPso;

impl Named for GlobalPso {
    fn name(&self) -> &'static str {
        "pso"
    }
    fn summary(&self) -> &'static str {
        "particle swarm with constriction, every particle informed by the best of all"
    }
}

impl StrategyEntry for GlobalPso {
    fn follows_candidates(&self) -> bool {
        true
    }

    fn generations(&self) -> Option<&'static dyn GenerationMethod> {
        Some(&generation::PSO)
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        open(space, options, Topology::Global)
    }
}

/// Who informs a particle.
#[derive(Debug, Clone, Copy)]
enum Topology {
    /// Itself and its neighbours to both sides.
    Ring,
    /// All.
    Global,
}

/// The constriction factor chi for phi = 4.1, table I.
const CONSTRICTION: f64 = 0.7298;
/// phi / 2: the most that a particle is drawn to each of two places.
const PULL: f64 = 2.05;
/// Particles where the study does not say: as many as leave each a hundred moves.
const MOVES: u64 = 100;
const PARTICLES: std::ops::RangeInclusive<u64> = 10..=40;

fn open(space: Arc<Space>, options: &StrategyOptions, topology: Topology) -> Box<dyn Strategy> {
    let default = (options.candidates / MOVES).clamp(*PARTICLES.start(), *PARTICLES.end());
    let size = usize::try_from(options.population.unwrap_or(default)).unwrap_or(usize::MAX);
    let swarm = Swarm { direction: options.direction(), topology, particles: Vec::new(), leader: None };
    Box::new(Generations::new(space, options, size, swarm))
}

struct Particle {
    place: Vec<f64>,
    /// What it travelled last.
    velocity: Vec<f64>,
    row: Vec<f64>,
    /// The best it found.
    best: Member,
}

struct Swarm {
    direction: Direction,
    topology: Topology,
    particles: Vec<Particle>,
    /// Which of them found the best.
    leader: Option<usize>,
}

impl Method for Swarm {
    fn next(&mut self, cube: &Cube, told: Vec<Member>, _: u64, key: Key) -> Vec<Member> {
        if self.particles.is_empty() {
            self.particles =
                (0..).zip(told).map(|(tag, founder)| launch(founder, key.child(LAUNCH).child(tag))).collect();
        } else {
            self.learn(told);
        }
        self.follow();
        let moved = |tag: usize| self.fly(cube, tag, key.child(FLIGHT).child(tag as u32));
        let moved: Vec<Member> = (0..self.particles.len()).map(moved).collect();
        for (particle, member) in self.particles.iter_mut().zip(&moved) {
            let travelled = member.place.iter().zip(&particle.place).map(|(to, from)| to - from);
            particle.velocity = travelled.collect();
            particle.place.clone_from(&member.place);
            particle.row.clone_from(&member.row);
        }
        moved
    }
}

/// Tags of a generation's keys.
const LAUNCH: u32 = 0;
const FLIGHT: u32 = 1;

/// A particle flies at first half-way to a place drawn from the whole cube.
fn launch(founder: Member, key: Key) -> Particle {
    let mut draws = Draws::new(key);
    let velocity = founder.place.iter().map(|place| (draws.uniform() - place) / 2.0).collect();
    Particle { place: founder.place.clone(), velocity, row: founder.row.clone(), best: founder }
}

impl Swarm {
    fn learn(&mut self, told: Vec<Member>) {
        for (particle, member) in self.particles.iter_mut().zip(told) {
            if !member.value.is_nan() && self.direction.compare(member.value, particle.best.value).is_le() {
                particle.best = member;
            }
        }
    }

    /// Finds the leader, once for all particles.
    fn follow(&mut self) {
        let best = |place: &usize| &self.particles[*place].best;
        let places = 0..self.particles.len();
        self.leader = places.min_by(|a, b| by_value(self.direction)(best(a), best(b)));
    }

    /// The best that a particle's informants found.
    fn informant(&self, particle: usize) -> &Member {
        let count = self.particles.len();
        let best = |particles: &mut dyn Iterator<Item = usize>| {
            let bests = particles.map(|place| &self.particles[place % count].best);
            bests.min_by(|a, b| by_value(self.direction)(a, b))
        };
        let informant = match self.topology {
            Topology::Ring => best(&mut [particle, particle + 1, particle + count - 1].into_iter()),
            Topology::Global => self.leader.map(|leader| &self.particles[leader].best),
        };
        informant.unwrap_or(&self.particles[particle].best)
    }

    /// Equation 17 of Clerc & Kennedy: `v = chi (v + U(0, c) (own best - x) + U(0, c) (informant's best - x))`.
    fn fly(&self, cube: &Cube, particle: usize, key: Key) -> Member {
        let informant = &self.informant(particle).place;
        let particle = &self.particles[particle];
        // Only its row is looked at.
        let here = Member::at(particle.row.clone());
        let axes = cube.axes();
        Member::propose(cube, key, Some(&here), |draws| {
            let step = |(axis, from): (usize, &f64)| {
                let (own, informant) = (particle.best.place[axis], informant[axis]);
                match axes[axis] {
                    Axis::Choices(count) => choose(count, axes.len(), [*from, own, informant], draws),
                    Axis::Continuous | Axis::Ordered(_) => {
                        let own = PULL * draws.uniform() * (own - from);
                        let informed = PULL * draws.uniform() * (informant - from);
                        reflected(from + CONSTRICTION * (particle.velocity[axis] + own + informed))
                    }
                }
            };
            particle.place.iter().enumerate().map(step).collect()
        })
    }
}

/// Choices have no way between them: the particle's own, its best one and its informant's are as likely as each other.
/// One choice in a candidate is drawn anew, on average, for else a value that nobody holds would never be tried.
fn choose(count: u64, axes: usize, held: [f64; 3], draws: &mut Draws) -> f64 {
    let anew = draws.uniform() * (axes as f64) < 1.0;
    let held = held[draws.below(held.len())];
    if anew { draws.choice(count) } else { held }
}

#[cfg(test)]
mod tests {
    use super::super::generations::testing::*;
    use super::super::random::RandomSearch;
    use super::*;

    #[test]
    fn swarms_keep_what_strategies_with_generations_promise() {
        keeps_the_contract(&RingPso);
        keeps_the_contract(&GlobalPso);
    }

    #[test]
    fn smooth_optima_are_found_ten_thousand_times_nearer_than_by_chance() {
        let space = box_space(5);
        let chance = median_best(&RandomSearch, &space, 2000, sphere);
        let (ring, global) =
            (median_best(&RingPso, &space, 2000, sphere), median_best(&GlobalPso, &space, 2000, sphere));
        assert!(ring < 1e-4 * chance && global < 1e-5 * chance, "{ring:e} {global:e} {chance:e}");
    }

    #[test]
    fn choices_whole_numbers_and_conditions_are_found_together() {
        let chance = median_best(&RandomSearch, &mixed_space(), 2000, mixed_value);
        for entry in [&RingPso as &dyn StrategyEntry, &GlobalPso] {
            let found = median_best(entry, &mixed_space(), 2000, mixed_value);
            assert!(found < 0.1 * chance, "{}: {found} {chance}", entry.name());
        }
    }

    #[test]
    fn a_ring_knows_its_neighbours_only_and_the_swarm_its_best() {
        let cube = Cube::new(Arc::new(box_space(1)));
        let particle = |value: f64| {
            let member = Member { value, ..Member::new(&cube, vec![0.5]) };
            launch(member, Key::from_seed(0))
        };
        let particles = [3.0, f64::NAN, 5.0, 4.0, 1.0, 2.0].map(particle).into();
        let mut swarm = Swarm { direction: Direction::Minimize, topology: Topology::Ring, particles, leader: None };
        let informants = |swarm: &Swarm| [0, 1, 2, 3, 4, 5].map(|particle| swarm.informant(particle).value);
        assert_eq!(informants(&swarm), [2.0, 3.0, 4.0, 1.0, 1.0, 1.0]);
        swarm.topology = Topology::Global;
        swarm.follow();
        assert_eq!(informants(&swarm), [1.0; 6]);
    }

    #[test]
    fn what_flies_out_comes_back_and_never_passes_the_other_bound() {
        assert_eq!([1.25, -0.25, 0.25, 3.5, -2.5].map(reflected), [0.75, 0.25, 0.25, 0.5, 0.5]);
    }
}
