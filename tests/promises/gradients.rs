//! What models promise of the gradients that they report: those of training again at neighbouring points.

use crate::study::run;
use crate::support::{Folder, open_cpu, problem, quiet, studies, train};
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::{LaneReport, StopFlag};
use thousandfold::data::Problem;
use thousandfold::data::metrics;
use thousandfold::models;
use thousandfold::space::{Points, Space};
use thousandfold::study::result::RunResult;
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{Start, load_run, tune};

/// Step of differences, as a share of the value: the scores are of f32 predictions, some 1e-6 of themselves.
const STEP: f64 = 0.05;

fn reports(model: &str, space: &Space, problem: &Arc<Problem>, rows: &[Vec<f64>], wanted: bool) -> Vec<LaneReport> {
    let mut points = Points::new(space.parameters.len());
    rows.iter().for_each(|row| points.push(row));
    let mut trainer = open_cpu(models::find(model).unwrap(), space, problem, &CpuOptions::default());
    if wanted {
        trainer.want_gradients(true);
    }
    train(&mut *trainer, &points, problem.folds.len(), problem.budget)
}

/// The model's space on a problem, its defaults with these values, and the column of each parameter.
fn opened(model: &str, metric: &str, classes: usize) -> (Arc<Problem>, Space) {
    // Solvers come to their ends; of a perceptron every epoch is gone through again.
    let plain = problem(2, 120, 6, classes, if model == "mlp" { 6 } else { 1000 });
    let problem = Arc::new(Problem { metric: metrics::find(metric).unwrap(), ..(*plain).clone() });
    let shape = models::DataShape { task: problem.task, rows: 120, features: 6, outputs: classes };
    let space = models::find(model).unwrap().space(shape);
    // What a perceptron holds by default moves too.
    let moving = if model == "mlp" { "optimizer = ['adam', 'sgd']\nmomentum = { float = [0.5, 0.99] }" } else { "" };
    (problem, space.with_overrides(&toml::from_str(moving).unwrap()).unwrap())
}

/// Parameters and their encoded values.
type Values = &'static [(&'static str, f64)];
/// A model, a metric, classes (1 of numbers), what is set, and parameters with the values at which the slopes are taken.
type Case = (&'static str, &'static str, usize, Values, Values);

/// A perceptron of `tanh` units by Adam, and one of `silu` units by SGD. Units without kinks: differences as wide as f32
/// needs would cross them.
const BY_ADAM: Values = &[("hidden", 12.0), ("activation", 1.0), ("batch", 1.0)];
const BY_SGD: Values = &[("hidden", 9.0), ("layers", 2.0), ("activation", 3.0), ("optimizer", 1.0), ("dropout", 0.2)];
const OF_NUMBERS: Values = &[("learning_rate", 0.01), ("momentum", 0.8), ("weight_decay", 0.5)];
const OF_CLASSES: Values =
    &[("learning_rate", 0.03), ("momentum", 0.7), ("weight_decay", 0.4), ("label_smoothing", 0.1)];

