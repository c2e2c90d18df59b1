//! The forest: a plain f64 loop, equal bits whoever is trained beside, and extremes.

use crate::reference;
use crate::support::{SquaredError, mixed_points, open_cpu, problem, train, weights};
use ndarray::{Array2, s};
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::cpu::simd::Level;
use thousandfold::backend::{Lane, LaneReport, LaneStatus, StopFlag, Weights};
use thousandfold::base::random::{Key, below, normal};
use thousandfold::data::metrics::{Metric, Reduced};
use thousandfold::data::{Affine, ColumnKind, Fold, Prediction, Problem, Rows, Target, Task};
use thousandfold::models::forest::Forest;
use thousandfold::models::forest::recipe::{Criterion, ForestParams, Kind};
use thousandfold::models::{DataShape, Model};
use thousandfold::space::{Points, Space};

pub const BUDGET: u64 = 500;

/// The default space with everything open that a test wants to set.
fn space(outputs: usize) -> Space {
    let task = if outputs == 1 { Task::Regression } else { Task::Classification };
    Forest.space(DataShape { task, rows: 100, features: 9, outputs })
}

/// A candidate as its encoded values.
pub fn point(space: &Space, params: &ForestParams) -> Vec<f64> {
    let of = |name: &str| match name {
        "kind" => params.kind as u32 as f64,
        "trees" => f64::from(params.trees),
        "depth" => f64::from(params.depth),
        "min_leaf" => f64::from(params.min_leaf),
        "features" => params.features,
        "bootstrap" => params.bootstrap,
        "bins" => f64::from(params.bins),
        "criterion" => params.criterion as u32 as f64,
        "class_weight" => f64::from(u8::from(params.is_balanced)),
        name => panic!("{name} is not tested"),
    };
    space.parameters.iter().map(|parameter| of(&parameter.name)).collect()
}

/// The model's space with nothing held, so that points say everything.
pub fn open_space(outputs: usize) -> Space {
    use thousandfold::space::{Domain, Scale, Value};
    let mut space = space(outputs);
    for parameter in &mut space.parameters {
        let choices =
            |names: &[&str]| Domain::Categorical(names.iter().map(|name| Value::Text((*name).to_owned())).collect());
        parameter.conditions.clear();
        parameter.domain = match parameter.name.as_str() {
            "kind" => choices(&Kind::NAMES),
            "criterion" => choices(&Criterion::NAMES),
            "class_weight" => choices(&["none", "balanced"]),
            "features" | "bootstrap" => Domain::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None },
            _ => Domain::Int { low: 1, high: 1 << 30, scale: Scale::Log, step: 1 },
        };
    }
    space
}

/// One tree of all rows that looks at all features.
pub const PLAIN: ForestParams = ForestParams {
    kind: Kind::RandomForest,
    trees: 1,
    depth: 32,
    min_leaf: 1,
    features: 1.0,
    bootstrap: 0.0,
    criterion: Criterion::Gini,
    is_balanced: false,
    bins: 255,
};

pub fn one_fold(fold: Fold) -> Arc<Problem> {
    let outputs = fold.train.y.outputs();
    let task = if outputs == 1 { Task::Regression } else { Task::Classification };
    Arc::new(Problem { task, outputs, metric: &SquaredError, budget: BUDGET, folds: vec![Arc::new(fold)] })
}

/// A candidate's forest, read back.
pub fn grown(fold: &Fold, params: &ForestParams) -> (Task, Weights) {
    let problem = one_fold(fold.clone());
    let space = open_space(problem.outputs);
    let mut trainer = open_cpu(&Forest, &space, &problem, &CpuOptions::default());
    (problem.task, weights(&mut *trainer, &space, &point(&space, params), BUDGET))
}

/// What it says of the rows to score.
pub fn predict(fold: &Fold, params: &ForestParams) -> Array2<f32> {
    let (task, weights) = grown(fold, params);
    Forest.predict(&weights, task, Affine::IDENTITY, fold.evals[0].x.view()).unwrap()
}

