//! Particle swarms with constriction (Clerc & Kennedy 2002), as `pso.rs` of the strategies has them: every particle is drawn
//! to the best place that it found and to the best of all, or of itself and its two neighbours on a ring.

use super::cpu::{BLOCK, Problem, Turn};
use super::draws::{purpose, reflected, uniform_pair};
use super::state::State;
use super::{DevicePlan, GenerationMethod, Layout, Step};
use crate::backend::cpu::simd::{Kernel, Lanes, Simd, dispatch};
use crate::base::random::{Key, uniform};
use rayon::prelude::*;

/// A swarm.
pub struct Pso {
    /// Whether particles know their neighbours alone.
    pub is_ring: bool,
}

/// Rows of a member.
mod row {
    /// Its place, its velocity, and the best place that it has seen.
    pub const COUNT: usize = 3;
}

/// The constriction factor chi for phi = 4.1, and phi / 2.
const CONSTRICTION: f32 = 0.7298;
const PULL: f32 = 2.05;

/// The tag of the key by which founders get their first velocity.
const LAUNCH: u32 = u32::MAX - 1;

impl GenerationMethod for Pso {
    fn default_members(&self, _: usize, candidates: u64) -> u64 {
        (candidates / 100).clamp(10, 40)
    }

    fn fewest_members(&self) -> u64 {
        3
    }

    /// Columns are values and the values of each particle's best.
    fn layout(&self, axes: usize, members: usize) -> Layout {
        Layout { rows: row::COUNT, columns: 2, ..Layout::new(axes, members) }
    }

    /// A particle flies at first half-way to a place drawn from the whole cube.
    fn begin(&self, state: &mut State) {
        let (chunks, members, axes) = (state.layout.chunks(), state.layout.members, state.layout.axes);
        let key = state.key().child(LAUNCH);
        let (places, others) = state.rows.split_at_mut(members * chunks);
        let (velocities, bests) = others.split_at_mut(members * chunks);
        bests.copy_from_slice(places);
        for (index, (place, velocity)) in places.iter().zip(velocities).enumerate() {
            for (lane, (place, velocity)) in place.0.iter().zip(&mut velocity.0).enumerate() {
                if index % chunks * 16 + lane < axes {
                    *velocity = (uniform(key.words((16 * index + lane) as u64)[0]) - place) * 0.5;
                }
            }
        }
    }

    fn device(&self, layout: &Layout) -> DevicePlan {
        let members = layout.members;
        let learn = [Step::Evaluate { row: 0, column: 0 }, Step::Over("keep", members)];
        DevicePlan {
            source: include_str!("../../../shaders/strategies/pso.wgsl"),
            counts: vec![("IS_RING", usize::from(self.is_ring))],
            numbers: vec![("CONSTRICTION", CONSTRICTION), ("PULL", PULL)],
            table: Vec::new(),
            ranked: 0,
            first: learn.to_vec(),
            steps: [&[Step::Over("fly", members * layout.stride())][..], &learn].concat(),
        }
    }

    fn turn(&self, turn: &mut Turn<'_>) {
        let is_first = turn.is_first();
        if self.is_ring && !is_first {
            // Neighbours' bests must not change while others fly by them.
            fly(turn);
        }
        let (key, problem) = (turn.state.generation_key(), turn.problem);
        let (chunks, members) = (turn.state.layout.chunks(), turn.state.layout.members);
        let leader = &turn.state.vectors[..chunks];
        let (places, others) = turn.state.rows.split_at_mut(members * chunks);
        let (velocities, bests) = others.split_at_mut(members * chunks);
        let (values, records) = turn.state.columns.split_at_mut(members);
        let rows = places.par_chunks_mut(BLOCK * chunks).zip(velocities.par_chunks_mut(BLOCK * chunks));
        let rows = rows.zip(bests.par_chunks_mut(BLOCK * chunks));
        let columns = values.par_chunks_mut(BLOCK).zip(records.par_chunks_mut(BLOCK));
        let moves = !self.is_ring && !is_first;
        rows.zip(columns).enumerate().for_each(|(block, (((places, velocities), bests), (values, records)))| {
            let first = block * BLOCK;
            let leader = moves.then_some(leader);
            let keep = Keep { problem, key, chunks, first, places, velocities, bests, values, records, leader };
            dispatch(problem.level, keep);
        });
    }
}

