//! Layer 3: search strategies. One file and one line in [`STRATEGIES`] each. Batches are the native unit.

mod cmaes;
pub mod cube;
mod de;
mod generations;
mod genetic;
mod grid;
mod halton;
mod latin;
mod pso;
mod random;
mod sequence;
mod sobol;
mod tpe;

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
    /// Mean score over the folds; NaN if it failed.
    pub value: f64,
    /// The folds' scores.
    pub folds: Vec<f64>,
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
    /// How many candidates there are in all, where that is known.
    fn size(&self) -> Option<u64>;
}

/// What a strategy is opened with.
#[derive(Debug, Clone)]
pub struct StrategyOptions {
    /// The key of everything it draws.
    pub key: Key,
    /// Which of two values is better.
    pub direction: Direction,
    /// How many candidates the study will ask for, where it does not end before.
    pub candidates: u64,
    /// How many it asks for at a time, once it is under way.
    pub batch: u64,
    /// Members of a population; chosen by the space where it is not set.
    pub population: Option<u64>,
    /// `genetic`: how likely two parents are crossed; adapted where it is not set.
    pub crossover_rate: Option<f64>,
    /// `genetic`: how likely a parameter mutates; adapted where it is not set.
    pub mutation_rate: Option<f64>,
    /// `grid`: points along each continuous parameter, and at most so many along whole numbers.
    pub resolution: u64,
    /// `grid`: whether points come in a random order.
    pub shuffle: bool,
}

impl StrategyOptions {
    /// For a search of `candidates` without settings of its own.
    pub fn new(key: Key, direction: Direction, candidates: u64) -> StrategyOptions {
        StrategyOptions {
            key,
            direction,
            candidates,
            batch: candidates.min(1000),
            population: None,
            crossover_rate: None,
            mutation_rate: None,
            resolution: 5,
            shuffle: false,
        }
    }
}

/// A strategy in the registry.
pub trait StrategyEntry: Named {
    /// Why it cannot search this space, if it cannot; said before anything is trained.
    fn refusal(&self, _space: &Space) -> Option<String> {
        None
    }
    /// Whether its proposals depend on outcomes.
    fn is_adaptive(&self) -> bool {
        true
    }
    /// Whether its course depends on [`StrategyOptions::candidates`]: then a run cannot be resumed with more of them.
    fn follows_candidates(&self) -> bool {
        false
    }
    /// Opens it on a space that it does not refuse.
    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy>;
}

/// Every strategy.
pub static STRATEGIES: &[&dyn StrategyEntry] = &[
    &random::RandomSearch,
    &grid::GridSearch,
    &sobol::SobolSearch,
    &halton::HaltonSearch,
    &latin::LatinSearch,
    &tpe::Tpe,
    &cmaes::CmaEs,
    &de::AdaptiveDe,
    &de::PlainDe,
    &pso::GlobalPso,
    &pso::RingPso,
    &genetic::GeneticSearch,
];

/// Finds a strategy by name.
pub fn find(name: &str) -> Result<&'static dyn StrategyEntry, UnknownName> {
    registry::find("strategy", STRATEGIES, name)
}
