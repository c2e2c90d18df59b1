//! The softmax with L1 and elastic-net penalties against scikit-learn and a plain loop, and the rules that its lanes keep.

use crate::logistic::{advance, array, codes, fixture, fold, prepared, rows};
use crate::reference::softmax::Softmax;
use crate::study::run;
use crate::support::{Folder, bits, open_cpu, problem, studies, train, weights};
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::cpu::simd::Level;
use thousandfold::backend::{Lane, LaneReport, LaneStatus, Trainer, Weights};
use thousandfold::data::{Affine, Problem, Rows, Task};
use thousandfold::models::logistic::solver::ABSENT;
use thousandfold::models::{DataShape, Model, logistic::Logistic};
use thousandfold::space::{Points, Space, Value};
use thousandfold::study::run_dir::Existing;

const BUDGET: u64 = 1000;

/// A space in which a candidate says everything.
pub fn space() -> Space {
    let opened = "penalty = ['l2', 'l1', 'elastic_net']\nfit_intercept = [true, false]\n\
        class_weight = ['none', 'balanced']\ntolerance = { float = [0.0, 1.0], default = 0.0 }";
    let shape = DataShape { task: Task::Classification, rows: 100, features: 10, outputs: 3 };
    Logistic.space(shape).with_overrides(&toml::from_str(opened).unwrap()).unwrap()
}

/// A candidate that has these values and otherwise the defaults.
pub fn candidate(space: &Space, values: &[(&str, f64)]) -> Vec<f64> {
    let mut row: Vec<f64> = space.parameters.iter().map(|parameter| parameter.default).collect();
    values.iter().for_each(|(name, value)| row[space.index(name).unwrap()] = *value);
    space.mask(&mut row);
    row
}

pub fn l1(space: &Space, l1: f64) -> Vec<f64> {
    candidate(space, &[("penalty", 1.0), ("l1", l1)])
}

pub fn elastic_net(space: &Space, alpha: f64, l1_ratio: f64) -> Vec<f64> {
    candidate(space, &[("penalty", 2.0), ("alpha", alpha), ("l1_ratio", l1_ratio)])
}

/// What scikit-learn found.
#[derive(serde::Deserialize)]
struct Solution {
    data: String,
    alpha: f64,
    l1_ratio: f64,
    fit_intercept: bool,
    is_balanced: bool,
    /// Whether row `i` of the table counts for `0.25 + i % 4`.
    is_weighted: bool,
    /// The largest entry of its subgradient.
    violation: f64,
    /// One row for two classes, else one a class.
    coef: Vec<Vec<f64>>,
    objective: f64,
    /// Of the first held-out rows.
    probabilities: Vec<Vec<f64>>,
}

fn solutions() -> Vec<Solution> {
    let solutions: Vec<Solution> = serde_json::from_str(&fixture("penalties.json")).unwrap();
    assert_eq!(solutions.len(), 23);
    assert!(solutions.iter().all(|solution| solution.violation < 1e-4));
    solutions
}

impl Solution {
    fn rows(&self) -> (Rows, Rows) {
        let (mut train, held_out) = prepared(&format!("{}.csv", self.data));
        if self.is_weighted {
            // Training rows 0, 1, 2, 3, 4 are rows 1, 2, 3, 4, 6 of the table.
            let weight = |i: usize| 0.25 + ((i + i / 4 + 1) % 4) as f32;
            train.weight = Some((0..train.y.len()).map(weight).collect());
        }
        (train, held_out)
    }

    fn candidate(&self, space: &Space, alpha: f64) -> Vec<f64> {
        let is = |value: bool| f64::from(u8::from(value));
        let row = if self.l1_ratio == 1.0 { l1(space, alpha) } else { elastic_net(space, alpha, self.l1_ratio) };
        let mut row = row;
        row[space.index("fit_intercept").unwrap()] = is(self.fit_intercept);
        row[space.index("class_weight").unwrap()] = is(self.is_balanced);
        row
    }

    fn name(&self) -> String {
        format!("{}, alpha {}, l1_ratio {}", self.data, self.alpha, self.l1_ratio)
    }

    /// scikit-learn's coefficients of a lane: of two classes the difference.
    fn coefficients(&self, weights: &Weights, features: usize) -> Vec<f64> {
        let w: Vec<f64> = array(weights, "weight").values.iter().map(|w| f64::from(*w)).collect();
        if self.coef.len() > 1 { w } else { (0..features).map(|j| w[features + j] - w[j]).collect() }
    }

