//! A genetic algorithm: parents by tournaments of two, simulated binary crossover (Deb & Agrawal 1995) and polynomial
//! mutation (Deb & Goyal 1996) within bounds, and the best of parents and children live on.

use super::cpu::{BLOCK, Problem, Turn};
use super::draws::{below, pair, purpose, uniform_pair};
use super::state::{State, rank_key};
use super::{DevicePlan, GenerationMethod, Layout, Step};
use crate::backend::cpu::math::{Fused, exp, ln_of_normal};
use crate::backend::cpu::random::uniform;
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Simd, dispatch};
use crate::base::random::{Key, uniform as uniform_of};
use rayon::prelude::*;

/// A genetic algorithm.
pub struct Genetic;

/// How likely a child has two parents.
const CROSSOVER: f32 = 0.9;
/// How near children are to their parents, and how small a mutation is: as `genetic` has it candidate by candidate.
const CROSSOVER_INDEX: f32 = 15.0;
const MUTATION_INDEX: f32 = 20.0;
/// Parents nearer to each other are one along an axis: what is less has no f32 between.
const APART: f32 = 1e-7;

impl GenerationMethod for Genetic {
    fn default_members(&self, _: usize, candidates: u64) -> u64 {
        (candidates / 80).clamp(20, 100)
    }

    fn fewest_members(&self) -> u64 {
        2
    }

    fn layout(&self, axes: usize, members: usize) -> Layout {
        // A device keeps there besides who lives.
        Layout { scratch_rows: 1, scratch_columns: 3, ..Layout::new(axes, members) }
    }

    fn device(&self, layout: &Layout) -> DevicePlan {
        let members = layout.members;
        DevicePlan {
            source: include_str!("../../../shaders/strategies/genetic.wgsl"),
            counts: Vec::new(),
            numbers: vec![
                ("CROSSOVER", CROSSOVER),
                ("MUTATION", 1.0 / layout.axes as f32),
                ("CROSSOVER_INDEX", CROSSOVER_INDEX),
                ("MUTATION_INDEX", MUTATION_INDEX),
                ("APART", APART),
            ],
            table: Vec::new(),
            ranked: 2 * members,
            first: vec![Step::Evaluate { row: 0, column: 0 }],
            steps: vec![
                Step::Over("breed", members * layout.stride()),
                Step::Evaluate { row: 1, column: 1 },
                Step::Rank,
                Step::Over("rank", 2 * members),
                Step::Alone("list"),
                Step::Over("replace", members * layout.stride()),
            ],
        }
    }

    fn turn(&self, turn: &mut Turn<'_>) {
        if turn.is_first() {
            turn.evaluate();
            return;
        }
        breed(turn);
        select(turn);
    }
}

/// Makes and evaluates as many children as there are members.
fn breed(turn: &mut Turn<'_>) {
    let (problem, state) = (turn.problem, &*turn.state);
    let (key, chunks, members) = (state.generation_key(), state.layout.chunks(), state.layout.members);
    let work = &mut *turn.work;
    let blocks = work.rows.par_chunks_mut(BLOCK * chunks).zip(work.columns[..members].par_chunks_mut(BLOCK));
    blocks.enumerate().for_each(|(block, (children, values))| {
        dispatch(problem.level, Breed { problem, state, key, first: block * BLOCK, children, values });
    });
}

struct Breed<'a> {
    problem: &'a Problem,
    state: &'a State,
    key: Key,
    first: usize,
    children: &'a mut [Lanes],
    values: &'a mut [f32],
}

/// Kinds of words of a member.
mod word {
    /// Two members, of which the better is the mother.
    pub const MOTHER: u32 = 0;
    pub const FATHER: u32 = 1;
    /// Whether there is a father, and the axis that mutates in any case where there is none.
    pub const CROSSED: u32 = 2;
}

