//! The processor's executor: blocks of members on all threads of the pool that calls, each varied, decoded and evaluated
//! while it is in the cache. Nothing is allocated in a generation.

use super::axes::{Axes, Linear};
use super::rates::Rates;
use super::state::{Layout, State, WIDTH, head, rank_key};
use super::{Course, CourseError, GenerationMethod};
use crate::backend::cpu::double::Doubles;
use crate::backend::cpu::simd::{Kernel, Lanes, Level, Simd, dispatch};
use crate::base::random::{Key, uniform};
use crate::data::metrics::Direction;
use crate::functions::LaneValues;
use crate::space::Space;
use rayon::prelude::*;
use std::cell::RefCell;

/// A point's value, NaN where it has none.
pub type Value = dyn Fn(&[f64]) -> f64 + Send + Sync;

/// What is searched for.
pub struct Objective {
    /// Its values.
    pub value: Box<Value>,
    /// The same of sixteen points at a time, if it has such a form.
    pub lanes: Option<LaneValues>,
    /// What is taken off every value before it is rounded to f32, so that it keeps its digits near the best; a device's
    /// functions give their values without it.
    pub offset: f64,
}

/// Members that a thread takes at a time: rows of a hundred axes stay in its second-level cache.
pub const BLOCK: usize = 64;

/// How a member becomes a value.
pub struct Problem {
    pub axes: Axes,
    objective: Objective,
    /// 1 where the least value is the best.
    sign: f64,
    /// What `cmaes` learns at.
    pub rates: Option<Rates>,
    pub level: Level,
}

/// Where a thread decodes places: one, or sixteen `[axis][point]`.
#[derive(Default)]
struct Room {
    point: Vec<f64>,
    points: Vec<Doubles>,
}

thread_local! {
    /// It grows once, whatever a thread's blocks are.
    static ROOM: RefCell<Room> = RefCell::default();
}

impl Problem {
    /// Values of places in a row, to be minimised.
    #[inline(always)]
    pub fn evaluate<V: Simd>(&self, chunks: usize, places: &[Lanes], values: &mut [f32]) {
        // It is taken out, because a closure that borrowed it would be compiled without the processor's features.
        let mut room = ROOM.take();
        match (self.objective.lanes, self.axes.linear()) {
            (Some(of), Some(linear)) => {
                self.evaluate_sixteen::<V>(of, linear, chunks, places, values, &mut room.points)
            }
            (_, linear) => {
                room.point.clear();
                room.point.extend_from_slice(self.axes.template());
                room.point.resize(self.axes.parameters().next_multiple_of(WIDTH), 0.0);
                let point = &mut room.point[..];
                for (value, place) in values.iter_mut().zip(places.chunks_exact(chunks)) {
                    match linear {
                        Some(linear) => linear.decode::<V>(place, point),
                        None => self.axes.decode(place, point),
                    }
                    *value = self.minimized((self.objective.value)(&point[..self.axes.parameters()]));
                }
            }
        }
        ROOM.set(room);
    }

    #[inline(always)]
    fn evaluate_sixteen<V: Simd>(
        &self,
        of: LaneValues,
        linear: &Linear,
        chunks: usize,
        places: &[Lanes],
        values: &mut [f32],
        points: &mut Vec<Doubles>,
    ) {
        points.resize(self.axes.count(), Doubles::splat(0.0));
        for (values, places) in values.chunks_mut(WIDTH).zip(places.chunks(WIDTH * chunks)) {
            // Where there are fewer than sixteen, the last stands for the others.
            let last = values.len() - 1;
            let mut rows = [&places[last * chunks..]; WIDTH];
            rows.iter_mut().zip(places.chunks_exact(chunks)).for_each(|(row, place)| *row = place);
            linear.decode_sixteen::<V>(&rows, points);
            for (value, found) in values.iter_mut().zip(of(points, self.level).0) {
                *value = self.minimized(if found.is_finite() { found } else { f64::NAN });
            }
        }
    }

    /// A value as generations know it.
    #[inline(always)]
    fn minimized(&self, value: f64) -> f32 {
        (self.sign * (value - self.objective.offset)) as f32
    }
}

/// Memory that a generation works in.
pub struct Work {
    /// Trials of methods that compare them with members, `[row][member][chunk]`.
    pub rows: Vec<Lanes>,
    /// Numbers of each member, `[column][member]`.
    pub columns: Vec<f32>,
    /// Single rows.
    pub vectors: Vec<Lanes>,
    /// Ranks of members, and of their trials.
    pub keys: Vec<u64>,
    /// Members by rank, or whatever a method lists.
    pub ids: Vec<u32>,
}

impl Work {
    fn new(layout: &Layout) -> Work {
        Work {
            rows: vec![Lanes::ZERO; layout.scratch_rows * layout.members * layout.chunks()],
            columns: vec![0.0; layout.scratch_columns * layout.members],
            vectors: vec![Lanes::ZERO; layout.scratch_vectors * layout.chunks()],
            keys: Vec::with_capacity(2 * layout.members),
            ids: Vec::with_capacity(2 * layout.members),
        }
    }
}

/// What a method's generation works on.
pub struct Turn<'a> {
    pub state: &'a mut State,
    pub work: &'a mut Work,
    pub problem: &'a Problem,
}

