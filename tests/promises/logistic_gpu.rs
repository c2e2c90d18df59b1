//! The softmax on the GPU: scikit-learn's solutions, weights in the features' own basis, and how lanes end. What holds
//! for every model on a GPU is in gpu.rs and backends.rs.

use crate::logistic::{codes, fold, mean_gradient, open_space, solutions, weighted_solutions};
use crate::support::{SquaredError, bits, open_cpu, problem, train};
use crate::{gpu, support};
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::gpu::GpuOptions;
use thousandfold::backend::{Lane, LaneReport, LaneStatus, StopFlag, Trainer, Weights};
use thousandfold::data::metrics::{Metric, Reduced};
use thousandfold::data::{Affine, Prediction, Problem, Rows, Target, Task};
use thousandfold::models::logistic::solver::ABSENT;
use thousandfold::models::{Model, logistic::Logistic};
use thousandfold::space::Points;

const BUDGET: u64 = 1000;

fn open(problem: &Arc<Problem>) -> Option<Box<dyn Trainer>> {
    let gpu = gpu::open(GpuOptions::default())?;
    Some(Logistic.open_gpu(&open_space(), problem.clone(), &gpu).unwrap())
}

/// Trains candidates on fold 0, all in one batch, and reads their weights back.
fn fit(trainer: &mut dyn Trainer, points: &[[f64; 3]], budget: u64) -> Vec<(LaneReport, Weights)> {
    let lanes: Vec<Lane> = (0..points.len()).map(|point| Lane { point, fold: 0 }).collect();
    let slots = trainer.start(&Points::from_values(3, points.concat()), &lanes).unwrap();
    let mut reports = Vec::new();
    let mut report = |lane| {
        reports.push(lane);
        ControlFlow::Continue(())
    };
    trainer.advance(&slots, budget, true, &StopFlag::default(), &mut report).unwrap();
    reports.sort_by_key(|report| report.slot);
    reports.into_iter().map(|report| (report.clone(), trainer.read_back(report.slot).unwrap())).collect()
}

fn converges(name: &str) {
    let (solutions, train, held_out) = solutions(name);
    let Some(mut trainer) = open(&fold(train.clone(), vec![held_out.clone()])) else { return };
    let points: Vec<[f64; 3]> = solutions.iter().map(|solution| solution.point()).collect();
    for (solution, (report, weights)) in solutions.iter().zip(fit(&mut *trainer, &points, BUDGET)) {
        assert_eq!(report.status, LaneStatus::Trained, "{name}, {:?}", solution.point());
        solution.assert_equals(&weights, &train, &held_out);
    }
}

#[test]
fn training_converges_to_scikit_learns_solution_on_iris() {
    converges("iris");
}

#[test]
fn training_converges_to_scikit_learns_solution_on_breast_cancer() {
    converges("breast_cancer");
}

#[test]
fn training_converges_to_scikit_learns_solution_on_digits() {
    converges("digits");
}

#[test]
fn classes_and_rows_that_count_for_more_give_scikit_learns_solution() {
    for (solution, train, held_out, candidate) in weighted_solutions() {
        let Some(mut trainer) = open(&fold(train.clone(), vec![held_out.clone()])) else { return };
        let weights = support::weights(&mut *trainer, &open_space(), &candidate, BUDGET);
        solution.assert_equals(&weights, &train, &held_out);
    }
}

fn score(weights: &Weights, rows: &Rows) -> f64 {
    let predicted = Logistic.predict(weights, Task::Classification, Affine::IDENTITY, rows.x.view()).unwrap();
    let (classes, values) = (predicted.ncols(), predicted.iter().copied().collect::<Vec<f32>>());
    SquaredError.finish(rows.truth(), Reduced::Predictions(Prediction::Probabilities { classes, values: &values }))
}

/// The lane predicts in the fold's eigenbasis, its weights in the features' own: two roundings of equal logits.
const TOLERANCE: f64 = 2e-5;