/// A table of few values, two of its columns categories, with missing cells.
pub fn table(outputs: usize, rows: usize) -> Fold {
    let key = Key::from_seed(77);
    let draw = |i: usize, j: usize, most: u64| below(key, (i * 16 + j) as u64, most) as f32;
    let part = |first: usize| {
        let x = Array2::from_shape_fn((rows, 6), |(i, j)| match (j, draw(first + i, 8 + j, 6)) {
            (0 | 2 | 4, 0.0) => f32::NAN,
            (4, _) => draw(first + i, j, 9),
            (5, _) => draw(first + i, j, 4),
            _ => draw(first + i, j, 12),
        });
        let signal = |i: usize| {
            let known = |j: usize| if x[[i, j]].is_nan() { 7.0 } else { x[[i, j]] };
            let of_category = [3.0, -2.0, 5.0, 0.0, -4.0, 1.0, 2.0, -1.0, 4.0];
            known(0) - known(1)
                + known(2)
                + 2.0 * of_category[known(4) as usize]
                + 3.0 * normal(key.words((first + i) as u64 + 99_000)[1])
        };
        let y = match outputs {
            1 => Target::Values((0..rows).map(signal).collect()),
            classes => {
                let code = |i| (((signal(i) + 12.0) / 24.0 * classes as f32).max(0.0) as u32).min(classes as u32 - 1);
                Target::Classes { codes: (0..rows).map(code).collect(), classes }
            }
        };
        Rows::new(x, y)
    };
    let mut columns = vec![ColumnKind::Number; 6];
    columns[4] = ColumnKind::Category { levels: 9 };
    columns[5] = ColumnKind::Category { levels: 4 };
    let fold = Fold::of_numbers(Key::from_seed(3), part(0), vec![part(rows)], Affine::IDENTITY);
    Fold { columns: columns.into(), ..fold }
}

/// The largest difference between the model's predictions and the plain loop's with other parameters.
fn distance_to_plain_loop(fold: &Fold, params: &ForestParams, plain: &ForestParams) -> f64 {
    let predicted = predict(fold, params);
    let expected = reference::forest::predict(fold, plain);
    let rows = predicted.rows().into_iter().zip(&expected);
    let differences =
        rows.flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).abs()).collect::<Vec<_>>());
    differences.fold(0.0, f64::max)
}

/// Six trees' values, each rounded to f32: shares of classes to 1e-7, numbers up to 40 to 5e-6, and their steps.
const TOLERANCE: f64 = 2e-5;

pub fn settings() -> Vec<ForestParams> {
    let base = ForestParams { trees: 6, ..PLAIN };
    vec![
        ForestParams { features: 0.4, bootstrap: 1.0, ..base },
        ForestParams { features: 0.4, bootstrap: 1.0, criterion: Criterion::Entropy, ..base },
        ForestParams { features: 0.7, bootstrap: 0.5, depth: 4, min_leaf: 3, ..base },
        ForestParams { kind: Kind::ExtraTrees, features: 0.4, ..base },
        ForestParams { kind: Kind::ExtraTrees, features: 1.0, bootstrap: 0.8, min_leaf: 4, ..base },
        base,
    ]
}

#[test]
fn growing_equals_a_plain_f64_loop() {
    for outputs in [1, 2, 3, 7, 20] {
        let fold = table(outputs, 120);
        for params in settings() {
            let distance = distance_to_plain_loop(&fold, &params, &params);
            assert!(distance < TOLERANCE, "{outputs} outputs, {params:?}: {distance:e}");
        }
    }
}

#[test]
fn the_comparison_with_the_plain_loop_sees_small_changes() {
    let fold = table(3, 120);
    for params in settings() {
        let mut changed =
            vec![ForestParams { min_leaf: params.min_leaf + 1, ..params }, ForestParams { trees: 5, ..params }];
        if params.features < 0.9 {
            changed.push(ForestParams { features: params.features + 0.2, ..params });
        }
        if params.bootstrap > 0.0 {
            changed.push(ForestParams { bootstrap: params.bootstrap - 0.01, ..params });
        }
        for changed in changed {
            // Without draws all trees are one.
            if (params.features, params.bootstrap, changed.trees) != (1.0, 0.0, 5) {
                let distance = distance_to_plain_loop(&fold, &params, &changed);
                assert!(distance > TOLERANCE, "{params:?} and {changed:?}: {distance:e}");
            }
        }
    }
}

