//! Boosted trees against LightGBM and a plain loop, and the rules that their lanes keep.

use crate::gpu;
use crate::reference;
use crate::support::{SquaredError, bits, mixed_points, open_cpu, train, weights};
use ndarray::{Array2, s};
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::cpu::simd::Level;
use thousandfold::backend::gpu::GpuOptions;
use thousandfold::backend::{Lane, LaneReport, LaneStatus, StopFlag, Trainer, WeightArray, Weights};
use thousandfold::base::random::{Key, normal, uniform};
use thousandfold::data::{Affine, ColumnKind, Fold, Problem, Rows, Target, Task};
use thousandfold::models::gbdt::Gbdt;
use thousandfold::models::gbdt::params::GbdtParams;
use thousandfold::models::trees::tree::Trees;
use thousandfold::models::{DataShape, Model};
use thousandfold::space::{Points, Space};

/// More than any lane here has.
const BUDGET: u64 = 500;

fn space(task: Task, named: &str) -> Space {
    let space = Gbdt.space(DataShape { task, rows: 100, features: 10, outputs: 3 });
    space.with_overrides(&toml::from_str(named).unwrap()).unwrap()
}

fn problem(fold: Fold) -> Arc<Problem> {
    let task = if matches!(fold.train.y, Target::Values(_)) { Task::Regression } else { Task::Classification };
    let outputs = fold.train.y.outputs();
    Arc::new(Problem { task, outputs, budget: BUDGET, metric: &SquaredError, folds: vec![Arc::new(fold)] })
}

fn fit(problem: &Arc<Problem>, named: &str) -> Weights {
    let space = space(problem.task, named);
    weights(&mut *open_cpu(&Gbdt, &space, problem, &CpuOptions::default()), &space, &space.defaults(), BUDGET)
}

fn predict(problem: &Arc<Problem>, weights: &Weights, rows: &Rows) -> Array2<f32> {
    Gbdt.predict(weights, problem.task, problem.folds[0].target, rows.x.view()).unwrap()
}

/// What LightGBM grew: tests/fixtures/gbdt/make.py.
#[derive(serde::Deserialize)]
struct Case {
    data: String,
    target: usize,
    has_classes: bool,
    set: toml::Table,
    /// Of every tenth training row.
    fitted: Vec<Vec<f64>>,
    /// What splits on each feature gained.
    gains: Vec<f64>,
}

fn cases() -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_str(&fixture("gbdt/trees.json")).unwrap();
    assert_eq!(cases.len(), 20);
    cases
}

