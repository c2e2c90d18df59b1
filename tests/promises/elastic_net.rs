//! The elastic net against scikit-learn and a plain loop, and the rules that its lanes keep.

use crate::gpu;
use crate::linear::{Solution, array, decisions, distance, fold_of, numbers, opened, point, problem_of, solutions};
use crate::reference::linear::Linear;
use crate::support::{bits, open_cpu, problem, rows, train};
use ndarray::Array2;
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::cpu::simd::Level;
use thousandfold::backend::gpu::GpuOptions;
use thousandfold::backend::{BackendError, Lane, LaneReport, LaneStatus, Slot, StopFlag, Trainer, Weights};
use thousandfold::base::random::Key;
use thousandfold::data::{Affine, Fold, Problem, Rows, Target, Task};
use thousandfold::models::elastic_net::ElasticNet;
use thousandfold::models::{DataShape, Model};
use thousandfold::space::{Points, Space};

const BUDGET: u64 = 1000;

fn space() -> Space {
    opened(ElasticNet.space(DataShape { task: Task::Regression, rows: 100, features: 10, outputs: 1 }))
}

fn candidate(space: &Space, solution: &Solution) -> Vec<f64> {
    let is = |value: bool| f64::from(u8::from(value));
    let values = [
        ("alpha", solution.alpha),
        ("l1_ratio", solution.l1_ratio),
        ("fit_intercept", is(solution.fit_intercept)),
        ("positive", is(solution.positive)),
    ];
    point(space, &values)
}

fn values(weights: &Weights, name: &str) -> Vec<f64> {
    array(weights, name).values.iter().map(|value| f64::from(*value)).collect()
}

/// How far a lane's weights are from scikit-learn's, by coefficients and predictions on the scaled target.
fn distance_to(solution: &Solution, weights: &Weights, fold: &Fold) -> f64 {
    let Affine { shift, scale } = fold.target;
    // Without an intercept scikit-learn was given a target that is not shifted.
    let zero = if solution.fit_intercept { 0.0 } else { f64::from(shift) / f64::from(scale) };
    let predicted: Vec<f64> = decisions(weights, &fold.evals[0]).iter().take(6).map(|z| z[0] + zero).collect();
    // As shares of 1, the target's deviation, where everything is smaller.
    let share = |mut found: Vec<f64>, mut truth: Vec<f64>| {
        found.push(1.0);
        truth.push(1.0);
        distance(&found, &truth)
    };
    let furthest = share(predicted, numbers(&solution.predictions));
    match &solution.coef {
        Some(coef) => furthest.max(share(values(weights, "weight"), numbers(coef))),
        None => furthest,
    }
}

/// Trains a candidate and reads its weights back, with how it ended; none where there is nothing to train on.
type Fit = fn(&Arc<Problem>, &Space, &[f64]) -> Option<(LaneReport, Weights)>;

fn fit(trainer: &mut dyn Trainer, row: &[f64], budget: u64) -> (LaneReport, Weights) {
    let points = Points::from_values(row.len(), row.to_vec());
    let report = train(trainer, &points, 1, budget).swap_remove(0);
    let weights = trainer.read_back(report.slot).unwrap();
    (report, weights)
}

fn on_cpu(problem: &Arc<Problem>, space: &Space, row: &[f64]) -> Option<(LaneReport, Weights)> {
    Some(fit(&mut *open_cpu(&ElasticNet, space, problem, &CpuOptions::default()), row, BUDGET))
}

fn on_gpu(problem: &Arc<Problem>, space: &Space, row: &[f64]) -> Option<(LaneReport, Weights)> {
    let gpu = gpu::open(GpuOptions::default())?;
    Some(fit(&mut *ElasticNet.open_gpu(space, problem.clone(), &gpu).unwrap(), row, BUDGET))
}