/// Candidates of which many draw alike and end differently.
pub fn mixed_candidates() -> Vec<ForestParams> {
    let mut all = Vec::new();
    for (i, base) in settings().into_iter().enumerate() {
        for (trees, depth, min_leaf) in
            [(3, 32, 1), (7, 4, 1), (7, 32, 5), (5, 2, 9), (6, 32, 2), (6, 7, 2), (4, 5, 1000)]
        {
            all.push(ForestParams { trees: trees + i as u32 % 2, depth, min_leaf, ..base });
        }
    }
    all
}

pub fn points(space: &Space, candidates: &[ForestParams]) -> Points {
    Points::from_values(space.parameters.len(), candidates.iter().flat_map(|params| point(space, params)).collect())
}

fn two_folds(outputs: usize) -> Arc<Problem> {
    let fold = table(outputs, 90);
    let other = Fold { key: Key::from_seed(4), evals: vec![fold.evals[0].clone(), fold.train.clone()], ..fold.clone() };
    Arc::new(Problem { folds: vec![Arc::new(fold.clone()), Arc::new(other)], ..(*one_fold(fold)).clone() })
}

#[test]
fn bits_do_not_depend_on_neighbours_threads_or_instruction_set() {
    for outputs in [1, 3] {
        let (problem, space, candidates) = (two_folds(outputs), open_space(outputs), mixed_candidates());
        let scores = |candidates: &[ForestParams], options: CpuOptions| {
            let mut trainer = open_cpu(&Forest, &space, &problem, &options);
            evals(&train(&mut *trainer, &points(&space, candidates), 2, BUDGET))
        };
        let one = CpuOptions { threads: 1, ..CpuOptions::default() };
        let together = scores(&candidates, one);
        assert!(together.iter().all(|score| f64::from_bits(*score).is_finite()));
        assert_eq!(together, scores(&candidates, CpuOptions { threads: 3, ..one }));
        let alone: Vec<u64> = candidates.iter().flat_map(|params| scores(&[*params], one)).collect();
        assert_eq!(together, alone);
        for level in Level::available() {
            assert_eq!(together, scores(&candidates, CpuOptions { simd: Some(level), ..one }), "{}", level.name());
        }
    }
}

/// Scores of the rows to score as bits.
pub fn evals(reports: &[LaneReport]) -> Vec<u64> {
    reports.iter().flat_map(|report| report.evals.clone()).map(f64::to_bits).collect()
}

#[test]
fn growing_in_rungs_ends_with_the_bits_of_one_go() {
    let (problem, space, candidates) = (two_folds(3), open_space(3), mixed_candidates());
    let all = points(&space, &candidates);
    let options = CpuOptions::default();
    let whole = evals(&train(&mut *open_cpu(&Forest, &space, &problem, &options), &all, 1, BUDGET));
    let mut trainer = open_cpu(&Forest, &space, &problem, &options);
    let lanes: Vec<Lane> = (0..all.len()).map(|point| Lane { point, fold: 0 }).collect();
    let slots = trainer.start(&all, &lanes).unwrap();
    let mut advance = |slots: &[_], budget| {
        let mut reports: Vec<LaneReport> = Vec::new();
        let mut report = |lane| {
            reports.push(lane);
            ControlFlow::Continue(())
        };
        trainer.advance(slots, budget, true, &StopFlag::default(), &mut report).unwrap();
        reports.sort_by_key(|report| slots.iter().position(|slot| *slot == report.slot));
        reports
    };
    // Lanes of one group stand at different trees before they go on together.
    let (few, many) = slots.split_at(slots.len() / 2);
    advance(few, 1);
    assert!(advance(many, 3).iter().all(|report| report.used == 3));
    let survivors: Vec<_> = slots.iter().copied().step_by(3).collect();
    advance(&survivors, 5);
    let reports = advance(&survivors, BUDGET);
    let expected: Vec<u64> = whole.iter().copied().step_by(3).collect();
    assert_eq!(evals(&reports), expected);
    for (report, params) in reports.iter().zip(candidates.iter().step_by(3)) {
        assert_eq!((report.used, report.status), (u64::from(params.trees), LaneStatus::Trained));
    }
}

