//! The multilayer perceptron against a plain loop, and the rules that its lanes keep.

use crate::reference;
use crate::support::{bits, mixed_points, open_cpu, problem, train, weights};
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::cpu::simd::Level;
use thousandfold::backend::{Lane, LaneReport, LaneStatus, StopFlag};
use thousandfold::data::{Problem, Task};
use thousandfold::models::mlp::recipe::MlpParams;
use thousandfold::models::{DataShape, Model, mlp::Mlp};
use thousandfold::space::{Points, Space};

const BUDGET: u64 = 4;

fn space(task: Task) -> Space {
    let space = Mlp.space(DataShape { task, rows: 100, features: 10, outputs: 3 });
    let open = if task == Task::Classification { "class_weight = ['none', 'balanced']" } else { "" };
    space.with_overrides(&toml::from_str(open).unwrap()).unwrap()
}

/// The defaults with some parameters set, by their encoded values.
fn point(space: &Space, set: &[(&str, f64)]) -> Vec<f64> {
    let mut row = space.defaults();
    for (name, value) in set {
        row[space.index(name).unwrap_or_else(|| panic!("no parameter {name}"))] = *value;
    }
    row
}

/// Rows that count from 0 to 2.
fn weighted_problem(classes: usize) -> Arc<Problem> {
    let problem = problem(1, 90, 10, classes, BUDGET);
    let mut fold = (*problem.folds[0]).clone();
    fold.train.weight = Some((0..90).map(|row| (row * 7 % 9) as f32 * 0.25).collect());
    Arc::new(Problem { folds: vec![Arc::new(fold)], ..(*problem).clone() })
}

/// Largest difference between predictions of the CPU's network and the plain loop's, in units of the scaled target.
fn distance_to_plain_loop(task: Task, weighted: bool, set: &[(&str, f64)], perturb: impl Fn(&mut MlpParams)) -> f64 {
    let classes = if task == Task::Classification { 3 } else { 1 };
    let problem = if weighted { weighted_problem(classes) } else { problem(1, 90, 10, classes, BUDGET) };
    let space = space(task);
    let row = point(&space, set);
    let mut trainer = open_cpu(&Mlp, &space, &problem, &CpuOptions::default());
    let weights = weights(&mut *trainer, &space, &row, BUDGET);
    let fold = &problem.folds[0];
    let eval = &fold.evals[0];
    let predicted = Mlp.predict(&weights, task, fold.target, eval.x.view()).unwrap();
    let mut params = MlpParams::read(&space, &row);
    perturb(&mut params);
    let truth = reference::mlp::Mlp::train(fold, params, BUDGET, BUDGET);
    let mut largest = 0.0f64;
    for (row, predicted) in eval.x.rows().into_iter().zip(predicted.rows()) {
        for (truth, predicted) in truth.predict(row.as_slice().unwrap()).iter().zip(predicted) {
            largest = largest.max((truth - f64::from(*predicted)).abs() / f64::from(fold.target.scale));
        }
    }
    largest
}

/// Rounding of some hundred f32 products a weight and step, through 24 Adam steps of size 1e-3: measured 2e-6.
const TOLERANCE: f64 = 2e-5;

#[test]
fn training_equals_a_plain_f64_loop() {
    let settings: &[&[(&str, f64)]] = &[
        &[],
        &[("layers", 2.0), ("hidden", 9.0), ("activation", 1.0), ("schedule", 2.0), ("batch", 0.0)],
        &[("layers", 3.0), ("hidden", 12.0), ("activation", 2.0), ("dropout", 0.3), ("schedule", 0.0)],
        &[("activation", 3.0), ("label_smoothing", 0.1), ("weight_decay", 0.5)],
        &[("optimizer", 1.0), ("hidden", 17.0), ("dropout", 0.2), ("momentum", 0.8)],
    ];
    for set in settings {
        let distance = distance_to_plain_loop(Task::Classification, false, set, |_| {});
        assert!(distance < TOLERANCE, "{set:?}: {distance:e}");
        let set: Vec<_> = set.iter().copied().filter(|(name, _)| *name != "label_smoothing").collect();
        let distance = distance_to_plain_loop(Task::Regression, false, &set, |_| {});
        assert!(distance < TOLERANCE, "regression, {set:?}: {distance:e}");
    }
}

#[test]
fn weighted_rows_and_balanced_classes_train_as_the_plain_loop() {
    for weighted in [false, true] {
        let balanced = [("class_weight", 1.0), ("dropout", 0.1)];
        let distance = distance_to_plain_loop(Task::Classification, weighted, &balanced, |_| {});
        assert!(distance < TOLERANCE, "{distance:e}");
        let distance =
            distance_to_plain_loop(Task::Classification, weighted, &balanced, |params| params.is_balanced = false);
        assert!(distance > TOLERANCE, "a weight of a class is seen: {distance:e}");
    }
    let distance = distance_to_plain_loop(Task::Regression, true, &[], |_| {});
    assert!(distance < TOLERANCE, "regression: {distance:e}");
}

