//! The softmax against scikit-learn and a plain loop, and the rules that its lanes keep.

use crate::reference::softmax::Softmax;
use crate::support::{bits, open_cpu, problem, train, weights};
use ndarray::Array2;
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::cpu::simd::Level;
use thousandfold::backend::{Lane, LaneReport, LaneStatus, StopFlag, Trainer, WeightArray, Weights};
use thousandfold::base::random::Key;
use thousandfold::data::{Affine, Fold, Problem, Rows, Target, Task};
use thousandfold::models::logistic::solver::{self, ABSENT};
use thousandfold::models::{DataShape, Model, logistic::Logistic};
use thousandfold::space::{Domain, Points, Scale, Space, Value};

const BUDGET: u64 = 1000;

/// L2 penalties alone, which is what a space without a choice of penalties has.
fn space() -> Space {
    let mut space = Logistic.space(DataShape { task: Task::Classification, rows: 100, features: 10, outputs: 3 });
    space
        .parameters
        .retain(|parameter| ["l2", "fit_intercept", "tolerance", "class_weight"].contains(&&parameter.name[..]));
    space.parameters[0].conditions.clear();
    space
}

fn point(l2: f64) -> Vec<f64> {
    vec![l2, 1.0, 0.0]
}

/// Candidates of these penalties, with an intercept.
fn points(penalties: &[f64]) -> Points {
    Points::from_values(3, penalties.iter().flat_map(|l2| point(*l2)).collect())
}

/// A space in which a candidate says whether intercepts are fitted, and to which tolerance.
pub fn open_space() -> Space {
    let mut space = space();
    space.parameters[1].domain = Domain::Bool;
    space.parameters[2].domain = Domain::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None };
    space.parameters[3].domain = Domain::Categorical(["none", "balanced"].map(|name| Value::Text(name.into())).into());
    space
}

pub fn fold(train: Rows, evals: Vec<Rows>) -> Arc<Problem> {
    let outputs = train.y.outputs();
    let fold = Arc::new(Fold::of_numbers(Key::from_seed(1), train, evals, Affine::IDENTITY));
    let metric = &crate::support::SquaredError;
    Arc::new(Problem { task: Task::Classification, outputs, metric, budget: BUDGET, folds: vec![fold] })
}

fn fit(problem: &Arc<Problem>, row: &[f64]) -> Weights {
    let space = open_space();
    weights(&mut *open_cpu(&Logistic, &space, problem, &CpuOptions::default()), &space, row, BUDGET)
}

pub fn array<'a>(weights: &'a Weights, name: &str) -> &'a WeightArray {
    weights.arrays.iter().find(|array| array.name == name).unwrap()
}

pub fn codes(rows: &Rows) -> &[u32] {
    match &rows.y {
        Target::Classes { codes, .. } => codes,
        Target::Values(_) => panic!("not classes"),
    }
}

/// Mean log loss from logits in f64: probabilities in f32 underflow where a row is wrong by a logit of 100.
fn log_loss(weights: &Weights, rows: &Rows) -> f64 {
    let (weight, intercept) = (array(weights, "weight"), array(weights, "intercept"));
    let loss = |(row, code): (ndarray::ArrayView1<'_, f32>, &u32)| {
        let classes = weight.values.chunks_exact(row.len()).zip(&intercept.values);
        let dot = |w: &[f32]| w.iter().zip(row).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
        let logits: Vec<f64> = classes.map(|(w, b)| dot(w) + f64::from(*b)).collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        logits.iter().map(|z| (z - largest).exp()).sum::<f64>().ln() + largest - logits[*code as usize]
    };
    rows.x.rows().into_iter().zip(codes(rows)).map(loss).sum::<f64>() / codes(rows).len() as f64
}

/// What scikit-learn found.
#[derive(serde::Deserialize)]
pub struct Solution {
    data: String,
    l2: f64,
    fit_intercept: bool,
    /// One row for two classes, else one a class.
    coef: Vec<Vec<f64>>,
    train_log_loss: f64,
    held_out_log_loss: f64,
    #[serde(default)]
    is_balanced: bool,
    /// Whether row `i` of the table counts for `0.25 + i % 4`.
    #[serde(default)]
    is_weighted: bool,
}

