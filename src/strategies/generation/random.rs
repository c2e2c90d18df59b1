//! Uniform draws, generation after generation: what everything else is measured by.

use super::cpu::{BLOCK, Problem, Turn};
use super::draws::for_each_chunk;
use super::{DevicePlan, GenerationMethod, Layout, Step};
use crate::backend::cpu::random::uniform;
use crate::backend::cpu::simd::{Kernel, Lanes, Simd, dispatch};
use crate::base::random::Key;
use rayon::prelude::*;

/// Random search.
pub struct Random;

impl GenerationMethod for Random {
    fn default_members(&self, _: usize, candidates: u64) -> u64 {
        candidates.clamp(1, 1 << 14)
    }

    fn layout(&self, axes: usize, members: usize) -> Layout {
        Layout::new(axes, members)
    }

    fn device(&self, layout: &Layout) -> DevicePlan {
        let evaluate = Step::Evaluate { row: 0, column: 0 };
        DevicePlan {
            source: include_str!("../../../shaders/strategies/random.wgsl"),
            counts: Vec::new(),
            numbers: Vec::new(),
            table: Vec::new(),
            ranked: 0,
            first: vec![evaluate],
            steps: vec![Step::Over("draw", layout.members * layout.stride()), evaluate],
        }
    }

    fn turn(&self, turn: &mut Turn<'_>) {
        if turn.is_first() {
            turn.evaluate();
            return;
        }
        let (key, chunks) = (turn.state.generation_key(), turn.state.layout.chunks());
        let problem = turn.problem;
        let blocks = turn.state.rows.par_chunks_mut(BLOCK * chunks).zip(turn.state.columns.par_chunks_mut(BLOCK));
        blocks.enumerate().for_each(|(block, (places, values))| {
            dispatch(problem.level, Draw { problem, key, chunks, first: block * BLOCK, places, values });
        });
    }
}

struct Draw<'a> {
    problem: &'a Problem,
    key: Key,
    chunks: usize,
    /// The block's first member.
    first: usize,
    places: &'a mut [Lanes],
    values: &'a mut [f32],
}

impl Kernel for Draw<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        for (member, place) in (self.first..).zip(self.places.chunks_exact_mut(self.chunks)) {
            let first = (member * self.chunks * 16) as u32;
            for_each_chunk::<V>(
                self.key,
                first,
                place,
                #[inline(always)]
                |_, words, chunk| uniform(words).store(chunk),
            );
        }
        self.problem.evaluate::<V>(self.chunks, self.places, self.values);
    }
}