/// `v = chi (v + U(0, c) (own best - x) + U(0, c) (informant's best - x))`, equation 17 of Clerc & Kennedy. What leaves the
/// cube is reflected into it, and its velocity is what it travelled.
#[inline(always)]
fn fly_one<V: Simd>(
    key: Key,
    first: u32,
    place: &mut [Lanes],
    velocity: &mut [Lanes],
    own: &[Lanes],
    informant: &[Lanes],
) {
    let rows = place.iter_mut().zip(velocity).zip(own.iter().zip(informant));
    for (chunk, ((place, velocity), (own, informant))) in rows.enumerate() {
        let [to_own, to_informant] = uniform_pair::<V>(key, purpose::AXES, first.wrapping_add(16 * chunk as u32));
        let x = V::load(place);
        let own = V::splat(PULL).mul(to_own).mul(V::load(own).sub(x));
        let informed = V::splat(PULL).mul(to_informant).mul(V::load(informant).sub(x));
        let step = V::splat(CONSTRICTION).mul(V::load(velocity).add(own).add(informed));
        let to = reflected(x.add(step));
        to.sub(x).store(velocity);
        to.store(place);
    }
}

/// Moves every particle of a ring.
fn fly(turn: &mut Turn<'_>) {
    let (key, level) = (turn.state.generation_key(), turn.problem.level);
    let (chunks, members) = (turn.state.layout.chunks(), turn.state.layout.members);
    let (places, others) = turn.state.rows.split_at_mut(members * chunks);
    let (velocities, bests) = others.split_at_mut(members * chunks);
    let (bests, records) = (&*bests, &turn.state.columns[members..]);
    let blocks = places.par_chunks_mut(BLOCK * chunks).zip(velocities.par_chunks_mut(BLOCK * chunks)).enumerate();
    blocks.for_each(|(block, (places, velocities))| {
        dispatch(level, Fly { key, chunks, first: block * BLOCK, places, velocities, bests, records });
    });
}

struct Fly<'a> {
    key: Key,
    chunks: usize,
    first: usize,
    places: &'a mut [Lanes],
    velocities: &'a mut [Lanes],
    /// Of all members.
    bests: &'a [Lanes],
    records: &'a [f32],
}

impl Kernel for Fly<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        let rows = self.places.chunks_exact_mut(self.chunks).zip(self.velocities.chunks_exact_mut(self.chunks));
        for (member, (place, velocity)) in (self.first..).zip(rows) {
            let best = |member: usize| &self.bests[member * self.chunks..][..self.chunks];
            let first = (member * self.chunks * 16) as u32;
            fly_one::<V>(self.key, first, place, velocity, best(member), best(informant(self.records, member)));
        }
    }
}

/// Of a particle, the next one and the one before: whose best is the best, of equal ones the first.
fn informant(records: &[f32], particle: usize) -> usize {
    let count = records.len();
    let mut best = particle;
    for other in [(particle + 1) % count, (particle + count - 1) % count] {
        if records[other] < records[best] || records[best].is_nan() && !records[other].is_nan() {
            best = other;
        }
    }
    best
}

/// Evaluates particles where they are, after flying by the leader if there is one, and keeps what is no worse than their
/// best.
struct Keep<'a> {
    problem: &'a Problem,
    key: Key,
    chunks: usize,
    first: usize,
    places: &'a mut [Lanes],
    velocities: &'a mut [Lanes],
    bests: &'a mut [Lanes],
    values: &'a mut [f32],
    records: &'a mut [f32],
    leader: Option<&'a [Lanes]>,
}

impl Kernel for Keep<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        let chunks = self.chunks;
        if let Some(leader) = self.leader {
            let rows = self.places.chunks_exact_mut(chunks).zip(self.velocities.chunks_exact_mut(chunks));
            for (member, ((place, velocity), best)) in (self.first..).zip(rows.zip(self.bests.chunks_exact(chunks))) {
                fly_one::<V>(self.key, (member * chunks * 16) as u32, place, velocity, best, leader);
            }
        }
        self.problem.evaluate::<V>(chunks, self.places, self.values);
        let rows = self.places.chunks_exact(chunks).zip(self.bests.chunks_exact_mut(chunks));
        for ((place, best), (value, record)) in rows.zip(self.values.iter().zip(self.records)) {
            if *value <= *record || record.is_nan() && !value.is_nan() {
                *record = *value;
                best.copy_from_slice(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_ring_knows_its_neighbours_only() {
        let records = [3.0, f32::NAN, 5.0, 4.0, 1.0, 2.0];
        let informants = [0, 1, 2, 3, 4, 5].map(|particle| records[super::informant(&records, particle)]);
        assert_eq!(informants, [2.0, 3.0, 4.0, 1.0, 1.0, 1.0]);
    }
}
