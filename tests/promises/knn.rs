//! Nearest neighbours against scikit-learn and a plain loop, on both backends, and what they make of ties and extremes.

use crate::gpu;
use crate::naive_bayes::{codes, fixture, prepared, split};
use crate::reference::knn as plain;
use crate::support::{SquaredError, open_cpu, problem, train};
use ndarray::{Array2, Axis, s};
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::cpu::simd::Level;
use thousandfold::backend::{BackendError, IntegerArray, Lane, LaneReport, LaneStatus, StopFlag, Trainer};
use thousandfold::base::random::Key;
use thousandfold::data::{Affine, Fold, Problem, Rows, Target, Task};
use thousandfold::models::knn::distance::Distance;
use thousandfold::models::knn::search::Index;
use thousandfold::models::{DataShape, Model, knn::Knn};
use thousandfold::space::{Points, Space};

/// A space whose candidates have up to so many neighbours.
fn space(most: usize) -> Space {
    let space = Knn.space(DataShape { task: Task::Classification, rows: 100, features: 10, outputs: 3 });
    space.with_overrides(&toml::from_str(&format!("k = {{ int = [1, {most}] }}")).unwrap()).unwrap()
}

/// A candidate, by its encoded values.
fn point(k: usize, weights: &str, metric: &str) -> [f64; 3] {
    let metric = Distance::NAMES.iter().position(|name| *name == metric).unwrap();
    [k as f64, f64::from(u8::from(weights == "distance")), metric as f64]
}

fn one_fold(train: Rows, evals: Vec<Rows>, target: Affine) -> Arc<Problem> {
    let outputs = train.y.outputs();
    let task = if matches!(train.y, Target::Values(_)) { Task::Regression } else { Task::Classification };
    let fold = Arc::new(Fold::of_numbers(Key::from_seed(1), train, evals, target));
    Arc::new(Problem { task, outputs, metric: &SquaredError, budget: 1, folds: vec![fold] })
}

fn on_cpu(space: &Space, problem: &Arc<Problem>) -> Option<Box<dyn Trainer>> {
    Some(open_cpu(&Knn, space, problem, &CpuOptions::default()))
}

fn on_gpu(space: &Space, problem: &Arc<Problem>) -> Option<Box<dyn Trainer>> {
    let gpu = gpu::shared()?;
    Some(Knn.open_gpu(space, problem.clone(), &gpu).unwrap())
}

type Open = fn(&Space, &Arc<Problem>) -> Option<Box<dyn Trainer>>;

/// What scikit-learn predicts at one setting.
#[derive(serde::Deserialize)]
struct Prediction {
    data: String,
    k: usize,
    weights: String,
    metric: String,
    /// Of the first held-out rows; none where a tie decides which neighbour is the last.
    shown: Vec<Option<Vec<f64>>>,
}

impl Prediction {
    /// The training rows, and the rows with predictions, of a data set.
    fn problem(&self) -> Arc<Problem> {
        let file = format!("{}.csv", self.data);
        let is_shown = |i: &usize| self.shown[*i].is_some();
        let shown: Vec<usize> = (0..self.shown.len()).filter(is_shown).collect();
        if self.data == "knn/diabetes" {
            let [train, held_out] =
                split(&file).map(|(x, y)| (x, y.into_iter().map(|y| y as f32).collect::<Vec<f32>>()));
            let y = shown.iter().map(|i| held_out.1[*i]).collect();
            let eval = Rows::new(held_out.0.select(Axis(0), &shown), Target::Values(y));
            let target = Affine { shift: 150.0, scale: 77.0 };
            return one_fold(Rows::new(train.0, Target::Values(train.1)), vec![eval], target);
        }
        let (train, held_out) = prepared(&file);
        let y = shown.iter().map(|i| codes(&held_out)[*i]).collect();
        let y = Target::Classes { codes: y, classes: train.y.outputs() };
        one_fold(train, vec![Rows::new(held_out.x.select(Axis(0), &shown), y)], Affine::IDENTITY)
    }

    /// What [`SquaredError`] makes of these predictions.
    fn score(&self, truth: &Rows) -> f64 {
        let shown = self.shown.iter().flatten().enumerate();
        let squares = shown.flat_map(|(i, row)| {
            let target = move |output: usize| match &truth.y {
                Target::Classes { codes, .. } => f64::from(u8::from(output == codes[i] as usize)),
                Target::Values(values) => f64::from(values[i]),
            };
            row.iter().enumerate().map(move |(output, p)| (p - target(output)).powi(2))
        });
        squares.sum::<f64>() / truth.y.len() as f64
    }
}

