//! Gaussian naive Bayes against scikit-learn and a plain loop, on both backends, and what it makes of extremes.

use crate::gpu;
use crate::reference::naive_bayes;
use crate::support::{bits, mixed_points, open_cpu, problem, train, weights};
use ndarray::{Array2, s};
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::cpu::simd::Level;
use thousandfold::backend::{LaneReport, LaneStatus, Trainer};
use thousandfold::base::random::Key;
use thousandfold::data::{Affine, Fold, Problem, Rows, Target, Task};
use thousandfold::models::{DataShape, Model, naive_bayes::NaiveBayes};
use thousandfold::space::{Points, Space};

fn space() -> Space {
    NaiveBayes.space(DataShape { task: Task::Classification, rows: 100, features: 10, outputs: 3 })
}

/// A candidate, by its encoded values.
fn point(smoothing: f64, priors: &str) -> [f64; 2] {
    [smoothing, f64::from(u8::from(priors == "uniform"))]
}

fn one_fold(train: Rows, evals: Vec<Rows>) -> Arc<Problem> {
    let outputs = train.y.outputs();
    let fold = Arc::new(Fold::of_numbers(Key::from_seed(1), train, evals, Affine::IDENTITY));
    let metric = &crate::support::SquaredError;
    Arc::new(Problem { task: Task::Classification, outputs, metric, budget: 1, folds: vec![fold] })
}

pub fn fixture(file: &str) -> String {
    let path = format!("{}/tests/fixtures/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A table as the scripts beside the fixtures prepare it: features and last column of the training rows, and of every
/// fifth row, which is held out.
pub fn split(file: &str) -> [(Array2<f32>, Vec<f64>); 2] {
    let number = |cell: &str| cell.parse::<f64>().unwrap();
    let table: Vec<Vec<f64>> = fixture(file).lines().map(|line| line.split(',').map(number).collect()).collect();
    let features = table[0].len() - 1;
    let part = |is_held_out: bool| {
        let rows = table.iter().enumerate().filter(|(i, _)| (i % 5 == 0) == is_held_out);
        rows.map(|(_, row)| row).collect::<Vec<_>>()
    };
    let (train, held_out) = (part(false), part(true));
    let n = train.len() as f64;
    let mean = |j: usize| train.iter().map(|row| row[j]).sum::<f64>() / n;
    let deviation = |j: usize| (train.iter().map(|row| (row[j] - mean(j)).powi(2)).sum::<f64>() / n).sqrt();
    let unit = |j: usize| if deviation(j) > 0.0 { deviation(j) } else { 1.0 };
    let moments: Vec<(f64, f64)> = (0..features).map(|j| (mean(j), unit(j))).collect();
    [train, held_out].map(|part| {
        let cell = |(i, j): (usize, usize)| ((part[i][j] - moments[j].0) / moments[j].1) as f32;
        (Array2::from_shape_fn((part.len(), features), cell), part.iter().map(|row| row[features]).collect())
    })
}

/// The same with classes in the last column.
pub fn prepared(file: &str) -> (Rows, Rows) {
    let [train, held_out] = split(file);
    let classes = train.1.iter().chain(&held_out.1).fold(0.0f64, |most, code| most.max(*code)) as usize + 1;
    let rows = |(x, codes): (Array2<f32>, Vec<f64>)| {
        Rows::new(x, Target::Classes { codes: codes.into_iter().map(|code| code as u32).collect(), classes })
    };
    (rows(train), rows(held_out))
}

/// What scikit-learn predicts at one setting.
#[derive(serde::Deserialize)]
struct Prediction {
    data: String,
    smoothing: f64,
    priors: String,
    is_weighted: bool,
    /// Probabilities of the first held-out rows.
    held_out: Vec<Vec<f64>>,
    /// Held-out rows whose most likely class is theirs.
    correct: usize,
}

impl Prediction {
    /// The problem with the rows that have probabilities here, then all held-out rows, as row sets to score.
    fn problem(&self) -> Arc<Problem> {
        let folder = if self.data == "mixed" { "naive_bayes" } else { "logistic" };
        let (mut train, all) = prepared(&format!("{folder}/{}.csv", self.data));
        train.weight = self.is_weighted.then(|| (0..train.y.len()).map(|i| (i % 4) as f32).collect());
        let Target::Classes { codes, classes } = &all.y else { panic!("classes") };
        let shown = self.held_out.len();
        let first = Rows::new(
            all.x.slice(s![..shown, ..]).to_owned(),
            Target::Classes { codes: codes[..shown].to_vec(), classes: *classes },
        );
        one_fold(train, vec![first, all])
    }

    /// What [`crate::support::SquaredError`] makes of these probabilities.
    fn score(&self, truth: &Rows) -> f64 {
        let rows = self.held_out.iter().zip(codes(truth));
        let squares = rows.flat_map(|(row, code)| {
            let one_hot = move |class: usize| f64::from(u8::from(class == *code as usize));
            row.iter().enumerate().map(move |(class, p)| (p - one_hot(class)).powi(2))
        });
        squares.sum::<f64>() / self.held_out.len() as f64
    }
}

pub fn codes(rows: &Rows) -> &[u32] {
    match &rows.y {
        Target::Classes { codes, .. } => codes,
        Target::Values(_) => panic!("not classes"),
    }
}

fn predictions() -> Vec<Prediction> {
    let predictions: Vec<Prediction> = serde_json::from_str(&fixture("naive_bayes/predictions.json")).unwrap();
    assert_eq!(predictions.len(), 24);
    predictions
}

/// The furthest that probabilities and scores are from scikit-learn's, from weights read back and from the lane's own
/// score. `perturb` changes the smoothing.
fn distances(open: impl Fn(&Arc<Problem>) -> Option<Box<dyn Trainer>>, perturb: f64) -> Option<Vec<(String, f64)>> {
    let mut distances = Vec::new();
    for wanted in predictions() {
        let problem = wanted.problem();
        let mut trainer = open(&problem)?;
        let row = point(wanted.smoothing * perturb, &wanted.priors);
        let report = train(&mut *trainer, &Points::from_values(2, row.to_vec()), 1, 1).swap_remove(0);
        assert_eq!((report.status, report.used), (LaneStatus::Trained, 1));
        let evals = &problem.folds[0].evals;
        let mut furthest = (report.evals[0] - wanted.score(&evals[0])).abs();
        let weights = trainer.read_back(report.slot).unwrap();
        let predict =
            |rows: &Rows| NaiveBayes.predict(&weights, Task::Classification, Affine::IDENTITY, rows.x.view()).unwrap();
        for (own, wanted) in predict(&evals[0]).rows().into_iter().zip(&wanted.held_out) {
            for (own, wanted) in own.iter().zip(wanted) {
                furthest = furthest.max((f64::from(*own) - wanted).abs());
            }
        }
        let best = |row: ndarray::ArrayView1<'_, f32>| {
            (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]).then(b.cmp(a)))
        };
        let own = predict(&evals[1]);
        let correct =
            own.rows().into_iter().zip(codes(&evals[1])).filter(|(row, code)| best(*row) == Some(**code as usize));
        let name = format!("{}, {}, {}", wanted.data, wanted.smoothing, wanted.priors);
        if perturb == 1.0 {
            assert_eq!(correct.count(), wanted.correct, "{name}");
        }
        distances.push((name, furthest));
    }
    Some(distances)
}

