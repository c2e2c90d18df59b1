//! The softmax on the CPU: sixteen penalties of one fold walk in step, each in its own SIMD lane.

use super::LogisticLanes;
use super::basis::Basis;
use super::loss::{self, Prepared};
use super::path::{NODE_ITERATIONS, NODES, Stencil, node_l2};
use super::solver::{ABSENT, LogisticParams, Search, VARIANTS, penalty, tolerance};
use super::walk::{Advance, Start, Walk};
use crate::backend::cpu::gemm::{self, AsIs, Pair, Shared, ZERO_PAIR};
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::backend::cpu::{GroupKey, LaneModel, LaneProgress, RowBlock};
use crate::backend::{WeightArray, Weights, state};
use crate::data::metrics::RowTerm;
use crate::data::{Fold, Target};
use crate::models::hypergradient::Linear;
use crate::models::hypergradient::logistic::Trained;
use crate::models::linear::row_weights;
use crate::models::slopes;
use ndarray::ArrayView2;
use std::sync::{Arc, OnceLock, PoisonError};

/// A fold, rotated when its first lane is trained.
pub struct LogisticFold {
    fold: Arc<Fold>,
    prepared: [OnceLock<Prepared>; VARIANTS],
}

impl LogisticFold {
    /// Opens a fold without doing any work yet.
    pub fn new(fold: Arc<Fold>) -> LogisticFold {
        LogisticFold { fold, prepared: Default::default() }
    }

    /// The fold in its eigenbasis, or in its features' own; centred where there is an intercept to take up the means.
    pub fn prepared(&self, params: &LogisticParams) -> &Prepared {
        self.prepared[params.variant()].get_or_init(|| prepare(&self.fold, &basis(&self.fold, params), params))
    }
}

/// The basis in which candidates like this one are trained.
pub fn basis(fold: &Fold, params: &LogisticParams) -> Basis {
    let of = if params.l1.is_some() { Basis::own } else { Basis::new };
    of(fold.train.x.view(), params.fit_intercept)
}

/// A fold's training rows in a basis of theirs, as candidates like this one want them.
pub fn prepare(fold: &Fold, basis: &Basis, params: &LogisticParams) -> Prepared {
    let (codes, classes): (&[u32], usize) = match &fold.train.y {
        Target::Classes { codes, classes } => (codes, *classes),
        // Not a task of this model: one class, which everything belongs to.
        Target::Values(values) => (&vec![0; values.len()], 1),
    };
    let weights = row_weights(&fold.train, params.class_weight);
    let weights: Option<Vec<f32>> = weights.map(|weights| weights.iter().map(|weight| *weight as f32).collect());
    let mut present = vec![false; classes];
    for (row, code) in codes.iter().enumerate() {
        // Rows that count for nothing say nothing of their class.
        present[*code as usize] |= weights.as_ref().is_none_or(|weights| weights[row] > 0.0);
    }
    Prepared::new(basis, &fold.train, codes, weights.as_deref(), present, params)
}

/// Weights at some nodes of a fold's path, each with the bits that it has alone.
pub fn solve_nodes(level: Level, fold: &Prepared, asked: f32, nodes: &[usize]) -> Vec<Vec<f32>> {
    let starts: Vec<Start> = nodes.iter().map(|node| start(fold, asked, node_l2(*node), None)).collect();
    let mut walk = Walk::new(fold, &starts);
    dispatch(level, Advance { fold, walk: &mut walk, until: NODE_ITERATIONS });
    (0..nodes.len()).map(|lane| walk.lane_weights(lane)).collect()
}

/// Up to sixteen candidates on one fold.
pub struct Group {
    params: Vec<LogisticParams>,
    /// Where the walks stand, in groups of lanes that have had equally many iterations; none before the first.
    walks: Vec<(Walk, Vec<usize>)>,
    /// Weights in the features' own basis: what predicts.
    fitted: Vec<Pair>,
}

impl Group {
    /// The fold as all lanes of the group want it.
    fn prepared<'a>(&self, fold: &'a LogisticFold) -> &'a Prepared {
        fold.prepared(self.params.first().unwrap_or(&LogisticParams::default()))
    }

    /// The walk and the place in it of a lane.
    fn walk_of(&self, lane: usize) -> Option<(&Walk, usize)> {
        self.walks.iter().find_map(|(walk, lanes)| Some((walk, lanes.iter().position(|member| *member == lane)?)))
    }
}

impl LaneModel for LogisticLanes {
    type Params = LogisticParams;
    type Fold = LogisticFold;
    type Group = Group;