#[test]
fn a_forest_that_is_read_back_predicts_what_was_scored() {
    for outputs in [1, 2, 5] {
        let (problem, space) = (two_folds(outputs), open_space(outputs));
        for params in mixed_candidates().into_iter().step_by(4) {
            let mut trainer = open_cpu(&Forest, &space, &problem, &CpuOptions::default());
            let report = train(&mut *trainer, &points(&space, &[params]), 1, BUDGET).remove(0);
            let weights = trainer.read_back(report.slot).unwrap();
            let eval = &problem.folds[0].evals[0];
            let predicted = Forest.predict(&weights, problem.task, Affine::IDENTITY, eval.x.view()).unwrap();
            let values: Vec<f32> = predicted.iter().copied().collect();
            let prediction = match outputs {
                1 => Prediction::Values(&values),
                classes => Prediction::Probabilities { classes, values: &values },
            };
            let score = SquaredError.finish((&eval.y).into(), Reduced::Predictions(prediction));
            assert_eq!(score.to_bits(), report.evals[0].to_bits(), "{params:?}");
        }
    }
}

#[test]
fn the_default_space_gives_points_that_train() {
    for outputs in [1, 3] {
        let problem = problem(2, 50, 9, outputs, 20);
        let space = space(outputs);
        let reports = train(
            &mut *open_cpu(&Forest, &space, &problem, &CpuOptions::default()),
            &mixed_points(&space, 12, 40.0),
            2,
            20,
        );
        for report in reports {
            assert!(report.status == LaneStatus::Trained && report.evals[0].is_finite() && report.used == 20);
            assert!(report.train.is_nan(), "training rows are not scored");
        }
    }
}

#[test]
fn whole_sample_weights_count_as_rows_that_repeat() {
    for outputs in [1, 4] {
        let fold = table(outputs, 60);
        let counts: Vec<usize> = (0..60).map(|i| i * 7 % 4).collect();
        let weighted = Rows { weight: Some(counts.iter().map(|count| *count as f32).collect()), ..fold.train.clone() };
        let repeated: Vec<usize> =
            counts.iter().enumerate().flat_map(|(i, count)| std::iter::repeat_n(i, *count)).collect();
        let y = match &fold.train.y {
            Target::Values(values) => Target::Values(repeated.iter().map(|i| values[*i]).collect()),
            Target::Classes { codes, classes } => {
                Target::Classes { codes: repeated.iter().map(|i| codes[*i]).collect(), classes: *classes }
            }
        };
        let x = Array2::from_shape_fn((repeated.len(), 6), |(i, j)| fold.train.x[[repeated[i], j]]);
        for kind in [Kind::RandomForest, Kind::ExtraTrees] {
            let params = ForestParams { kind, features: 0.5, trees: 5, ..PLAIN };
            let a = predict(&Fold { train: weighted.clone(), ..fold.clone() }, &params);
            let b = predict(&Fold { train: Rows::new(x.clone(), y.clone()), ..fold.clone() }, &params);
            // The steps of numbers differ with the number of rows.
            let largest = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-5, "{outputs} outputs, {kind:?}: {largest}");
            let plain = predict(&fold, &params);
            assert!(a.iter().zip(&plain).any(|(a, b)| (a - b).abs() > 0.01), "weights count");
        }
    }
}

#[test]
fn weights_change_how_often_a_bootstrap_draws_a_row() {
    let fold = table(2, 90);
    let codes = match &fold.train.y {
        Target::Classes { codes, .. } => codes.clone(),
        Target::Values(_) => panic!("classes were asked for"),
    };
    let weight = Some(codes.iter().map(|code| if *code == 1 { 1e-3 } else { 2.5 }).collect());
    let params = ForestParams { features: 0.5, bootstrap: 1.0, trees: 20, ..PLAIN };
    let share = |fold: &Fold, params: &ForestParams| predict(fold, params).column(1).mean().unwrap();
    let even = share(&fold, &params);
    let rare = share(&Fold { train: Rows { weight, ..fold.train.clone() }, ..fold.clone() }, &params);
    assert!(rare < 0.02 && even > 0.2, "{rare} of {even}");
    // Of one class there are few: balanced, it is half of what is drawn.
    let few: Vec<u32> = codes.iter().enumerate().map(|(i, code)| u32::from(*code == 1 && i % 6 == 0)).collect();
    let few = Rows::new(fold.train.x.clone(), Target::Classes { codes: few, classes: 2 });
    let few = Fold { train: few, ..fold.clone() };
    let stump = ForestParams { depth: 1, ..params };
    let (plain, balanced) = (share(&few, &stump), share(&few, &ForestParams { is_balanced: true, ..stump }));
    assert!(balanced > 2.0 * plain, "{balanced} and {plain}");
}