/// How far the furthest solution is from scikit-learn's, as a share of its tolerance, and which that is.
fn largest_distance(fit: Fit, tolerance: impl Fn(&Solution) -> f64) -> Option<(f64, String)> {
    let (space, mut largest) = (space(), (0.0f64, String::new()));
    let solutions = solutions("elastic_net.json");
    assert!(solutions.len() > 80);
    for solution in &solutions {
        let fold = fold_of(solution, false);
        let (report, weights) = fit(&problem_of(fold.clone()), &space, &candidate(&space, solution))?;
        assert_eq!(report.status, LaneStatus::Trained, "{solution:?} after {}", report.used);
        assert!(report.used <= 60, "{solution:?} took {} iterations", report.used);
        let share = distance_to(solution, &weights, &fold) / tolerance(solution);
        if share >= largest.0 {
            largest = (share, format!("{solution:?} after {} iterations", report.used));
        }
    }
    Some(largest)
}

/// Weights are rounded to f32 (6e-8) once, scikit-learn's solutions to nine digits.
const TOLERANCE: f64 = 1e-6;

#[test]
fn solutions_are_scikit_learns() {
    let largest = largest_distance(on_cpu, |_| TOLERANCE);
    assert!(largest.as_ref().is_some_and(|(share, _)| *share < 1.0), "{largest:?}");
}

#[test]
fn a_gpu_gives_scikit_learns_solutions() {
    // A violation of 1e-6 over the least eigenvalue with the penalty: 1e-2 and more on most sets; 1e-4 on breast_cancer and
    // on the mixed set, where a category's indicators sum to 1. Measured: 1.7e-3.
    let is_close_to_singular = |solution: &Solution| ["breast_cancer", "mixed"].contains(&solution.data.as_str());
    let tolerance = |solution: &Solution| if is_close_to_singular(solution) { 5e-3 } else { 2e-4 };
    let largest = largest_distance(on_gpu, tolerance);
    assert!(largest.as_ref().is_none_or(|(share, _)| *share < 1.0), "{largest:?}");
}

#[test]
fn the_comparison_with_scikit_learn_sees_penalties_that_are_a_little_off() {
    let (space, mut seen) = (space(), 0);
    for solution in solutions("elastic_net.json") {
        let fold = fold_of(&solution, false);
        for name in ["alpha", "l1_ratio"] {
            let mut row = candidate(&space, &solution);
            row[space.index(name).unwrap()] *= 0.998;
            let (_, weights) = on_cpu(&problem_of(fold.clone()), &space, &row).unwrap();
            // Where no weight is left, or there is nothing of the penalty that is off, nothing changes.
            let is_still =
                values(&weights, "weight").iter().all(|w| *w == 0.0) || row[space.index(name).unwrap()] == 0.0;
            seen += usize::from(!is_still && solution.alpha > 1e-3);
            if !is_still && solution.alpha > 1e-3 {
                let distance = distance_to(&solution, &weights, &fold);
                assert!(distance > TOLERANCE, "{name}, {solution:?}: {distance:e}");
            }
        }
    }
    assert!(seen > 80, "{seen}");
}

fn fold_like(seed: u64, n: usize, features: usize) -> Fold {
    let mut train = rows(seed, n, features, 1);
    train.weight = Some((0..n).map(|i| [1.0, 0.3, 2.5, 0.0, 1.0][i % 5]).collect());
    let evals = vec![rows(seed + 1, n / 2 + 3, features, 1)];
    Fold::of_numbers(Key::from_seed(1), train, evals, Affine { shift: 50.0, scale: 20.0 })
}

