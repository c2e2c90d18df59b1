//! Layer 3: search strategies. One file and one line in [`STRATEGIES`] each. Batches are the native unit.

mod grid;
mod random;

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
    /// Whether proposals depend on outcomes.
    fn is_adaptive(&self) -> bool;
}

/// What a strategy is opened with.
#[derive(Debug, Clone)]
pub struct StrategyOptions {
    /// The key of everything it draws.
    pub key: Key,
    /// Which of two values is better.
    pub direction: Direction,
    /// `grid`: points along each continuous parameter, and at most so many along whole numbers.
    pub resolution: u64,
    /// `grid`: whether points come in a random order.
    pub shuffle: bool,
}

/// A strategy in the registry.
pub trait StrategyEntry: Named {
    /// Opens it on a space.
    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy>;
}

/// Every strategy.
pub static STRATEGIES: &[&dyn StrategyEntry] = &[&random::RandomSearch, &grid::GridSearch];

/// Finds a strategy by name.
pub fn find(name: &str) -> Result<&'static dyn StrategyEntry, UnknownName> {
    registry::find("strategy", STRATEGIES, name)
}