    /// The objective of a lane's weights, in f64.
    fn objective(&self, weights: &Weights, train: &Rows) -> f64 {
        let (w, b) = (&array(weights, "weight").values, &array(weights, "intercept").values);
        let classes = b.len();
        let mut counts = vec![0.0; classes];
        codes(train).iter().for_each(|code| counts[*code as usize] += 1.0);
        let mut sum = 0.0;
        for (i, (row, code)) in train.x.rows().into_iter().zip(codes(train)).enumerate() {
            let of_class = w.chunks_exact(row.len()).zip(b);
            let logit = |(w, b): (&[f32], &f32)| {
                w.iter().zip(row).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>() + f64::from(*b)
            };
            let logits: Vec<f64> = of_class.map(logit).collect();
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total = logits.iter().map(|z| (z - largest).exp()).sum::<f64>().ln() + largest;
            let mut weight = train.weight.as_ref().map_or(1.0, |weights| f64::from(weights[i]));
            if self.is_balanced {
                weight *= codes(train).len() as f64 / (classes as f64 * counts[*code as usize]);
            }
            sum += weight * (total - logits[*code as usize]);
        }
        let coefficients = self.coefficients(weights, train.x.ncols());
        let size = coefficients.iter().map(|w| w.abs()).sum::<f64>();
        let square = coefficients.iter().map(|w| w * w).sum::<f64>();
        sum + self.alpha * (self.l1_ratio * size + (1.0 - self.l1_ratio) / 2.0 * square)
    }

    /// How far a lane's objective is above scikit-learn's, as a share of it.
    fn excess(&self, weights: &Weights, train: &Rows) -> f64 {
        (self.objective(weights, train) - self.objective) / self.objective
    }

    /// Panics where a lane's weights are another solution.
    fn assert_equals(&self, weights: &Weights, train: &Rows, held_out: &Rows) {
        let at = self.name();
        // scikit-learn's own distance counts where it is not at its optimum: then a lane may be below it.
        let excess = self.excess(weights, train);
        assert!(excess.abs() < 1e-5, "{at}: objective {excess:e} above scikit-learn's");
        let own = self.coefficients(weights, train.x.ncols());
        let theirs: Vec<f64> = self.coef.concat();
        let largest = theirs.iter().fold(0.0f64, |largest, w| largest.max(w.abs()));
        let zeros = |w: &[f64]| w.iter().filter(|w| **w == 0.0).count() as f64;
        // Weights that are about to leave zero, or have just left it, may be on either side.
        assert!((zeros(&own) - zeros(&theirs)).abs() <= 1.0 + 0.02 * own.len() as f64, "{at}: {own:?} and {theirs:?}");
        for (own, theirs) in own.iter().zip(&theirs) {
            if (*own == 0.0) != (*theirs == 0.0) {
                assert!((own - theirs).abs() < NEAR_ZERO * largest, "{at}: {own} and {theirs} of {largest}");
            }
        }
        let gap = self.probability_gap(weights, held_out);
        assert!(gap < PROBABILITY, "{at}: probabilities {gap:e}");
    }

    fn probability_gap(&self, weights: &Weights, held_out: &Rows) -> f64 {
        let predicted = predict(weights, held_out);
        let pairs = self.probabilities.iter().flatten().zip(&predicted);
        pairs.map(|(truth, p)| (truth - f64::from(*p)).abs()).fold(0.0, f64::max)
    }
}

/// Where the objective is within 1e-6 of its least, as a share, a weight that should be zero may be so much of the largest.
const NEAR_ZERO: f64 = 2e-2;
/// Nearly separable classes with next to no penalty have an objective so flat that probabilities differ by this where it is equal
/// to 1e-5.
const PROBABILITY: f64 = 2e-3;

fn predict(weights: &Weights, rows: &Rows) -> Vec<f32> {
    let predicted = Logistic.predict(weights, Task::Classification, Affine::IDENTITY, rows.x.view()).unwrap();
    predicted.iter().copied().collect()
}

/// Trains candidates on fold 0, all in one batch, and reads their weights back.
pub fn fit(trainer: &mut dyn Trainer, points: &[Vec<f64>], budget: u64) -> Vec<(LaneReport, Weights)> {
    let lanes: Vec<Lane> = (0..points.len()).map(|point| Lane { point, fold: 0 }).collect();
    let slots = trainer.start(&Points::from_values(points[0].len(), points.concat()), &lanes).unwrap();
    let reports = advance(trainer, &slots, budget);
    reports.into_iter().map(|report| (report.clone(), trainer.read_back(report.slot).unwrap())).collect()
}

