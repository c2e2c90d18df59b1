//! Ridge on the CPU: the solutions of sixteen penalties are one matrix product, and so are their predictions.

use super::fold::Prepared;
use super::{RidgeLanes, RidgeParams};
use crate::backend::Weights;
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::backend::cpu::{GroupKey, LaneModel, LaneProgress, RowBlock};
use crate::data::metrics::RowTerm;
use crate::data::{Affine, Fold, Target};
use crate::models::linear::{self, ClassWeight, Fitted, Wide};
use crate::models::slopes;
use crate::models::squared_errors::SquaredErrors;
use ndarray::ArrayView2;
use std::sync::{Arc, OnceLock};

/// A fold, diagonalised when its first lane is trained.
pub struct RidgeFold {
    fold: Arc<Fold>,
    prepared: [OnceLock<Prepared>; 4],
    errors: SquaredErrors,
}

impl RidgeFold {
    fn prepared(&self, params: &RidgeParams) -> &Prepared {
        self.prepared[params.variant()]
            .get_or_init(|| Prepared::new(&self.fold, params.fit_intercept, params.class_weight))
    }
}

/// Up to sixteen candidates on one fold.
pub struct Group {
    params: Vec<RidgeParams>,
    /// None until they are trained.
    fitted: Option<Fitted>,
}

impl LaneModel for RidgeLanes {
    type Params = RidgeParams;
    type Fold = RidgeFold;
    type Group = Group;

    fn params(&self, point: &[f64]) -> RidgeParams {
        RidgeParams::read(&self.space, point)
    }

    fn key(&self, params: &RidgeParams) -> GroupKey {
        let is_balanced = params.class_weight == ClassWeight::Balanced;
        GroupKey { step: [u32::from(params.fit_intercept), u32::from(is_balanced)], likeness: [0; 4] }
    }

    fn open_fold(&self, fold: &Arc<Fold>) -> RidgeFold {
        RidgeFold { fold: fold.clone(), prepared: Default::default(), errors: SquaredErrors::new(fold) }
    }

    fn bytes(&self, fold: &RidgeFold, _: &[RidgeParams]) -> u64 {
        let (rows, features) = fold.fold.train.x.dim();
        let outputs = fold.fold.train.y.outputs();
        ((features + 1) * outputs * size_of::<Lanes>() + (features + 2 * rows.min(features)) * size_of::<Wide>()) as u64
    }

    fn start(&self, _: &RidgeFold, lanes: &[RidgeParams]) -> Group {
        Group { params: lanes.to_vec(), fitted: None }
    }

    fn gather(&self, fold: &RidgeFold, lanes: &[(&Group, usize)]) -> Group {
        let params: Vec<RidgeParams> = lanes.iter().map(|(group, lane)| group.params[*lane]).collect();
        let (features, outputs) = (fold.fold.train.x.ncols(), fold.fold.train.y.outputs());
        let mut fitted = Fitted::zeros(features, outputs);
        for (to, (group, from)) in lanes.iter().enumerate() {
            match &group.fitted {
                Some(source) => fitted.copy_lane(to, source, *from),
                // Lanes that were never trained: the whole group is solved when it is advanced.
                None => return Group { params, fitted: None },
            }
        }
        Group { params, fitted: Some(fitted) }
    }

    fn advance(&self, level: Level, fold: &RidgeFold, group: &mut Group, _: u64) -> Vec<LaneProgress> {
        if group.fitted.is_none()
            && let Some(first) = group.params.first()
        {
            let fold = fold.prepared(first);
            let l2 = |lane: usize| group.params.get(lane).map_or(1.0, |params| params.l2);
            group.fitted = Some(dispatch(level, Solve { fold, l2: std::array::from_fn(l2) }));
        }
        vec![LaneProgress { used: 1, is_capped: false }; group.params.len()]
    }

    fn predict(&self, level: Level, fold: &RidgeFold, group: &mut Group, rows: RowBlock<'_>, out: &mut [Lanes]) {
        let is_classifier = matches!(fold.fold.train.y, Target::Classes { .. });
        let target = (!is_classifier).then_some(fold.fold.target);
        if let Some(fitted) = &group.fitted {
            dispatch(level, Predict { fitted, target, x: rows.x, out });
        }
    }

    fn squared_errors(&self, level: Level, fold: &RidgeFold, group: &Group, set: usize) -> Option<Wide> {
        fold.errors.of(level, &fold.fold, set, group.fitted.as_ref()?)
    }

    fn slopes(
        &self,
        _: Level,
        fold: &RidgeFold,
        group: &Group,
        lane: usize,
        set: usize,
        term: RowTerm,
    ) -> Option<Vec<f64>> {
        let params = group.params.get(lane)?;
        let (line, change) = fold.prepared(params).diagonal().solve(params.l2);
        let slopes = slopes::pulled(fold.fold.row_sets().nth(set)?, fold.fold.target, term, &line)?;
        slopes::columns(&self.space, &[("l2", slopes.dot(&change))])
    }

    fn read_back(&self, _: &RidgeFold, group: &Group, lane: usize) -> Weights {
        group.fitted.as_ref().map_or_else(|| Weights::of(Vec::new()), |fitted| fitted.read_back(lane))
    }
}

/// `w = B (q / (s + l2))` for sixteen penalties, and intercepts that take up the means.
struct Solve<'a> {
    fold: &'a Prepared,
    l2: Wide,
}

impl Kernel for Solve<'_> {
    type Output = Fitted;

    #[inline(always)]
    fn run<V: Simd>(self) -> Fitted {
        let Solve { fold, l2 } = self;
        let mut fitted = Fitted::zeros(fold.features, fold.outputs);
        let mut shares = vec![[0.0; LANES]; fold.rank];
        for (shares, s) in shares.iter_mut().zip(&fold.spectrum) {
            for lane in 0..LANES {
                let sum = s + l2[lane];
                shares[lane] = if sum > fold.least { 1.0 / sum } else { 0.0 };
            }
        }
        let mut scaled = vec![[0.0; LANES]; fold.rank];
        let mut weights = vec![[0.0; LANES]; fold.features];
        let places = fitted.weights.chunks_exact_mut(fold.features).zip(&mut fitted.intercepts);
        for (output, (places, intercept)) in places.enumerate() {
            let products = fold.products[output..].iter().step_by(fold.outputs);
            for (scaled, (shares, product)) in scaled.iter_mut().zip(shares.iter().zip(products)) {
                for lane in 0..LANES {
                    scaled[lane] = shares[lane] * product;
                }
            }
            linear::multiply(&fold.basis, &scaled, &mut weights);
            let mut sums = [fold.target_mean[output]; LANES];
            for (weight, mean) in weights.iter().zip(&fold.mean) {
                for lane in 0..LANES {
                    sums[lane] = (-mean).mul_add(weight[lane], sums[lane]);
                }
            }
            for (place, weight) in places.iter_mut().zip(&weights) {
                *place = Lanes(weight.map(|weight| weight as f32));
            }
            *intercept = Lanes(sums.map(|sum| sum as f32));
        }
        fitted
    }
}

/// Predictions for a block of rows.
struct Predict<'a, 'x> {
    fitted: &'a Fitted,
    /// Of a number; none for classes.
    target: Option<Affine>,
    x: ArrayView2<'x, f32>,
    out: &'a mut [Lanes],
}

impl Kernel for Predict<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Predict { fitted, target, x, out } = self;
        fitted.forward::<V>(x, out);
        match target {
            Some(target) => linear::unscale::<V>(out, target),
            None => linear::softmax::<V>(out, fitted.intercepts.len()),
        }
    }
}
