//! Kernel ridge on the CPU: sixteen penalties of one kernel and fold are solved together, each in its own lane.

use super::RidgeParams;
use super::band::Reduction;
use super::block::LowerHalf;
use crate::backend::cpu::double::{Double, Doubles};
use crate::backend::cpu::simd::{Kernel, Lanes, Level, Simd, dispatch};
use crate::backend::cpu::{CpuOptions, GroupKey, LaneModel, LaneProgress, RowBlock};
use crate::backend::{BackendError, Weights};
use crate::data::metrics::RowTerm;
use crate::data::{Affine, Fold, Problem, Target};
use crate::models::hypergradient::kernel_ridge::Adjoint;
use crate::models::hypergradient::{dot, pull};
use crate::models::kernels::cache::{Cache, Held};
use crate::models::kernels::measure::Columns;
use crate::models::kernels::{self, KernelFunction};
use crate::models::slopes;
use crate::space::Space;
use ndarray::ArrayView2;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Reductions that are kept at most.
const MOST_KEPT: usize = 64;

/// Kernel ridge opened on a space.
pub struct RidgeLanes {
    pub space: Space,
    memory: u64,
    opened: AtomicUsize,
    cache: Cache<Reduced>,
}

/// A fold's training rows as one side of kernels.
pub struct RidgeFold {
    id: usize,
    pub fold: Arc<Fold>,
    pub columns: Columns,
    /// Scaled targets.
    pub y: Vec<f64>,
    /// Square roots of the rows' weights, with which kernel and target are multiplied as scikit-learn does.
    roots: Option<Vec<f64>>,
}

/// What all penalties of a kernel share on a fold.
struct Reduced {
    reduction: Reduction,
    /// The weighted targets in the reduction's basis.
    y: Vec<f64>,
    /// Kernel of each row set to score with the training rows, row by row.
    evals: Vec<Vec<f64>>,
}

impl RidgeLanes {
    /// Opens the model where its matrices fit into memory.
    pub fn new(space: Space, problem: &Problem, options: &CpuOptions) -> Result<RidgeLanes, BackendError> {
        let memory = options.memory_limit();
        let bytes = |fold: &Arc<Fold>| Reduced::bytes(fold);
        let rows = problem.folds.iter().map(|fold| fold.train.y.len()).max().unwrap_or(0);
        kernels::check_memory("kernel_ridge", rows, problem.folds.iter().map(bytes).max().unwrap_or(0), memory)?;
        Ok(RidgeLanes { space, memory, opened: AtomicUsize::new(0), cache: Cache::default() })
    }

    fn reduced(&self, fold: &RidgeFold, function: &KernelFunction) -> Held<Reduced> {
        // Half of the memory keeps what was reduced, the other half is for groups at work.
        let room = (self.memory / 2 / Reduced::bytes(&fold.fold).max(1)).clamp(1, MOST_KEPT as u64) as usize;
        self.cache.find((fold.id, function.bits()), room)
    }

    /// The solutions of some candidates on a fold: a lane each of every training row's dual weight.
    pub fn solve(&self, level: Level, fold: &RidgeFold, lanes: &[RidgeParams]) -> Vec<Doubles> {
        let mut duals = vec![Doubles::splat(0.0); fold.y.len()];
        for function in distinct(lanes) {
            let held = self.reduced(fold, &function);
            let reduced = held.get(|| Reduced::new(level, fold, &function));
            let penalties = Doubles(std::array::from_fn(|lane| lanes.get(lane).map_or(1.0, |params| params.l2)));
            let mut solution = reduced.reduction.solve(level, &reduced.y, &penalties);
            if let Some(roots) = &fold.roots {
                solution.iter_mut().zip(roots).for_each(|(row, root)| row.0.iter_mut().for_each(|dual| *dual *= root));
            }
            for (to, from) in duals.iter_mut().zip(solution) {
                for lane in (0..lanes.len()).filter(|lane| lanes[*lane].function.bits() == function.bits()) {
                    to.0[lane] = from.0[lane];
                }
            }
        }
        duals
    }
}

