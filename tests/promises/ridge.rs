//! Ridge against scikit-learn and elimination in f64, and the rules that its lanes keep.

use crate::gpu;
use crate::linear::{Solution, array, decisions, distance, fold_of, numbers, opened, point, problem_of, solutions};
use crate::reference::linear::Linear;
use crate::support::{bits, open_cpu, problem, rows, train, weights};
use ndarray::Array2;
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::cpu::simd::Level;
use thousandfold::backend::gpu::GpuOptions;
use thousandfold::backend::{BackendError, LaneReport, LaneStatus, Slot, StopFlag, Weights};
use thousandfold::base::random::Key;
use thousandfold::data::{Affine, Fold, Problem, Rows, Target, Task};
use thousandfold::models::ridge::{ABSENT, Ridge};
use thousandfold::models::{DataShape, Model};
use thousandfold::space::{Points, Space};

fn space(task: Task) -> Space {
    opened(Ridge.space(DataShape { task, rows: 100, features: 10, outputs: 3 }))
}

fn is_classifier(solution: &Solution) -> bool {
    ["iris", "breast_cancer", "digits"].contains(&solution.data.as_str())
}

fn candidate(space: &Space, solution: &Solution) -> Vec<f64> {
    let mut values = vec![("l2", solution.l2), ("fit_intercept", f64::from(u8::from(solution.fit_intercept)))];
    if space.index("class_weight").is_some() {
        values.push(("class_weight", f64::from(u8::from(solution.class_weight == "balanced"))));
    }
    point(space, &values)
}

/// Weights in the target's own units, as scikit-learn has them: for two classes those of the second.
fn own_units(weights: &Weights, fold: &Fold) -> (Vec<f64>, Vec<f64>) {
    let Affine { shift, scale } = fold.target;
    let is_number = matches!(fold.train.y, Target::Values(_));
    let skip = usize::from(fold.train.y.outputs() == 2);
    let features = fold.train.x.ncols();
    let scaled = |value: &f32| f64::from(*value) * f64::from(scale);
    let weight = array(weights, "weight").values[skip * features..].iter().map(scaled).collect();
    let shift = if is_number { f64::from(shift) } else { 0.0 };
    let intercept = array(weights, "intercept").values[skip..].iter().map(|b| scaled(b) + shift).collect();
    (weight, intercept)
}

/// How far a lane's weights are from scikit-learn's, by coefficients, intercepts and predictions.
fn distance_to(solution: &Solution, weights: &Weights, fold: &Fold) -> f64 {
    let (weight, intercept) = own_units(weights, fold);
    let features = fold.train.x.ncols();
    let predicted: Vec<f64> = (fold.evals[0].x.rows().into_iter().take(6))
        .flat_map(|row| {
            let outputs = weight.chunks_exact(features).zip(&intercept);
            let dot = |w: &[f64]| w.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>();
            outputs.map(|(w, b)| dot(w) + b).collect::<Vec<f64>>()
        })
        .collect();
    let mut furthest = distance(&predicted, &numbers(&solution.predictions));
    if let (Some(coef), Some(b)) = (&solution.coef, &solution.intercept) {
        let is_absent = |b: &f64| *b < -1e20;
        // scikit-learn has no coefficients for a class that does not occur.
        if !intercept.iter().any(is_absent) {
            furthest = furthest.max(distance(&weight, &numbers(coef)));
            if solution.fit_intercept {
                let size = numbers(&solution.predictions).iter().fold(0.0f64, |a, b| a.max(b.abs()));
                let gap = intercept.iter().zip(numbers(b)).fold(0.0f64, |gap, (a, b)| gap.max((a - b).abs()));
                furthest = furthest.max(gap / size);
            }
        }
    }
    furthest
}

/// Weights are rounded to f32 (6e-8) once; measured: 1e-7.
const TOLERANCE: f64 = 1e-6;
/// On a GPU every term of a weight is; measured: 2e-6, where weights of opposite signs are ten times their sum.
const GPU_TOLERANCE: f64 = 2e-5;

fn task_of(solution: &Solution) -> Task {
    if is_classifier(solution) { Task::Classification } else { Task::Regression }
}

/// Trains a candidate and reads its weights back; none where there is nothing to train on.
type Fit = fn(&Arc<Problem>, &Space, &[f64]) -> Option<Weights>;

