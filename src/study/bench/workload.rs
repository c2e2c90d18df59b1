//! Which lanes are trained: the same ones on every backend, and the first ones of many where there are few.

use super::BenchOptions;
use crate::backend::Lane;
use crate::data::Problem;
use crate::models::{DataShape, Work};
use crate::space::{Domain, Points, Scale, Space};
use crate::strategies::{self, Ask};
use crate::study::pipeline::Pipeline;
use crate::study::resolve::Study;
use serde::Serialize;

/// What the lanes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shapes {
    /// All lanes have the defaults' shape; only what is searched on a logarithmic or logit scale differs (rates,
    /// penalties), which changes a lane's bits and not its work.
    Default,
    /// Candidates as random search draws them from the study's space: mixed widths, depths and minibatches.
    Random,
}

/// The lanes, in an order whose beginnings are workloads too.
pub(super) struct Workload {
    pub(super) points: Points,
    /// Every fold of the first point, then of the second, and so on.
    pub(super) lanes: Vec<Lane>,
    /// What each fold's lanes are trained on.
    shapes: Vec<DataShape>,
}

impl Workload {
    pub(super) fn draw(study: &Study, pipeline: &Pipeline, problem: &Problem, options: &BenchOptions) -> Workload {
        let folds = problem.folds.len();
        let most = options.lanes.iter().copied().max().unwrap_or(0);
        let mut points = random_points(study, most.div_ceil(folds.max(1)));
        if options.shapes == Shapes::Default {
            points = in_default_shape(&study.space, &points);
        }
        let of_point = |point| (0..folds).map(move |fold| Lane { point, fold });
        let lanes = (0..points.len()).flat_map(of_point).take(most).collect();
        let shape = |fold: &crate::data::Fold| DataShape {
            rows: fold.train.y.len(),
            features: fold.train.x.ncols(),
            ..pipeline.shape
        };
        Workload { points, lanes, shapes: problem.folds.iter().map(|fold| shape(fold)).collect() }
    }

    /// The first lanes; `None` if there are not so many.
    pub(super) fn first(&self, count: usize) -> Option<&[Lane]> {
        self.lanes.get(..count)
    }

    /// What a lane takes, counted from its own shape.
    pub(super) fn work(&self, pipeline: &Pipeline, lane: Lane, used: u64) -> Work {
        let shape = self.shapes.get(lane.fold).copied().unwrap_or(pipeline.shape);
        pipeline.model.work(&pipeline.space, self.points.row(lane.point), shape, used)
    }
}

/// Candidates of random search, whatever the study's own strategy is.
fn random_points(study: &Study, count: usize) -> Points {
    let none = || Points::new(study.space.parameters.len());
    let Ok(random) = strategies::find("random") else { return none() };
    match random.open(study.space.clone(), &study.strategy_options()).ask(0, count) {
        Ask::Proposals(points) => points,
        Ask::Wait | Ask::Done => none(),
    }
}

/// The defaults, with the points' own rates and penalties where a default candidate has them.
fn in_default_shape(space: &Space, points: &Points) -> Points {
    let defaults = space.defaults();
    let mut shaped = Points::new(points.width());
    for row in points.rows() {
        let mut lane = defaults.clone();
        for ((value, drawn), parameter) in lane.iter_mut().zip(row).zip(&space.parameters) {
            let is_rate = matches!(parameter.domain, Domain::Float { scale: Scale::Log | Scale::Logit, .. });
            if is_rate && !value.is_nan() && !drawn.is_nan() {
                *value = *drawn;
            }
        }
        shaped.push(if space.is_allowed(&lane) { &lane } else { &defaults });
    }
    shaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;

    #[test]
    fn default_shapes_differ_in_rates_alone() {
        let space = SpaceBuilder::new().int("units", 1, 9, 4).log("rate", 1e-3, 1.0, 0.1).float("share", 0.0, 0.5, 0.0);
        let space = space.build();
        let drawn = Points::from_values(3, vec![7.0, 0.5, 0.25, 2.0, 0.01, 0.125]);
        let shaped = in_default_shape(&space, &drawn);
        assert_eq!(shaped, Points::from_values(3, vec![4.0, 0.5, 0.0, 4.0, 0.01, 0.0]));
    }
}