    fn params(&self, point: &[f64]) -> LogisticParams {
        LogisticParams::read(&self.space, point)
    }

    fn key(&self, params: &LogisticParams) -> GroupKey {
        // Small penalties take longest: the bits of positive floats are in their order, and the trainer starts with the
        // greatest key.
        GroupKey {
            step: [params.variant() as u32, params.tolerance.to_bits()],
            likeness: [u32::MAX - params.l1.unwrap_or(params.l2).max(0.0).to_bits(), 0, 0, 0],
        }
    }

    fn open_fold(&self, fold: &Arc<Fold>) -> LogisticFold {
        LogisticFold::new(fold.clone())
    }

    fn bytes(&self, fold: &LogisticFold, _: &[LogisticParams]) -> u64 {
        let (rows, features) = fold.fold.train.x.dim();
        let outputs = fold.fold.train.y.outputs();
        let pairs = (features + 9) * outputs.div_ceil(2);
        (Walk::bytes(pairs) + (rows + 256) * outputs * size_of::<Lanes>()) as u64
    }

    fn start(&self, _: &LogisticFold, lanes: &[LogisticParams]) -> Group {
        Group { params: lanes.to_vec(), walks: Vec::new(), fitted: Vec::new() }
    }

    fn gather(&self, fold: &LogisticFold, lanes: &[(&Group, usize)]) -> Group {
        let params: Vec<LogisticParams> = lanes.iter().map(|(group, lane)| group.params[*lane]).collect();
        let mut gathered = Group { params, walks: Vec::new(), fitted: Vec::new() };
        let prepared = gathered.prepared(fold);
        let mut sources: Vec<(usize, &Walk, usize)> = Vec::with_capacity(lanes.len());
        for (lane, (group, from)) in lanes.iter().enumerate() {
            sources.extend(group.walk_of(*from).map(|(walk, from)| (lane, walk, from)));
        }
        // Lanes that are done fit into any walk; the others walk with those that have come as far.
        sources.sort_by_key(|(_, walk, from)| walk.searches[*from].is_done);
        for (lane, source, from) in sources {
            let search = &source.searches[from];
            let fits = |(walk, members): &(Walk, Vec<usize>)| {
                members.len() < LANES && (search.is_done || walk.searches[0].iterations == search.iterations)
            };
            let place = gathered.walks.iter().position(fits).unwrap_or_else(|| {
                gathered.walks.push((Walk::new(prepared, &[]), Vec::new()));
                gathered.walks.len() - 1
            });
            let (walk, members) = &mut gathered.walks[place];
            walk.copy_lane(members.len(), source, from);
            members.push(lane);
        }
        gathered
    }

    fn freeze(&self, fold: &LogisticFold, group: &Group, lane: usize) -> Option<Vec<u8>> {
        let (source, from) = group.walk_of(lane)?;
        let mut alone = Walk::new(group.prepared(fold), &[]);
        alone.copy_lane(0, source, from);
        state::encode(&alone.lane(0))
    }

    fn thaw(&self, fold: &LogisticFold, params: &LogisticParams, state: &[u8]) -> Option<Group> {
        let (search, values): (Search, Vec<f32>) = state::decode(state)?;
        let prepared = fold.prepared(params);
        let mut walk = Walk::new(prepared, &[start(prepared, params.tolerance, params.l2, params.l1)]);
        let is_fit = walk.set_lane(0, search, &values);
        is_fit.then(|| Group { params: vec![*params], walks: vec![(walk, vec![0])], fitted: Vec::new() })
    }

    fn advance(&self, level: Level, fold: &LogisticFold, group: &mut Group, budget: u64) -> Vec<LaneProgress> {
        let prepared = group.prepared(fold);
        if group.walks.is_empty() {
            let members = (0..group.params.len()).collect();
            group.walks.push((self.set_out(level, prepared, &group.params), members));
        }
        for (walk, _) in &mut group.walks {
            dispatch(level, Advance { fold: prepared, walk, until: budget });
        }
        group.fitted = dispatch(level, Finish { fold: prepared, weights: merged(prepared, &group.walks) });
        let progress = |lane: usize| {
            let search = group.walk_of(lane).map(|(walk, lane)| walk.searches[lane]);
            search.map_or(LaneProgress { used: 0, is_capped: true }, |search| LaneProgress {
                used: search.iterations,
                is_capped: !search.is_done,
            })
        };
        (0..group.params.len()).map(progress).collect()
    }

