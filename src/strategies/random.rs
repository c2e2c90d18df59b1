//! Random search (Bergstra & Bengio 2012): candidate i is a function of the key and i alone, so any batch is drawn
//! without the ones before it, by any number of threads. The first are the model's defaults, or those
//! of each model.

use super::cube::ATTEMPTS;
use super::generation::{self, GenerationMethod};
use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions};
use crate::base::random::Key;
use crate::base::registry::Named;
use crate::space::{Codec, Points, Space};
use rayon::prelude::*;
use std::sync::Arc;

/// The registry entry.
pub struct RandomSearch;

impl Named for RandomSearch {
    fn name(&self) -> &'static str {
        "random"
    }
    fn summary(&self) -> &'static str {
        "independent draws, each a function of seed and number alone"
    }
}

impl StrategyEntry for RandomSearch {
    fn is_adaptive(&self) -> bool {
        false
    }
    fn generations(&self) -> Option<&'static dyn GenerationMethod> {
        Some(&generation::RANDOM)
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        Box::new(Random::new(space, options.key))
    }
}

/// Candidates that one thread draws in a row; fewer are not worth a second thread.
const SERIAL: usize = 1024;

struct Random {
    space: Arc<Space>,
    codecs: Vec<Codec>,
    is_conditional: bool,
    /// What the search begins with.
    starts: Vec<Vec<f64>>,
    key: Key,
}

impl Random {
    fn new(space: Arc<Space>, key: Key) -> Random {
        let is_conditional = space.parameters.iter().any(|parameter| !parameter.conditions.is_empty());
        Random { codecs: space.codecs(), is_conditional, starts: space.starts(), key, space }
    }

    /// Candidates from `first` on, one a row.
    fn draw(&self, first: u64, values: &mut [f64]) {
        let width = self.codecs.len();
        // A candidate's first attempt takes the counters of its own id, so that neighbours' are drawn side by side.
        self.key.fill_uniform(first.wrapping_mul(width as u64), values);
        for (id, row) in (first..).zip(values.chunks_exact_mut(width)) {
            if let Some(start) = usize::try_from(id).ok().and_then(|id| self.starts.get(id)) {
                row.copy_from_slice(start);
            } else if !self.decode(row) {
                self.draw_again(id, row);
            }
        }
    }

    /// Decodes a row of uniform numbers; whether its constraints hold.
    fn decode(&self, row: &mut [f64]) -> bool {
        row.iter_mut().zip(&self.codecs).for_each(|(value, codec)| *value = codec.decode(*value));
        if self.is_conditional {
            self.space.mask(row);
        }
        self.space.is_allowed(row)
    }

    /// The attempts after the first: each has a key of its own.
    #[cold]
    fn draw_again(&self, id: u64, row: &mut [f64]) {
        for attempt in 1..ATTEMPTS {
            self.key.child(attempt).fill_uniform(id.wrapping_mul(row.len() as u64), row);
            if self.decode(row) {
                return;
            }
        }
    }
}

impl Strategy for Random {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        let width = self.space.parameters.len();
        let mut values = vec![0.0; n * width];
        if n <= SERIAL {
            self.draw(first, &mut values);
        } else {
            let blocks = values.par_chunks_mut(SERIAL * width).enumerate();
            blocks.for_each(|(block, values)| self.draw(first + (block * SERIAL) as u64, values));
        }
        Ask::Proposals(Points::from_values(width, values))
    }

    fn tell(&mut self, _: &[Outcome]) {}

    fn size(&self) -> Option<u64> {
        None
    }
}