/// The different functions of some lanes: one, unless the bits of two were mixed to the same step key.
fn distinct(lanes: &[RidgeParams]) -> Vec<KernelFunction> {
    let mut functions: Vec<KernelFunction> = Vec::new();
    for params in lanes {
        if functions.iter().all(|function| function.bits() != params.function.bits()) {
            functions.push(params.function);
        }
    }
    functions
}

impl RidgeFold {
    /// A fold's rows and targets.
    pub fn new(id: usize, fold: &Arc<Fold>) -> RidgeFold {
        let y = match &fold.train.y {
            Target::Values(values) => values.iter().map(|y| fold.target.scaled(*y)).collect(),
            // Not a task of this model: codes as numbers.
            Target::Classes { codes, .. } => codes.iter().map(|code| f64::from(*code)).collect(),
        };
        let roots = fold.train.weight.as_ref().map(|weight| weight.iter().map(|w| f64::from(*w).sqrt()).collect());
        RidgeFold { id, fold: fold.clone(), columns: Columns::of(fold.train.x.view()), y, roots }
    }

    /// The kernel of these rows with every training row, row by row.
    pub fn kernel_rows(&self, level: Level, function: &KernelFunction, x: ArrayView2<'_, f32>) -> Vec<f64> {
        let mut values = Vec::with_capacity(x.nrows() * self.y.len());
        self.columns.measure(level, function.kind.measure(), x, |_, measures| values.extend_from_slice(measures));
        function.of_all(level, &mut values);
        values
    }

    /// What a training row's own equation says of its prediction: `K a = y - l2 a / w`. `None` for a row without weight,
    /// which has none.
    pub fn fitted(&self, row: usize, dual: f64, l2: f64) -> Option<f64> {
        let weight = self.roots.as_ref().map_or(1.0, |roots| roots[row] * roots[row]);
        (weight > 0.0).then(|| self.y[row] - l2 * dual / weight)
    }
}

impl Reduced {
    fn new(level: Level, fold: &RidgeFold, function: &KernelFunction) -> Reduced {
        let n = fold.y.len();
        let mut matrix = LowerHalf::new(n);
        let mut column = Vec::with_capacity(n);
        // The matrix is symmetric: its rows are its columns.
        fold.columns.measure(level, function.kind.measure(), fold.fold.train.x.view(), |i, measures| {
            let first = LowerHalf::first_row(i);
            column.clear();
            column.extend_from_slice(&measures[first..]);
            function.of_all(level, &mut column);
            if let Some(roots) = &fold.roots {
                column.iter_mut().zip(&roots[first..]).for_each(|(value, root)| *value *= root * roots[i]);
            }
            matrix.set_column(i, &column);
        });
        let weighted: Vec<f64> = match &fold.roots {
            Some(roots) => fold.y.iter().zip(roots).map(|(y, root)| y * root).collect(),
            None => fold.y.clone(),
        };
        let reduction = Reduction::new(level, matrix);
        let y = reduction.rotated(level, &weighted);
        let evals = fold.fold.evals.iter().map(|rows| fold.kernel_rows(level, function, rows.x.view())).collect();
        Reduced { reduction, y, evals }
    }

    fn bytes(fold: &Fold) -> u64 {
        reduced_bytes(fold.train.y.len(), fold.evals.iter().map(|rows| rows.y.len()).sum())
    }
}

/// Bytes that a kernel takes of so many training rows and rows to score, while its matrix is reduced: the matrix, what
/// becomes of it, and the kernels to score with.
pub fn reduced_bytes(rows: usize, evals: usize) -> u64 {
    let evals = (evals as u64).saturating_mul((rows * size_of::<f64>()) as u64);
    LowerHalf::bytes(rows).saturating_add(Reduction::bytes(rows)).saturating_add(evals)
}

/// Up to sixteen candidates on one fold.
pub struct Group {
    params: Vec<RidgeParams>,
    /// Every training row's dual weights; empty before the solve.
    duals: Vec<Doubles>,
}

impl LaneModel for RidgeLanes {
    type Params = RidgeParams;
    type Fold = RidgeFold;
    type Group = Group;