pub fn fixture(file: &str) -> String {
    let path = format!("{}/tests/fixtures/logistic/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A data set as make.py prepares it: its training rows and every fifth row, which is held out.
pub fn prepared(name: &str) -> (Rows, Rows) {
    let number = |cell: &str| cell.parse::<f64>().unwrap();
    let table: Vec<Vec<f64>> = fixture(name).lines().map(|line| line.split(',').map(number).collect()).collect();
    let features = table[0].len() - 1;
    let classes = table.iter().map(|row| row[features] as usize + 1).max().unwrap();
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (i, row) in table.into_iter().enumerate() {
        if i % 5 == 0 { held_out.push(row) } else { train.push(row) }
    }
    let n = train.len() as f64;
    let mean = |j: usize| train.iter().map(|row| row[j]).sum::<f64>() / n;
    let moments: Vec<(f64, f64)> = (0..features)
        .map(|j| (mean(j), (train.iter().map(|row| (row[j] - mean(j)).powi(2)).sum::<f64>() / n).sqrt()))
        .collect();
    let rows = |table: &[Vec<f64>]| {
        let x = Array2::from_shape_fn((table.len(), features), |(i, j)| {
            ((table[i][j] - moments[j].0) / moments[j].1) as f32
        });
        Rows::new(x, Target::Classes { codes: table.iter().map(|row| row[features] as u32).collect(), classes })
    };
    (rows(&train), rows(&held_out))
}

/// scikit-learn's solutions on a data set, as candidates, with its training and its held-out rows.
pub fn solutions(name: &str) -> (Vec<Solution>, Rows, Rows) {
    let mut solutions: Vec<Solution> = serde_json::from_str(&fixture("solutions.json")).unwrap();
    assert_eq!(solutions.len(), 21);
    solutions.retain(|solution| solution.data == name);
    let (train, held_out) = prepared(&format!("{name}.csv"));
    (solutions, train, held_out)
}

/// scikit-learn's solutions where classes or rows count for more, each with its training and its held-out rows and its
/// candidate in [`open_space`].
pub fn weighted_solutions() -> Vec<(Solution, Rows, Rows, Vec<f64>)> {
    let solutions: Vec<Solution> = serde_json::from_str(&fixture("weighted.json")).unwrap();
    assert_eq!(solutions.len(), 9);
    let with_rows = |solution: Solution| {
        let (mut train, held_out) = prepared(&format!("{}.csv", solution.data));
        if solution.is_weighted {
            // Training rows 0, 1, 2, 3, 4 are rows 1, 2, 3, 4, 6 of the table.
            let weight = |i: usize| 0.25 + ((i + i / 4 + 1) % 4) as f32;
            train.weight = Some((0..train.y.len()).map(weight).collect());
        }
        let candidate = [&solution.point()[..], &[f64::from(u8::from(solution.is_balanced))]].concat();
        (solution, train, held_out, candidate)
    };
    solutions.into_iter().map(with_rows).collect()
}

impl Solution {
    /// The candidate in [`open_space`].
    pub fn point(&self) -> [f64; 3] {
        [self.l2, f64::from(u8::from(self.fit_intercept)), 0.0]
    }

    /// Panics where a lane's weights are another solution.
    pub fn assert_equals(&self, weights: &Weights, train: &Rows, held_out: &Rows) {
        let at = format!("{}, l2 {}, intercept {}", self.data, self.l2, self.fit_intercept);
        let (furthest, largest) = self.furthest_coefficient(weights, train.x.ncols());
        // f32 ends where the loss is too flat for it: at 3.2e-3 of 12.2 on iris at the smallest penalty, where rounding
        // the features alone moves the solution as far.
        let allowed = if self.data == "iris" && self.l2 < 1e-3 { 4e-3 } else { 1e-3 };
        assert!(furthest < allowed, "{at}: coefficients {furthest:e} of {largest}");
        let train_gap = (log_loss(weights, train) - self.train_log_loss).abs();
        assert!(train_gap < 1e-5, "{at}: training log loss {train_gap:e}");
        let gap = (log_loss(weights, held_out) - self.held_out_log_loss).abs();
        assert!(gap < 1e-5, "{at}: held-out log loss {gap:e}");
    }

    /// How far the furthest coefficient is from scikit-learn's, and the largest of those.
    fn furthest_coefficient(&self, weights: &Weights, features: usize) -> (f64, f64) {
        let w = &array(weights, "weight").values;
        let (mut furthest, mut largest) = (0.0f64, 0.0f64);
        for (class, coef) in self.coef.iter().enumerate() {
            for (j, coef) in coef.iter().enumerate() {
                let own = f64::from(w[class * features + j]);
                let own = if self.coef.len() == 1 { f64::from(w[features + j]) - own } else { own };
                furthest = furthest.max((own - coef).abs());
                largest = largest.max(coef.abs());
            }
        }
        (furthest, largest)
    }
}

#[test]
fn the_comparison_with_scikit_learn_sees_a_penalty_that_is_a_little_off() {
    let (solutions, train, _) = solutions("breast_cancer");
    let problem = fold(train.clone(), Vec::new());
    let space = open_space();
    let mut trainer = open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
    let mut seen = 0;
    for solution in solutions.iter().filter(|solution| solution.l2 <= 10.0) {
        let [l2, fit_intercept, tolerance] = solution.point();
        let weights = weights(&mut *trainer, &space, &[l2 * 1.05, fit_intercept, tolerance], BUDGET);
        let (furthest, _) = solution.furthest_coefficient(&weights, train.x.ncols());
        assert!(furthest > 1e-3, "l2 {l2}: {furthest:e}");
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn classes_and_rows_that_count_for_more_give_scikit_learns_solution() {
    for (solution, train, held_out, candidate) in weighted_solutions() {
        let problem = fold(train.clone(), vec![held_out.clone()]);
        let space = open_space();
        let mut trainer = open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
        let weights = weights(&mut *trainer, &space, &candidate, BUDGET);
        solution.assert_equals(&weights, &train, &held_out);
        // The same without what counts for more is seen, but on iris, whose classes are of one size.
        if solution.data == "iris" && !solution.is_weighted {
            continue;
        }
        let plain = Rows { weight: None, ..train.clone() };
        let (other, _) =
            solution.furthest_coefficient(&fit(&fold(plain, Vec::new()), &point(solution.l2)), train.x.ncols());
        assert!(other > 2e-3, "{} l2 {}: {other:e}", solution.data, solution.l2);
    }
}

#[test]
fn rows_that_count_for_nothing_are_as_if_they_were_not_there() {
    let whole = problem(1, 60, 5, 3, BUDGET).folds[0].train.clone();
    let mut without = rows(whole.x.slice(ndarray::s![..45, ..]).to_owned(), codes(&whole)[..45].to_vec(), 3);
    let mut with = whole;
    without.weight = Some(vec![2.0; 45]);
    with.weight = Some((0..60).map(|i| if i < 45 { 2.0 } else { 0.0 }).collect());
    let [a, b] = [with, without.clone()].map(|train| fit(&fold(train, Vec::new()), &point(0.7)));
    for (a, b) in array(&a, "weight").values.iter().zip(&array(&b, "weight").values) {
        assert!((a - b).abs() < 1e-3, "{a} and {b}");
    }
    // Rows that count twice are two rows.
    let twice = |values: &[u32]| [values, values].concat();
    let x = ndarray::concatenate![ndarray::Axis(0), without.x, without.x];
    let doubled = fit(&fold(rows(x, twice(codes(&without)), 3), Vec::new()), &point(0.7));
    for (a, b) in array(&b, "weight").values.iter().zip(&array(&doubled, "weight").values) {
        assert!((a - b).abs() < 1e-3, "{a} and {b}");
    }
}

#[test]
fn training_converges_to_scikit_learns_solution() {
    for name in ["iris", "breast_cancer", "digits"] {
        let (solutions, train, held_out) = solutions(name);
        let problem = fold(train.clone(), vec![held_out.clone()]);
        let space = open_space();
        let mut trainer = open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
        for solution in solutions {
            let weights = weights(&mut *trainer, &space, &solution.point(), BUDGET);
            solution.assert_equals(&weights, &train, &held_out);
        }
    }
}

/// Largest difference of a probability between the model and the plain loop with `l2` and intercept as given.
fn distance_to_plain_loop(classes: usize, row: &[f64], l2: f64, fit_intercept: bool) -> f64 {
    let problem = problem(1, 90, 6, classes, BUDGET);
    let fold = &problem.folds[0];
    let weights = fit(&problem, row);
    let predicted = Logistic.predict(&weights, Task::Classification, Affine::IDENTITY, fold.evals[0].x.view()).unwrap();
    let penalty = f64::from(solver::penalty(l2 as f32, classes));
    let plain = Softmax::fit(fold.train.x.view(), codes(&fold.train), classes, penalty, fit_intercept);
    let mut largest = 0.0f64;
    for (row, predicted) in fold.evals[0].x.rows().into_iter().zip(predicted.rows()) {
        for (truth, predicted) in plain.predict(row.as_slice().unwrap()).iter().zip(predicted) {
            largest = largest.max((truth - f64::from(*predicted)).abs());
        }
    }
    largest
}

/// The solver stops at a mean gradient of at most 2e-5; measured distances are below 4e-5.
const TOLERANCE: f64 = 2e-4;

#[test]
fn training_equals_a_plain_f64_loop() {
    for classes in [2, 3, 5] {
        for l2 in [1e-3, 0.5, 20.0, 3000.0] {
            for fit_intercept in [true, false] {
                let row = [l2, f64::from(u8::from(fit_intercept)), 0.0];
                let distance = distance_to_plain_loop(classes, &row, l2, fit_intercept);
                assert!(distance < TOLERANCE, "{classes} classes, {row:?}: {distance:e}");
            }
        }
    }
}

#[test]
fn the_comparison_with_the_plain_loop_sees_small_perturbations() {
    for (name, l2, fit_intercept) in [("penalty", 0.51, true), ("intercept", 0.5, false)] {
        let distance = distance_to_plain_loop(3, &point(0.5), l2, fit_intercept);
        assert!(distance > TOLERANCE, "{name}: {distance:e}");
    }
}

/// Penalties all over the range and beyond it, not sorted.
fn mixed_penalties(count: usize) -> Vec<f64> {
    (0..count).map(|i| 10f64.powf(-4.5 + 9.0 * ((i * 17) % count) as f64 / count as f64)).collect()
}

#[test]
fn bits_do_not_depend_on_neighbours_threads_or_instruction_set() {
    let problem = problem(2, 60, 9, 3, BUDGET);
    let space = space();
    let penalties = mixed_penalties(37);
    let all = points(&penalties);
    let options = CpuOptions { threads: 1, ..CpuOptions::default() };
    let together = bits(&train(&mut *open_cpu(&Logistic, &space, &problem, &options), &all, 2, BUDGET));
    let threads = CpuOptions { threads: 3, ..options };
    assert_eq!(together, bits(&train(&mut *open_cpu(&Logistic, &space, &problem, &threads), &all, 2, BUDGET)));
    let mut alone = Vec::new();
    for l2 in &penalties {
        // A fresh trainer each time: the fold's path is then solved for this lane only.
        let mut trainer = open_cpu(&Logistic, &space, &problem, &options);
        alone.extend(bits(&train(&mut *trainer, &points(&[*l2]), 2, BUDGET)));
    }
    assert_eq!(together, alone);
    for level in Level::available() {
        let options = CpuOptions { simd: Some(level), ..options };
        let few = points(&[penalties[0], penalties[20]]);
        let scores = bits(&train(&mut *open_cpu(&Logistic, &space, &problem, &options), &few, 2, 4));
        let widest = CpuOptions { simd: None, ..options };
        let expected = bits(&train(&mut *open_cpu(&Logistic, &space, &problem, &widest), &few, 2, 4));
        assert_eq!(expected, scores, "{}", level.name());
    }
}

pub fn advance(trainer: &mut dyn Trainer, slots: &[thousandfold::backend::Slot], budget: u64) -> Vec<LaneReport> {
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
    let problem = problem(1, 60, 9, 3, BUDGET);
    let space = space();
    let all = points(&mixed_penalties(40));
    let whole = train(&mut *open_cpu(&Logistic, &space, &problem, &CpuOptions::default()), &all, 1, BUDGET);
    let mut trainer = open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
    let lanes: Vec<Lane> = (0..all.len()).map(|point| Lane { point, fold: 0 }).collect();
    let slots = trainer.start(&all, &lanes).unwrap();
    // Halves stand at different rungs before survivors of both are regrouped.
    let (few, many) = slots.split_at(slots.len() / 2);
    advance(&mut *trainer, few, 1);
    advance(&mut *trainer, many, 3);
    let survivors: Vec<_> = slots.iter().copied().step_by(3).collect();
    trainer.release(&slots.iter().copied().filter(|slot| !survivors.contains(slot)).collect::<Vec<_>>());
    advance(&mut *trainer, &survivors, 5);
    let reports = advance(&mut *trainer, &survivors, BUDGET);
    assert_eq!(reports.len(), survivors.len());
    for report in reports {
        let place = slots.iter().position(|slot| *slot == report.slot).unwrap();
        assert_eq!(LaneReport { slot: whole[place].slot, seconds: 0.0, ..report }, whole[place], "lane {place}");
    }
}

#[test]
fn a_lane_cut_off_by_its_budget_says_so() {
    let problem = problem(1, 60, 9, 3, BUDGET);
    let space = space();
    let mut trainer = open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
    let all = points(&[0.013, 47.0]);
    let slots = trainer.start(&all, &[Lane { point: 0, fold: 0 }, Lane { point: 1, fold: 0 }]).unwrap();
    let cut_off = advance(&mut *trainer, &slots, 1);
    assert!(cut_off.iter().all(|report| report.status == LaneStatus::IterationLimit && report.used == 1));
    let whole = advance(&mut *trainer, &slots, BUDGET);
    assert!(whole.iter().all(|report| report.status == LaneStatus::Trained && report.used < BUDGET));
}

/// The 2-norm of the objective's gradient, as a mean over rows.
pub fn mean_gradient(weights: &Weights, rows: &Rows, l2: f64) -> f64 {
    let (features, weight) = (rows.x.ncols(), &array(weights, "weight").values);
    let mut gradient: Vec<f64> = weight.iter().map(|w| l2 * f64::from(*w)).collect();
    let predicted = Logistic.predict(weights, Task::Classification, Affine::IDENTITY, rows.x.view()).unwrap();
    for ((row, code), p) in rows.x.rows().into_iter().zip(codes(rows)).zip(predicted.rows()) {
        for (class, p) in p.iter().enumerate() {
            let residual = f64::from(*p) - f64::from(u8::from(class == *code as usize));
            let sums = gradient[class * features..].iter_mut().zip(row);
            sums.for_each(|(sum, x)| *sum += residual * f64::from(*x));
        }
    }
    gradient.iter().map(|g| g * g).sum::<f64>().sqrt() / codes(rows).len() as f64
}

#[test]
fn a_tolerance_ends_a_lane_as_soon_as_it_is_met() {
    let problem = problem(1, 200, 9, 3, BUDGET);
    let train = &problem.folds[0].train;
    for l2 in [0.01, 1.0] {
        let [tight, loose] =
            [0.0, 1e-3].map(|tolerance| mean_gradient(&fit(&problem, &[l2, 1.0, tolerance]), train, l2));
        assert!(tight < 2e-5, "{l2}: {tight:e}");
        assert!(loose < 1e-3 && loose > tight, "{l2}: {loose:e}");
    }
}

pub fn rows(x: Array2<f32>, codes: Vec<u32>, classes: usize) -> Rows {
    Rows::new(x, Target::Classes { codes, classes })
}

#[test]
fn degenerate_rows_are_learned_as_the_plain_loop_learns_them() {
    let whole = problem(1, 40, 30, 3, BUDGET).folds[0].train.clone();
    let with = |edit: &dyn Fn(&mut Array2<f32>)| {
        let mut rows = whole.clone();
        edit(&mut rows.x);
        rows
    };
    let cases = [
        (
            "fewer rows than features",
            rows(whole.x.slice(ndarray::s![..20, ..]).to_owned(), codes(&whole)[..20].to_vec(), 3),
        ),
        ("a constant feature", with(&|x| x.column_mut(3).fill(1.0))),
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
        ("one feature", rows(whole.x.slice(ndarray::s![.., ..1]).to_owned(), codes(&whole).to_vec(), 3)),
        ("one row", rows(whole.x.slice(ndarray::s![..1, ..]).to_owned(), codes(&whole)[..1].to_vec(), 3)),
    ];
    for (name, train) in cases {
        let problem = fold(train.clone(), Vec::new());
        let weights = fit(&problem, &point(2.0));
        let present: Vec<u32> = (0..3).filter(|class| codes(&train).contains(class)).collect();
        let own: Vec<u32> =
            codes(&train).iter().map(|code| present.iter().position(|c| c == code).unwrap() as u32).collect();
        let penalty = f64::from(solver::penalty(2.0, present.len()));
        let plain = Softmax::fit(train.x.view(), &own, present.len(), penalty, true);
        let predicted = Logistic.predict(&weights, Task::Classification, Affine::IDENTITY, train.x.view()).unwrap();
        for (row, predicted) in train.x.rows().into_iter().zip(predicted.rows()) {
            for (truth, class) in plain.predict(row.as_slice().unwrap()).iter().zip(&present) {
                let distance = (truth - f64::from(predicted[*class as usize])).abs();
                assert!(distance < TOLERANCE, "{name}: {distance:e}");
            }
        }
    }
}

#[test]
fn a_class_without_training_rows_has_no_probability_and_disturbs_no_other() {
    let whole = problem(1, 60, 5, 3, BUDGET).folds[0].train.clone();
    let squeezed: Vec<u32> = codes(&whole).iter().map(|code| code % 2).collect();
    // Class 1 of 4 never occurs, nor does class 3: classes 0 and 2 must be fitted as two classes are.
    let spread: Vec<u32> = squeezed.iter().map(|code| 2 * code).collect();
    let two = fit(&fold(rows(whole.x.clone(), squeezed, 2), Vec::new()), &point(0.7));
    let four = fit(&fold(rows(whole.x.clone(), spread, 4), Vec::new()), &point(0.7));
    let p2 = Logistic.predict(&two, Task::Classification, Affine::IDENTITY, whole.x.view()).unwrap();
    let p4 = Logistic.predict(&four, Task::Classification, Affine::IDENTITY, whole.x.view()).unwrap();
    for (two, four) in p2.rows().into_iter().zip(p4.rows()) {
        assert_eq!((four[1], four[3]), (0.0, 0.0));
        assert!((two[0] - four[0]).abs() < 1e-5 && (two[1] - four[2]).abs() < 1e-5, "{two} {four}");
    }
    assert_eq!(array(&four, "intercept").values[1], ABSENT);
    assert!(array(&four, "weight").values[5..10].iter().all(|w| *w == 0.0));
}

#[test]
fn extreme_penalties_end_and_leave_their_neighbours_alone() {
    let problem = problem(1, 60, 9, 3, BUDGET);
    let mut space = space();
    space.parameters[0].domain = Domain::Float { low: 0.0, high: 1e38, scale: Scale::Linear, step: None };
    let options = CpuOptions::default();
    let extreme = points(&[0.0, 1e-30, 1.0, 1e12, 1e37]);
    let reports = train(&mut *open_cpu(&Logistic, &space, &problem, &options), &extreme, 1, 200);
    for report in &reports {
        assert_ne!(report.status, LaneStatus::NotFinite);
        assert!(report.train.is_finite());
    }
    let alone = train(&mut *open_cpu(&Logistic, &space, &problem, &options), &points(&[1.0]), 1, 200);
    assert_eq!(bits(&reports[2..3]), bits(&alone));
}

#[test]
fn features_that_overflow_end_as_not_finite() {
    let mut train = problem(1, 40, 3, 3, BUDGET).folds[0].train.clone();
    train.x.mapv_inplace(|x| x * 1e37);
    let problem = fold(train.clone(), vec![train]);
    let space = space();
    let reports = crate::support::train(
        &mut *open_cpu(&Logistic, &space, &problem, &CpuOptions::default()),
        &points(&[1.0]),
        1,
        50,
    );
    assert_eq!(reports[0].status, LaneStatus::NotFinite);
    assert!(reports[0].train.is_nan() && reports[0].evals[0].is_nan());
}