/// Of solutions on the same rows, what a trainer opened on them finds.
pub fn converges(open: impl Fn(&Arc<Problem>) -> Box<dyn Trainer>) {
    let space = space();
    for solution in solutions() {
        let (train, held_out) = solution.rows();
        let mut trainer = open(&fold(train.clone(), vec![held_out.clone()]));
        let (report, weights) =
            fit(&mut *trainer, &[solution.candidate(&space, solution.alpha)], BUDGET).swap_remove(0);
        assert_eq!(report.status, LaneStatus::Trained, "{}: {} iterations", solution.name(), report.used);
        solution.assert_equals(&weights, &train, &held_out);
    }
}

#[test]
fn training_converges_to_scikit_learns_solution() {
    converges(|problem| open_cpu(&Logistic, &space(), problem, &CpuOptions::default()));
}

#[test]
fn the_comparison_with_scikit_learn_sees_a_penalty_that_is_a_little_off() {
    let space = space();
    let mut seen = 0;
    // Where no weight is left, none is with a little more either. Where next to no penalty meets classes that overlap, the
    // objective is all loss.
    let shows = |solution: &&Solution| {
        solution.coef.concat().iter().any(|w| *w != 0.0) && (solution.data != "iris" || solution.alpha > 0.01)
    };
    for solution in solutions().iter().filter(shows) {
        let (train, _) = solution.rows();
        let mut trainer = open_cpu(&Logistic, &space, &fold(train.clone(), Vec::new()), &CpuOptions::default());
        let off = weights(&mut *trainer, &space, &solution.candidate(&space, solution.alpha * 1.1), BUDGET);
        let excess = solution.excess(&off, &train);
        assert!(excess > 1e-4, "{}: {excess:e}", solution.name());
        seen += 1;
    }
    assert!(seen >= 18, "{seen}");
}

/// Largest difference of a probability between the model and the plain loop with the penalties as given.
fn distance_to_plain_loop(classes: usize, row: &[f64], l1: f64, l2: f64) -> f64 {
    let problem = problem(1, 90, 6, classes, BUDGET);
    let fold = &problem.folds[0];
    let space = space();
    let own = weights(&mut *open_cpu(&Logistic, &space, &problem, &CpuOptions::default()), &space, row, BUDGET);
    let l2 = if classes == 2 { 2.0 * l2 } else { l2 };
    let plain = Softmax::fit_with_l1(fold.train.x.view(), codes(&fold.train), classes, l1, l2);
    let truth = fold.evals[0].x.rows().into_iter().flat_map(|row| plain.predict(row.as_slice().unwrap()));
    truth.zip(predict(&own, &fold.evals[0])).map(|(truth, p)| (truth - f64::from(p)).abs()).fold(0.0, f64::max)
}

/// An objective within 1e-8 of its least, as a share, leaves probabilities the root of that and the problem's condition.
/// Measured: 2.3e-4 at most.
const TOLERANCE: f64 = 6e-4;

#[test]
fn training_equals_a_plain_f64_loop() {
    let space = space();
    for classes in [2, 3, 5] {
        for (alpha, l1_ratio) in [(0.3, 1.0), (3.0, 1.0), (0.5, 0.5), (20.0, 0.1), (2.0, 0.0)] {
            let row = elastic_net(&space, alpha, l1_ratio);
            let distance = distance_to_plain_loop(classes, &row, alpha * l1_ratio, alpha * (1.0 - l1_ratio));
            assert!(distance < TOLERANCE, "{classes} classes, {alpha} {l1_ratio}: {distance:e}");
        }
    }
}

#[test]
fn the_comparison_with_the_plain_loop_sees_small_perturbations() {
    let row = elastic_net(&space(), 2.0, 0.5);
    for (l1, l2) in [(1.1, 1.0), (1.0, 1.2)] {
        let distance = distance_to_plain_loop(3, &row, l1, l2);
        assert!(distance > TOLERANCE, "{l1} {l2}: {distance:e}");
    }
}

/// Penalties of all kinds, all over their ranges, not sorted.
pub fn mixed(space: &Space, count: usize) -> Vec<Vec<f64>> {
    let strength = |i: usize| 10f64.powf(-4.0 + 7.0 * ((i * 17) % count) as f64 / count as f64);
    let one = |i: usize| match i % 3 {
        0 => l1(space, strength(i)),
        1 => elastic_net(space, strength(i), (i % 11) as f64 / 10.0),
        _ => candidate(space, &[("l2", strength(i))]),
    };
    (0..count).map(one).collect()
}

pub fn points(rows: &[Vec<f64>]) -> Points {
    Points::from_values(rows[0].len(), rows.concat())
}

