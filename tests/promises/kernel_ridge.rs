//! Kernel ridge against scikit-learn and a plain loop, and the rules that its lanes keep. What holds for every model on a
//! GPU is in gpu.rs and backends.rs.

use crate::gpu;
use crate::kernels::{fixture, open_space, point, prepared, problem_of, text};
use crate::reference::kernel_ridge as plain;
use crate::support::{bits, mixed_points, open_cpu, problem, train, weights};
use ndarray::Array2;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::cpu::simd::Level;
use thousandfold::backend::gpu::GpuOptions;
use thousandfold::backend::{LaneStatus, Trainer, Weights};
use thousandfold::data::{Affine, Problem, Rows, Target, Task};
use thousandfold::models::{DataShape, Model, kernel_ridge::KernelRidge};
use thousandfold::space::{Points, Value};

/// What scikit-learn's KernelRidge predicts.
#[derive(serde::Deserialize)]
struct Solution {
    data: String,
    kernel: String,
    gamma: f64,
    degree: i64,
    coef0: f64,
    l2: f64,
    is_weighted: bool,
    held_out: Vec<f64>,
    train: Vec<f64>,
}

impl Solution {
    fn problem(&self) -> Arc<Problem> {
        let (train, held_out) = prepared(&self.data, self.is_weighted);
        problem_of(train, vec![held_out], 1)
    }

    /// The largest distance between predictions from weights that a trainer read back and scikit-learn's.
    fn distance(&self, trainer: &mut dyn Trainer, problem: &Problem, l2: f64) -> f64 {
        let space = open_space(&KernelRidge, problem);
        let set = [
            ("kernel", text(&self.kernel)),
            ("gamma", Value::Float(self.gamma)),
            ("degree", Value::Int(self.degree)),
            ("coef0", Value::Float(self.coef0)),
            ("l2", Value::Float(l2)),
        ];
        let weights = weights(trainer, &space, &point(&space, &set), 1);
        let fold = &problem.folds[0];
        let mut largest = 0.0f64;
        for (rows, truth) in [(&fold.train, &self.train), (&fold.evals[0], &self.held_out)] {
            let predicted = KernelRidge.predict(&weights, Task::Regression, fold.target, rows.x.view()).unwrap();
            for (predicted, truth) in predicted.iter().zip(truth) {
                largest = largest.max((f64::from(*predicted) - truth).abs() / (1.0 + truth.abs()));
            }
        }
        largest
    }
}

fn solutions() -> Vec<Solution> {
    let solutions: Vec<Solution> = serde_json::from_str(&fixture("kernels/ridge.json")).unwrap();
    assert_eq!(solutions.len(), 24);
    solutions
}

/// Both solve in f64; targets that were rounded to f32 (6e-8), and the weights' 48 bits, remain. Measured: 4e-7.
const TOLERANCE: f64 = 3e-6;

#[test]
fn predictions_equal_scikit_learns() {
    let mut seen = 0;
    for solution in solutions() {
        let problem = solution.problem();
        let space = open_space(&KernelRidge, &problem);
        let mut trainer = open_cpu(&KernelRidge, &space, &problem, &CpuOptions::default());
        let distance = solution.distance(&mut *trainer, &problem, solution.l2);
        let Solution { data, kernel, gamma, l2, .. } = &solution;
        assert!(distance < TOLERANCE, "{data}, {kernel}, gamma {gamma}, l2 {l2}: {distance:e}");
        // Where predictions pass through the targets, or are 0 between them, a penalty that is a little off shows less.
        seen += u32::from(solution.distance(&mut *trainer, &problem, 1.01 * solution.l2) > TOLERANCE);
    }
    assert!(seen >= 16, "a perturbation was seen in {seen} of 24");
}

#[test]
fn weights_from_a_gpu_predict_the_same() {
    let Some(gpu) = gpu::open(GpuOptions::default()) else { return };
    for solution in solutions() {
        let problem = solution.problem();
        let space = open_space(&KernelRidge, &problem);
        let mut trainer = KernelRidge.open_gpu(&space, problem.clone(), &gpu).unwrap();
        let distance = solution.distance(&mut *trainer, &problem, solution.l2);
        assert!(distance < TOLERANCE, "{}, {}, l2 {}: {distance:e}", solution.data, solution.kernel, solution.l2);
    }
}

