//! The elastic net on the CPU: sixteen candidates of one fold walk in step, each in its own SIMD lane.

use super::ElasticNetLanes;
use super::fold::Prepared;
use super::solver::{ElasticNetParams, Search};
use super::walk::{Advance, Walk};
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::backend::cpu::{GroupKey, LaneModel, LaneProgress, RowBlock};
use crate::backend::{Weights, state};
use crate::data::metrics::RowTerm;
use crate::data::{Affine, Fold};
use crate::models::hypergradient::{Linear, elastic_net};
use crate::models::linear::{self, Fitted, Wide};
use crate::models::slopes;
use crate::models::squared_errors::SquaredErrors;
use ndarray::ArrayView2;
use std::sync::{Arc, OnceLock};

/// A fold, summed up when its first lane is trained.
pub struct ElasticNetFold {
    fold: Arc<Fold>,
    prepared: [OnceLock<Prepared>; 2],
    errors: SquaredErrors,
}

impl ElasticNetFold {
    fn prepared(&self, group: &Group) -> &Prepared {
        let has_intercept = group.params.first().is_none_or(|params| params.fit_intercept);
        self.prepared[usize::from(has_intercept)].get_or_init(|| Prepared::new(&self.fold, has_intercept))
    }
}

/// Up to sixteen candidates on one fold.
pub struct Group {
    params: Vec<ElasticNetParams>,
    /// None before the first iteration.
    walk: Option<Walk>,
    fitted: Fitted,
}

impl LaneModel for ElasticNetLanes {
    type Params = ElasticNetParams;
    type Fold = ElasticNetFold;
    type Group = Group;

    fn params(&self, point: &[f64]) -> ElasticNetParams {
        ElasticNetParams::read(&self.space, point)
    }

    fn key(&self, params: &ElasticNetParams) -> GroupKey {
        // Small penalties take longest: the bits of positive floats are in their order, and the trainer starts with the
        // greatest key.
        let order = |penalty: f64| u32::MAX - (penalty.max(0.0) as f32).to_bits();
        GroupKey {
            step: [u32::from(params.fit_intercept), 0],
            likeness: [order(params.l1 + params.l2), order(params.l1), 0, 0],
        }
    }

    fn open_fold(&self, fold: &Arc<Fold>) -> ElasticNetFold {
        ElasticNetFold { fold: fold.clone(), prepared: Default::default(), errors: SquaredErrors::new(fold) }
    }

    fn bytes(&self, fold: &ElasticNetFold, _: &[ElasticNetParams]) -> u64 {
        let features = fold.fold.train.x.ncols();
        (Walk::bytes(features) + features * size_of::<Lanes>()) as u64
    }

    fn start(&self, fold: &ElasticNetFold, lanes: &[ElasticNetParams]) -> Group {
        Group { params: lanes.to_vec(), walk: None, fitted: Fitted::zeros(fold.fold.train.x.ncols(), 1) }
    }

    fn gather(&self, fold: &ElasticNetFold, lanes: &[(&Group, usize)]) -> Group {
        let params: Vec<ElasticNetParams> = lanes.iter().map(|(group, lane)| group.params[*lane]).collect();
        let mut gathered = self.start(fold, &params);
        let mut walk = Walk::new(fold.prepared(&gathered), &params);
        for (to, (group, from)) in lanes.iter().enumerate() {
            if let Some(source) = &group.walk {
                walk.copy_lane(to, source, *from);
            }
        }
        gathered.walk = Some(walk);
        gathered
    }

    fn freeze(&self, _: &ElasticNetFold, group: &Group, lane: usize) -> Option<Vec<u8>> {
        let walk = group.walk.as_ref()?;
        state::encode(&(walk.searches.get(lane)?, walk.lane(lane)))
    }