/// How far the furthest solution is from scikit-learn's; none where there is nothing to fit on.
fn largest_distance(fit: Fit) -> Option<f64> {
    let mut largest = 0.0f64;
    let solutions = solutions("ridge.json");
    assert!(solutions.len() > 80);
    for solution in &solutions {
        let (fold, space) = (fold_of(solution, is_classifier(solution)), space(task_of(solution)));
        let weights = fit(&problem_of(fold.clone()), &space, &candidate(&space, solution))?;
        largest = largest.max(distance_to(solution, &weights, &fold));
    }
    Some(largest)
}

fn on_cpu(problem: &Arc<Problem>, space: &Space, candidate: &[f64]) -> Option<Weights> {
    Some(weights(&mut *open_cpu(&Ridge, space, problem, &CpuOptions::default()), space, candidate, 1))
}

#[test]
fn solutions_are_scikit_learns() {
    let largest = largest_distance(on_cpu);
    assert!(largest < Some(TOLERANCE), "{largest:?}");
}

#[test]
fn the_comparison_with_scikit_learn_sees_a_penalty_that_is_a_little_off() {
    let solutions = solutions("ridge.json");
    let mut seen = 0;
    for solution in solutions.iter().filter(|solution| solution.l2 >= 1.0) {
        let space = space(task_of(solution));
        let (fold, mut candidate) = (fold_of(solution, is_classifier(solution)), candidate(&space, solution));
        candidate[0] *= 1.001;
        let distance = on_cpu(&problem_of(fold.clone()), &space, &candidate).map(|w| distance_to(solution, &w, &fold));
        assert!(distance > Some(TOLERANCE), "{solution:?}: {distance:?}");
        seen += 1;
    }
    assert!(seen > 30);
}

#[test]
fn a_gpu_gives_scikit_learns_solutions() {
    let largest = largest_distance(|problem, space, candidate| {
        let gpu = gpu::open(GpuOptions::default())?;
        let mut trainer = Ridge.open_gpu(space, problem.clone(), &gpu).unwrap();
        Some(weights(&mut *trainer, space, candidate, 1))
    });
    assert!(largest.is_none_or(|largest| largest < GPU_TOLERANCE), "{largest:?}");
}

/// A lane's decision values or numbers against elimination in f64, of a fold's every row.
fn distance_to_plain_loop(fold: &Fold, row: &[f64], truth: [f64; 2], is_balanced: bool) -> f64 {
    let space = space(if matches!(fold.train.y, Target::Values(_)) { Task::Regression } else { Task::Classification });
    let Some(weights) = on_cpu(&problem_of(fold.clone()), &space, row) else { panic!("the processor is always there") };
    let [l2, fit_intercept] = truth;
    let n = fold.train.y.len();
    let mut counts: Vec<f64> =
        fold.train.weight.as_ref().map_or(vec![1.0; n], |weights| weights.iter().map(|w| f64::from(*w)).collect());
    let targets: Vec<Vec<f64>> = match &fold.train.y {
        // Through the target's own zero, or about its mean.
        Target::Values(values) => vec![values.iter().map(|y| f64::from(*y)).collect()],
        Target::Classes { codes, classes } => {
            if is_balanced {
                let of = |class: u32| codes.iter().filter(|code| **code == class).count() as f64;
                let present = (0..*classes as u32).filter(|class| of(*class) > 0.0).count() as f64;
                counts.iter_mut().zip(codes).for_each(|(count, code)| *count *= n as f64 / present / of(*code));
            }
            let target = |class: u32| codes.iter().map(|code| if *code == class { 1.0 } else { -1.0 }).collect();
            (0..*classes as u32).map(target).collect()
        }
    };
    let own: Vec<Vec<f64>> = decisions(&weights, &fold.train);
    let mut furthest = 0.0f64;
    for (output, target) in targets.iter().enumerate() {
        if own[0][output] < -1e20 {
            assert!(target.iter().all(|y| *y < 0.0));
            continue;
        }
        let plain = Linear::ridge(fold.train.x.view(), target, &counts, l2, fit_intercept == 1.0);
        let predicted: Vec<f64> =
            fold.train.x.rows().into_iter().map(|row| plain.predict(row.as_slice().unwrap())).collect();
        let Affine { shift, scale } = fold.target;
        let own: Vec<f64> = own.iter().map(|row| row[output] * f64::from(scale) + f64::from(shift)).collect();
        furthest = furthest.max(distance(&own, &predicted));
    }
    furthest
}