/// RMSE by the plain loop against the lane's score: the metric is a mean of squares of f32 predictions.
#[test]
fn training_equals_a_plain_f64_loop() {
    let mut problem = (*problem(1, 60, 5, 1, 1)).clone();
    let mut fold = (*problem.folds[0]).clone();
    fold.train.weight = Some((0..60).map(|i| [1.0, 0.25, 4.0][i % 3]).collect());
    let target = fold.target;
    problem.folds = vec![Arc::new(fold)];
    let problem = Arc::new(problem);
    let fold = &problem.folds[0];
    let values = |rows: &Rows| match &rows.y {
        Target::Values(values) => values.iter().map(|y| f64::from(*y)).collect::<Vec<f64>>(),
        Target::Classes { .. } => panic!("not numbers"),
    };
    let scaled = |y: &f64| (y - f64::from(target.shift)) / f64::from(target.scale);
    let y: Vec<f64> = values(&fold.train).iter().map(scaled).collect();
    let weights: Vec<f64> = fold.train.weight.iter().flatten().map(|w| f64::from(*w)).collect();
    let space = open_space(&KernelRidge, &problem);
    let mut trainer = open_cpu(&KernelRidge, &space, &problem, &CpuOptions::default());
    for (gamma, l2, off) in [(0.1, 1.0, 1.0), (0.02, 1e-3, 1.0), (2.0, 0.1, 1.0), (0.1, 1.0, 1.01)] {
        let row = point(&space, &[("gamma", Value::Float(gamma * off)), ("l2", Value::Float(l2))]);
        let reports = train(&mut *trainer, &Points::from_values(row.len(), row), 1, 1);
        let train_rows = plain::rows(fold.train.x.view());
        for (rows, scored) in [(&fold.train, reports[0].train), (&fold.evals[0], reports[0].evals[0])] {
            let predicted = plain::predict(&train_rows, &y, &weights, gamma, l2, &plain::rows(rows.x.view()));
            let square = |(p, y): (&f64, f64)| (p * f64::from(target.scale) + f64::from(target.shift) - y).powi(2);
            let truth = predicted.iter().zip(values(rows)).map(square).sum::<f64>() / predicted.len() as f64;
            let distance = (scored - truth).abs() / truth;
            // A prediction near 50 in f32 is off by 2e-6, in a mean of squares of some units; the training rows' errors
            // are small at a small penalty. A gamma that is a hundredth off must show.
            assert_eq!(distance < 2e-5, off == 1.0, "gamma {gamma}, l2 {l2}: {scored} is not {truth}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_neighbours_threads_memory_or_instruction_set() {
    let problem = problem(2, 50, 6, 1, 1);
    let space = KernelRidge.space(DataShape { task: Task::Regression, rows: 50, features: 6, outputs: 1 });
    let mut points = mixed_points(&space, 30, 40.0);
    // Many penalties of one kernel, in two groups.
    for i in 0..20 {
        points.push(&point(&space, &[("l2", Value::Float(1e-3 * f64::from(i + 1)))]));
    }
    let score = |points: &Points, options: &CpuOptions| {
        bits(&train(&mut *open_cpu(&KernelRidge, &space, &problem, options), points, 2, 1))
    };
    let options = CpuOptions { threads: 1, ..CpuOptions::default() };
    let together = score(&points, &options);
    assert_eq!(together, score(&points, &CpuOptions { threads: 3, ..options }));
    assert_eq!(together, score(&points, &CpuOptions { threads: 3, memory: 300_000, ..options }));
    for level in Level::available() {
        assert_eq!(together, score(&points, &CpuOptions { simd: Some(level), ..options }), "{}", level.name());
    }
    let alone = points.rows().flat_map(|row| score(&Points::from_values(row.len(), row.to_vec()), &options));
    assert_eq!(together, alone.collect::<Vec<u64>>());
}

#[test]
fn extremes_give_a_result_or_a_failed_lane() {
    let flat = |rows: usize, features: usize| {
        let x = Array2::from_shape_fn((rows, features), |_| 1.0);
        Rows::new(x, Target::Values((0..rows).map(|i| i as f32).collect()))
    };
    let mut unweighted = crate::support::rows(3, 40, 3, 1);
    unweighted.weight = Some((0..40).map(|i| if i % 4 == 0 { 0.0 } else { 1.0 }).collect());
    let cases = [flat(30, 2), flat(1, 3), crate::support::rows(1, 8, 200, 1), unweighted];
    for (case, rows) in cases.into_iter().enumerate() {
        let problem = problem_of(rows.clone(), vec![rows], 1);
        let space = open_space(&KernelRidge, &problem);
        let mut trainer = open_cpu(&KernelRidge, &space, &problem, &CpuOptions::default());
        for kernel in ["rbf", "laplacian", "polynomial", "linear"] {
            for (gamma, l2) in [(1e6, 1e-12), (1e-12, 1e-6), (1.0, 1e12), (1e12, 1.0)] {
                let set = [("kernel", text(kernel)), ("gamma", Value::Float(gamma)), ("l2", Value::Float(l2))];
                let row = point(&space, &set);
                let report = train(&mut *trainer, &Points::from_values(row.len(), row), 1, 1).swap_remove(0);
                let is_finite = report.train.is_finite() && report.evals[0].is_finite();
                assert_eq!(is_finite, report.status == LaneStatus::Trained, "case {case}, {kernel}: {report:?}");
                // These are as well-conditioned as can be.
                assert!(is_finite || l2 < 1.0 || kernel == "polynomial", "case {case}, {kernel}: {report:?}");
            }
        }
    }
}

#[test]
fn more_rows_than_memory_holds_are_refused_with_a_way_out() {
    let problem = problem(1, 200, 3, 1, 1);
    let space = open_space(&KernelRidge, &problem);
    let options = CpuOptions { memory: 100_000, ..CpuOptions::default() };
    let error = KernelRidge.open_cpu(&space, problem, &options).err().unwrap().to_string();
    assert!(
        error.starts_with("kernel_ridge cannot be trained here: it works on the kernel of all pairs of 200"),
        "{error}"
    );
    assert!(error.contains("run.memory"), "{error}");
}

#[test]
fn weights_of_another_shape_are_refused() {
    let problem = problem(1, 20, 3, 1, 1);
    let space = open_space(&KernelRidge, &problem);
    let mut trainer = open_cpu(&KernelRidge, &space, &problem, &CpuOptions::default());
    let whole = weights(&mut *trainer, &space, &space.defaults(), 1);
    let predict = |weights: &Weights, features| {
        let x = Array2::<f32>::zeros((2, features));
        KernelRidge.predict(weights, Task::Regression, Affine::IDENTITY, x.view())
    };
    assert!(predict(&whole, 3).is_ok() && predict(&whole, 4).is_err());
    for name in 0..whole.arrays.len() {
        let mut short = whole.clone();
        short.arrays[name].values.pop();
        assert!(predict(&short, 3).is_err(), "{}", whole.arrays[name].name);
        short.arrays.remove(name);
        assert!(predict(&short, 3).is_err());
    }
    let mut odd = whole.clone();
    odd.arrays[0].values[0] = 17.0;
    assert!(predict(&odd, 3).is_err());
}
