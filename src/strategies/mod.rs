//! Layer 3: search strategies. One file and one line in [`STRATEGIES`] each. Batches are the native unit.

mod auto;
mod cmaes;
pub mod cube;
mod de;
pub mod generation;
mod generations;
mod genetic;
mod gp;
mod gradient;
mod grid;
mod halton;
mod latin;
mod leg;
mod nsga2;
mod portfolio;
mod pso;
mod random;
pub mod relay;
mod sequence;
mod smac;
mod sobol;
mod tpe;
mod variation;

pub use gp::RegretBound;

use crate::base::random::Key;
use crate::base::registry::{self, Named, UnknownName};
use crate::data::metrics::Direction;
use crate::space::{Points, Space};
use std::sync::Arc;

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The candidate's id.
    pub candidate: u64,
    /// Its encoded values.
    pub point: Vec<f64>,
    /// One value for each objective, means over the folds; all of them NaN if it failed.
    pub values: Vec<f64>,
    /// By how much it is beyond what the study allows, summed over its limits; 0 within.
    pub violation: f64,
    /// The folds' values of the first objective.
    pub folds: Vec<f64>,
    /// How the first objective changes along each axis of the [`cube::Cube`], where the model says so; NaN on an axis of
    /// which it doesn't.
    pub gradient: Option<Vec<f64>>,
    /// Its share of the wall time that the search trained, in seconds, what is trained beside it taken off; 0 where it was not
    /// trained.
    pub seconds: f64,
    /// The budgets that a scheduler gave it so far, ascending, with the first objective there, none where it failed before; None
    /// without a scheduler.
    pub rungs: Option<Vec<(u64, f64)>>,
}

impl Outcome {
    /// Of a candidate with one objective and nothing else to say.
    pub fn new(candidate: u64, point: Vec<f64>, value: f64) -> Outcome {
        let values = vec![value];
        Outcome {
            candidate,
            point,
            folds: values.clone(),
            values,
            violation: 0.0,
            gradient: None,
            seconds: 0.0,
            rungs: None,
        }
    }

    /// The first objective.
    pub fn value(&self) -> f64 {
        self.values.first().copied().unwrap_or(f64::NAN)
    }
}

/// What a strategy answers when asked for candidates.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// At most as many candidates as were asked for, with ids from the `first` that was asked for.
    Proposals(Points),
    /// Nothing until outcomes of earlier proposals are told.
    Wait,
    /// There is no further candidate.
    Done,
}

/// Proposes candidates.
pub trait Strategy: Send {
    /// Up to `n` candidates; the first of them gets the id `first`. Ids count from 0 without a gap.
    fn ask(&mut self, first: u64, n: usize) -> Ask;
    /// Learns outcomes, in the order of their ids.
    fn tell(&mut self, outcomes: &[Outcome]);
    /// Learns, before it is asked for anything, what another search of the same space found. The ids are the other's; its
    /// own begin at 0 nevertheless.
    fn recall(&mut self, _earlier: &[Outcome]) {}
    /// What it decided since it was last asked, in sentences for the user.
    fn decisions(&mut self) -> Vec<String> {
        Vec::new()
    }
    /// How many candidates there are in all, where that is known.
    fn size(&self) -> Option<u64>;
}

/// What a strategy is opened with.
#[derive(Debug, Clone)]
pub struct StrategyOptions {
    /// The key of everything it draws.
    pub key: Key,
    /// Which of two values is better, for each objective; one at least.
    pub directions: Vec<Direction>,
    /// How many candidates the study will ask for, where it does not end before.
    pub candidates: u64,
    /// Seconds that the search may take, where they have a limit.
    pub time: Option<f64>,
    /// How many it asks for at a time, once it is under way.
    pub batch: u64,
    /// Members of a population; chosen by the space where it is not set.
    pub population: Option<u64>,
    /// `genetic`, `nsga2`: how likely two parents are crossed; where it is not set, `genetic` adapts it.
    pub crossover_rate: Option<f64>,
    /// `genetic`, `nsga2`: how likely a parameter mutates; where it is not set, `genetic` adapts it.
    pub mutation_rate: Option<f64>,
    /// `portfolio`: encoded values of points that are thought good, allowed ones.
    pub points: Vec<Vec<f64>>,
    /// Whether a scheduler ends candidates on their way, so that values are of different budgets.
    pub ends_early: bool,
    /// `grid`: points along each continuous parameter, and at most so many along whole numbers.
    pub resolution: u64,
    /// `grid`: whether points come in a random order.
    pub shuffle: bool,
}