#[test]
fn bits_do_not_depend_on_neighbours_threads_or_instruction_set() {
    let problem = problem(2, 60, 9, 3, BUDGET);
    let space = space();
    let rows = mixed(&space, 41);
    let open = |options: &CpuOptions| open_cpu(&Logistic, &space, &problem, options);
    let options = CpuOptions { threads: 1, ..CpuOptions::default() };
    let together = bits(&train(&mut *open(&options), &points(&rows), 2, BUDGET));
    let threads = CpuOptions { threads: 3, ..options };
    assert_eq!(together, bits(&train(&mut *open(&threads), &points(&rows), 2, BUDGET)));
    let alone =
        rows.iter().flat_map(|row| bits(&train(&mut *open(&options), &points(std::slice::from_ref(row)), 2, BUDGET)));
    assert_eq!(together, alone.collect::<Vec<u64>>());
    for level in Level::available() {
        let one_level = CpuOptions { simd: Some(level), ..options };
        // Lanes with an L1 term use no library's factorisation.
        let few = points(&[rows[0].clone(), rows[1].clone(), rows[21].clone()]);
        let scores = bits(&train(&mut *open(&one_level), &few, 2, 100));
        assert_eq!(bits(&train(&mut *open(&options), &few, 2, 100)), scores, "{}", level.name());
    }
}

#[test]
fn training_in_rungs_ends_with_the_bits_of_one_go() {
    let problem = problem(1, 60, 9, 3, BUDGET);
    let space = space();
    let all = points(&mixed(&space, 40));
    let whole = train(&mut *open_cpu(&Logistic, &space, &problem, &CpuOptions::default()), &all, 1, BUDGET);
    let mut trainer = open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
    let lanes: Vec<Lane> = (0..all.len()).map(|point| Lane { point, fold: 0 }).collect();
    let slots = trainer.start(&all, &lanes).unwrap();
    // Halves stand at different rungs before survivors of both are regrouped.
    let (few, many) = slots.split_at(slots.len() / 2);
    advance(&mut *trainer, few, 2);
    advance(&mut *trainer, many, 7);
    let survivors: Vec<_> = slots.iter().copied().step_by(2).collect();
    trainer.release(&slots.iter().copied().filter(|slot| !survivors.contains(slot)).collect::<Vec<_>>());
    advance(&mut *trainer, &survivors, 12);
    for report in advance(&mut *trainer, &survivors, BUDGET) {
        let place = slots.iter().position(|slot| *slot == report.slot).unwrap();
        assert_eq!(LaneReport { slot: whole[place].slot, seconds: 0.0, ..report }, whole[place], "lane {place}");
    }
}

#[test]
fn a_lane_cut_off_by_its_budget_says_so_and_one_that_asks_for_little_ends_early() {
    let problem = problem(1, 60, 9, 3, BUDGET);
    let space = space();
    let mut trainer = open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
    let mut loose = l1(&space, 0.013);
    loose[space.index("tolerance").unwrap()] = 1e-3;
    let rows = [l1(&space, 0.013), elastic_net(&space, 0.5, 0.5), loose];
    for (report, _) in fit(&mut *trainer, &rows, 1) {
        assert!(report.status == LaneStatus::IterationLimit && report.used == 1, "{report:?}");
    }
    let whole = fit(&mut *trainer, &rows, BUDGET);
    assert!(whole.iter().all(|(report, _)| report.status == LaneStatus::Trained && report.used < BUDGET));
    assert!(whole[2].0.used < whole[0].0.used, "{} and {}", whole[2].0.used, whole[0].0.used);
}

#[test]
fn two_classes_are_one_anothers_opposites_and_one_without_rows_has_no_probability() {
    let whole = problem(1, 60, 5, 3, BUDGET).folds[0].train.clone();
    let squeezed: Vec<u32> = codes(&whole).iter().map(|code| code % 2).collect();
    // Class 1 of 4 never occurs, nor does class 3: classes 0 and 2 must be fitted as two classes are.
    let spread: Vec<u32> = squeezed.iter().map(|code| 2 * code).collect();
    let space = space();
    let fit = |codes: &[u32], classes: usize, row: &[f64]| {
        let problem = fold(rows(whole.x.clone(), codes.to_vec(), classes), Vec::new());
        weights(&mut *open_cpu(&Logistic, &space, &problem, &CpuOptions::default()), &space, row, BUDGET)
    };
    for row in [l1(&space, 0.7), elastic_net(&space, 0.7, 0.5)] {
        let (two, four) = (fit(&squeezed, 2, &row), fit(&spread, 4, &row));
        let (w, w4) = (&array(&two, "weight").values, &array(&four, "weight").values);
        assert!(w.iter().any(|w| *w != 0.0));
        for j in 0..5 {
            assert_eq!(w[j], -w[5 + j]);
            assert_eq!((w4[5 + j], w4[15 + j]), (0.0, 0.0));
        }
        for (two, four) in predict(&two, &whole).chunks(2).zip(predict(&four, &whole).chunks(4)) {
            assert_eq!((four[1], four[3]), (0.0, 0.0));
            assert!((two[0] - four[0]).abs() < 1e-5 && (two[1] - four[2]).abs() < 1e-5, "{two:?} {four:?}");
        }
        assert_eq!(array(&four, "intercept").values[1], ABSENT);
    }
}