#[test]
fn weights_read_back_predict_what_the_lane_scored() {
    // More rows than a block has, a last block of one row, and more outputs than one tile has.
    for (rows, features, classes) in [(60, 6, 2), (513, 5, 3), (90, 40, 35)] {
        let problem = problem(1, rows, features, classes, BUDGET);
        let Some(mut trainer) = open(&problem) else { return };
        let points = [[0.5, 1.0, 0.0], [20.0, 0.0, 0.0]];
        for (report, weights) in fit(&mut *trainer, &points, 5) {
            let fold = &problem.folds[0];
            for (scored, rows) in [(report.train, &fold.train), (report.evals[0], &fold.evals[0])] {
                let own = score(&weights, rows);
                assert!((own - scored).abs() < TOLERANCE * scored, "{classes} classes: {own} and {scored}");
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_where_dispatches_cut_an_iteration() {
    // Three blocks of rows: every dispatch of one tick but each third ends within an iteration.
    let problem = problem(1, 1100, 5, 3, 4);
    let points = Points::from_values(3, vec![0.01, 1.0, 0.0, 7.0, 0.0, 0.0]);
    let scores = |largest_slice| {
        let provoked = thousandfold::backend::gpu::Provoked { largest_slice, ..Default::default() };
        let gpu = gpu::open(GpuOptions { provoked, ..GpuOptions::default() })?;
        let mut trainer = Logistic.open_gpu(&open_space(), problem.clone(), &gpu).unwrap();
        Some(bits(&train(&mut *trainer, &points, 1, 4)))
    };
    let Some(whole) = scores(gpu::WHOLE) else { return };
    assert_eq!(scores(1).unwrap(), whole);
    assert_eq!(scores(2).unwrap(), whole);
}

#[test]
fn a_lane_says_whether_it_converged_was_cut_off_or_overflowed() {
    let problem = problem(1, 60, 9, 3, BUDGET);
    let Some(mut trainer) = open(&problem) else { return };
    let points = [[0.013, 1.0, 0.0], [47.0, 1.0, 0.0]];
    for (report, _) in fit(&mut *trainer, &points, 1) {
        assert_eq!((report.status, report.used), (LaneStatus::IterationLimit, 1));
    }
    for (report, _) in fit(&mut *trainer, &points, BUDGET) {
        assert!(report.status == LaneStatus::Trained && report.used < BUDGET, "{report:?}");
    }
    let mut rows = problem.folds[0].train.clone();
    rows.x.mapv_inplace(|x| x * 1e37);
    let Some(mut trainer) = open(&fold(rows.clone(), vec![rows])) else { return };
    let (report, _) = fit(&mut *trainer, &points[..1], BUDGET).swap_remove(0);
    assert_eq!(report.status, LaneStatus::NotFinite);
    assert!(report.train.is_nan() && report.evals[0].is_nan());
}

/// Few steps from starts that differ by roundings; measured: 7e-7.
const STEPS_TOLERANCE: f64 = 2e-5;

#[test]
fn an_iteration_is_the_same_as_on_the_processor() {
    let points = [[0.013, 1.0, 0.0], [0.3, 0.0, 0.0]];
    // The second has more classes than a workgroup has threads.
    for (features, classes) in [(9, 3), (7, 140)] {
        let problem = problem(1, 200, features, classes, BUDGET);
        let Some(mut gpu) = open(&problem) else { return };
        let mut cpu = open_cpu(&Logistic, &open_space(), &problem, &CpuOptions::default());
        for budget in 1..4 {
            for ((gpu, _), (cpu, _)) in fit(&mut *gpu, &points, budget).iter().zip(fit(&mut *cpu, &points, budget)) {
                assert_eq!((gpu.status, gpu.used), (cpu.status, cpu.used));
                let distance = (gpu.train - cpu.train).abs() / cpu.train;
                assert!(distance < STEPS_TOLERANCE, "{classes} classes, {budget} iterations: {distance:e}");
            }
        }
    }
}

#[test]
fn a_tolerance_ends_a_lane_as_soon_as_it_is_met() {
    let problem = problem(1, 200, 9, 3, BUDGET);
    let Some(mut trainer) = open(&problem) else { return };
    let points = [[0.013, 1.0, 0.0], [0.013, 1.0, 1e-4]];
    let fits = fit(&mut *trainer, &points, BUDGET);
    let norms: Vec<f64> =
        fits.iter().map(|(_, weights)| mean_gradient(weights, &problem.folds[0].train, 0.013)).collect();
    assert!(fits[1].0.used < fits[0].0.used, "{} and {} iterations", fits[0].0.used, fits[1].0.used);
    assert!(norms[0] < norms[1] && norms[1] < 1e-4, "{norms:?}");
}

#[test]
fn a_class_without_training_rows_is_fitted_as_on_the_processor() {
    let whole = problem(1, 60, 5, 3, BUDGET).folds[0].train.clone();
    // Class 1 of 4 never occurs, nor does class 3.
    let spread = codes(&whole).iter().map(|code| 2 * (code % 2)).collect();
    let train = Rows::new(whole.x.clone(), Target::Classes { codes: spread, classes: 4 });
    let problem = fold(train.clone(), vec![train]);
    let point = [0.7, 1.0, 0.0];
    let Some(mut trainer) = open(&problem) else { return };
    let (_, gpu) = fit(&mut *trainer, &[point], BUDGET).swap_remove(0);
    let space = open_space();
    let mut trainer = open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
    let cpu = support::weights(&mut *trainer, &space, &point, BUDGET);
    for (gpu, cpu) in gpu.arrays.iter().zip(&cpu.arrays) {
        assert_eq!((&gpu.name, &gpu.shape), (&cpu.name, &cpu.shape));
        for (a, b) in gpu.values.iter().zip(&cpu.values) {
            assert!(a == b || (a - b).abs() < 1e-3, "{}: {a} and {b}", gpu.name);
        }
    }
    let intercept = &gpu.arrays[1].values;
    assert!(intercept[1] == ABSENT && intercept[3] == ABSENT && intercept[0].abs() < 1e3);
}