impl Turn<'_> {
    /// Whether the state holds founders that were not evaluated.
    pub fn is_first(&self) -> bool {
        self.state.generation() == 0
    }

    /// Evaluates every member's place.
    pub fn evaluate(&mut self) {
        let Turn { state, problem, .. } = self;
        let (chunks, members) = (state.layout.chunks(), state.layout.members);
        let blocks = state.columns[..members].par_chunks_mut(BLOCK).zip(state.rows.par_chunks(BLOCK * chunks));
        blocks.for_each(|(values, places)| dispatch(problem.level, Evaluate { problem, chunks, places, values }));
    }

    /// Takes note of the best value so far and of its place.
    pub fn record(&mut self) {
        let values = &self.state.columns[..self.state.layout.members];
        let Some((member, value)) = least(values) else { return };
        let best = self.state.best();
        if value < best || best.is_nan() {
            self.state.set_number(head::BEST, value);
            let chunks = self.state.layout.chunks();
            let State { vectors, rows, .. } = &mut *self.state;
            vectors[..chunks].copy_from_slice(&rows[member * chunks..][..chunks]);
        }
    }
}

/// The least value and whose it is, of equal ones the first.
pub fn least(values: &[f32]) -> Option<(usize, f32)> {
    let mut best: Option<(usize, f32)> = None;
    for (member, value) in values.iter().enumerate() {
        if best.is_none_or(|(_, least)| *value < least) && !value.is_nan() {
            best = Some((member, *value));
        }
    }
    best
}

struct Evaluate<'a> {
    problem: &'a Problem,
    chunks: usize,
    places: &'a [Lanes],
    values: &'a mut [f32],
}

impl Kernel for Evaluate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        self.problem.evaluate::<V>(self.chunks, self.places, self.values);
    }
}

/// A search by whole generations on the processor.
pub struct CpuCourse {
    method: &'static dyn GenerationMethod,
    state: State,
    work: Work,
    problem: Problem,
}

/// The tag of the key by which founders are drawn; generations have those from 0 on.
const FOUNDERS: u32 = u32::MAX;

impl CpuCourse {
    /// A search that begins with a space's default and uniform draws. An error says why the space cannot be searched.
    pub fn new(
        method: &'static dyn GenerationMethod,
        space: &Space,
        members: usize,
        key: Key,
        direction: Direction,
        objective: Objective,
    ) -> Result<CpuCourse, String> {
        let axes = Axes::new(space)?;
        let state = founded(method, space, &axes, members, key);
        let work = Work::new(&state.layout);
        let rates = method.rates(axes.count(), members);
        let problem = Problem { axes, objective, sign: -direction.sign(), rates, level: Level::detect() };
        Ok(CpuCourse { method, state, work, problem })
    }

    /// The same with another instruction set; the bits are the same.
    #[cfg(test)]
    pub fn with_level(mut self, level: Level) -> CpuCourse {
        self.problem.level = level;
        self
    }
}

/// The state before the first generation.
pub fn founded(method: &dyn GenerationMethod, space: &Space, axes: &Axes, members: usize, key: Key) -> State {
    let layout = method.layout(axes.count(), members);
    let mut state = State::new(layout, key);
    let (key, stride) = (key.child(FOUNDERS), layout.stride() as u64);
    for (member, place) in (0..).zip(state.rows.chunks_exact_mut(layout.chunks()).take(members)) {
        for axis in 0..axes.count() {
            let counter = member * stride + axis as u64;
            place[axis / super::state::WIDTH].0[axis % super::state::WIDTH] = uniform(key.words(counter)[0]);
        }
    }
    if let Some(first) = space.starts().first() {
        axes.encode(first, &mut state.rows[..layout.chunks()]);
    }
    // The best place before there is a value: where a swarm is drawn to if all founders fail.
    let first = state.place(0).to_vec();
    state.vectors[..first.len()].copy_from_slice(&first);
    method.begin(&mut state);
    state
}

/// The best members of a state with their points, their values as the objective gives them.
pub fn best_of(state: &State, axes: &Axes, [sign, offset]: [f64; 2], count: usize) -> Vec<(f64, Vec<f64>)> {
    if state.best().is_nan() || count == 0 {
        return Vec::new();
    }
    let mut point = axes.template().to_vec();
    let mut decoded = |value: f32, place: &[Lanes]| {
        axes.decode(place, &mut point);
        (sign * f64::from(value) + offset, point.clone())
    };
    let mut best = vec![decoded(state.best(), state.vector(0))];
    if count == 1 {
        return best;
    }
    let members = state.layout.members;
    let mut keys: Vec<u64> = (0..members).map(|member| rank_key(state.columns[member], member)).collect();
    keys.sort_unstable();
    for member in keys.iter().map(|key| (key & 0xffff_ffff) as usize) {
        let value = state.columns[member];
        if best.len() == count || value.is_nan() {
            break;
        }
        if state.place(member) != state.vector(0) {
            best.push(decoded(value, state.place(member)));
        }
    }
    best
}

impl Course for CpuCourse {
    fn advance(&mut self, generations: u64) -> Result<(), CourseError> {
        for _ in 0..generations {
            let mut turn = Turn { state: &mut self.state, work: &mut self.work, problem: &self.problem };
            self.method.turn(&mut turn);
            turn.record();
            self.state.head[head::GENERATION] = self.state.head[head::GENERATION].wrapping_add(1);
        }
        Ok(())
    }

    fn generation(&self) -> u64 {
        u64::from(self.state.generation())
    }

    fn evaluated(&self) -> u64 {
        self.generation() * self.state.layout.members as u64
    }

    fn best(&self, count: usize) -> Vec<(f64, Vec<f64>)> {
        let Problem { axes, sign, objective, .. } = &self.problem;
        best_of(&self.state, axes, [*sign, objective.offset], count)
    }

    fn state(&self) -> Vec<u32> {
        self.state.to_words()
    }

    fn restore(&mut self, words: &[u32]) -> bool {
        self.state.set_words(words)
    }
}