fn on_cpu(problem: &Arc<Problem>) -> Option<Box<dyn Trainer>> {
    Some(open_cpu(&NaiveBayes, &space(), problem, &CpuOptions::default()))
}

fn on_gpu(problem: &Arc<Problem>) -> Option<Box<dyn Trainer>> {
    let gpu = gpu::shared()?;
    Some(NaiveBayes.open_gpu(&space(), problem.clone(), &gpu).unwrap())
}

/// Means and deviations in f32 move a log likelihood by up to 1e-7 of it: where two classes are about equally likely at
/// hundreds of nats, a probability by some 1e-5. Measured: 1e-7 on the processor, 5e-7 on lavapipe.
const TOLERANCE: f64 = 1e-5;

#[test]
fn probabilities_equal_scikit_learns() {
    for (name, distance) in distances(on_cpu, 1.0).unwrap() {
        assert!(distance < TOLERANCE, "{name}: {distance:e}");
    }
}

#[test]
fn probabilities_equal_scikit_learns_on_the_gpu() {
    for (name, distance) in distances(on_gpu, 1.0).unwrap_or_default() {
        assert!(distance < TOLERANCE, "{name}: {distance:e}");
    }
}

#[test]
fn the_comparison_with_scikit_learn_sees_another_smoothing() {
    let seen = distances(on_cpu, 1.3).unwrap().into_iter().filter(|(_, distance)| *distance > TOLERANCE).count();
    // Where every class's variances are far above what is added, the probabilities do not move.
    assert!(seen >= 12, "{seen} of 24");
}

#[test]
fn probabilities_equal_a_plain_f64_loop() {
    let (train, held_out) = prepared("naive_bayes/mixed.csv");
    let weight: Vec<f32> = (0..train.y.len()).map(|i| (i % 3) as f32 * 0.75).collect();
    let problem = one_fold(Rows { weight: Some(weight.clone()), ..train.clone() }, vec![held_out.clone()]);
    let weight: Vec<f64> = weight.into_iter().map(f64::from).collect();
    let distance = |own: (f64, &str), plain: (f64, bool)| {
        let mut trainer = on_cpu(&problem).unwrap();
        let weights = weights(&mut *trainer, &space(), &point(own.0, own.1), 1);
        let own = NaiveBayes.predict(&weights, Task::Classification, Affine::IDENTITY, held_out.x.view()).unwrap();
        let rows = held_out.x.rows().into_iter().zip(own.rows());
        let apart = rows.flat_map(|(row, own)| {
            let row = row.to_vec();
            let plain = naive_bayes::predict(train.x.view(), codes(&train), &weight, 3, plain, &row);
            own.iter().zip(plain).map(|(a, b)| (f64::from(*a) - b).abs()).collect::<Vec<f64>>()
        });
        apart.fold(0.0, f64::max)
    };
    for smoothing in [1e-6, 0.01, 3.0] {
        assert!(distance((smoothing, "empirical"), (smoothing, false)) < 1e-5, "{smoothing}");
        assert!(distance((smoothing, "uniform"), (smoothing, true)) < 1e-5, "{smoothing}");
    }
    assert!(distance((0.01, "empirical"), (0.0102, false)) > 1e-5, "another smoothing");
    assert!(distance((0.01, "empirical"), (0.01, true)) > 1e-5, "other priors");
}

