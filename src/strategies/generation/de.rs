//! Differential evolution that learns its rates: SHADE (Tanabe & Fukunaga 2013, doi:10.1109/CEC.2013.6557555), with the
//! memory and the share of leaders that L-SHADE settled on. The population keeps its size; each member has one place in
//! the archive, where the place that it left last is.

use super::cpu::{BLOCK, Problem, Turn};
use super::draws::{below, for_each_chunk, normal, pair, purpose};
use super::state::{State, head, rank_key};
use super::{DevicePlan, GenerationMethod, Layout, Step};
use crate::backend::cpu::random::uniform;
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Simd, dispatch};
use crate::base::random::Key;
use rayon::prelude::*;

/// Differential evolution.
pub struct De;

/// The share of the best members that lead, and entries of the memory of rates: Tanabe & Fukunaga 2014, table I.
const LEADERS: f32 = 0.11;
pub const MEMORY: usize = 6;
/// How far rates are drawn from their means.
const SPREAD: f32 = 0.1;
/// How often a scale of 0 or less is drawn again, before the memory's own is taken.
const SCALE_DRAWS: usize = 4;

/// Places in the head.
mod own {
    use super::{MEMORY, head};
    pub const SCALES: usize = head::OWN;
    /// NaN once only a rate of 0 succeeds.
    pub const CROSSOVERS: usize = SCALES + MEMORY;
    /// The entry that is written next.
    pub const NEXT: usize = CROSSOVERS + MEMORY;
}

/// The row of a member's last place.
const ARCHIVE: usize = 1;

/// Numbers of a trial.
mod scratch {
    /// Its value, and the scale and the crossover rate that it was made with.
    pub const COUNT: usize = 3;
}

/// Members that lead.
pub fn leaders(members: usize) -> usize {
    ((LEADERS * members as f32 + 0.5) as usize).clamp(2, members)
}

impl GenerationMethod for De {
    fn default_members(&self, axes: usize, candidates: u64) -> u64 {
        (18 * axes as u64).min(candidates / 400).max(10)
    }

    fn fewest_members(&self) -> u64 {
        4
    }

    fn layout(&self, axes: usize, members: usize) -> Layout {
        Layout { rows: 2, scratch_rows: 1, scratch_columns: scratch::COUNT, ..Layout::new(axes, members) }
    }

    fn begin(&self, state: &mut State) {
        for entry in 0..MEMORY {
            state.set_number(own::SCALES + entry, 0.5);
            state.set_number(own::CROSSOVERS + entry, 0.5);
        }
        let (members, left) = state.rows.split_at_mut(state.layout.members * state.layout.chunks());
        left.copy_from_slice(members);
    }

    fn device(&self, layout: &Layout) -> DevicePlan {
        let members = layout.members;
        DevicePlan {
            source: include_str!("../../../shaders/strategies/de.wgsl"),
            counts: vec![("LEADERS", leaders(members)), ("MEMORY", MEMORY), ("SCALE_DRAWS", SCALE_DRAWS)],
            numbers: vec![("SPREAD", SPREAD)],
            table: Vec::new(),
            ranked: members,
            first: vec![Step::Evaluate { row: 0, column: 0 }],
            steps: vec![
                Step::Rank,
                Step::Over("lead", members),
                Step::Over("rate", members),
                Step::Over("mutate", members * layout.stride()),
                Step::Evaluate { row: 2, column: 1 },
                Step::Alone("learn"),
                Step::Over("replace", members * layout.stride()),
                Step::Over("accept", members),
            ],
        }
    }

    fn turn(&self, turn: &mut Turn<'_>) {
        if turn.is_first() {
            turn.evaluate();
            return;
        }
        lead(turn);
        attempt(turn);
        learn(turn);
        select(turn);
    }
}

