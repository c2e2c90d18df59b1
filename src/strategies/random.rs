//! Random search (Bergstra & Bengio 2012): candidate i is a function of the key and i alone, so any batch is drawn
//! without the ones before it, by any number of threads. Candidate 0 is the model's defaults.

use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions};
use crate::base::random::{Key, uniform_f64};
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
    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        Box::new(Random::new(space, options.key))
    }
}

/// How often a candidate is drawn anew until its constraints hold. A space of which one point in a thousand is allowed
/// then fails once in e^30 candidates; the last draw is kept, and the study reports it as failed.
const ATTEMPTS: u64 = 30_000;

/// Candidates below which threads cost more than they bring.
const SERIAL: usize = 4096;

struct Random {
    space: Arc<Space>,
    codecs: Vec<Codec>,
    is_conditional: bool,
    key: Key,
}

impl Random {
    fn new(space: Arc<Space>, key: Key) -> Random {
        let is_conditional = space.parameters.iter().any(|parameter| !parameter.conditions.is_empty());
        Random { codecs: space.codecs(), is_conditional, key, space }
    }

    /// Candidate `id`.
    fn draw(&self, id: u64, row: &mut [f64]) {
        if id == 0 {
            row.copy_from_slice(&self.space.defaults());
            return;
        }
        let stride = row.len() as u64;
        for attempt in 0..ATTEMPTS {
            // A candidate's first attempt takes the counters of its own id; the others have a key of their own.
            let key = if attempt == 0 { self.key } else { self.key.child(attempt as u32) };
            for (column, (value, codec)) in row.iter_mut().zip(&self.codecs).enumerate() {
                *value = codec.decode(uniform_f64(key.words(id * stride + column as u64)));
            }
            if self.is_conditional {
                self.space.mask(row);
            }
            if self.space.constraints.is_empty() || self.space.is_allowed(row) {
                return;
            }
        }
    }
}

impl Strategy for Random {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        let width = self.space.parameters.len();
        let mut values = vec![0.0; n * width];
        let draw = |(place, row): (usize, &mut [f64])| self.draw(first + place as u64, row);
        if n < SERIAL {
            values.chunks_exact_mut(width).enumerate().for_each(draw);
        } else {
            values.par_chunks_exact_mut(width).enumerate().with_min_len(SERIAL / 4).for_each(draw);
        }
        Ask::Proposals(Points::from_values(width, values))
    }

    fn tell(&mut self, _: &[Outcome]) {}

    fn size(&self) -> Option<u64> {
        None
    }

    fn is_adaptive(&self) -> bool {
        false
    }
}