    fn params(&self, point: &[f64]) -> RidgeParams {
        RidgeParams::read(&self.space, point)
    }

    fn key(&self, params: &RidgeParams) -> GroupKey {
        GroupKey { step: params.function.step(), likeness: [0; 4] }
    }

    fn open_fold(&self, fold: &Arc<Fold>) -> RidgeFold {
        RidgeFold::new(self.opened.fetch_add(1, Ordering::Relaxed), fold)
    }

    fn bytes(&self, fold: &RidgeFold, _: &[RidgeParams]) -> u64 {
        // Twice, because half of the memory is the cache's.
        2 * Reduced::bytes(&fold.fold) + (20 * fold.y.len() * size_of::<Doubles>()) as u64
    }

    fn start(&self, _: &RidgeFold, lanes: &[RidgeParams]) -> Group {
        Group { params: lanes.to_vec(), duals: Vec::new() }
    }

    fn gather(&self, fold: &RidgeFold, lanes: &[(&Group, usize)]) -> Group {
        let params = lanes.iter().map(|(group, lane)| group.params[*lane]).collect();
        let dual = |row: usize, lane: usize| {
            lanes.get(lane).and_then(|(group, from)| Some(group.duals.get(row)?.0[*from])).unwrap_or(0.0)
        };
        let is_solved = lanes.iter().all(|(group, _)| !group.duals.is_empty());
        let rows = if is_solved { fold.y.len() } else { 0 };
        Group { params, duals: (0..rows).map(|row| Doubles(std::array::from_fn(|lane| dual(row, lane)))).collect() }
    }

    fn advance(&self, level: Level, fold: &RidgeFold, group: &mut Group, _: u64) -> Vec<LaneProgress> {
        if group.duals.is_empty() {
            group.duals = self.solve(level, fold, &group.params);
        }
        vec![LaneProgress { used: 1, is_capped: false }; group.params.len()]
    }

    fn predict(&self, level: Level, fold: &RidgeFold, group: &mut Group, rows: RowBlock<'_>, out: &mut [Lanes]) {
        let count = rows.x.nrows();
        let mut predicted = vec![Doubles::splat(0.0); count];
        for function in distinct(&group.params) {
            let mut products = vec![Doubles::splat(0.0); count];
            let held = self.reduced(fold, &function);
            let kernel = match rows.set.checked_sub(1) {
                Some(set) => {
                    let reduced = held.get(|| Reduced::new(level, fold, &function));
                    &reduced.evals[set][rows.first * fold.y.len()..][..count * fold.y.len()]
                }
                None if fold.roots.is_none() => &[],
                None => &*fold.kernel_rows(level, &function, rows.x),
            };
            if !kernel.is_empty() {
                dispatch(level, Product { kernel, duals: &group.duals, out: &mut products });
            }
            for (row, (to, from)) in predicted.iter_mut().zip(products).enumerate() {
                for (lane, params) in group.params.iter().enumerate() {
                    if params.function.bits() == function.bits() {
                        let is_own = rows.set == 0;
                        let dual = || group.duals[rows.first + row].0[lane];
                        let fitted = if is_own { fold.fitted(rows.first + row, dual(), params.l2) } else { None };
                        to.0[lane] = fitted.unwrap_or(from.0[lane]);
                    }
                }
            }
        }
        let Affine { shift, scale } = fold.fold.target;
        for (to, from) in out.iter_mut().zip(predicted) {
            to.0 = from.0.map(|value| value.mul_add(f64::from(scale), f64::from(shift)) as f32);
        }
    }