fn fold_like(seed: u64, n: usize, features: usize, classes: usize) -> Fold {
    let target = if classes == 1 { Affine { shift: 50.0, scale: 20.0 } } else { Affine::IDENTITY };
    let mut train = rows(seed, n, features, classes);
    train.weight = Some((0..n).map(|i| [1.0, 0.3, 2.5, 0.0, 1.0][i % 5]).collect());
    Fold::of_numbers(Key::from_seed(1), train, vec![rows(seed + 1, n / 2 + 3, features, classes)], target)
}

#[test]
fn solutions_are_those_of_a_plain_f64_loop() {
    for classes in [1, 2, 3, 5] {
        let space = space(if classes == 1 { Task::Regression } else { Task::Classification });
        for l2 in [1e-3, 0.5, 20.0, 3000.0] {
            for fit_intercept in [1.0, 0.0] {
                for balanced in [0.0, 1.0] {
                    let mut values = vec![("l2", l2), ("fit_intercept", fit_intercept)];
                    if classes > 1 {
                        values.push(("class_weight", balanced));
                    }
                    let row = point(&space, &values);
                    let fold = fold_like(7, 90, 6, classes);
                    let distance = distance_to_plain_loop(&fold, &row, [l2, fit_intercept], balanced == 1.0);
                    assert!(distance < TOLERANCE, "{classes} classes, {row:?}: {distance:e}");
                }
            }
        }
    }
}

#[test]
fn the_comparison_with_the_plain_loop_sees_small_perturbations() {
    let space = space(Task::Classification);
    let row = point(&space, &[("l2", 20.0)]);
    let fold = fold_like(7, 90, 6, 3);
    assert!(distance_to_plain_loop(&fold, &row, [20.0, 1.0], false) < TOLERANCE);
    for (name, truth, is_balanced) in
        [("l2", [20.01, 1.0], false), ("intercept", [20.0, 0.0], false), ("class weights", [20.0, 1.0], true)]
    {
        let distance = distance_to_plain_loop(&fold, &row, truth, is_balanced);
        assert!(distance > TOLERANCE, "{name}: {distance:e}");
    }
    let mut unweighted = fold;
    unweighted.train.weight.as_mut().unwrap()[0] = 1.01;
    let weights = on_cpu(&problem_of(unweighted.clone()), &space, &row);
    let others = on_cpu(&problem_of(fold_like(7, 90, 6, 3)), &space, &row);
    let of = |weights: &Weights| array(weights, "weight").values.iter().map(|w| f64::from(*w)).collect::<Vec<f64>>();
    assert!(distance(&of(&weights.unwrap()), &of(&others.unwrap())) > TOLERANCE);
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
    let cases = [
        ("fewer rows than features", first(20)),
        ("as many rows as features", first(30)),
        ("one row", first(1)),
        ("a constant feature", with(&|x| x.column_mut(3).fill(1.0))),
        ("nothing but constant features", with(&|x| x.fill(2.0))),
        (
            "features that repeat",
            with(&|x| {
                (0..15).for_each(|j| {
                    let copy = x.column(j).to_owned();
                    x.column_mut(j + 15).assign(&copy)
                })
            }),
        ),
        (
            "rows that repeat",
            with(&|x| {
                (0..20).for_each(|i| {
                    let copy = x.row(i).to_owned();
                    x.row_mut(i + 20).assign(&copy)
                })
            }),
        ),
        ("features far from zero", with(&|x| x.mapv_inplace(|x| x + 10.0))),
    ];
    let space = space(Task::Regression);
    for (name, train) in cases {
        let fold = Fold::of_numbers(Key::from_seed(1), train, Vec::new(), Affine { shift: 50.0, scale: 20.0 });
        for l2 in [0.01, 2.0] {
            let distance = distance_to_plain_loop(&fold, &point(&space, &[("l2", l2)]), [l2, 1.0], false);
            assert!(distance < TOLERANCE, "{name}, l2 {l2}: {distance:e}");
        }
    }
}