fn fixture(file: &str) -> String {
    let path = format!("{}/tests/fixtures/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The training rows of a case, as make.py says.
fn fold(case: &Case) -> Fold {
    let own = ["diabetes", "table"].contains(&case.data.as_str());
    let text = fixture(&format!("{}/{}.csv", if own { "gbdt" } else { "logistic" }, case.data));
    let number = |cell: &str| if cell.is_empty() { f32::NAN } else { cell.parse().unwrap() };
    let table: Vec<Vec<f32>> = text.lines().map(|line| line.split(',').map(number).collect()).collect();
    let rows = if case.data == "breast_cancer" || case.data == "diabetes" { 300 } else { table.len().min(500) };
    let targets = if case.data == "table" { 3 } else { 1 };
    let features = table[0].len() - targets;
    let trained: Vec<usize> = (0..rows).filter(|row| row % 5 > 0).collect();
    let x = Array2::from_shape_fn((trained.len(), features), |(i, j)| table[trained[i]][j]);
    let y: Vec<f32> = trained.iter().map(|row| table[*row][features + case.target]).collect();
    let classes = table[..rows].iter().map(|row| row[features] as usize + 1).max().unwrap();
    let y = match case.has_classes {
        true => Target::Classes { codes: y.iter().map(|y| *y as u32).collect(), classes },
        false => Target::Values(y),
    };
    let is_plain = case.set.get("objective").is_some_and(|of| ["absolute", "quantile"].contains(&of.as_str().unwrap()));
    let weight = |row: &usize| if is_plain { 1.0 } else { 0.5 + (7919 * row % 1000) as f32 / 1000.0 };
    let train = Rows { x, y, weight: Some(trained.iter().map(weight).collect()) };
    let kind = |column: usize| match (case.data.as_str(), column) {
        ("table", 2) => ColumnKind::Category { levels: 4 },
        ("table", 3) => ColumnKind::Category { levels: 40 },
        _ => ColumnKind::Number,
    };
    let columns = (0..features).map(kind).collect();
    Fold { columns, ..Fold::of_numbers(Key::from_seed(1), train, Vec::new(), Affine::IDENTITY) }
}

/// The largest difference of a prediction from LightGBM's, as a share of the largest of these.
fn distance_to_lightgbm(case: &Case, more: &str) -> f64 {
    let problem = problem(fold(case));
    let weights = fit(&problem, &format!("{}\n{more}", case.set));
    let train = &problem.folds[0].train;
    let predicted = predict(&problem, &weights, train);
    let (mut furthest, mut largest) = (0.0f64, 0.0f64);
    for (predicted, truth) in predicted.slice(s![..;10, ..]).rows().into_iter().zip(&case.fitted) {
        assert_eq!(predicted.len(), truth.len());
        for (own, truth) in predicted.iter().zip(truth) {
            furthest = furthest.max((f64::from(*own) - truth).abs());
            largest = largest.max(truth.abs());
        }
    }
    furthest / largest
}

/// Scores in f32 and gradients in 22 bits or so, over at most 30 trees: measured 9e-7.
const TO_LIGHTGBM: f64 = 1e-5;

#[test]
fn training_rows_reach_the_leaves_that_lightgbm_grows() {
    for case in cases() {
        let distance = distance_to_lightgbm(&case, "");
        assert!(distance < TO_LIGHTGBM, "{} {}: {distance:e}", case.data, case.set);
    }
}

#[test]
fn the_comparison_with_lightgbm_sees_small_perturbations() {
    let cases = cases();
    for (name, more) in [
        ("table", "min_leaf = 23"),
        ("table", "l2 = 0.05"),
        ("table", "min_child_weight = 9.0"),
        ("table", "bins = 60"),
        ("table", "category_smoothing = 30.0"),
        ("diabetes", "l1 = 3.0"),
        ("diabetes", "min_gain = 9000.0"),
        ("digits", "learning_rate = 0.101"),
    ] {
        let of = |case: &&Case| case.data == name && more.split(' ').all(|key| !case.set.contains_key(key));
        let case = cases.iter().find(of).unwrap();
        let distance = distance_to_lightgbm(case, more);
        assert!(distance > TO_LIGHTGBM, "{name} {}, {more}: {distance:e}", case.set);
    }
}

/// The largest difference of what splits on a feature gained from LightGBM's, as a share of the largest of these.
fn distance_to_lightgbm_gains(case: &Case, more: &str) -> f64 {
    let problem = problem(fold(case));
    let weights = fit(&problem, &format!("{}\n{more}", case.set));
    let features = problem.folds[0].columns.len();
    let trees = Trees::from_weights(&weights, features).unwrap();
    let mut gains = vec![0.0; features];
    (0..trees.len()).flat_map(|tree| trees.gains(tree)).for_each(|(feature, gain)| {
        gains[feature as usize] += f64::from(gain);
    });
    let explanation = Gbdt.explain(&weights, problem.task, problem.folds[0].target, features).unwrap();
    let sum: f64 = gains.iter().sum();
    for (share, gain) in explanation.features[0].values.iter().zip(&gains) {
        assert!((f64::from(*share) - gain / sum).abs() < 1e-6, "{share} of {sum} is not {gain}");
    }
    assert_eq!(gains.len(), case.gains.len());
    let largest = case.gains.iter().copied().fold(0.0, f64::max);
    gains.iter().zip(&case.gains).map(|(own, truth)| (own - truth).abs() / largest).fold(0.0, f64::max)
}

/// A gain is a small difference of sums of squares, which LightGBM has in f64 and we have in f32 of gradients in 22 bits.
const TO_LIGHTGBM_GAINS: f64 = 1e-4;

#[test]
fn features_gain_what_they_gain_in_lightgbm() {
    for case in cases() {
        let distance = distance_to_lightgbm_gains(&case, "");
        assert!(distance < TO_LIGHTGBM_GAINS, "{} {}: {distance:e}", case.data, case.set);
    }
    let case = cases().into_iter().find(|case| case.data == "table" && !case.set.contains_key("min_leaf")).unwrap();
    for more in ["l2 = 0.05", "min_leaf = 23", "l1 = 0.1"] {
        let distance = distance_to_lightgbm_gains(&case, more);
        assert!(distance > TO_LIGHTGBM_GAINS, "{more}: {distance:e}");
    }
}

/// Numbers, one of them with missing cells, four and twelve categories with missing cells, and weights.
fn mixed(classes: usize, count: bool, n: usize, seed: u64) -> Rows {
    let key = Key::from_seed(seed);
    let draw = |i: usize, j: usize| normal(key.words((i * 8 + j) as u64)[0]);
    let chance = |i: usize, j: usize| uniform(key.words((i * 8 + j) as u64)[1]);
    let cell = |i: usize, j: usize| match j {
        1 if chance(i, 6) < 0.2 => f32::NAN,
        2 if chance(i, 7) < 0.1 => f32::NAN,
        2 => (chance(i, 2) * 4.0).floor(),
        3 => (chance(i, 3) * 12.0).floor(),
        _ => draw(i, j),
    };
    let x = Array2::from_shape_fn((n, 5), |(i, j)| cell(i, j));
    let effect = |i: usize| {
        let known = |x: f32, missing: f32| if x.is_nan() { missing } else { x };
        let category = f32::from(u8::from(x[[i, 2]] == 1.0)) + (x[[i, 3]] * 5.0).sin();
        x[[i, 0]] - 0.5 * known(x[[i, 1]], 1.5) + category + 0.5 * draw(i, 5)
    };
    let y = match classes {
        0 if count => Target::Values((0..n).map(|i| effect(i).exp().min(20.0).floor()).collect()),
        0 => Target::Values((0..n).map(|i| 50.0 + 7.0 * effect(i)).collect()),
        _ => Target::Classes {
            codes: (0..n).map(|i| ((effect(i) + 1.5).clamp(0.0, 2.99) * classes as f32 / 3.0) as u32).collect(),
            classes,
        },
    };
    Rows { x, y, weight: Some((0..n).map(|i| 0.5 + chance(i, 4)).collect()) }
}

fn mixed_problem(classes: usize, count: bool) -> Arc<Problem> {
    let columns = [
        ColumnKind::Number,
        ColumnKind::Number,
        ColumnKind::Category { levels: 4 },
        ColumnKind::Category { levels: 12 },
        ColumnKind::Number,
    ];
    let target = if classes == 0 { Affine { shift: 40.0, scale: 12.0 } } else { Affine::IDENTITY };
    let (train, evals) = (mixed(classes, count, 160, 1), vec![mixed(classes, count, 60, 2)]);
    problem(Fold { columns: columns.into(), ..Fold::of_numbers(Key::from_seed(4), train, evals, target) })
}

/// The largest difference of a prediction from the plain loop's, as a share of the largest of these.
fn distance_to_plain_loop(problem: &Arc<Problem>, named: &str, perturb: impl Fn(&mut GbdtParams)) -> f64 {
    let weights = fit(problem, named);
    let fold = &problem.folds[0];
    let own: Vec<Array2<f32>> = fold.row_sets().map(|rows| predict(problem, &weights, rows)).collect();
    let own = own.iter().flat_map(|set| set.rows().into_iter().map(|row| row.to_vec()).collect::<Vec<_>>());
    let space = space(problem.task, named);
    let mut params = GbdtParams::read(&space, &space.defaults());
    perturb(&mut params);
    let truth = reference::gbdt::predictions(fold, params, params.trees);
    let (mut furthest, mut largest) = (0.0f64, 0.0f64);
    for (own, truth) in own.zip(truth) {
        for (own, truth) in own.iter().zip(truth) {
            furthest = furthest.max((f64::from(*own) - truth).abs());
            largest = largest.max(truth.abs());
        }
    }
    furthest / largest
}

/// As with LightGBM; measured 2e-7.
const TO_PLAIN_LOOP: f64 = 3e-6;

const SETTINGS: [&str; 5] = [
    "trees = 8\nmin_leaf = 5\ncategory_rows = 10\ncategory_smoothing = 2.0",
    "trees = 6\ngrowth = 'level_wise'\ndepth = 4\nmin_leaf = 3\nl1 = 0.5\ncategory_rows = 5",
    "trees = 8\nrow_share = 0.7\ncolumn_share = 0.6\nmin_leaf = 4\nl2 = 3.0\ncategory_rows = 8",
    "trees = 5\nleaves = 60\nmin_leaf = 1\nmin_child_weight = 1.5\none_hot_levels = 12",
    "trees = 4\nleaves = 2\nlearning_rate = 1.0\nmin_gain = 0.3",
];

#[test]
fn training_equals_a_plain_f64_loop() {
    for named in SETTINGS {
        for (classes, count, more) in [
            (2, false, ""),
            (2, false, "\nclass_weight = 'balanced'"),
            (3, false, ""),
            (0, false, ""),
            (0, true, "\nobjective = 'poisson'"),
        ] {
            let named = format!("{named}{more}");
            let distance = distance_to_plain_loop(&mixed_problem(classes, count), &named, |_| {});
            assert!(distance < TO_PLAIN_LOOP, "{classes} classes, {named:?}: {distance:e}");
        }
    }
}

#[test]
fn the_comparison_with_the_plain_loop_sees_small_perturbations() {
    type Perturbation = (&'static str, fn(&mut GbdtParams));
    let perturbations: [Perturbation; 7] = [
        ("learning rate", |params| params.learning_rate *= 1.001),
        ("rows of a leaf", |params| params.min_leaf += 2),
        ("l2", |params| params.l2 += 0.02),
        ("l1", |params| params.l1 += 0.02),
        ("rows", |params| params.row_share -= 0.1),
        ("columns", |params| params.column_share -= 0.3),
        ("categories", |params| params.category_smoothing += 8.0),
    ];
    for (name, perturb) in perturbations {
        let distance = distance_to_plain_loop(&mixed_problem(3, false), SETTINGS[0], perturb);
        assert!(distance > TO_PLAIN_LOOP, "{name}: {distance:e}");
    }
}

fn scores(problem: &Arc<Problem>, options: &CpuOptions, budgets: &[u64]) -> Vec<LaneReport> {
    let space = space(problem.task, "row_share = [0.4, 1.0]\nearly_stopping = [0, 3]");
    let points = mixed_points(&space, 6, 40.0);
    let mut trainer = open_cpu(&Gbdt, &space, problem, options);
    let lanes: Vec<Lane> = (0..points.len()).map(|point| Lane { point, fold: 0 }).collect();
    let slots = trainer.start(&points, &lanes).unwrap();
    let mut reports = Vec::new();
    for budget in budgets {
        reports.clear();
        let mut report = |lane: LaneReport| {
            reports.push(LaneReport { seconds: 0.0, ..lane });
            ControlFlow::Continue(())
        };
        trainer.advance(&slots, *budget, true, &StopFlag::default(), &mut report).unwrap();
    }
    reports.sort_by_key(|report| report.slot);
    reports
}

#[test]
fn bits_depend_neither_on_the_instruction_set_nor_on_threads_nor_on_rungs() {
    for classes in [0, 2, 3] {
        let problem = mixed_problem(classes, false);
        let plain = scores(&problem, &CpuOptions { threads: 1, ..CpuOptions::default() }, &[30]);
        for level in Level::available() {
            let options = CpuOptions { simd: Some(level), threads: 3, ..CpuOptions::default() };
            assert_eq!(bits(&scores(&problem, &options, &[30])), bits(&plain), "{}", level.name());
        }
        let rungs = scores(&problem, &CpuOptions::default(), &[1, 7, 8, 30]);
        assert_eq!(bits(&rungs), bits(&plain));
    }
}

/// Numbers that lie around another one than 50, learnt as they are.
fn at(shift: f32) -> Arc<Problem> {
    let mut problem = (*mixed_problem(0, false)).clone();
    let mut fold = (*problem.folds[0]).clone();
    fold.target = Affine::IDENTITY;
    for rows in std::iter::once(&mut fold.train).chain(&mut fold.evals) {
        let Target::Values(values) = &mut rows.y else { panic!("not numbers") };
        values.iter_mut().for_each(|y| *y += shift - 50.0);
    }
    problem.folds = vec![Arc::new(fold)];
    Arc::new(problem)
}

#[test]
fn counts_below_zero_are_refused_before_anything_is_trained() {
    let problem = at(-200.0);
    let open = |named: &str| Gbdt.open_cpu(&space(Task::Regression, named), problem.clone(), &CpuOptions::default());
    let error = open("objective = 'poisson'").err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("poisson") && error.contains("learns counts"), "{error}");
    // Others of the candidates can do with it.
    assert!(open("objective = ['poisson', 'absolute']").is_ok() && open("").is_ok());
}

#[test]
fn targets_far_from_zero_are_learnt_as_they_are() {
    let problem = at(50_000.0);
    let Target::Values(values) = &problem.folds[0].train.y else { panic!("not numbers") };
    let mean = values.iter().map(|y| f64::from(*y)).sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|y| (f64::from(*y) - mean).powi(2)).sum::<f64>() / values.len() as f64;
    let space = space(Task::Regression, "trees = 20\nmin_leaf = 3");
    let mut points = Points::new(space.parameters.len());
    points.push(&space.defaults());
    let own = train(&mut *open_cpu(&Gbdt, &space, &problem, &CpuOptions::default()), &points, 1, 20);
    assert!(own[0].train < 0.5 * variance, "{} of {variance}", own[0].train);
    if let Some(gpu) = gpu::open(GpuOptions::default()) {
        let device = train(&mut *Gbdt.open_gpu(&space, problem.clone(), &gpu).unwrap(), &points, 1, 20);
        let distance = (device[0].train - own[0].train).abs() / own[0].train;
        assert!(distance < 1e-4, "{} is not {}", device[0].train, own[0].train);
    }
}

#[test]
fn a_lane_is_scored_as_its_weights_predict() {
    for (classes, count, named) in [(2, false, ""), (3, false, ""), (0, false, ""), (0, true, "objective = 'poisson'")]
    {
        let problem = mixed_problem(classes, count);
        let named = format!("trees = 12\nmin_leaf = 3\n{named}");
        let space = space(problem.task, &named);
        let mut points = Points::new(space.parameters.len());
        points.push(&space.defaults());
        let mut trainer = open_cpu(&Gbdt, &space, &problem, &CpuOptions::default());
        let report = train(&mut *trainer, &points, 1, BUDGET).remove(0);
        assert_eq!((report.status, report.used), (LaneStatus::Trained, 12));
        let weights = trainer.read_back(report.slot).unwrap();
        for (rows, score) in problem.folds[0].row_sets().zip([report.train, report.evals[0]]) {
            let values: Vec<f32> = predict(&problem, &weights, rows).iter().copied().collect();
            let own = thousandfold::data::metrics::Metric::score(
                problem.metric,
                rows.truth(),
                match classes {
                    0 => thousandfold::data::Prediction::Values(&values),
                    _ => thousandfold::data::Prediction::Probabilities { classes, values: &values },
                },
            );
            assert!((own - score).abs() <= 1e-6 * score, "{classes} classes: {own} and {score}");
        }
    }
}

#[test]
fn early_stopping_keeps_the_best_round_and_says_which() {
    let problem = mixed_problem(2, false);
    let at = |named: &str| {
        let space = space(problem.task, &format!("learning_rate = 0.5\nmin_leaf = 3\n{named}"));
        let mut points = Points::new(space.parameters.len());
        points.push(&space.defaults());
        let mut trainer = open_cpu(&Gbdt, &space, &problem, &CpuOptions::default());
        let report = train(&mut *trainer, &points, 1, BUDGET).remove(0);
        let weights = trainer.read_back(report.slot).unwrap();
        (report, weights)
    };
    let (stopped, kept) = at("trees = 200\nearly_stopping = 5");
    assert!((1..50).contains(&stopped.used), "{}", stopped.used);
    // The same as so many trees without it, and better than more of them.
    let (fewer, weights) = at(&format!("trees = {}", stopped.used));
    assert_eq!((fewer.evals[0].to_bits(), fewer.used), (stopped.evals[0].to_bits(), stopped.used));
    assert_eq!(weights, kept);
    assert!(at("trees = 200").0.evals[0] > stopped.evals[0]);
}

/// Trees that both backends grow at their defaults with something set, and the scores that they report.
fn on_both(problem: &Arc<Problem>, named: &str) -> Option<[(Weights, LaneReport); 2]> {
    let space = space(problem.task, named);
    let mut points = Points::new(space.parameters.len());
    points.push(&space.defaults());
    let run = |mut trainer: Box<dyn Trainer>| {
        let report = train(&mut *trainer, &points, 1, BUDGET).remove(0);
        (trainer.read_back(report.slot).unwrap(), report)
    };
    let gpu = gpu::shared()?;
    let on_gpu = run(Gbdt.open_gpu(&space, problem.clone(), &gpu).unwrap());
    Some([run(open_cpu(&Gbdt, &space, problem, &CpuOptions::default())), on_gpu])
}

/// What is set beside few trees with small leaves, for each kind of target that has it.
const SETTINGS_ON_BOTH: [(usize, &str); 16] = [
    (0, ""),
    (2, ""),
    (3, ""),
    (2, "growth = 'level_wise'\ndepth = 4"),
    (3, "growth = 'level_wise'\ndepth = 30\nmin_child_weight = 0.0\nl2 = 0.0"),
    (2, "leaves = 300\nmax_depth = 9\nlearning_rate = 1.0"),
    (2, "l1 = 0.3\nl2 = 5.0\nmin_gain = 0.05\nmin_child_weight = 1.0"),
    (3, "row_share = 0.6\ncolumn_share = 0.5"),
    (2, "class_weight = 'balanced'\nbins = 7"),
    (3, "category_smoothing = 1.0\ncategory_l2 = 0.5\ncategory_rows = 5\nmost_categories = 3"),
    (2, "one_hot_levels = 60"),
    (2, "trees = 60\nearly_stopping = 3\nlearning_rate = 0.5"),
    (3, "trees = 40\nearly_stopping = 2\nlearning_rate = 0.5"),
    (0, "objective = 'absolute'"),
    (0, "objective = 'quantile'\nquantile = 0.3\nearly_stopping = 4"),
    (0, "objective = 'poisson'\nearly_stopping = 4"),
];

#[test]
fn both_backends_grow_the_same_trees_to_the_bit() {
    for (classes, named) in SETTINGS_ON_BOTH {
        for has_weights in [false, true] {
            let problem = mixed_problem(classes, named.contains("poisson"));
            let mut fold = (*problem.folds[0]).clone();
            if has_weights {
                let weight = |rows: &Rows| Some((0..rows.y.len()).map(|row| (row * 7 % 5) as f32 / 2.0).collect());
                fold.train.weight = weight(&fold.train);
                fold.evals.iter_mut().for_each(|rows| rows.weight = weight(rows));
            }
            let problem = Arc::new(Problem { folds: vec![Arc::new(fold)], ..(*problem).clone() });
            let trees = if named.contains("trees") { "" } else { "trees = 8" };
            let Some([cpu, gpu]) = on_both(&problem, &format!("{trees}\nmin_leaf = 3\n{named}")) else { return };
            assert!(
                cpu.0.integers.iter().any(|array| array.name == "node.child" && array.values.len() > 20),
                "{named}"
            );
            let has_gains =
                |array: &WeightArray| array.name == "node.gain" && array.values.iter().any(|gain| *gain > 0.0);
            assert!(cpu.0.arrays.iter().any(has_gains), "{named}");
            assert_eq!(cpu.0, gpu.0, "{classes} classes, {named}");
            assert_eq!((cpu.1.status, cpu.1.used), (gpu.1.status, gpu.1.used), "{named}");
            for (a, b) in [(cpu.1.train, gpu.1.train), (cpu.1.evals[0], gpu.1.evals[0])] {
                assert!((a - b).abs() <= 1e-6 * a.abs(), "{named}: {a} and {b}");
            }
        }
    }
}

/// Statuses and scores of a fold at the defaults with something set.
fn outcome(train_rows: Rows, named: &str) -> LaneReport {
    let problem = problem(Fold::of_numbers(Key::from_seed(1), train_rows.clone(), vec![train_rows], Affine::IDENTITY));
    let space = space(problem.task, named);
    let mut points = Points::new(space.parameters.len());
    points.push(&space.defaults());
    train(&mut *open_cpu(&Gbdt, &space, &problem, &CpuOptions::default()), &points, 1, BUDGET).remove(0)
}

#[test]
fn extremes_give_a_defined_result_or_a_failed_lane() {
    let classes = |codes: Vec<u32>, classes| Target::Classes { codes, classes };
    let ramp = Array2::from_shape_fn((40, 3), |(i, j)| (i * (j + 1)) as f32);
    let halves: Vec<u32> = (0..40).map(|i| u32::from(i >= 20)).collect();
    let rows = |y| Rows::new(ramp.clone(), y);
    let small = "min_leaf = 1\nmin_child_weight = 0.0\nl2 = 0.0\nlearning_rate = 1.0";
    // One class of two or three, or none of one.
    for y in [classes(vec![1; 40], 2), classes(vec![0; 40], 2), classes(vec![2; 40], 3), classes(halves.clone(), 3)] {
        let report = outcome(rows(y.clone()), small);
        assert!(report.status == LaneStatus::Trained && report.evals[0] < 1e-3, "{y:?}: {report:?}");
    }
    // Nothing to split: constant features, all cells missing, one row, duplicates of one row with two targets.
    for x in [Array2::from_elem((40, 3), 2.0), Array2::from_elem((40, 3), f32::NAN)] {
        let report = outcome(Rows::new(x, classes(halves.clone(), 2)), small);
        assert!(report.status == LaneStatus::Trained && (report.evals[0] - 0.5).abs() < 1e-6, "{report:?}");
    }
    let one = Rows::new(Array2::from_elem((1, 3), 1.0), Target::Values(vec![7.0]));
    assert_eq!(outcome(one, small).evals[0], 0.0);
    // Deep and wide: a leaf a row.
    let values = Target::Values((0..40).map(|i| (i * i % 17) as f32).collect());
    for shape in ["growth = 'level_wise'\ndepth = 30", "growth = 'leaf_wise'\nleaves = 4000"] {
        let report = outcome(rows(values.clone()), &format!("trees = 1\n{shape}\n{small}"));
        assert!(report.evals[0] < 1e-6, "{report:?}");
    }
    // Huge numbers and weights of zero.
    let huge = Target::Values((0..40).map(|i| 1e30 * i as f32).collect());
    let status = outcome(rows(huge), small).status;
    assert!(matches!(status, LaneStatus::Trained | LaneStatus::NotFinite));
    let weightless = Rows { weight: Some(vec![0.0; 40]), ..rows(classes(halves.clone(), 2)) };
    outcome(weightless, small);
    let half = Rows { weight: Some((0..40).map(|i| f32::from(u8::from(i % 2 == 0))).collect()), ..rows(values) };
    assert_eq!(outcome(half, small).status, LaneStatus::Trained);
    // A count below zero has no Poisson likelihood.
    let negative = Target::Values((0..40).map(|i| i as f32 - 3.0).collect());
    assert_eq!(
        outcome(rows(negative), "objective = { categorical = ['poisson', 'squared'], default = 'poisson' }").status,
        LaneStatus::NotFinite
    );
}