/// Lists the leaders, best first.
fn lead(turn: &mut Turn<'_>) {
    let members = turn.state.layout.members;
    let count = leaders(members);
    let (keys, ids) = (&mut turn.work.keys, &mut turn.work.ids);
    keys.clear();
    keys.extend(turn.state.columns.iter().enumerate().map(|(member, value)| rank_key(*value, member)));
    keys.select_nth_unstable(count - 1);
    keys[..count].sort_unstable();
    ids.clear();
    ids.extend(keys[..count].iter().map(|key| *key as u32));
}

/// Makes and evaluates a trial for each member.
fn attempt(turn: &mut Turn<'_>) {
    let (problem, state) = (turn.problem, &*turn.state);
    let (members, chunks) = (state.layout.members, state.layout.chunks());
    let work = &mut *turn.work;
    let (values, rates) = work.columns.split_at_mut(members);
    let (scales, crossovers) = rates.split_at_mut(members);
    let columns = values.par_chunks_mut(BLOCK).zip(scales.par_chunks_mut(BLOCK)).zip(crossovers.par_chunks_mut(BLOCK));
    let blocks = columns.zip(work.rows.par_chunks_mut(BLOCK * chunks));
    let (ids, key) = (&work.ids[..], state.generation_key());
    blocks.enumerate().for_each(|(block, (((values, scales), crossovers), trials))| {
        let first = block * BLOCK;
        let attempt = Attempt { problem, state, ids, key, first, values, scales, crossovers, trials };
        dispatch(problem.level, attempt);
    });
}

struct Attempt<'a> {
    problem: &'a Problem,
    state: &'a State,
    /// Leaders, best first.
    ids: &'a [u32],
    key: Key,
    first: usize,
    values: &'a mut [f32],
    scales: &'a mut [f32],
    crossovers: &'a mut [f32],
    trials: &'a mut [Lanes],
}

/// Kinds of words of a member: so many times all members, rounded up to whole groups, before its counter.
mod word {
    /// The leader, and the first donor.
    pub const LEADER: u32 = 0;
    /// The second donor, and the axis that is the mutant's in any case.
    pub const DONOR: u32 = 1;
    /// The entry of the memory, and the normal number of the crossover rate.
    pub const ENTRY: u32 = 2;
    /// Two normal numbers, whose ratio is Cauchy's, and so on.
    pub const SCALE: u32 = 3;
}

impl Kernel for Attempt<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        let chunks = self.state.layout.chunks();
        let count = self.values.len();
        for group in (0..count).step_by(LANES) {
            let drawn = draw::<V>(self.state, self.key, self.first + group);
            let donors_of = |lane: usize| donors(self.state, self.ids, self.first + group + lane, &drawn, lane);
            for lane in 0..LANES.min(count - group) {
                let place = group + lane;
                let (scale, crossover) = (drawn.scales.0[lane], drawn.crossovers.0[lane]);
                (self.scales[place], self.crossovers[place]) = (scale, crossover);
                let donors = donors_of(lane);
                // The next trial's lie anywhere.
                if lane + 1 < LANES.min(count - group) {
                    let next = donors_of(lane + 1);
                    [next.leader, next.first, next.second].into_iter().for_each(V::prefetch);
                }
                let trial = &mut self.trials[place * chunks..][..chunks];
                mutate::<V>(self.key, ((self.first + place) * chunks * LANES) as u32, trial, &donors, scale, crossover);
            }
        }
        self.problem.evaluate::<V>(chunks, self.trials, self.values);
    }
}

/// What sixteen members draw.
struct Drawn {
    /// Words of the leader, the two donors, and the certain axis.
    words: [Lanes; 4],
    scales: Lanes,
    crossovers: Lanes,
}

/// Whose places a trial is made of.
struct Donors<'a> {
    target: &'a [Lanes],
    leader: &'a [Lanes],
    first: &'a [Lanes],
    second: &'a [Lanes],
    certain: usize,
}