#[test]
fn gradients_are_those_of_training_again() {
    let cases: [Case; 12] = [
        ("ridge", "rmse", 1, &[], &[("l2", 3.0)]),
        ("ridge", "r2", 1, &[], &[("l2", 30.0)]),
        ("ridge", "log_loss", 3, &[], &[("l2", 20.0)]),
        ("ridge", "brier", 2, &[], &[("l2", 20.0)]),
        ("logistic", "log_loss", 2, &[], &[("l2", 2.0)]),
        ("logistic", "log_loss", 3, &[], &[("l2", 0.5)]),
        ("elastic_net", "rmse", 1, &[], &[("alpha", 0.05), ("l1_ratio", 0.4)]),
        ("kernel_ridge", "rmse", 1, &[], &[("l2", 0.5), ("gamma", 0.1)]),
        ("mlp", "rmse", 1, BY_ADAM, OF_NUMBERS),
        ("mlp", "r2", 1, BY_SGD, OF_NUMBERS),
        ("mlp", "log_loss", 3, BY_SGD, OF_CLASSES),
        ("mlp", "brier", 2, BY_ADAM, OF_CLASSES),
    ];
    for (model, metric, classes, set, values) in cases {
        let (problem, space) = opened(model, metric, classes);
        let mut row = space.defaults();
        for (name, value) in set.iter().chain(values) {
            row[space.index(name).unwrap()] = *value;
        }
        for (name, value) in values {
            let column = space.index(name).unwrap();
            let moved = |share: f64| {
                let mut row = row.clone();
                row[column] = value * (1.0 + share);
                row
            };
            // Richardson's extrapolation of two central differences.
            let rows = [row.clone(), moved(STEP), moved(-STEP), moved(2.0 * STEP), moved(-2.0 * STEP)];
            let lanes = reports(model, &space, &problem, &rows, true);
            let folds = problem.folds.len();
            for fold in 0..folds {
                let score = |row: usize| lanes[row * folds + fold].evals[0];
                let near = (score(1) - score(2)) / (2.0 * STEP * value);
                let far = (score(3) - score(4)) / (4.0 * STEP * value);
                let expected = (4.0 * near - far) / 3.0;
                let found = lanes[fold].gradients[0][column];
                let rounding = 2e-5 * score(0).abs() / (STEP * value);
                assert!(
                    (found - expected).abs() <= 1e-2 * expected.abs() + rounding,
                    "{model}, {metric}, {name}: {found}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn a_perceptron_says_nothing_of_what_has_no_slope() {
    let (problem, space) = opened("mlp", "log_loss", 3);
    let lanes = reports("mlp", &space, &problem, &[space.defaults()], true);
    let has_slope: Vec<&str> = OF_CLASSES.iter().map(|(name, _)| *name).collect();
    for (parameter, slope) in space.parameters.iter().zip(&lanes[0].gradients[0]) {
        assert_eq!(slope.is_finite(), has_slope.contains(&&*parameter.name), "{}: {slope}", parameter.name);
    }
}

#[test]
fn nobody_pays_who_does_not_ask_and_scores_are_the_same() {
    let (problem, space) = opened("ridge", "rmse", 1);
    let rows = [space.defaults()];
    let (plain, asked) =
        (reports("ridge", &space, &problem, &rows, false), reports("ridge", &space, &problem, &rows, true));
    assert!(plain.iter().all(|report| report.gradients.is_empty()));
    for (plain, asked) in plain.into_iter().zip(asked) {
        assert_eq!(plain, LaneReport { gradients: Vec::new(), ..asked });
    }
    let (problem, space) = opened("ridge", "mae", 1);
    let lanes = reports("ridge", &space, &problem, &[space.defaults()], true);
    assert!(lanes.iter().all(|report| report.gradients.is_empty()));
}

/// Studies whose space is a line, the penalty: of classes, and of a number that the other columns say something of.
const LOGISTIC: [&str; 4] = [
    "model.name=logistic",
    "model.budget=2000",
    "space.class_weight=\"none\"",
    "space.l2={ log = [1e-4, 1e4], default = 100.0 }",
];
const RIDGE: [&str; 4] =
    ["model.name=ridge", "data.target=a", "validate.metric=rmse", "space.l2={ log = [1e-4, 1e4], default = 1e-3 }"];

/// Candidates of a search of a small study, and the journal of it.
fn searched(folder: &Folder, study: &[&str], sets: &[&str]) -> RunResult {
    let sets: Vec<String> = [study, &["search.batch=10"], sets].concat().iter().map(|set| (*set).to_owned()).collect();
    run(studies::small(folder, &sets), Existing::Refuse)
}

#[test]
fn a_descent_by_exact_gradients_finds_what_a_thousand_draws_find() {
    for study in [LOGISTIC, RIDGE] {
        let random = searched(&Folder::new(), &study, &["search.strategy=random", "search.candidates=1000"]);
        let descent = searched(&Folder::new(), &study, &["search.strategy=gradient", "search.candidates=50"]);
        let worse = descent.best.value - random.best.value;
        assert!(worse < 1e-5 * random.best.value, "{study:?}: {} for {}", descent.best.value, random.best.value);
    }
}

#[test]
fn a_descent_that_is_cut_in_its_middle_goes_on_to_the_same_end() {
    let folder = Folder::new();
    let descent = searched(&folder, &LOGISTIC, &["search.strategy=gradient", "search.candidates=50"]);
    // The journal keeps the gradients.
    let journal = folder.path().join("run/journal.tfj");
    let bytes = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, &bytes[..bytes.len() / 2]).unwrap();
    let again = run(load_run(&folder.path().join("run"), &[]).unwrap(), Existing::Resume);
    assert_eq!(studies::comparable(&again), studies::comparable(&descent));
}

#[test]
fn a_descent_refines_the_numbers_of_what_another_method_found() {
    let folder = Folder::new();
    let sets =
        ["search.strategy=sobol,gradient", "search.candidates=60", "space.class_weight=[\"none\", \"balanced\"]"];
    let result = searched(&folder, &LOGISTIC, &sets);
    assert!(result.best.candidate >= 30, "the descent found the best: {}", result.best.candidate);
    let sets: Vec<String> =
        sets[2..].iter().chain(&["search.strategy=gradient"]).map(|set| (*set).to_owned()).collect();
    let sets = [&["model.name=logistic".to_owned()], &sets[..]].concat();
    let folder = Folder::new();
    let alone = studies::small(&folder, &sets);
    let error = tune(alone, Start::default(), &mut quiet(), &StopFlag::default()).unwrap_err().to_string();
    assert!(error.contains("class_weight") && error.contains("These can: "), "{error}");
}