    fn predict(&self, level: Level, fold: &LogisticFold, group: &mut Group, rows: RowBlock<'_>, out: &mut [Lanes]) {
        let fold = group.prepared(fold);
        dispatch(level, Predict { fold, fitted: &group.fitted, x: rows.x, out });
    }

    fn slopes(
        &self,
        _: Level,
        fold: &LogisticFold,
        group: &Group,
        lane: usize,
        set: usize,
        term: RowTerm,
    ) -> Option<Vec<f64>> {
        let params = group.params.get(lane).filter(|params| params.l1.is_none())?;
        let (shape, rows) = (group.prepared(fold).shape, &fold.fold.train);
        let entry = |at: usize, output: usize| f64::from(group.fitted[at][output % 2].0[lane]);
        let weight = |output: usize, feature: usize| entry(output / 2 * shape.columns + feature, output);
        let fitted = Linear {
            weight: (0..shape.outputs)
                .flat_map(|output| (0..shape.features).map(move |feature| (output, feature)))
                .map(|(output, feature)| weight(output, feature))
                .collect(),
            intercept: (0..shape.outputs).map(|output| entry(shape.weights() + output / 2, output)).collect(),
        };
        let slopes = slopes::pulled(fold.fold.row_sets().nth(set)?, fold.fold.target, term, &fitted)?;
        let present = group.prepared(fold).present.iter().filter(|present| **present).count();
        let weights = row_weights(rows, params.class_weight);
        let penalty = |l2: f32| f64::from(penalty(l2, present));
        let trained = Trained::new(
            slopes::features(rows)?,
            weights.as_deref(),
            &fitted,
            params.fit_intercept,
            penalty(params.l2),
        );
        // Two classes are penalised twice as much: see `penalty`.
        let of_l2 = trained.slope(&fitted, &slopes)? * penalty(1.0);
        slopes::columns(&self.space, &[("l2", of_l2)])
    }

    fn read_back(&self, fold: &LogisticFold, group: &Group, lane: usize) -> Weights {
        let shape = group.prepared(fold).shape;
        let entry = |at: usize, output: usize| group.fitted[at][output % 2].0[lane];
        let weight = |i: usize| {
            let (output, feature) = (i / shape.features, i % shape.features);
            entry(output / 2 * shape.columns + feature, output)
        };
        let intercept = |output: usize| entry(shape.weights() + output / 2, output);
        let weights = WeightArray {
            name: "weight".to_owned(),
            shape: vec![shape.outputs, shape.features],
            values: (0..shape.outputs * shape.features).map(weight).collect(),
        };
        let intercepts = WeightArray {
            name: "intercept".to_owned(),
            shape: vec![shape.outputs],
            values: (0..shape.outputs).map(intercept).collect(),
        };
        Weights::of(vec![weights, intercepts])
    }
}

impl LogisticLanes {
    /// The lanes of a group where they set out: on the fold's path of solutions; with an L1 term at zero.
    fn set_out(&self, level: Level, fold: &Prepared, lanes: &[LogisticParams]) -> Walk {
        let starts: Vec<Start> =
            lanes.iter().map(|params| start(fold, params.tolerance, params.l2, params.l1)).collect();
        let mut walk = Walk::new(fold, &starts);
        if fold.has_l1 {
            return walk;
        }
        let stencils: Vec<Stencil> = lanes.iter().map(|params| Stencil::new(params.l2)).collect();
        let mut is_needed = [false; NODES];
        stencils.iter().flat_map(Stencil::nodes).for_each(|node| is_needed[node] = true);
        // A full group is one of several: solving the rest of the searched range with it costs nothing more.
        if lanes.len() == LANES {
            (0..NODES).filter(|node| self.searched.contains(&node_l2(*node))).for_each(|node| is_needed[node] = true);
        }
        // A node is written whole or not at all, so a panic elsewhere leaves nothing half done.
        let mut paths = fold.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = lanes.first().map_or(0.0, |params| params.tolerance);
        let nodes = paths.entry(asked.to_bits()).or_default();
        let missing: Vec<usize> = (0..NODES).filter(|node| is_needed[*node] && nodes[*node].is_none()).collect();
        if !missing.is_empty() {
            let solved = solve_nodes(level, fold, asked, &missing);
            missing.iter().zip(solved).for_each(|(node, weights)| nodes[*node] = Some(weights));
        }
        for (lane, stencil) in stencils.iter().enumerate() {
            let node = |i: usize| nodes[stencil.first + i].as_deref().unwrap_or(&[]);
            walk.set_weights(lane, &stencil.read(std::array::from_fn(node), 2 * fold.shape.weights()));
        }
        walk
    }
}