impl Kernel for Breed<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        let layout = &self.state.layout;
        let (members, chunks) = (layout.members, layout.chunks());
        let padded = members.next_multiple_of(LANES) as u32;
        let place = |member: usize| &self.state.rows[member * chunks..][..chunks];
        let mut words = [Lanes::ZERO; 6];
        // Parents lie anywhere, so that those of sixteen children are known, and the next child's asked for, before they
        // are read.
        let mut parents = [[0; 2]; LANES];
        for (index, child) in self.children.chunks_exact_mut(chunks).enumerate() {
            let (member, lane) = (self.first + index, index % LANES);
            if lane == 0 {
                for (kind, words) in
                    [word::MOTHER, word::FATHER, word::CROSSED].into_iter().zip(words.chunks_exact_mut(2))
                {
                    let drawn = pair::<V>(self.key, purpose::MEMBER, kind * padded + member as u32);
                    drawn.into_iter().zip(words).for_each(|(drawn, words)| drawn.store(words));
                }
                for (lane, parents) in parents.iter_mut().enumerate() {
                    let winner = |which: usize| {
                        let drawn = |which: usize| below(words[which].0[lane].to_bits(), members);
                        let [a, b] = [drawn(which), drawn(which + 1)];
                        let key = |member: usize| rank_key(self.state.columns[member], member);
                        if key(b) < key(a) { b } else { a }
                    };
                    *parents = [winner(0), winner(2)];
                }
            }
            let word = |which: usize| words[which].0[lane].to_bits();
            let [mother, father] = parents[lane];
            if let Some(next) = parents.get(lane + 1) {
                next.iter().for_each(|parent| V::prefetch(place(*parent)));
            }
            let is_crossed = uniform_of(word(4)) < CROSSOVER;
            let certain = below(word(5), layout.axes);
            let first = (member * chunks * LANES) as u32;
            let made = Child { mother: place(mother), father: place(father), is_crossed, certain, axes: layout.axes };
            made.write::<V>(self.key, first, child);
        }
        self.problem.evaluate::<V>(chunks, self.children, self.values);
    }
}

struct Child<'a> {
    mother: &'a [Lanes],
    father: &'a [Lanes],
    is_crossed: bool,
    certain: usize,
    axes: usize,
}

impl Child<'_> {
    #[inline(always)]
    fn write<V: Simd>(&self, key: Key, first: u32, child: &mut [Lanes]) {
        let rate = V::splat(1.0 / self.axes as f32);
        for (chunk, child) in child.iter_mut().enumerate() {
            let counter = first.wrapping_add(16 * chunk as u32);
            let [spread, side] = pair::<V>(key, purpose::AXES, counter);
            let [mutates, step] = uniform_pair::<V>(key, purpose::AXES_MORE, counter);
            let mut place = V::load(&self.mother[chunk]);
            if self.is_crossed {
                // The highest bit says whether an axis is crossed, the next one which of the two children it is.
                let crossed = cross(place, V::load(&self.father[chunk]), uniform(spread), side);
                place = V::select(uniform(side).less(V::splat(0.5)), crossed, place);
            }
            let here = mutates.less(rate);
            // A child of one parent must not be it.
            let is_certain = !self.is_crossed && self.certain / LANES == chunk;
            if V::mask_bits(here) != 0 || is_certain {
                let mutant = mutate(place, step);
                let mixed = V::select(here, mutant, place);
                mixed.store(child);
                if is_certain {
                    let mut all = Lanes::ZERO;
                    mutant.store(&mut all);
                    child.0[self.certain % LANES] = all.0[self.certain % LANES];
                }
            } else {
                place.store(child);
            }
        }
    }
}

/// `x^power` of x in (0, 2^127); of less than that the power of the least normal number.
#[inline(always)]
fn pow<V: Simd>(x: V, power: f32) -> V {
    exp(V::splat(power).mul(ln_of_normal::<Fused, V>(V::splat(f32::MIN_POSITIVE).max(x))))
}

/// One of the two children of two places; the second bit of `side` says which.
#[inline(always)]
fn cross<V: Simd>(a: V, b: V, uniform: V, side: V) -> V {
    let (one, two) = (V::splat(1.0), V::splat(2.0));
    let (low, high) = (a.min(b), a.max(b));
    let apart = high.sub(low);
    let zero_bits = side.and_bits(V::splat_bits(0x4000_0000));
    // 2.0 has these bits, and nothing else that can be left has.
    let is_upper = one.less(zero_bits);
    let room = V::select(is_upper, one.sub(high), low);
    let safe = V::splat(APART).max(apart);
    let alpha = two.sub(pow(one.add(two.mul(room).div(safe)), -(CROSSOVER_INDEX + 1.0)));
    let share = uniform.mul(alpha);
    let base = V::select(one.less(share), one.div(two.sub(share)), share);
    let spread = pow(base, 1.0 / (CROSSOVER_INDEX + 1.0)).mul(apart);
    let spread = V::select(is_upper, spread, V::zero().sub(spread));
    let child = V::splat(0.5).mul(low.add(high).add(spread));
    let child = one.min(V::zero().max(child));
    V::select(apart.less(V::splat(APART)), a, child)
}

