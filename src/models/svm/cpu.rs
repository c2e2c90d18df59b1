//! Machines on the CPU: a lane a thread, its SIMD lanes the rows of a kernel matrix that all candidates of a kernel share.

use super::SvmParams;
use super::fold::{Kernels, SvmFold};
use super::predict::{Machine, weights};
use super::smo::{Advance, Dual, Frozen, Matrix, Search, Variable};
use super::vote;
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::backend::cpu::{CpuOptions, GroupKey, LaneModel, LaneProgress, RowBlock};
use crate::backend::{BackendError, Weights, state};
use crate::data::{Affine, Fold, Problem, Target, Task};
use crate::models::kernels;
use crate::models::kernels::cache::{Cache, Held};
use crate::models::kernels::measure::Measure;
use crate::space::Space;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Kernels that are kept at most.
const MOST_KEPT: usize = 32;

/// Machines opened on a space.
pub struct SvmLanes {
    space: Space,
    task: Task,
    memory: u64,
    opened: AtomicUsize,
    cache: Cache<Kernels>,
}

impl SvmLanes {
    /// Opens the model where its matrices fit into memory.
    pub fn new(space: Space, problem: &Problem, options: &CpuOptions) -> Result<SvmLanes, BackendError> {
        let memory = options.memory_limit();
        check(&space, problem, false, memory)?;
        Ok(SvmLanes { space, task: problem.task, memory, opened: AtomicUsize::new(0), cache: Cache::default() })
    }

    fn kernels(&self, fold: &SvmFold, params: &SvmParams) -> Held<Kernels> {
        // Half of the memory keeps kernels, the other half is for lanes at work.
        let room = (self.memory / 2 / SvmFold::bytes(&fold.fold).max(1)).clamp(1, MOST_KEPT as u64) as usize;
        self.cache.find((fold.id, params.function.bits()), room)
    }
}

/// Refuses data whose matrices do not fit into memory: a kernel, and the measures that kernels are functions of, of one
/// fold, or of all together.
pub fn check(space: &Space, problem: &Problem, are_together: bool, memory: u64) -> Result<(), BackendError> {
    let rows = problem.folds.iter().map(|fold| fold.train.y.len()).max().unwrap_or(0);
    let kernel = problem.folds.iter().map(|fold| SvmFold::bytes(fold)).max().unwrap_or(0);
    let measured = if are_together { problem.folds.iter().map(|fold| SvmFold::bytes(fold)).sum() } else { kernel };
    kernels::check_memory("svm", rows, kernel + measured * kernels::measures(space).len() as u64 / 2, memory)
}

/// A lane's problem: where its two classes' strips lie in the fold, first and count, and its variables.
pub type PairProblem = ([(usize, usize); 2], Vec<Variable>);

/// The variables of a lane's problems, pair by pair; one problem in a regression.
pub fn problems(fold: &SvmFold, params: &SvmParams, task: Task) -> Vec<PairProblem> {
    let train = &fold.fold.train;
    let weight = |row: usize| train.weight.as_ref().map_or(1.0, |weight| f64::from(weight[row]));
    let places = |run: &super::fold::Run| {
        let first = run.first * LANES;
        fold.rows[first..first + run.strips * LANES].iter().copied()
    };
    if task == Task::Regression {
        let scaled = |row: usize| match &train.y {
            Target::Values(values) => fold.fold.target.scaled(values[row]),
            Target::Classes { codes, .. } => f64::from(codes[row]),
        };
        let variable = |row: usize| {
            let bound = params.c * weight(row);
            Variable { p: scaled(row), lowest: -bound, highest: bound }
        };
        let problem = |run: &super::fold::Run| {
            let variables = places(run).map(|row| row.map_or(Variable::NONE, variable)).collect();
            ([(run.first, run.strips), (run.first + run.strips, 0)], variables)
        };
        return fold.runs.iter().map(problem).collect();
    }
    let present = fold.runs.len() as f64;
    let bound_of = |run: &super::fold::Run| match params.is_balanced {
        true => params.c * train.y.len() as f64 / (present * run.rows as f64),
        false => params.c,
    };
    let problem = |(a, b): (usize, usize)| {
        let runs = [&fold.runs[a], &fold.runs[b]];
        let variables = runs.into_iter().zip([1.0, -1.0]).flat_map(|(run, sign)| {
            let bound = bound_of(run);
            places(run).map(move |row| match row {
                Some(row) if sign > 0.0 => Variable { p: 1.0, lowest: 0.0, highest: bound * weight(row) },
                Some(row) => Variable { p: -1.0, lowest: -bound * weight(row), highest: 0.0 },
                None => Variable::NONE,
            })
        });
        (runs.map(|run| (run.first, run.strips)), variables.collect())
    };
    vote::every_pair(fold.runs.len()).map(problem).collect()
}