#[test]
fn without_a_penalty_a_singular_problem_has_its_smallest_solution() {
    // Two equal features share a weight; of fewer rows than features all are met.
    let mut train = rows(3, 40, 4, 1);
    let copy = train.x.column(0).to_owned();
    train.x.column_mut(2).assign(&copy);
    let space = space(Task::Regression);
    let fit = |train: &Rows| {
        let fold = Fold::of_numbers(Key::from_seed(1), train.clone(), Vec::new(), Affine { shift: 50.0, scale: 20.0 });
        on_cpu(&problem_of(fold), &space, &point(&space, &[("l2", 0.0)])).unwrap()
    };
    let weight = array(&fit(&train), "weight").values.clone();
    assert!((weight[0] - weight[2]).abs() < 1e-6 && weight[0].abs() > 0.01, "{weight:?}");
    let few = Rows::new(rows(4, 5, 9, 1).x, Target::Values(vec![40.0, 55.0, 61.0, 47.0, 50.0]));
    let met = decisions(&fit(&few), &few);
    for (z, y) in met.iter().zip([40.0, 55.0, 61.0, 47.0, 50.0]) {
        assert!((z[0] * 20.0 + 50.0 - y).abs() < 1e-3, "{met:?}");
    }
}

#[test]
fn a_class_without_training_rows_has_no_probability_and_disturbs_no_other() {
    let whole = rows(10, 60, 5, 3);
    let Target::Classes { codes, .. } = &whole.y else { panic!("classes") };
    let with = |codes: Vec<u32>, classes: usize| {
        let train = Rows::new(whole.x.clone(), Target::Classes { codes, classes });
        let space = space(Task::Classification);
        let fold = Fold::of_numbers(Key::from_seed(1), train, Vec::new(), Affine::IDENTITY);
        let weights = on_cpu(&problem_of(fold), &space, &point(&space, &[("l2", 0.7)])).unwrap();
        let predicted = Ridge.predict(&weights, Task::Classification, Affine::IDENTITY, whole.x.view()).unwrap();
        (weights, predicted)
    };
    let (_, two) = with(codes.iter().map(|code| code % 2).collect(), 2);
    let (weights, four) = with(codes.iter().map(|code| 2 * (code % 2)).collect(), 4);
    for (two, four) in two.rows().into_iter().zip(four.rows()) {
        assert_eq!((four[1], four[3]), (0.0, 0.0));
        assert!((two[0] - four[0]).abs() < 1e-6 && (two[1] - four[2]).abs() < 1e-6, "{two} {four}");
    }
    assert_eq!(array(&weights, "intercept").values[1], ABSENT);
    let (_, one) = with(vec![2; 60], 3);
    assert!(one.rows().into_iter().all(|row| row.to_vec() == [0.0, 0.0, 1.0]));
}

#[test]
fn bits_do_not_depend_on_neighbours_threads_or_instruction_set() {
    for classes in [1, 3] {
        let problem = problem(2, 61, 9, classes, 1);
        let space = space(problem.task);
        let penalty = |i: usize| 10f64.powf(-4.5 + 9.0 * ((i * 17) % 37) as f64 / 37.0);
        let candidates: Vec<Vec<f64>> = (0..37).map(|i| point(&space, &[("l2", penalty(i))])).collect();
        let all = Points::from_values(space.parameters.len(), candidates.concat());
        let options = CpuOptions { threads: 1, ..CpuOptions::default() };
        let score = |options: &CpuOptions, points: &Points| {
            bits(&train(&mut *open_cpu(&Ridge, &space, &problem, options), points, 2, 1))
        };
        let together = score(&options, &all);
        assert_eq!(together, score(&CpuOptions { threads: 3, ..options }, &all));
        let alone = candidates.iter().flat_map(|row| score(&options, &Points::from_values(row.len(), row.clone())));
        assert_eq!(together, alone.collect::<Vec<u64>>());
        for level in Level::available() {
            assert_eq!(together, score(&CpuOptions { simd: Some(level), ..options }, &all), "{}", level.name());
        }
    }
}