/// A lane's numbers against coordinate descent over rows in f64, on every row of a fold.
fn distance_to_plain_loop(fold: &Fold, row: &[f64], truth: [f64; 2], fit_intercept: bool, is_positive: bool) -> f64 {
    let (report, weights) = on_cpu(&problem_of(fold.clone()), &space(), row).unwrap();
    assert_eq!(report.status, LaneStatus::Trained);
    let Target::Values(y) = &fold.train.y else { panic!("numbers") };
    let Affine { shift, scale } = fold.target;
    let (shift, scale) = (f64::from(shift), f64::from(scale));
    let zero = if fit_intercept { shift } else { 0.0 };
    let y: Vec<f64> = y.iter().map(|y| (f64::from(*y) - zero) / scale).collect();
    let counts = fold
        .train
        .weight
        .as_ref()
        .map_or(vec![1.0; y.len()], |weights| weights.iter().map(|weight| f64::from(*weight)).collect());
    let plain = Linear::elastic_net(fold.train.x.view(), &y, &counts, truth, fit_intercept, is_positive);
    let predicted = |row: ndarray::ArrayView1<'_, f32>| plain.predict(row.as_slice().unwrap()) * scale + zero - shift;
    let predicted: Vec<f64> = fold.train.x.rows().into_iter().map(predicted).collect();
    let own: Vec<f64> = decisions(&weights, &fold.train).iter().map(|z| z[0] * scale).collect();
    distance(&[&own[..], &[scale]].concat(), &[&predicted[..], &[scale]].concat())
}

fn values_of(alpha: f64, l1_ratio: f64, fit_intercept: bool, is_positive: bool) -> Vec<f64> {
    let is = |value: bool| f64::from(u8::from(value));
    let values =
        [("alpha", alpha), ("l1_ratio", l1_ratio), ("fit_intercept", is(fit_intercept)), ("positive", is(is_positive))];
    point(&space(), &values)
}

#[test]
fn solutions_are_those_of_a_plain_f64_loop() {
    let fold = fold_like(7, 90, 6);
    for (alpha, l1_ratio) in [(1e-4, 0.0), (1e-3, 1.0), (0.03, 0.5), (0.3, 0.9), (0.5, 0.1)] {
        for (fit_intercept, is_positive) in [(true, false), (false, false), (true, true), (false, true)] {
            let row = values_of(alpha, l1_ratio, fit_intercept, is_positive);
            let truth = [alpha * l1_ratio, alpha * (1.0 - l1_ratio)];
            let distance = distance_to_plain_loop(&fold, &row, truth, fit_intercept, is_positive);
            assert!(distance < TOLERANCE, "{row:?}: {distance:e}");
        }
    }
}

#[test]
fn the_comparison_with_the_plain_loop_sees_small_perturbations() {
    let fold = fold_like(7, 90, 6);
    let row = values_of(0.03, 0.5, true, false);
    assert!(distance_to_plain_loop(&fold, &row, [0.015, 0.015], true, false) < TOLERANCE);
    for (name, truth, fit_intercept, is_positive) in [
        ("l1", [0.01501, 0.015], true, false),
        ("l2", [0.015, 0.01501], true, false),
        ("intercept", [0.015, 0.015], false, false),
        ("signs", [0.015, 0.015], true, true),
    ] {
        let distance = distance_to_plain_loop(&fold, &row, truth, fit_intercept, is_positive);
        assert!(distance > TOLERANCE, "{name}: {distance:e}");
    }
    let mut heavier = fold;
    heavier.train.weight.as_mut().unwrap()[0] = 1.01;
    let fit = |fold: Fold| values(&on_cpu(&problem_of(fold), &space(), &row).unwrap().1, "weight");
    assert!(distance(&fit(heavier), &fit(fold_like(7, 90, 6))) > TOLERANCE);
}