/// One candidate on one fold.
#[derive(Clone)]
pub struct Group {
    params: SvmParams,
    /// Runs of strips and the search of each pair.
    pairs: Vec<([(usize, usize); 2], Search)>,
    /// What predicts: coefficients of each pair's strips, and its constant.
    fitted: Vec<(Vec<Lanes>, f32)>,
}

impl LaneModel for SvmLanes {
    type Params = SvmParams;
    type Fold = SvmFold;
    type Group = Group;

    fn params(&self, point: &[f64]) -> SvmParams {
        SvmParams::read(&self.space, point)
    }

    fn group_lanes(&self) -> usize {
        1
    }

    fn key(&self, params: &SvmParams) -> GroupKey {
        // Candidates of one kernel follow one another; of these the large C, which take longest, come first.
        GroupKey { step: params.function.step(), likeness: [(params.c as f32).max(0.0).to_bits(), 0, 0, 0] }
    }

    fn open_fold(&self, fold: &Arc<Fold>) -> SvmFold {
        SvmFold::new(self.opened.fetch_add(1, Ordering::Relaxed), fold)
    }

    fn bytes(&self, fold: &SvmFold, _: &[SvmParams]) -> u64 {
        let others = fold.runs.len().saturating_sub(1).max(1);
        // Twice the kernel, because half of the memory is the cache's.
        2 * SvmFold::bytes(&fold.fold) + (others * Search::bytes(fold.rows.len())) as u64
    }

    fn shared_bytes(&self, fold: &SvmFold, lanes: &[SvmParams]) -> u64 {
        let is_asked = |measure: Measure| lanes.iter().any(|params| params.function.kind.measure() == measure);
        let kinds = Measure::ALL.into_iter().filter(|measure| fold.has_measured(*measure) || is_asked(*measure));
        kinds.count() as u64 * SvmFold::bytes(&fold.fold)
    }

    fn start(&self, fold: &SvmFold, lanes: &[SvmParams]) -> Group {
        let params = lanes[0];
        let epsilon = if self.task == Task::Regression { params.epsilon } else { 0.0 };
        let problems = problems(fold, &params, self.task).into_iter();
        let pairs = problems.map(|(runs, variables)| (runs, Search::new(variables, epsilon))).collect();
        Group { params, pairs, fitted: Vec::new() }
    }

    fn gather(&self, _: &SvmFold, lanes: &[(&Group, usize)]) -> Group {
        lanes[0].0.clone()
    }

    fn freeze(&self, _: &SvmFold, group: &Group, _: usize) -> Option<Vec<u8>> {
        state::encode(&group.pairs.iter().map(|(_, search)| search.freeze()).collect::<Vec<Frozen>>())
    }

    fn thaw(&self, fold: &SvmFold, params: &SvmParams, state: &[u8]) -> Option<Group> {
        let frozen: Vec<Frozen> = state::decode(state)?;
        let mut group = self.start(fold, std::slice::from_ref(params));
        let mut pairs = group.pairs.iter_mut().zip(&frozen);
        let is_fit = frozen.len() == pairs.len() && pairs.all(|((_, search), frozen)| search.thaw(frozen));
        is_fit.then_some(group)
    }

    fn advance(&self, level: Level, fold: &SvmFold, group: &mut Group, budget: u64) -> Vec<LaneProgress> {
        let held = self.kernels(fold, &group.params);
        let kernels = held.get(|| fold.kernels(level, &group.params.function));
        for (runs, search) in &mut group.pairs {
            let dual = Dual { kernel: &kernels.matrices.train, diagonal: &kernels.diagonal, runs: *runs };
            dispatch(level, Advance { dual, search, tolerance: group.params.tolerance, until: budget });
        }
        group.fitted =
            group.pairs.iter().map(|(_, search)| (search.coefficients(), search.constant() as f32)).collect();
        let used = group.pairs.iter().map(|(_, search)| search.iterations).max().unwrap_or(0);
        vec![LaneProgress { used, is_capped: group.pairs.iter().any(|(_, search)| !search.is_done) }]
    }

