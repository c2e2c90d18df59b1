//! What a group's lanes score on a row set, a block of rows at a time, and how that changes with their points.

use super::CpuTrainer;
use crate::backend::cpu::LaneModel;
use crate::backend::cpu::lane_model::RowBlock;
use crate::backend::cpu::score::{LaneScore, Scoring};
use crate::backend::cpu::simd::{LANES, Lanes};
use crate::data::metrics::Statistic;
use crate::data::{Fold, Rows};
use ndarray::s;

/// Rows that are predicted at a time at most, and bytes of their predictions, which then stay in the cache.
const PREDICT_ROWS: usize = 256;
/// See [`PREDICT_ROWS`].
const PREDICT_BYTES: usize = 64 << 10;

impl<M: LaneModel> CpuTrainer<M> {
    /// How a lane's scores change with its point; nothing where nobody asked, or where a score has no slopes.
    pub(super) fn gradients(
        &self,
        fold: &M::Fold,
        group: &M::Group,
        lane: usize,
        rows: &Fold,
        evals: &[f64],
    ) -> Vec<Vec<f64>> {
        let Statistic::RowSum(term) = self.problem.metric.statistic() else { return Vec::new() };
        if !self.wants_gradients {
            return Vec::new();
        }
        let gradient = |((eval, set), score): ((&Rows, usize), &f64)| {
            let slope = self.problem.metric.slope(eval.truth(), *score)?;
            let mut slopes = self.model.slopes(self.level, fold, group, lane, set, term)?;
            slopes.iter_mut().for_each(|along| *along *= slope);
            Some(slopes)
        };
        let all: Option<Vec<Vec<f64>>> = rows.evals.iter().zip(1..).zip(evals).map(gradient).collect();
        all.unwrap_or_default()
    }

    /// Scores every lane of a group on one of its fold's row sets.
    pub(super) fn score(
        &self,
        fold: &M::Fold,
        group: &mut M::Group,
        set: usize,
        rows: &Rows,
        lanes: usize,
    ) -> Vec<LaneScore> {
        let (n, outputs) = (rows.y.len(), self.problem.outputs);
        let mut scoring = Scoring::new(self.level, self.problem.metric, rows, outputs, lanes);
        if scoring.wants_squared_errors()
            && let Some(sums) = self.model.squared_errors(self.level, fold, group, set)
        {
            return scoring.of_sums(sums);
        }
        let fitting = PREDICT_BYTES / (outputs * size_of::<Lanes>()).max(1);
        let most = fitting.clamp(LANES, PREDICT_ROWS) / LANES * LANES;
        let mut block = vec![Lanes::ZERO; most.min(n) * outputs];
        for first in (0..n).step_by(most) {
            let last = (first + most).min(n);
            let block = &mut block[..(last - first) * outputs];
            let rows = RowBlock { set, first, x: rows.x.slice(s![first..last, ..]) };
            self.model.predict(self.level, fold, group, rows, block);
            scoring.take(first, block);
        }
        scoring.finish()
    }
}