#[test]
fn extreme_penalties_end_and_leave_their_neighbours_alone() {
    let problem = problem(1, 60, 9, 3, BUDGET);
    let space = space();
    let open = || open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
    let extreme =
        [l1(&space, 0.0), l1(&space, 1e-30), l1(&space, 1.0), l1(&space, 1e8), elastic_net(&space, 1e37, 0.5)];
    let fits = fit(&mut *open(), &extreme, BUDGET);
    for (report, _) in &fits {
        assert_ne!(report.status, LaneStatus::NotFinite);
        assert!(report.train.is_finite());
    }
    for (_, weights) in &fits[3..] {
        assert!(array(weights, "weight").values.iter().all(|w| *w == 0.0));
    }
    let alone = fit(&mut *open(), &extreme[2..3], BUDGET);
    let reports =
        |fits: &[(LaneReport, Weights)]| bits(&fits.iter().map(|(report, _)| report.clone()).collect::<Vec<_>>());
    assert_eq!(reports(&fits[2..3]), reports(&alone));
}

#[test]
fn degenerate_rows_have_a_result_and_overflow_has_none() {
    let whole = problem(1, 40, 30, 3, BUDGET).folds[0].train.clone();
    let space = space();
    let first = |n: usize| rows(whole.x.slice(ndarray::s![..n, ..]).to_owned(), codes(&whole)[..n].to_vec(), 3);
    let mut repeated = whole.clone();
    (0..15).for_each(|j| {
        let copy = repeated.x.column(j).to_owned();
        repeated.x.column_mut(j + 15).assign(&copy);
    });
    let mut constant = whole.clone();
    constant.x.column_mut(3).fill(1.0);
    for (name, train) in
        [("one row", first(1)), ("few rows", first(12)), ("repeated", repeated), ("constant", constant)]
    {
        let problem = fold(train.clone(), vec![train]);
        let mut trainer = open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
        for (report, weights) in fit(&mut *trainer, &[l1(&space, 0.5), elastic_net(&space, 0.5, 0.3)], BUDGET) {
            assert_eq!(report.status, LaneStatus::Trained, "{name}");
            assert!(report.train.is_finite(), "{name}");
            if name == "constant" {
                assert!((0..3).all(|class| array(&weights, "weight").values[class * 30 + 3] == 0.0), "{name}");
            }
        }
    }
    let mut huge = whole.clone();
    huge.x.mapv_inplace(|x| x * 1e37);
    let problem = fold(huge.clone(), vec![huge]);
    let (report, _) =
        fit(&mut *open_cpu(&Logistic, &space, &problem, &CpuOptions::default()), &[l1(&space, 0.5)], 50).swap_remove(0);
    assert_eq!(report.status, LaneStatus::NotFinite);
}

#[test]
fn a_study_opens_penalties_and_each_candidate_has_its_own_strength_alone() {
    let folder = Folder::new();
    let sets = ["model.name=logistic", "space.penalty=[\"l2\", \"l1\", \"elastic_net\"]", "search.candidates=40"];
    let sets: Vec<String> = sets.map(str::to_owned).into();
    let result = run(studies::small(&folder, &sets), Existing::Refuse);
    assert_eq!(result.counts.complete, 40);
    let mut kinds = Vec::new();
    for chosen in &result.top {
        let has = |name: &str| chosen.params.contains_key(name);
        let found = [has("l2"), has("l1"), has("alpha"), has("l1_ratio")];
        let (kind, expected) = match &chosen.params["penalty"] {
            Value::Text(kind) if kind == "l2" => (0, [true, false, false, false]),
            Value::Text(kind) if kind == "l1" => (1, [false, true, false, false]),
            _ => (2, [false, false, true, true]),
        };
        assert_eq!(found, expected, "{:?}", chosen.params);
        kinds.push(kind);
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert!(kinds.len() > 1, "{kinds:?}");
}