    fn predict(&self, level: Level, fold: &SvmFold, group: &mut Group, rows: RowBlock<'_>, out: &mut [Lanes]) {
        if fold.runs.is_empty() {
            // No row has a weight: there is nothing to learn from.
            out.iter_mut().for_each(|out| out.0[0] = f32::NAN);
            return;
        }
        let held = self.kernels(fold, &group.params);
        let kernels = held.get(|| fold.kernels(level, &group.params.function));
        let (matrix, places): (&Matrix, Vec<usize>) = match rows.set.checked_sub(1) {
            None => (
                &kernels.matrices.train,
                (rows.first..rows.first + rows.x.nrows()).map(|row| fold.place(row)).collect(),
            ),
            Some(set) => (&kernels.matrices.evals[set], (rows.first..rows.first + rows.x.nrows()).collect()),
        };
        let mut decisions = vec![0.0; places.len() * group.pairs.len()];
        dispatch(level, Decide { group, matrix, rows: &places, out: &mut decisions });
        if self.task == Task::Regression {
            let Affine { shift, scale } = fold.fold.target;
            for (out, decision) in out.iter_mut().zip(decisions) {
                out.0[0] = decision.mul_add(scale, shift);
            }
            return;
        }
        let mut found = vec![0.0; fold.runs.len()];
        let classes = fold.fold.train.y.outputs();
        for (row, out) in out.chunks_exact_mut(classes).enumerate() {
            vote::probabilities(&decisions[row * group.pairs.len()..][..group.pairs.len()], &mut found);
            out.iter_mut().for_each(|out| out.0[0] = 0.0);
            fold.runs.iter().zip(&found).for_each(|(run, p)| out[run.class].0[0] = *p);
        }
    }

    fn read_back(&self, fold: &SvmFold, group: &Group, _: usize) -> Weights {
        let machine = Machine {
            function: &group.params.function,
            pairs: group.pairs.iter().map(|(runs, search)| search.solution(*runs).collect()).collect(),
            constants: group.pairs.iter().map(|(_, search)| search.constant()).collect(),
        };
        weights(fold, &machine)
    }
}

/// `kernel b + constant` of some rows for each pair: `out[row * pairs + pair]`.
struct Decide<'a> {
    group: &'a Group,
    matrix: &'a Matrix,
    rows: &'a [usize],
    out: &'a mut [f32],
}

impl Kernel for Decide<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        /// Rows whose sums stay in registers together.
        const TILE: usize = 4;
        let pairs = self.group.pairs.len();
        for (rows, out) in self.rows.chunks(TILE).zip(self.out.chunks_mut(TILE * pairs.max(1))) {
            // The last tile repeats its last row.
            let tile: [&[Lanes]; TILE] = std::array::from_fn(|i| self.matrix.row(rows[i.min(rows.len() - 1)]));
            for (pair, ((runs, _), (coefficients, constant))) in
                self.group.pairs.iter().zip(&self.group.fitted).enumerate()
            {
                let mut sums = [V::zero(); TILE];
                let mut coefficients = &coefficients[..];
                for (first, strips) in *runs {
                    let (own, rest) = coefficients.split_at(strips);
                    coefficients = rest;
                    let mut parts = [own; TILE];
                    for i in 0..TILE {
                        parts[i] = &tile[i][first..][..strips];
                    }
                    for (strip, b) in own.iter().enumerate() {
                        let b = V::load(b);
                        for i in 0..TILE {
                            sums[i] = V::load(&parts[i][strip]).mul_add(b, sums[i]);
                        }
                    }
                }
                for (row, out) in out.chunks_exact_mut(pairs).enumerate() {
                    out[pair] = sum(sums[row]) + constant;
                }
            }
        }
    }
}

/// Halves added to halves.
#[inline(always)]
fn sum<V: Simd>(vector: V) -> f32 {
    let mut lanes = Lanes::ZERO;
    vector.store(&mut lanes);
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes.0[lane] += lanes.0[lane + half];
        }
        half /= 2;
    }
    lanes.0[0]
}