#[inline(always)]
fn draw<V: Simd>(state: &State, key: Key, first: usize) -> Drawn {
    // Sixteen counters in a row are one kind of word of sixteen members.
    let base = |kind: u32| kind * state.layout.members.next_multiple_of(LANES) as u32 + first as u32;
    let [leader, donor] = pair::<V>(key, purpose::MEMBER, base(word::LEADER));
    let [second, certain] = pair::<V>(key, purpose::MEMBER, base(word::DONOR));
    let [entry, rate] = pair::<V>(key, purpose::MEMBER, base(word::ENTRY));
    let mut entries = Lanes::ZERO;
    entry.store(&mut entries);
    let entries = entries.0.map(|word| below(word.to_bits(), MEMORY));
    let means = |place: usize| V::load(&Lanes(entries.map(|entry| state.number(place + entry))));
    let mean = means(own::CROSSOVERS);
    let crossover = mean.add(V::splat(SPREAD).mul(normal(rate)));
    let crossover = V::splat(1.0).min(V::zero().max(crossover));
    // Of a mean that is no number comes 0.
    let crossover = V::select(mean.less(V::splat(2.0)), crossover, V::zero());
    let mean = means(own::SCALES);
    let mut scale = V::zero();
    for attempt in 0..SCALE_DRAWS as u32 {
        let [above, below] = pair::<V>(key, purpose::MEMBER, base(word::SCALE + attempt));
        let drawn = mean.add(V::splat(SPREAD).mul(normal(above).div(normal(below))));
        scale = V::select(V::zero().less(scale), scale, drawn);
    }
    let scale = V::select(V::zero().less(scale), scale, mean);
    let mut drawn = Drawn { words: [Lanes::ZERO; 4], scales: Lanes::ZERO, crossovers: Lanes::ZERO };
    for (words, to) in [leader, donor, second, certain].into_iter().zip(&mut drawn.words) {
        words.store(to);
    }
    V::splat(1.0).min(scale).store(&mut drawn.scales);
    crossover.store(&mut drawn.crossovers);
    drawn
}

/// The first donor is another member, the second one of the others or of the archive.
#[inline(always)]
fn donors<'a>(state: &'a State, ids: &[u32], target: usize, drawn: &Drawn, lane: usize) -> Donors<'a> {
    let (members, chunks) = (state.layout.members, state.layout.chunks());
    let word = |which: usize| drawn.words[which].0[lane].to_bits();
    let leader = ids[below(word(0), ids.len())] as usize;
    let first = below(word(1), members - 1);
    let first = first + usize::from(first >= target);
    let (low, high) = (target.min(first), target.max(first));
    let second = below(word(2), 2 * members - 2);
    let second = second + usize::from(second >= low);
    let second = second + usize::from(second >= high);
    let certain = below(word(3), state.layout.axes);
    // The archive's rows follow the members'.
    const { assert!(ARCHIVE == 1) };
    let row = |index: usize| &state.rows[index * chunks..][..chunks];
    Donors { target: row(target), leader: row(leader), first: row(first), second: row(second), certain }
}

/// `x + F (leader - x) + F (first - second)` on the axes that cross. A place outside the cube goes half-way from the target
/// to the bound (Zhang & Sanderson 2009, JADE).
#[inline(always)]
fn mutate<V: Simd>(key: Key, first: u32, trial: &mut [Lanes], donors: &Donors<'_>, scale: f32, crossover: f32) {
    let (scale, crossover) = (V::splat(scale), V::splat(crossover));
    let (zero, one, half) = (V::zero(), V::splat(1.0), V::splat(0.5));
    for_each_chunk::<V>(
        key,
        first,
        trial,
        #[inline(always)]
        |chunk, words, trial| {
            let x = V::load(&donors.target[chunk]);
            let led = scale.mul(V::load(&donors.leader[chunk]).sub(x));
            let moved = scale.mul(V::load(&donors.first[chunk]).sub(V::load(&donors.second[chunk])));
            let mutant = x.add(led).add(moved);
            let mutant = V::select(mutant.less(zero), x.mul(half), mutant);
            let mutant = V::select(one.less(mutant), x.add(one).mul(half), mutant);
            V::select(uniform(words).less(crossover), mutant, x).store(trial);
            if donors.certain / LANES == chunk {
                let mut all = Lanes::ZERO;
                mutant.store(&mut all);
                trial.0[donors.certain % LANES] = all.0[donors.certain % LANES];
            }
        },
    );
}

