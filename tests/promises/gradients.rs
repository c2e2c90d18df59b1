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
    train(&mut *trainer, &points, problem.folds.len(), 1000)
}

/// The model's space on a problem, its defaults with these values, and the column of each parameter.
fn opened(model: &str, metric: &str, classes: usize) -> (Arc<Problem>, Space) {
    let plain = problem(2, 120, 6, classes, 1000);
    let problem = Arc::new(Problem { metric: metrics::find(metric).unwrap(), ..(*plain).clone() });
    let shape = models::DataShape { task: problem.task, rows: 120, features: 6, outputs: classes };
    let space = models::find(model).unwrap().space(shape);
    (problem, space)
}

/// A model, a metric, classes (1 of numbers), and parameters with the values at which the slopes are taken.
type Case = (&'static str, &'static str, usize, &'static [(&'static str, f64)]);

#[test]
fn gradients_are_those_of_training_again() {
    let cases: [Case; 8] = [
        ("ridge", "rmse", 1, &[("l2", 3.0)]),
        ("ridge", "r2", 1, &[("l2", 30.0)]),
        ("ridge", "log_loss", 3, &[("l2", 20.0)]),
        ("ridge", "brier", 2, &[("l2", 20.0)]),
        ("logistic", "log_loss", 2, &[("l2", 2.0)]),
        ("logistic", "log_loss", 3, &[("l2", 0.5)]),
        ("elastic_net", "rmse", 1, &[("alpha", 0.05), ("l1_ratio", 0.4)]),
        ("kernel_ridge", "rmse", 1, &[("l2", 0.5), ("gamma", 0.1)]),
    ];
    for (model, metric, classes, values) in cases {
        let (problem, space) = opened(model, metric, classes);
        let mut row = space.defaults();
        for (name, value) in values {
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

/// Candidates of a search of the penalty of a small study, and the journal of it.
fn searched(folder: &Folder, sets: &[&str]) -> RunResult {
    let model = ["model.name=logistic", "model.budget=2000", "space.l2={ log = [1e-4, 1e4], default = 100.0 }"];
    // The default of everything else, so that the space is a line.
    let fixed = ["space.class_weight=\"none\"", "search.batch=10"];
    let sets: Vec<String> = [&model[..], &fixed, sets].concat().iter().map(|set| (*set).to_owned()).collect();
    run(studies::small(folder, &sets), Existing::Refuse)
}

#[test]
fn a_descent_by_exact_gradients_finds_what_a_thousand_draws_find() {
    let random = searched(&Folder::new(), &["search.strategy=random", "search.candidates=1000"]);
    let folder = Folder::new();
    let descent = searched(&folder, &["search.strategy=gradient", "search.candidates=50"]);
    let worse = descent.best.value - random.best.value;
    assert!(worse < 1e-5 * random.best.value, "{} for {}", descent.best.value, random.best.value);
    // The journal keeps the gradients: cut in its middle, it goes on to the same end.
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
    let result = searched(&folder, &sets);
    assert!(result.best.candidate >= 30, "the descent found the best: {}", result.best.candidate);
    let sets: Vec<String> =
        sets[2..].iter().chain(&["search.strategy=gradient"]).map(|set| (*set).to_owned()).collect();
    let sets = [&["model.name=logistic".to_owned()], &sets[..]].concat();
    let folder = Folder::new();
    let alone = studies::small(&folder, &sets);
    let error = tune(alone, Start::default(), &mut quiet(), &StopFlag::default()).unwrap_err().to_string();
    assert!(error.contains("class_weight") && error.contains("These can: "), "{error}");
}