/// The furthest that predictions and scores are from scikit-learn's, as a share of the largest prediction; from weights
/// read back and from the lane's own score. `more` is added to every number of neighbours.
fn distances(open: Open, more: usize) -> Option<Vec<(String, f64)>> {
    let predictions: Vec<Prediction> = serde_json::from_str(&fixture("knn/predictions.json")).unwrap();
    assert_eq!(predictions.len(), 60);
    let mut distances = Vec::new();
    for wanted in &predictions {
        let problem = wanted.problem();
        let fold = &problem.folds[0];
        let most = wanted.k + more;
        let space = space(most.max(2));
        let mut trainer = open(&space, &problem)?;
        let row = point(most, &wanted.weights, &wanted.metric);
        let report = train(&mut *trainer, &Points::from_values(3, row.to_vec()), 1, 1).swap_remove(0);
        assert_eq!((report.status, report.used), (LaneStatus::Trained, 1));
        let largest = wanted.shown.iter().flatten().flatten().fold(0.0f64, |most, p| most.max(*p));
        let mut furthest = (report.evals[0] - wanted.score(&fold.evals[0])).abs() / (largest * largest);
        let weights = trainer.read_back(report.slot).unwrap();
        let own = Knn.predict(&weights, problem.task, fold.target, fold.evals[0].x.view()).unwrap();
        for (own, wanted) in own.rows().into_iter().zip(wanted.shown.iter().flatten()) {
            for (own, wanted) in own.iter().zip(wanted) {
                furthest = furthest.max((f64::from(*own) - wanted).abs() / largest);
            }
        }
        distances.push((format!("{}, {}, {}, {}", wanted.data, wanted.k, wanted.weights, wanted.metric), furthest));
    }
    Some(distances)
}

/// Up to some hundred weights in f32 and their sums.
const TOLERANCE: f64 = 2e-6;

#[test]
fn predictions_equal_scikit_learns() {
    for (name, distance) in distances(on_cpu, 0).unwrap() {
        assert!(distance < TOLERANCE, "{name}: {distance:e}");
    }
}

#[test]
fn predictions_equal_scikit_learns_on_the_gpu() {
    for (name, distance) in distances(on_gpu, 0).unwrap_or_default() {
        assert!(distance < TOLERANCE, "{name}: {distance:e}");
    }
}

#[test]
fn the_comparison_with_scikit_learn_sees_one_neighbour_more() {
    let seen = distances(on_cpu, 1).unwrap().into_iter().filter(|(_, distance)| *distance > TOLERANCE).count();
    // All rows are neighbours in ten of sixty already; where a neighbourhood is of one class, one more changes nothing.
    assert!(seen >= 40, "{seen} of 60");
}

/// Rows of small whole numbers, among which many distances are equal: the digits as they are, cells of two values, copies
/// of three rows, and rows of which some are zero.
fn rows_with_ties() -> Vec<(&'static str, Array2<f32>)> {
    let digits: Vec<Vec<f32>> = fixture("logistic/digits.csv")
        .lines()
        .map(|line| line.split(',').map(|cell| cell.parse::<f32>().unwrap()).collect())
        .collect();
    let features = digits[0].len() - 1;
    let key = Key::from_seed(17);
    let bit = |i: usize, j: usize| (key.words((i * 64 + j) as u64)[0] >> 31) as f32;
    vec![
        ("digits", Array2::from_shape_fn((400, features), |(i, j)| digits[i][j])),
        ("bits", Array2::from_shape_fn((300, 7), |(i, j)| bit(i, j))),
        ("copies", Array2::from_shape_fn((300, 5), |(i, j)| (i % 3 * j) as f32)),
        ("one column", Array2::from_shape_fn((300, 1), |(i, _)| (i % 7) as f32 - 3.0)),
        ("normal", problem(1, 300, 9, 3, 1).folds[0].train.x.clone()),
    ]
}