/// A lane with these penalties that may end at a mean gradient of `asked`.
fn start(fold: &Prepared, asked: f32, l2: f32, l1: Option<f32>) -> Start {
    let penalty = penalty(l2, fold.present.iter().filter(|present| **present).count());
    let enough = asked * fold.total;
    let search = match l1 {
        Some(_) => Search::with_l1(enough),
        None => Search::new(tolerance(penalty, fold.total), enough),
    };
    Start { penalty, l1: l1.unwrap_or(0.0), search }
}

/// The weights of a group's lanes in one; NaN for a lane that could not set out.
fn merged(fold: &Prepared, walks: &[(Walk, Vec<usize>)]) -> Vec<Pair> {
    let mut weights = fold.zero_weights();
    for (walk, members) in walks {
        for (from, to) in members.iter().enumerate() {
            let has_failed = walk.searches[from].has_failed;
            for (to_weight, weight) in weights.as_flattened_mut().iter_mut().zip(walk.weights.as_flattened()) {
                to_weight.0[*to] = if has_failed { f32::NAN } else { weight.0[from] };
            }
        }
    }
    weights
}

/// Brings weights back into the features' own basis: `w = vectors rotated`, `b = rotated b - mean w`, and the intercepts'
/// mean over the classes that occur, which the loss does not see, becomes zero.
struct Finish<'a> {
    fold: &'a Prepared,
    weights: Vec<Pair>,
}

impl Kernel for Finish<'_> {
    type Output = Vec<Pair>;

    #[inline(always)]
    fn run<V: Simd>(self) -> Vec<Pair> {
        let Finish { fold, weights } = self;
        let shape = fold.shape;
        let mut fitted = weights.clone();
        if let Some(vectors) = &fold.vectors {
            let zeros = vec![ZERO_PAIR; shape.panels()];
            let (slopes, back) = (&weights[..shape.weights()], &mut fitted[..shape.weights()]);
            gemm::forward_shared::<V, _>(vectors, slopes, &zeros, back, &AsIs);
        }
        let (slopes, intercepts) = fitted.split_at_mut(shape.weights());
        // Interpolated starts are rounded; a class that does not occur is given its intercept afresh.
        for output in (0..shape.outputs).filter(|output| !fold.present[*output]) {
            intercepts[output / 2][output % 2] = Lanes([ABSENT; LANES]);
        }
        if !fold.has_intercept {
            return fitted;
        }
        let present: Vec<usize> = (0..shape.outputs).filter(|output| fold.present[*output]).collect();
        let mut sum = V::zero();
        for &output in &present {
            let (panel, half) = (output / 2, output % 2);
            let slopes = &slopes[panel * shape.columns..][..shape.features];
            let moved = V::load(&intercepts[panel][half]);
            let terms = slopes.iter().zip(&fold.mean);
            let moved = terms.fold(moved, |sum, (w, mean)| V::splat(*mean).neg_mul_add(V::load(&w[half]), sum));
            moved.store(&mut intercepts[panel][half]);
            sum = sum.add(moved);
        }
        let mean = sum.div(V::splat(present.len().max(1) as f32));
        for &output in &present {
            let intercept = &mut intercepts[output / 2][output % 2];
            V::load(intercept).sub(mean).store(intercept);
        }
        fitted
    }
}

/// Probabilities of a block of rows.
struct Predict<'a, 'x> {
    fold: &'a Prepared,
    fitted: &'a [Pair],
    x: ArrayView2<'x, f32>,
    out: &'a mut [Lanes],
}

impl Kernel for Predict<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Predict { fold, fitted, x, out } = self;
        let shape = fold.shape;
        let mut shared = Shared::zeros(x.nrows(), shape.features);
        shared.fill(x.rows().into_iter().map(|row| row.to_slice().unwrap_or(&[])));
        let (slopes, intercepts) = fitted.split_at(shape.weights());
        let mut logits = vec![ZERO_PAIR; shape.panels() * shared.rows()];
        gemm::forward_shared::<V, _>(&shared, slopes, intercepts, &mut logits, &AsIs);
        loss::softmax::<V>(&mut logits, shared.rows(), shape.outputs);
        for (row, out) in out.chunks_exact_mut(shape.outputs).enumerate() {
            for (output, out) in out.iter_mut().enumerate() {
                *out = logits[output / 2 * shared.rows() + row][output % 2];
            }
        }
    }
}