    fn slopes(
        &self,
        level: Level,
        fold: &RidgeFold,
        group: &Group,
        lane: usize,
        set: usize,
        term: RowTerm,
    ) -> Option<Vec<f64>> {
        let (params, rows) = (group.params.get(lane)?, fold.fold.row_sets().nth(set)?);
        let (Target::Values(y), RowTerm::Squared) = (&rows.y, term) else { return None };
        let duals: Vec<f64> = group.duals.iter().map(|row| row.0[lane]).collect();
        let (n, function) = (duals.len(), params.function);
        let held = self.reduced(fold, &function);
        let reduced = held.get(|| Reduced::new(level, fold, &function));
        let kernel = reduced.evals.get(set.checked_sub(1)?)?;
        let z: Vec<f64> = kernel.chunks_exact(n.max(1)).map(|kernel| dot(kernel, &duals)).collect();
        let Affine { shift, scale } = fold.fold.target;
        let pulls = pull::squared(&z, y, rows.weight.as_deref(), f64::from(shift), f64::from(scale));
        let mut along = vec![0.0; n];
        for (kernel, pull) in kernel.chunks_exact(n.max(1)).zip(&pulls) {
            along.iter_mut().zip(kernel).for_each(|(along, kernel)| *along += pull * kernel);
        }
        if let Some(roots) = &fold.roots {
            along.iter_mut().zip(roots).for_each(|(along, root)| *along *= root);
        }
        let turned = reduced.reduction.rotated(level, &along);
        let solved = reduced.reduction.solve(level, &turned, &Doubles::splat(params.l2));
        let solved: Vec<f64> = solved.iter().map(|row| row.0[0]).collect();
        let mut adjoint = Adjoint::new(solved, &duals, fold.roots.as_deref());
        let of_l2 = adjoint.of_penalty();
        let names = ["gamma", "coef0"];
        if names.iter().any(|name| self.space.index(name).is_some()) {
            let measure = function.kind.measure();
            let derive = |measures: &[f64]| measures.iter().map(|measure| function.slopes(*measure)).collect();
            let train = fold.fold.train.x.view();
            fold.columns.measure(level, measure, train, |row, measures| {
                let changes: Vec<[f64; 2]> = derive(measures);
                adjoint.train(row, &changes);
            });
            fold.columns.measure(level, measure, rows.x.view(), |row, measures| {
                let changes: Vec<[f64; 2]> = derive(measures);
                adjoint.held(pulls.get(row).copied().unwrap_or(0.0), &changes);
            });
        }
        let [of_gamma, of_coef0] = adjoint.of_kernel;
        slopes::columns(&self.space, &[("l2", of_l2), (names[0], of_gamma), (names[1], of_coef0)])
    }

    fn read_back(&self, fold: &RidgeFold, group: &Group, lane: usize) -> Weights {
        let duals: Vec<f64> = group.duals.iter().map(|row| row.0[lane]).collect();
        weights(fold, &group.params[lane].function, &duals)
    }
}

/// A lane's weights.
pub fn weights(fold: &RidgeFold, function: &KernelFunction, duals: &[f64]) -> Weights {
    let x = &fold.fold.train.x;
    let duals: Vec<[f32; 2]> = duals.iter().map(|dual| kernels::weights::parts(*dual)).collect();
    let part = |part: usize| duals.iter().map(|dual| dual[part]).collect();
    Weights::of(vec![
        kernels::weights::kernel(function),
        kernels::weights::array("dual", &[duals.len()], part(0)),
        kernels::weights::array("dual_rest", &[duals.len()], part(1)),
        kernels::weights::array("rows", &[x.nrows(), x.ncols()], x.iter().copied().collect()),
    ])
}

/// `out = kernel duals`, one chain a row and lane.
struct Product<'a> {
    kernel: &'a [f64],
    duals: &'a [Doubles],
    out: &'a mut [Doubles],
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        /// Rows whose sums stay in registers together.
        const TILE: usize = 4;
        let n = self.duals.len();
        for (kernel, out) in self.kernel.chunks(TILE * n).zip(self.out.chunks_mut(TILE)) {
            let mut sums = [V::Double::splat(0.0); TILE];
            for (place, dual) in self.duals.iter().enumerate() {
                let dual = V::Double::load(dual);
                for row in 0..out.len() {
                    sums[row] = V::Double::splat(kernel[row * n + place]).mul_add(dual, sums[row]);
                }
            }
            for (sum, out) in sums.into_iter().zip(out) {
                sum.store(out);
            }
        }
    }
}