#[test]
fn degenerate_rows_are_solved_as_the_plain_loop_solves_them() {
    let whole = rows(3, 40, 30, 1);
    let with = |edit: &dyn Fn(&mut Array2<f32>)| {
        let mut rows = whole.clone();
        edit(&mut rows.x);
        rows
    };
    let first = |count: usize| {
        let Target::Values(y) = &whole.y else { panic!("numbers") };
        Rows::new(whole.x.slice(ndarray::s![..count, ..]).to_owned(), Target::Values(y[..count].to_vec()))
    };
    let repeat = |x: &mut Array2<f32>| {
        for j in 0..15 {
            let copy = x.column(j).to_owned();
            x.column_mut(j + 15).assign(&copy);
        }
    };
    let cases = [
        ("fewer rows than features", first(20)),
        ("one row", first(1)),
        ("a constant feature", with(&|x| x.column_mut(3).fill(1.0))),
        ("nothing but constant features", with(&|x| x.fill(2.0))),
        ("features that repeat", with(&repeat)),
        ("features far from zero", with(&|x| x.mapv_inplace(|x| x + 10.0))),
    ];
    for (name, train) in cases {
        let fold = Fold::of_numbers(Key::from_seed(1), train, Vec::new(), Affine { shift: 50.0, scale: 20.0 });
        for (alpha, l1_ratio) in [(0.05, 0.5), (0.02, 1.0)] {
            let row = values_of(alpha, l1_ratio, true, false);
            let truth = [alpha * l1_ratio, alpha * (1.0 - l1_ratio)];
            let distance = distance_to_plain_loop(&fold, &row, truth, true, false);
            assert!(distance < 2e-5, "{name}, alpha {alpha}: {distance:e}");
        }
    }
}

/// Candidates all over the space, not sorted.
fn mixed_candidates(count: usize) -> Vec<Vec<f64>> {
    let candidate = |i: usize| {
        let (alpha, l1_ratio) =
            (10f64.powf(-4.5 + 5.0 * ((i * 17) % count) as f64 / count as f64), (i % 5) as f64 / 4.0);
        values_of(alpha, l1_ratio, !i.is_multiple_of(7), i.is_multiple_of(4))
    };
    (0..count).map(candidate).collect()
}

#[test]
fn bits_do_not_depend_on_neighbours_threads_or_instruction_set() {
    let problem = problem(2, 61, 9, 1, BUDGET);
    let (space, candidates) = (space(), mixed_candidates(37));
    let all = Points::from_values(space.parameters.len(), candidates.concat());
    let options = CpuOptions { threads: 1, ..CpuOptions::default() };
    let score = |options: &CpuOptions, points: &Points| {
        bits(&train(&mut *open_cpu(&ElasticNet, &space, &problem, options), points, 2, BUDGET))
    };
    let together = score(&options, &all);
    assert_eq!(together, score(&CpuOptions { threads: 3, ..options }, &all));
    let alone = candidates.iter().flat_map(|row| score(&options, &Points::from_values(row.len(), row.clone())));
    assert_eq!(together, alone.collect::<Vec<u64>>());
    for level in Level::available() {
        assert_eq!(together, score(&CpuOptions { simd: Some(level), ..options }, &all), "{}", level.name());
    }
}

fn advance(trainer: &mut dyn Trainer, slots: &[Slot], budget: u64) -> Vec<LaneReport> {
    let mut reports: Vec<LaneReport> = Vec::new();
    let mut report = |lane| {
        reports.push(lane);
        ControlFlow::Continue(())
    };
    trainer.advance(slots, budget, true, &StopFlag::default(), &mut report).unwrap();
    reports.sort_by_key(|report| slots.iter().position(|slot| *slot == report.slot));
    reports
}

#[test]
fn training_in_rungs_ends_with_the_bits_of_one_go() {
    let problem = problem(1, 61, 9, 1, BUDGET);
    let (space, candidates) = (space(), mixed_candidates(40));
    let all = Points::from_values(space.parameters.len(), candidates.concat());
    let whole = train(&mut *open_cpu(&ElasticNet, &space, &problem, &CpuOptions::default()), &all, 1, BUDGET);
    let mut trainer = open_cpu(&ElasticNet, &space, &problem, &CpuOptions::default());
    let lanes: Vec<Lane> = (0..all.len()).map(|point| Lane { point, fold: 0 }).collect();
    let slots = trainer.start(&all, &lanes).unwrap();
    let (few, many) = slots.split_at(slots.len() / 2);
    advance(&mut *trainer, few, 1);
    advance(&mut *trainer, many, 2);
    let survivors: Vec<Slot> = slots.iter().copied().step_by(3).collect();
    let capped = advance(&mut *trainer, &survivors, 3);
    assert!(capped.iter().any(|report| report.status == LaneStatus::IterationLimit && report.used == 3));
    for report in advance(&mut *trainer, &survivors, BUDGET) {
        let place = slots.iter().position(|slot| *slot == report.slot).unwrap();
        assert_eq!(LaneReport { slot: whole[place].slot, seconds: 0.0, ..report }, whole[place], "lane {place}");
    }
}