#[test]
fn extremes_give_defined_results() {
    let fold = table(3, 60);
    let all = ForestParams { trees: 3, bootstrap: 1.0, features: 0.4, ..PLAIN };
    // A leaf of more rows than there are: the shares of the classes.
    let shares = predict(&fold, &ForestParams { min_leaf: 1000, ..PLAIN });
    assert!(shares.rows().into_iter().all(|row| row == shares.row(0) && (row.sum() - 1.0).abs() < 1e-6));
    // No feature varies, or none has a value.
    for constant in [5.0, f32::NAN] {
        let same = |rows: &Rows| Rows { x: Array2::from_elem(rows.x.dim(), constant), ..rows.clone() };
        let constant = Fold { train: same(&fold.train), evals: vec![fold.evals[0].clone()], ..fold.clone() };
        let predicted = predict(&constant, &PLAIN);
        assert!(predicted.iter().zip(&shares).all(|(a, b)| a == b));
    }
    // Of a class there is no row, or of all but one row.
    let codes = |code: &dyn Fn(usize) -> u32| Target::Classes { codes: (0..60).map(code).collect(), classes: 3 };
    for y in [codes(&|i| 2 * (i as u32 % 2)), codes(&|i| 2 * u32::from(i == 17))] {
        let absent = Fold { train: Rows::new(fold.train.x.clone(), y), ..fold.clone() };
        for params in [all, ForestParams { is_balanced: true, ..all }, ForestParams { kind: Kind::ExtraTrees, ..PLAIN }]
        {
            let predicted = predict(&absent, &params);
            assert!(predicted.rows().into_iter().all(|row| row[1] == 0.0 && (row.sum() - 1.0).abs() < 1e-6));
        }
    }
    // One row, rows that repeat, and infinite cells.
    let one = Rows::new(fold.train.x.slice(s![..1, ..]).to_owned(), Target::Classes { codes: vec![1], classes: 3 });
    assert!(predict(&Fold { train: one, ..fold.clone() }, &all).column(1).iter().all(|share| *share == 1.0));
    let mut infinite = fold.clone();
    infinite.train.x.column_mut(1).iter_mut().step_by(3).for_each(|x| *x = f32::INFINITY);
    infinite.train.x.column_mut(1).iter_mut().skip(1).step_by(3).for_each(|x| *x = f32::NEG_INFINITY);
    for kind in [Kind::RandomForest, Kind::ExtraTrees] {
        assert!(predict(&infinite, &ForestParams { kind, ..all }).iter().all(|share| (0.0..=1.0).contains(share)));
    }
    // Numbers that are all one, and numbers at the ends of f32.
    let numbers = table(1, 60);
    for value in [0.0, f32::MIN, 7.25] {
        let y = Target::Values((0..60).map(|_| value).collect());
        let same = Fold { train: Rows::new(numbers.train.x.clone(), y), ..numbers.clone() };
        assert!(predict(&same, &ForestParams { trees: 1, ..all }).iter().all(|said| *said == value), "{value}");
    }
    let y = Target::Values((0..60).map(|i| if i % 2 == 0 { f32::MAX } else { f32::MIN }).collect());
    let wide = Fold { train: Rows::new(numbers.train.x.clone(), y), ..numbers.clone() };
    assert!(predict(&wide, &ForestParams { trees: 1, ..all }).iter().all(|said| said.is_finite()));
}

#[test]
fn rows_of_no_weight_at_all_are_no_training_and_the_lane_says_so() {
    let fold = table(3, 40);
    let none = Rows { weight: Some(vec![0.0; 40]), ..fold.train.clone() };
    let problem = one_fold(Fold { train: none, ..fold });
    let space = open_space(3);
    for bootstrap in [0.0, 1.0] {
        let params = points(&space, &[ForestParams { bootstrap, ..PLAIN }]);
        let reports = train(&mut *open_cpu(&Forest, &space, &problem, &CpuOptions::default()), &params, 1, BUDGET);
        assert_eq!(reports[0].status, LaneStatus::NotFinite);
    }
}