#[test]
fn the_comparison_with_the_plain_loop_sees_small_perturbations() {
    let set = [("dropout", 0.1), ("activation", 1.0)];
    type Perturbation = (&'static str, fn(&mut MlpParams));
    let perturbations: [Perturbation; 5] = [
        ("momentum", |params| params.momentum += 0.005),
        ("learning rate", |params| params.learning_rate *= 1.01),
        ("decay", |params| params.weight_decay += 0.05),
        ("dropout", |params| params.dropout += 0.02),
        ("smoothing", |params| params.label_smoothing += 0.01),
    ];
    for (name, perturb) in perturbations {
        let distance = distance_to_plain_loop(Task::Classification, false, &set, perturb);
        assert!(distance > TOLERANCE, "{name}: {distance:e}");
    }
}

#[test]
fn bits_do_not_depend_on_neighbours_threads_or_instruction_set() {
    let problem = problem(2, 70, 10, 3, BUDGET);
    let space = space(Task::Classification);
    let points = mixed_points(&space, 40, 40.0);
    let options = CpuOptions { threads: 1, ..CpuOptions::default() };
    let together = bits(&train(&mut *open_cpu(&Mlp, &space, &problem, &options), &points, 2, BUDGET));
    let threads = CpuOptions { threads: 3, ..options };
    assert_eq!(together, bits(&train(&mut *open_cpu(&Mlp, &space, &problem, &threads), &points, 2, BUDGET)));
    let mut alone = Vec::new();
    for row in points.rows() {
        let mut trainer = open_cpu(&Mlp, &space, &problem, &options);
        alone.extend(bits(&train(&mut *trainer, &Points::from_values(row.len(), row.to_vec()), 2, BUDGET)));
    }
    assert_eq!(together, alone);
    // Plain Rust multiplies and adds in software where the target has no fused instruction: a few lanes must do.
    let few = Points::from_values(points.width(), points.rows().take(3).flatten().copied().collect());
    for level in Level::available() {
        let options = CpuOptions { simd: Some(level), ..options };
        let scores = bits(&train(&mut *open_cpu(&Mlp, &space, &problem, &options), &few, 2, BUDGET));
        assert_eq!(together[..scores.len()], scores, "{}", level.name());
    }
}

#[test]
fn training_in_rungs_ends_with_the_bits_of_one_go() {
    let problem = problem(1, 70, 10, 3, BUDGET);
    let space = space(Task::Classification);
    let points = mixed_points(&space, 40, 40.0);
    let options = CpuOptions::default();
    let whole = train(&mut *open_cpu(&Mlp, &space, &problem, &options), &points, 1, BUDGET);
    let mut trainer = open_cpu(&Mlp, &space, &problem, &options);
    let lanes: Vec<Lane> = (0..points.len()).map(|point| Lane { point, fold: 0 }).collect();
    let slots = trainer.start(&points, &lanes).unwrap();
    let advance = |trainer: &mut dyn thousandfold::backend::Trainer, slots: &[_], budget| {
        let mut reports: Vec<LaneReport> = Vec::new();
        let mut report = |lane| {
            reports.push(lane);
            ControlFlow::Continue(())
        };
        trainer.advance(slots, budget, true, &StopFlag::default(), &mut report).unwrap();
        reports
    };
    advance(&mut *trainer, &slots, 1);
    // Every third survives and is regrouped with others.
    let survivors: Vec<_> = slots.iter().copied().step_by(3).collect();
    trainer.release(&slots.iter().copied().filter(|slot| !survivors.contains(slot)).collect::<Vec<_>>());
    advance(&mut *trainer, &survivors, 3);
    let reports = advance(&mut *trainer, &survivors, BUDGET);
    assert_eq!(reports.len(), survivors.len());
    for report in reports {
        let place = slots.iter().position(|slot| *slot == report.slot).unwrap();
        assert_eq!(report.evals[0].to_bits(), whole[place].evals[0].to_bits(), "lane {place}");
        assert_eq!(report.used, BUDGET);
    }
}

#[test]
fn a_lane_that_overflows_leaves_its_neighbours_alone() {
    let problem = problem(1, 70, 10, 3, BUDGET);
    let space = space(Task::Classification);
    let mut points = Points::new(space.parameters.len());
    let calm = point(&space, &[("learning_rate", 0.01), ("optimizer", 1.0)]);
    let wild = point(&space, &[("learning_rate", 1e30), ("optimizer", 1.0)]);
    for i in 0..16 {
        points.push(if i == 5 { &wild } else { &calm });
    }
    let reports = train(&mut *open_cpu(&Mlp, &space, &problem, &CpuOptions::default()), &points, 1, BUDGET);
    assert_eq!(reports[5].status, LaneStatus::NotFinite);
    assert!(reports[5].evals[0].is_nan());
    let calm_only = Points::from_values(points.width(), calm);
    let alone = train(&mut *open_cpu(&Mlp, &space, &problem, &CpuOptions::default()), &calm_only, 1, BUDGET);
    for (lane, report) in reports.iter().enumerate().filter(|(lane, _)| *lane != 5) {
        assert_eq!(report.status, LaneStatus::Trained);
        assert_eq!(report.evals[0].to_bits(), alone[0].evals[0].to_bits(), "lane {lane}");
    }
}

#[test]
fn a_memory_limit_changes_no_bit_and_too_small_a_one_is_an_error() {
    let problem = problem(1, 70, 10, 3, BUDGET);
    let space = space(Task::Classification);
    let points = mixed_points(&space, 20, 40.0);
    let roomy = bits(&train(&mut *open_cpu(&Mlp, &space, &problem, &CpuOptions::default()), &points, 1, BUDGET));
    let tight = CpuOptions { memory: 8 << 20, threads: 4, simd: None };
    assert_eq!(roomy, bits(&train(&mut *open_cpu(&Mlp, &space, &problem, &tight), &points, 1, BUDGET)));
    let mut trainer = open_cpu(&Mlp, &space, &problem, &CpuOptions { memory: 1000, ..tight });
    let slots = trainer.start(&points, &[Lane { point: 0, fold: 0 }]).unwrap();
    let error = trainer.advance(&slots, BUDGET, false, &StopFlag::default(), &mut |_| ControlFlow::Continue(()));
    assert!(error.unwrap_err().to_string().starts_with("one lane needs"));
}