#[test]
fn bits_do_not_depend_on_neighbours_threads_or_instruction_set() {
    let problem = problem(2, 70, 10, 3, 1);
    let points = mixed_points(&space(), 37, 40.0);
    let scores = |options: CpuOptions, points: &Points| {
        bits(&train(&mut *open_cpu(&NaiveBayes, &space(), &problem, &options), points, 2, 1))
    };
    let options = CpuOptions { threads: 1, ..CpuOptions::default() };
    let together = scores(options, &points);
    assert_eq!(together, scores(CpuOptions { threads: 3, ..options }, &points));
    let alone = points.rows().flat_map(|row| scores(options, &Points::from_values(2, row.to_vec())));
    assert_eq!(together, alone.collect::<Vec<u64>>());
    for level in Level::available() {
        assert_eq!(together, scores(CpuOptions { simd: Some(level), ..options }, &points), "{}", level.name());
    }
}

/// A lane's report and its probabilities for the rows that it was trained on, on both backends.
fn both(train_rows: Rows, smoothing: f64) -> Vec<(LaneReport, Array2<f32>)> {
    let problem = one_fold(train_rows.clone(), vec![train_rows.clone()]);
    let fit = |mut trainer: Box<dyn Trainer>| {
        let points = Points::from_values(2, point(smoothing, "empirical").to_vec());
        let report = train(&mut *trainer, &points, 1, 1).swap_remove(0);
        let weights = trainer.read_back(report.slot).unwrap();
        let x = train_rows.x.view();
        (report, NaiveBayes.predict(&weights, Task::Classification, Affine::IDENTITY, x).unwrap())
    };
    [on_cpu(&problem), on_gpu(&problem)].into_iter().flatten().map(fit).collect()
}

#[test]
fn a_class_without_training_rows_has_probability_zero() {
    let whole = problem(1, 60, 5, 3, 1).folds[0].train.clone();
    let spread = codes(&whole).iter().map(|code| 2 * (code % 2)).collect();
    for (report, p) in both(Rows::new(whole.x, Target::Classes { codes: spread, classes: 4 }), 1e-9) {
        assert_eq!(report.status, LaneStatus::Trained);
        assert!(report.evals[0].is_finite());
        assert!(p.rows().into_iter().all(|row| row[1] == 0.0 && row[3] == 0.0 && (row.sum() - 1.0).abs() < 1e-6));
    }
}

#[test]
fn features_that_say_nothing_leave_the_priors() {
    let y = Target::Classes { codes: (0..40).map(|i| u32::from(i % 4 == 0)).collect(), classes: 2 };
    // Zeros, and numbers whose squares are beyond f32 on either side.
    for value in [0.0, 3e30, 1e-30] {
        let x = Array2::from_elem((40, 3), value);
        for (report, p) in both(Rows::new(x, y.clone()), 1e-9) {
            assert_eq!(report.status, LaneStatus::Trained, "{value:e}");
            // Of each four rows one is of the second class.
            assert!((report.evals[0] - 2.0 * 0.25 * 0.75).abs() < 1e-6, "{value:e}: {}", report.evals[0]);
            assert!(p.rows().into_iter().all(|row| (row[1] - 0.25).abs() < 1e-6), "{value:e}");
        }
    }
}

#[test]
fn any_scale_of_the_features_gives_the_same_probabilities() {
    let whole = problem(1, 60, 5, 3, 1).folds[0].train.clone();
    let scores = |scale: f32| {
        let rows = Rows::new(whole.x.mapv(|x| x * scale), whole.y.clone());
        both(rows, 1e-9).into_iter().map(|(report, _)| report.evals[0]).collect::<Vec<f64>>()
    };
    let plain = scores(1.0);
    for scale in [1e-30, 1e-12, 1e12, 1e30] {
        for (a, b) in scores(scale).iter().zip(&plain) {
            assert!((a - b).abs() < 1e-5 * b, "{scale:e}: {a} and {b}");
        }
    }
}

#[test]
fn rows_that_all_weigh_nothing_fail_their_lane() {
    let whole = problem(1, 60, 5, 3, 1).folds[0].train.clone();
    let problem = one_fold(Rows { weight: Some(vec![0.0; 60]), ..whole.clone() }, vec![whole]);
    for mut trainer in [on_cpu(&problem), on_gpu(&problem)].into_iter().flatten() {
        let points = Points::from_values(2, point(1e-9, "empirical").to_vec());
        assert_eq!(train(&mut *trainer, &points, 1, 1)[0].status, LaneStatus::NotFinite);
    }
}