    fn thaw(&self, fold: &ElasticNetFold, params: &ElasticNetParams, state: &[u8]) -> Option<Group> {
        let (search, values): (Search, Vec<f64>) = state::decode(state)?;
        let lanes = std::slice::from_ref(params);
        let mut group = self.start(fold, lanes);
        let mut walk = Walk::new(fold.prepared(&group), lanes);
        walk.searches[0] = search;
        let is_fit = walk.set_lane(0, &values);
        group.walk = Some(walk);
        is_fit.then_some(group)
    }

    fn advance(&self, level: Level, fold: &ElasticNetFold, group: &mut Group, budget: u64) -> Vec<LaneProgress> {
        let prepared = fold.prepared(group);
        let walk = group.walk.get_or_insert_with(|| Walk::new(prepared, &group.params));
        dispatch(level, Advance { fold: prepared, walk, until: budget });
        group.fitted = fitted(prepared, walk);
        let lanes = walk.searches[..group.params.len()].iter();
        lanes.map(|search| LaneProgress { used: search.iterations, is_capped: !search.is_done }).collect()
    }

    fn predict(&self, level: Level, fold: &ElasticNetFold, group: &mut Group, rows: RowBlock<'_>, out: &mut [Lanes]) {
        let (fitted, target) = (&group.fitted, fold.fold.target);
        dispatch(level, Predict { fitted, target, x: rows.x, out });
    }

    fn squared_errors(&self, level: Level, fold: &ElasticNetFold, group: &Group, set: usize) -> Option<Wide> {
        fold.errors.of(level, &fold.fold, set, &group.fitted)
    }

    fn slopes(
        &self,
        _: Level,
        fold: &ElasticNetFold,
        group: &Group,
        lane: usize,
        set: usize,
        term: RowTerm,
    ) -> Option<Vec<f64>> {
        let (params, prepared) = (group.params.get(lane)?, fold.prepared(group));
        let alpha = params.l1 + params.l2;
        if alpha == 0.0 {
            // What the ratio would be is not known any more.
            return None;
        }
        let l1_ratio = params.l1 / alpha;
        let wide = |lanes: &Lanes| f64::from(lanes.0[lane]);
        let line = Linear {
            weight: group.fitted.weights.iter().map(wide).collect(),
            intercept: group.fitted.intercepts.iter().map(wide).collect(),
        };
        let slopes = slopes::pulled(fold.fold.row_sets().nth(set)?, fold.fold.target, term, &line)?;
        let Prepared { gram, mean, .. } = prepared;
        let [of_alpha, of_ratio] = elastic_net::slopes(gram, mean, &line.weight, &slopes, alpha, l1_ratio)?;
        slopes::columns(&self.space, &[("alpha", of_alpha), ("l1_ratio", of_ratio)])
    }

    fn read_back(&self, _: &ElasticNetFold, group: &Group, lane: usize) -> Weights {
        group.fitted.read_back(lane)
    }
}

/// Where the lanes stand, as they predict: intercepts take up the means.
fn fitted(fold: &Prepared, walk: &Walk) -> Fitted {
    let mut fitted = Fitted::zeros(fold.features, 1);
    let mut intercepts = [fold.target_mean; LANES];
    for ((place, weight), mean) in fitted.weights.iter_mut().zip(&walk.weights).zip(&fold.mean) {
        *place = Lanes(weight.map(|weight| weight as f32));
        intercepts.iter_mut().zip(weight).for_each(|(intercept, weight)| *intercept -= mean * weight);
    }
    fitted.intercepts[0] = Lanes(intercepts.map(|intercept| intercept as f32));
    fitted
}

/// Predictions for a block of rows, in the target's own units.
struct Predict<'a, 'x> {
    fitted: &'a Fitted,
    target: Affine,
    x: ArrayView2<'x, f32>,
    out: &'a mut [Lanes],
}

impl Kernel for Predict<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Predict { fitted, target, x, out } = self;
        fitted.forward::<V>(x, out);
        linear::unscale::<V>(out, target);
    }
}