/// Lanes of a sum over members: each adds every so many-th, and then halves are added to halves.
pub const TREE: usize = 256;

/// Weighted Lehmer means of the rates that succeeded, by how much each improved.
fn learn(turn: &mut Turn<'_>) {
    let state = &mut *turn.state;
    let members = state.layout.members;
    let (values, rates) = turn.work.columns.split_at(members);
    let (scales, crossovers) = rates.split_at(members);
    let mut sums = [[0.0f32; TREE]; 4];
    for member in 0..members {
        let gain = gain(state.columns[member], values[member]);
        let lane = member % TREE;
        for (sums, rate) in sums.chunks_exact_mut(2).zip([scales[member], crossovers[member]]) {
            sums[0][lane] += gain * rate;
            sums[1][lane] += gain * rate * rate;
        }
    }
    for sums in &mut sums {
        let mut width = TREE / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
    }
    let [scale, scale_squares, crossover, crossover_squares] = sums.map(|sums| sums[0]);
    let entry = state.head[own::NEXT] as usize % MEMORY;
    if !(scale > 0.0 && scale_squares.is_finite()) {
        return;
    }
    state.set_number(own::SCALES + entry, scale_squares / scale);
    if !state.number(own::CROSSOVERS + entry).is_nan() {
        let mean = if crossover > 0.0 { crossover_squares / crossover } else { f32::NAN };
        state.set_number(own::CROSSOVERS + entry, mean);
    }
    state.head[own::NEXT] = (entry as u32 + 1) % MEMORY as u32;
}

/// By how much a trial is better; 0 where it is not, or where its member had no value.
#[inline(always)]
fn gain(value: f32, trial: f32) -> f32 {
    if trial < value && value < f32::INFINITY { value - trial } else { 0.0 }
}

/// Replaces members by trials that are no worse, and archives those that were beaten.
fn select(turn: &mut Turn<'_>) {
    let (members, chunks) = (turn.state.layout.members, turn.state.layout.chunks());
    let State { rows, columns, .. } = &mut *turn.state;
    let (places, archive) = rows.split_at_mut(members * chunks);
    let trials = turn.work.rows.par_chunks(BLOCK * chunks).zip(turn.work.columns[..members].par_chunks(BLOCK));
    let blocks = places.par_chunks_mut(BLOCK * chunks).zip(archive.par_chunks_mut(BLOCK * chunks));
    blocks.zip(columns.par_chunks_mut(BLOCK)).zip(trials).for_each(|(((places, archive), values), (trials, tried))| {
        let rows =
            places.chunks_exact_mut(chunks).zip(archive.chunks_exact_mut(chunks)).zip(trials.chunks_exact(chunks));
        for (((place, left), trial), (value, tried)) in rows.zip(values.iter_mut().zip(tried)) {
            if *tried < *value || value.is_nan() && !tried.is_nan() {
                left.copy_from_slice(place);
            } else if !(*tried == *value) {
                continue;
            }
            place.copy_from_slice(trial);
            *value = *tried;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::course;
    use super::super::{Course, DE};
    use super::*;

    #[test]
    fn rates_follow_what_succeeds() {
        let mut course = course(&DE, "rastrigin", 10, 60, 3);
        assert!(course.advance(150).is_ok());
        let words = course.state();
        let crossovers: Vec<f32> =
            words[own::CROSSOVERS..][..MEMORY].iter().map(|word| f32::from_bits(*word)).collect();
        // Of a separable function few axes at a time are better than many.
        assert!(crossovers.iter().all(|rate| rate.is_nan() || *rate < 0.5), "{crossovers:?}");
        assert_eq!(words[head::GENERATION], 150);
    }
}