#[test]
fn extreme_candidates_and_features_end_and_leave_their_neighbours_alone() {
    let problem = problem(1, 60, 9, 1, BUDGET);
    let score = |problem: &Arc<Problem>, extremes: &[[f64; 2]]| {
        let rows: Vec<Vec<f64>> =
            extremes.iter().map(|[alpha, ratio]| values_of(*alpha, *ratio, true, false)).collect();
        let points = Points::from_values(space().parameters.len(), rows.concat());
        train(&mut *open_cpu(&ElasticNet, &space(), problem, &CpuOptions::default()), &points, 1, 200)
    };
    let extremes = [[0.0, 0.5], [1e-30, 1.0], [0.01, 0.5], [1e12, 0.0], [1e30, 1.0]];
    let reports = score(&problem, &extremes);
    assert!(reports.iter().all(|report| report.status == LaneStatus::Trained && report.train.is_finite()));
    assert_eq!(bits(&reports[2..3]), bits(&score(&problem, &extremes[2..3])));
    // The last leaves nothing but the mean.
    assert_eq!(reports[4].used, 1);
    let with = |edit: &dyn Fn(&mut Rows)| {
        let mut fold = (*problem.folds[0]).clone();
        edit(&mut fold.train);
        score(&problem_of(fold), &extremes[..3]).into_iter().map(|report| report.status).collect::<Vec<_>>()
    };
    assert_eq!(with(&|rows| rows.weight = Some(vec![0.0; 60])), [LaneStatus::NotFinite; 3]);
    assert_eq!(with(&|rows| rows.x.mapv_inplace(|x| x * 1e37)), [LaneStatus::Trained; 3]);
    assert_eq!(with(&|rows| rows.x.mapv_inplace(|x| x * 1e-42))[0], LaneStatus::NotFinite);
}

#[test]
fn more_features_than_pairs_can_be_held_of_are_refused() {
    let train = Rows::new(Array2::zeros((2, 9000)), Target::Values(vec![0.0; 2]));
    let problem = problem_of(Fold::of_numbers(Key::from_seed(1), train, Vec::new(), Affine::IDENTITY));
    let refused = ElasticNet.open_cpu(&space(), problem, &CpuOptions::default()).map(|_| ());
    assert!(matches!(refused, Err(BackendError::Unsuited { model: "elastic_net", .. })));
}

#[test]
fn a_gpu_says_how_lanes_end() {
    let problem = problem(1, 60, 9, 1, BUDGET);
    let Some(gpu) = gpu::open(GpuOptions::default()) else { return };
    let mut trainer = ElasticNet.open_gpu(&space(), problem.clone(), &gpu).unwrap();
    let row = values_of(1e-4, 0.5, true, false);
    let (report, _) = fit(&mut *trainer, &row, 1);
    assert_eq!((report.status, report.used), (LaneStatus::IterationLimit, 1));
    let (report, _) = fit(&mut *trainer, &row, BUDGET);
    assert!(report.status == LaneStatus::Trained && report.used < 20, "{report:?}");
    let mut fold = (*problem.folds[0]).clone();
    fold.train.weight = Some(vec![0.0; 60]);
    let mut trainer = ElasticNet.open_gpu(&space(), problem_of(fold), &gpu).unwrap();
    let (report, _) = fit(&mut *trainer, &row, BUDGET);
    assert_eq!(report.status, LaneStatus::NotFinite);
    assert!(report.train.is_nan());
}