#[test]
fn survivors_of_rungs_keep_their_bits() {
    let problem = problem(1, 61, 9, 3, 1);
    let space = space(Task::Classification);
    let candidates: Vec<Vec<f64>> = (0..37).map(|i| point(&space, &[("l2", 0.1 * f64::from(i))])).collect();
    let all = Points::from_values(space.parameters.len(), candidates.concat());
    let mut trainer = open_cpu(&Ridge, &space, &problem, &CpuOptions::default());
    let first = train(&mut *trainer, &all, 1, 1);
    let survivors: Vec<Slot> = first.iter().map(|report| report.slot).step_by(3).collect();
    let mut again = Vec::new();
    let mut report = |lane: LaneReport| {
        again.push((lane.slot, lane.train.to_bits(), lane.evals[0].to_bits(), lane.used));
        ControlFlow::Continue(())
    };
    trainer.advance(&survivors, 3, true, &StopFlag::default(), &mut report).unwrap();
    again.sort_unstable();
    let expected = first.iter().step_by(3).map(|lane| (lane.slot, lane.train.to_bits(), lane.evals[0].to_bits(), 1));
    assert_eq!(again, expected.collect::<Vec<_>>());
}

#[test]
fn extreme_penalties_and_features_end_and_leave_their_neighbours_alone() {
    let problem = problem(1, 60, 9, 3, 1);
    let space = space(Task::Classification);
    let candidates = |penalties: &[f64]| {
        let rows: Vec<Vec<f64>> = penalties.iter().map(|l2| point(&space, &[("l2", *l2)])).collect();
        Points::from_values(space.parameters.len(), rows.concat())
    };
    let score = |problem: &Arc<Problem>, penalties: &[f64]| {
        train(&mut *open_cpu(&Ridge, &space, problem, &CpuOptions::default()), &candidates(penalties), 1, 1)
    };
    let reports = score(&problem, &[0.0, 1e-30, 1.0, 1e12, 1e37]);
    assert!(reports.iter().all(|report| report.status == LaneStatus::Trained && report.train.is_finite()));
    assert_eq!(bits(&reports[2..3]), bits(&score(&problem, &[1.0])));
    // Weights that f32 cannot hold, and a fold whose rows all count for nothing.
    let with = |edit: &dyn Fn(&mut Rows)| {
        let mut fold = (*problem.folds[0]).clone();
        edit(&mut fold.train);
        score(&problem_of(fold), &[0.0, 1.0]).into_iter().map(|report| report.status).collect::<Vec<_>>()
    };
    assert_eq!(with(&|rows| rows.x.mapv_inplace(|x| x * 1e-42)), [LaneStatus::NotFinite, LaneStatus::Trained]);
    assert_eq!(with(&|rows| rows.weight = Some(vec![0.0; 60])), [LaneStatus::NotFinite; 2]);
    assert_eq!(with(&|rows| rows.x.mapv_inplace(|x| x * 1e37)), [LaneStatus::Trained; 2]);
}

#[test]
fn more_rows_and_features_than_can_be_factorised_are_refused() {
    let x = Array2::zeros((9000, 9000));
    let train = Rows::new(x, Target::Values(vec![0.0; 9000]));
    let problem = problem_of(Fold::of_numbers(Key::from_seed(1), train, Vec::new(), Affine::IDENTITY));
    let refused = Ridge.open_cpu(&space(Task::Regression), problem, &CpuOptions::default()).map(|_| ());
    assert!(matches!(refused, Err(BackendError::Unsuited { model: "ridge", .. })));
}

#[test]
fn weights_that_are_not_the_models_are_refused() {
    let problem = problem(1, 60, 9, 3, 1);
    let space = space(Task::Classification);
    let weights = on_cpu(&problem, &space, &space.defaults()).unwrap();
    let x = problem.folds[0].train.x.view();
    let predict = |weights: &Weights| Ridge.predict(weights, Task::Classification, Affine::IDENTITY, x).map(|_| ());
    assert!(predict(&weights).is_ok());
    for edit in [
        (|w: &mut Weights| w.arrays.truncate(1)) as fn(&mut Weights),
        |w| w.arrays[0].shape = vec![27],
        |w| w.arrays[0].shape = vec![3, 8],
        |w| w.arrays[1].values.truncate(2),
        |w| w.arrays.iter_mut().for_each(|array| array.values.clear()),
    ] {
        let mut wrong = weights.clone();
        edit(&mut wrong);
        assert!(predict(&wrong).is_err(), "{wrong:?}");
    }
}