impl StrategyOptions {
    /// Which of two values of the first objective is better.
    pub fn direction(&self) -> Direction {
        self.directions.first().copied().unwrap_or(Direction::Minimize)
    }

    /// For a search of `candidates` without settings of its own.
    pub fn new(key: Key, direction: Direction, candidates: u64) -> StrategyOptions {
        StrategyOptions {
            key,
            directions: vec![direction],
            candidates,
            time: None,
            batch: candidates.min(1000),
            population: None,
            crossover_rate: None,
            mutation_rate: None,
            points: Vec::new(),
            ends_early: false,
            resolution: 5,
            shuffle: false,
        }
    }
}

/// Values, one for each objective, as they are to be minimised.
pub fn minimized(directions: &[Direction], values: &[f64]) -> impl Iterator<Item = f64> {
    directions.iter().zip(values).map(|(direction, value)| -direction.sign() * value)
}

/// A strategy in the registry.
pub trait StrategyEntry: Named {
    /// Why it cannot search this space, if it cannot; said before anything is trained.
    fn refusal(&self, _space: &Space) -> Option<String> {
        None
    }
    /// Whether it searches for the trade-offs of several objectives, or heeds none of them; others heed the first alone and
    /// are refused.
    fn takes_several_objectives(&self) -> bool {
        !self.is_adaptive()
    }
    /// Whether its proposals depend on outcomes.
    fn is_adaptive(&self) -> bool {
        true
    }
    /// Whether it can be opened anew and asked from any candidate on, as what is a function of seed and number can.
    fn begins_anywhere(&self) -> bool {
        !self.is_adaptive()
    }
    /// Whether all that it has comes before another method goes on, whatever its share.
    fn comes_whole(&self) -> bool {
        false
    }
    /// Whether its course depends on [`StrategyOptions::candidates`]: then a run cannot be resumed with more of them.
    fn follows_candidates(&self) -> bool {
        false
    }
    /// Whether its course depends on [`StrategyOptions::time`]: then a run cannot be resumed with another time.
    fn follows_time(&self) -> bool {
        false
    }
    /// Whether it has a use for [`Outcome::gradient`], which takes time to compute.
    fn uses_gradients(&self) -> bool {
        false
    }
    /// Whether it can go on from what another strategy found in a space that it refuses alone: it keeps the choices of
    /// what it recalls, and moves the rest.
    fn refines(&self) -> bool {
        false
    }
    /// How it searches by whole generations, without a candidate going through the study, if it can.
    fn generations(&self) -> Option<&'static dyn generation::GenerationMethod> {
        None
    }
    /// Opens it on a space that it does not refuse, or to refine what another strategy found there.
    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy>;
}

/// Every strategy.
pub static STRATEGIES: &[&dyn StrategyEntry] = &[
    &random::RandomSearch,
    &grid::GridSearch,
    &sobol::SobolSearch,
    &halton::HaltonSearch,
    &latin::LatinSearch,
    &portfolio::Portfolio,
    &tpe::Tpe,
    &smac::Smac,
    &gp::GaussianProcess,
    &cmaes::CmaEs,
    &de::AdaptiveDe,
    &de::PlainDe,
    &pso::GlobalPso,
    &pso::RingPso,
    &genetic::GeneticSearch,
    &nsga2::Nsga2,
    &gradient::GradientDescent,
    &auto::Auto,
];

/// Finds a strategy by name.
pub fn find(name: &str) -> Result<&'static dyn StrategyEntry, UnknownName> {
    registry::find("strategy", STRATEGIES, name)
}