/// A place near this one.
#[inline(always)]
fn mutate<V: Simd>(place: V, uniform: V) -> V {
    let (one, two, power) = (V::splat(1.0), V::splat(2.0), MUTATION_INDEX + 1.0);
    let is_down = uniform.less(V::splat(0.5));
    let share = V::select(is_down, two.mul(uniform), two.sub(two.mul(uniform)));
    let room = V::select(is_down, one.sub(place), place);
    let base = share.add(one.sub(share).mul(pow(room, power)));
    let size = one.sub(pow(base, 1.0 / power));
    let moved = V::select(is_down, place.sub(size), place.add(size));
    one.min(V::zero().max(moved))
}

/// The best half of members and children are the members: a child takes the place of a member that falls out.
fn select(turn: &mut Turn<'_>) {
    let State { layout, columns, rows, .. } = &mut *turn.state;
    let (members, chunks) = (layout.members, layout.chunks());
    let work = &mut *turn.work;
    let all = || columns.iter().chain(&work.columns[..members]).enumerate();
    work.keys.clear();
    work.keys.extend(all().map(|(member, value)| rank_key(*value, member)));
    let (_, last, _) = work.keys.select_nth_unstable(members - 1);
    let last = *last;
    // Children that live, in their order, and who makes room for them, in theirs.
    work.ids.clear();
    work.ids.extend(
        (0..members).filter(|child| rank_key(work.columns[*child], members + child) <= last).map(|child| child as u32),
    );
    let mut children = work.ids.iter();
    for member in 0..members {
        if rank_key(columns[member], member) > last {
            let Some(child) = children.next().map(|child| *child as usize) else { break };
            columns[member] = work.columns[child];
            rows[member * chunks..][..chunks].copy_from_slice(&work.rows[child * chunks..][..chunks]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::course;
    use super::super::{Course, GENETIC, Layout};
    use super::*;

    struct Vary(Lanes, Lanes, Lanes, bool);

    impl Kernel for Vary {
        type Output = Lanes;
        #[inline(always)]
        fn run<V: Simd>(self) -> Lanes {
            let mut out = Lanes::ZERO;
            let [a, b, uniform] = [&self.0, &self.1, &self.2].map(|lanes| V::load(lanes));
            let side = V::splat_bits(if self.3 { 0x4000_0000 } else { 0 });
            cross(a, b, uniform, side).store(&mut out);
            out
        }
    }

    #[test]
    fn crossover_is_that_of_the_method_that_proposes_candidate_by_candidate() {
        // variation.rs of the strategies, in f64.
        let exact = |a: f64, b: f64, uniform: f64, is_upper: bool| {
            let (low, high) = (a.min(b), a.max(b));
            let apart = high - low;
            let room = if is_upper { 1.0 - high } else { low };
            let alpha = 2.0 - libm::pow(1.0 + 2.0 * room / apart, -16.0);
            let share = uniform * alpha;
            let spread = libm::pow(if share <= 1.0 { share } else { 1.0 / (2.0 - share) }, 1.0 / 16.0);
            0.5 * (low + high + if is_upper { spread } else { -spread } * apart)
        };
        for seed in 0..50 {
            let drawn = |tag: u32| {
                Lanes(std::array::from_fn(|i| uniform_of(Key::from_seed(seed).child(tag).words(i as u64)[0])))
            };
            let (a, b, u) = (drawn(0), drawn(1), drawn(2));
            for is_upper in [false, true] {
                let found = dispatch(crate::backend::cpu::simd::Level::detect(), Vary(a, b, u, is_upper));
                for i in 0..LANES {
                    let expected = exact(f64::from(a.0[i]), f64::from(b.0[i]), f64::from(u.0[i]), is_upper);
                    assert!((f64::from(found.0[i]) - expected).abs() < 1e-5, "{} {expected}", found.0[i]);
                }
            }
        }
    }

    #[test]
    fn the_best_live_on() {
        let mut course = course(&GENETIC, "rastrigin", 5, 30, 1);
        let mut before = f32::INFINITY;
        for _ in 0..30 {
            assert!(course.advance(1).is_ok());
            let layout = Layout::new(5, 30);
            let words = course.state();
            let values = &words[super::super::state::HEAD + layout.stride()..][..30];
            let mean = values.iter().map(|word| f32::from_bits(*word)).sum::<f32>() / 30.0;
            assert!(mean <= before);
            before = mean;
        }
    }
}