#[test]
fn neighbours_are_those_of_an_exact_sort() {
    for (name, x) in rows_with_ties() {
        let (train, queries) = (x.slice(s![..250, ..]), x.slice(s![250.., ..]));
        for (distance, metric) in Distance::ALL.into_iter().zip(Distance::NAMES) {
            let index = Index::new(distance, train);
            for most in [1, 5, 40, 250] {
                for level in Level::available() {
                    let found = index.nearest(level, train, queries, most);
                    for (found, row) in found.chunks_exact(most).zip(queries.rows()) {
                        let wanted = plain::neighbours(metric, train, &row.to_vec());
                        let rows: Vec<usize> = found.iter().map(|neighbour| neighbour.row as usize).collect();
                        let expected: Vec<usize> = wanted[..most].iter().map(|(_, row)| *row).collect();
                        assert_eq!(rows, expected, "{name}, {metric}, {most} of {}", level.name());
                        for (found, (distance, _)) in found.iter().zip(&wanted) {
                            let nearest = wanted[0].0;
                            let weight = if *distance == nearest { 1.0 } else { nearest / distance };
                            assert!((f64::from(found.weight) - weight).abs() < 1e-7, "{name}, {metric}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_rows_have_ties_that_their_order_decides() {
    for (name, x) in rows_with_ties().into_iter().filter(|(name, _)| *name != "normal") {
        let near = plain::neighbours("euclidean", x.slice(s![..250, ..]), &x.row(299).to_vec());
        assert!(near.windows(2).any(|pair| pair[0].0 == pair[1].0), "{name}");
    }
}

#[test]
fn a_gpu_finds_the_same_neighbours_where_many_are_equally_near() {
    for (name, x) in rows_with_ties() {
        let classes = 4;
        let labels = |first: usize, n: usize| Target::Classes {
            codes: (first..first + n).map(|i| (i * 7 % classes) as u32).collect(),
            classes,
        };
        let rows = |first: usize, n: usize| Rows::new(x.slice(s![first..first + n, ..]).to_owned(), labels(first, n));
        let problem = one_fold(rows(0, 250), vec![rows(250, 30), rows(280, 20)], Affine::IDENTITY);
        let mut points = Points::new(3);
        for metric in Distance::NAMES {
            [(1, "uniform"), (3, "distance"), (20, "uniform"), (60, "distance")]
                .iter()
                .for_each(|(k, weights)| points.push(&point(*k, weights, metric)));
        }
        let space = space(60);
        let cpu = train(&mut *on_cpu(&space, &problem).unwrap(), &points, 1, 1);
        let Some(mut gpu) = on_gpu(&space, &problem) else { return };
        for (lane, (cpu, gpu)) in cpu.iter().zip(train(&mut *gpu, &points, 1, 1)).enumerate() {
            assert!(cpu.train.is_nan() && gpu.train.is_nan());
            for (a, b) in cpu.evals.iter().zip(&gpu.evals) {
                assert!((a - b).abs() < 1e-6, "{name}, lane {lane}: {a} and {b}");
            }
        }
    }
}

#[test]
fn votes_equal_a_plain_f64_loop() {
    for classes in [1, 3] {
        let problem = problem(1, 90, 6, classes, 1);
        let fold = &problem.folds[0];
        let (train_rows, eval) = (&fold.train, &fold.evals[0]);
        let distance = |own: [f64; 3], k: usize, is_by_distance: bool, metric: &str| {
            let mut trainer = on_cpu(&space(90), &problem).unwrap();
            let weights = crate::support::weights(&mut *trainer, &space(90), &own, 1);
            let predicted = Knn.predict(&weights, problem.task, fold.target, eval.x.view()).unwrap();
            let mut furthest = 0.0f64;
            for (row, predicted) in eval.x.rows().into_iter().zip(predicted.rows()) {
                let near = plain::neighbours(metric, train_rows.x.view(), &row.to_vec());
                for (output, predicted) in predicted.iter().enumerate() {
                    let value = |row: usize| match &train_rows.y {
                        Target::Classes { codes, .. } => f64::from(u8::from(codes[row] as usize == output)),
                        Target::Values(values) => f64::from(values[row]),
                    };
                    let wanted = plain::vote(&near, k, is_by_distance, value);
                    furthest = furthest.max((f64::from(*predicted) - wanted).abs() / wanted.abs().max(1.0));
                }
            }
            furthest
        };
        for metric in Distance::NAMES {
            for k in [1, 4, 33, 90] {
                for weights in ["uniform", "distance"] {
                    let apart = distance(point(k, weights, metric), k, weights == "distance", metric);
                    assert!(apart < TOLERANCE, "{classes} classes, {k}, {weights}, {metric}: {apart:e}");
                }
            }
        }
        assert!(distance(point(4, "uniform", "euclidean"), 5, false, "euclidean") > TOLERANCE, "k");
        assert!(distance(point(4, "uniform", "euclidean"), 4, true, "euclidean") > TOLERANCE, "weights");
        assert!(distance(point(4, "uniform", "euclidean"), 4, false, "manhattan") > TOLERANCE, "metric");
    }
}

/// Candidates all over the space, not sorted.
fn mixed(count: usize, most: usize) -> Points {
    let mut points = Points::new(3);
    for i in 0..count {
        let weights = if i % 2 == 0 { "uniform" } else { "distance" };
        points.push(&point(1 + i * 17 % most, weights, Distance::NAMES[i / 2 % 3]));
    }
    points
}

#[test]
fn bits_do_not_depend_on_neighbours_threads_memory_or_instruction_set() {
    for classes in [1, 3] {
        let problem = problem(3, 300, 9, classes, 1);
        let space = space(50);
        let points = mixed(40, 50);
        let scores = |options: CpuOptions, points: &Points| -> Vec<u64> {
            let reports = train(&mut *open_cpu(&Knn, &space, &problem, &options), points, 3, 1);
            reports.iter().flat_map(|report| report.evals.iter().map(|score| score.to_bits())).collect()
        };
        let options = CpuOptions { threads: 1, ..CpuOptions::default() };
        let together = scores(options, &points);
        assert_eq!(together, scores(CpuOptions { threads: 3, ..options }, &points));
        // Lists of all kinds for one fold at a time.
        assert_eq!(together, scores(CpuOptions { memory: 500_000, ..options }, &points));
        let alone = points.rows().flat_map(|row| scores(options, &Points::from_values(3, row.to_vec())));
        assert_eq!(together, alone.collect::<Vec<u64>>());
        for level in Level::available() {
            assert_eq!(together, scores(CpuOptions { simd: Some(level), ..options }, &points), "{}", level.name());
        }
    }
}

#[test]
fn lists_without_room_are_an_error() {
    let problem = problem(1, 300, 9, 3, 1);
    let space = space(50);
    let options = CpuOptions { memory: 50_000, ..CpuOptions::default() };
    let mut trainer = open_cpu(&Knn, &space, &problem, &options);
    let slots = trainer.start(&mixed(4, 50), &[Lane { point: 0, fold: 0 }]).unwrap();
    let error = trainer.advance(&slots, 1, false, &StopFlag::default(), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(error, Err(BackendError::OutOfMemory { .. })), "{error:?}");
}

/// The lanes' reports for these training rows, which are scored too, on both backends.
fn both(rows: &Rows, points: &Points, most: usize) -> Vec<Vec<LaneReport>> {
    let problem = one_fold(rows.clone(), vec![rows.clone()], Affine::IDENTITY);
    let space = space(most);
    let trainers = [on_cpu(&space, &problem), on_gpu(&space, &problem)].into_iter().flatten();
    trainers.map(|mut trainer| train(&mut *trainer, points, 1, 1)).collect()
}

#[test]
fn more_neighbours_than_rows_are_all_rows() {
    let rows = problem(1, 12, 4, 3, 1).folds[0].train.clone();
    for metric in Distance::NAMES {
        for weights in ["uniform", "distance"] {
            let mut points = Points::new(3);
            [12, 13, 40].iter().for_each(|k| points.push(&point(*k, weights, metric)));
            for reports in both(&rows, &points, 40) {
                let all: Vec<u64> = reports.iter().map(|report| report.evals[0].to_bits()).collect();
                assert!(reports.iter().all(|report| report.status == LaneStatus::Trained));
                assert!(all.iter().all(|score| *score == all[0]), "{metric}, {weights}");
            }
        }
    }
}

#[test]
fn a_row_that_is_among_the_training_rows_is_predicted_by_its_copies() {
    // Each row three times, always of the same class: at no distance there are copies only.
    let base = problem(1, 20, 4, 3, 1).folds[0].train.clone();
    let copies: Vec<usize> = (0..60).map(|i| i % 20).collect();
    let y = Target::Classes { codes: copies.iter().map(|i| codes(&base)[*i]).collect(), classes: 3 };
    let rows = Rows::new(base.x.select(Axis(0), &copies), y);
    for metric in Distance::NAMES {
        let points = Points::from_values(3, point(30, "distance", metric).to_vec());
        for reports in both(&rows, &points, 30) {
            assert!(reports[0].evals[0].abs() < 1e-12, "{metric}: {}", reports[0].evals[0]);
        }
    }
}

#[test]
fn extremes_give_defined_predictions() {
    let y = Target::Classes { codes: (0..40).map(|i| u32::from(i % 4 == 0) * 2).collect(), classes: 4 };
    let wide = problem(1, 40, 60, 3, 1).folds[0].train.x.clone();
    let cases = [
        ("constant features", Array2::from_elem((40, 3), 2.5)),
        ("zeros", Array2::zeros((40, 3))),
        ("fewer rows than features", wide.clone()),
        ("huge", wide.mapv(|x| x * 1e30)),
        ("tiny", wide.mapv(|x| x * 1e-30)),
    ];
    for (name, x) in cases {
        let rows = Rows::new(x, y.clone());
        let reports = both(&rows, &mixed(12, 40), 40);
        for reports in &reports {
            // A class without training rows takes part in no vote, and no lane fails.
            assert!(reports.iter().all(|report| report.status == LaneStatus::Trained), "{name}");
            assert!(reports.iter().all(|report| (0.0..=2.0).contains(&report.evals[0])), "{name}");
        }
        for reports in reports.windows(2) {
            for (cpu, gpu) in reports[0].iter().zip(&reports[1]) {
                assert!((cpu.evals[0] - gpu.evals[0]).abs() < 1e-6, "{name}: {} and {}", cpu.evals[0], gpu.evals[0]);
            }
        }
    }
}

#[test]
fn the_scale_of_all_features_changes_no_neighbour() {
    let rows = problem(1, 60, 5, 3, 1).folds[0].train.clone();
    let scores = |scale: f32| -> Vec<Vec<u64>> {
        let scaled = Rows::new(rows.x.mapv(|x| x * scale), rows.y.clone());
        let reports = both(&scaled, &mixed(12, 40), 40);
        reports.iter().map(|reports| reports.iter().map(|report| report.evals[0].to_bits()).collect()).collect()
    };
    // Powers of two change no bit of a row but its exponent.
    let plain = scores(1.0);
    for exponent in [-90, -20, 20, 90] {
        assert_eq!(scores(2.0f32.powi(exponent)), plain, "2^{exponent}");
    }
}

#[test]
fn a_gpu_refuses_lists_that_its_workgroups_cannot_hold() {
    let Some(gpu) = gpu::shared() else { return };
    let large = problem(1, 1000, 3, 3, 1);
    let error = Knn.open_gpu(&space(900), large, &gpu).err().unwrap();
    assert!(matches!(error, BackendError::Unsuited { model: "knn", .. }), "{error}");
    // As many as there are rows is no more than that.
    assert!(Knn.open_gpu(&space(900), problem(1, 100, 3, 3, 1), &gpu).is_ok());
}

#[test]
fn weights_that_make_no_sense_are_refused() {
    let problem = problem(1, 20, 4, 3, 1);
    let mut trainer = on_cpu(&space(5), &problem).unwrap();
    let good = crate::support::weights(&mut *trainer, &space(5), &point(3, "uniform", "cosine"), 1);
    let x = &problem.folds[0].evals[0].x;
    let predict = |weights: &_, x: &Array2<f32>| Knn.predict(weights, Task::Classification, Affine::IDENTITY, x.view());
    assert!(predict(&good, x).is_ok());
    let setting = |at: usize, value: u32| {
        let mut weights = good.clone();
        let settings: &mut IntegerArray = weights.integers.iter_mut().find(|array| array.name == "settings").unwrap();
        settings.values[at] = value;
        weights
    };
    for (at, value) in [(0, 0), (0, 1_000_000), (2, 3), (3, 1), (3, 0)] {
        assert!(predict(&setting(at, value), x).is_err(), "setting {at} of {value}");
    }
    let mut short = good.clone();
    short.integers.iter_mut().find(|array| array.name == "classes").unwrap().values.pop();
    assert!(predict(&short, x).is_err());
    assert!(predict(&good, &Array2::zeros((2, 3))).is_err());
}
