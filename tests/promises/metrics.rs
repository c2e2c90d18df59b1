//! Metrics equal scikit-learn's on the same predictions.

use serde_json::Value;
use thousandfold::data::metrics::{self, Direction, METRICS};
use thousandfold::data::{Prediction, Target, Task, Truth};

fn cases() -> Vec<Value> {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/metrics.json")).unwrap();
    fixture["cases"].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn target(case: &Value) -> Target {
    match case["classes"].as_u64().unwrap() {
        1 => Target::Values(numbers(&case["truth"])),
        classes => Target::Classes {
            codes: numbers(&case["truth"]).iter().map(|code| *code as u32).collect(),
            classes: classes as usize,
        },
    }
}

/// The rows' weights, if the case has any.
fn weight(case: &Value) -> Option<Vec<f32>> {
    case.get("weight").map(numbers)
}

fn truth<'a>(target: &'a Target, weight: &'a Option<Vec<f32>>) -> Truth<'a> {
    Truth { target, weight: weight.as_deref() }
}

fn prediction<'a>(target: &Target, values: &'a [f32]) -> Prediction<'a> {
    match target {
        Target::Classes { classes, .. } => Prediction::Probabilities { classes: *classes, values },
        Target::Values(_) => Prediction::Values(values),
    }
}

/// Both sum some hundred f64 terms, scikit-learn pairwise; but it keeps log loss and ranking scores of f32 predictions
/// in f32 in places.
fn tolerance(metric: &str) -> f64 {
    if metric == "log_loss" { 2e-6 } else { 1e-12 }
}

#[test]
fn every_metric_equals_scikit_learn() {
    let mut seen = std::collections::BTreeSet::new();
    for case in cases() {
        let (target, weight) = (target(&case), weight(&case));
        let values = numbers(&case["prediction"]);
        for (name, expected) in case["expected"].as_object().unwrap() {
            let metric = metrics::find(name).unwrap();
            let score = metric.score(truth(&target, &weight), prediction(&target, &values));
            let expected = expected.as_f64().unwrap();
            assert!(
                (score - expected).abs() <= tolerance(name) * expected.abs().max(1.0),
                "{name}, {}: {score} is not {expected}",
                case["name"]
            );
            seen.insert(name.clone());
        }
    }
    let missing: Vec<_> = METRICS.iter().map(|metric| metric.name()).filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "without a fixture: {missing:?}");
}

#[test]
fn the_comparison_with_scikit_learn_sees_a_prediction_that_is_a_little_off() {
    let mut caught = std::collections::BTreeSet::new();
    for case in cases() {
        let (target, weight) = (target(&case), weight(&case));
        let mut values = numbers(&case["prediction"]);
        match &target {
            // One row's probabilities go to other classes.
            Target::Classes { classes, .. } => values[..*classes].rotate_left(1),
            Target::Values(_) => values.iter_mut().for_each(|value| *value *= 1.001),
        }
        for (name, expected) in case["expected"].as_object().unwrap() {
            let score = metrics::find(name).unwrap().score(truth(&target, &weight), prediction(&target, &values));
            if (score - expected.as_f64().unwrap()).abs() > 100.0 * tolerance(name) {
                caught.insert(name.clone());
            }
        }
    }
    let blind: Vec<_> = METRICS.iter().map(|metric| metric.name()).filter(|name| !caught.contains(*name)).collect();
    assert!(blind.is_empty(), "nothing was seen by {blind:?}");
}

#[test]
fn weights_of_one_change_no_bit_and_a_weight_of_two_is_a_row_twice() {
    for case in cases().iter().filter(|case| case.get("weight").is_none()) {
        let target = target(case);
        let values = numbers(&case["prediction"]);
        let n = target.len();
        let twice: Vec<usize> = (0..n).chain((0..n).filter(|row| row % 3 == 0)).collect();
        let doubled: Vec<f32> = (0..n).map(|row| if row % 3 == 0 { 2.0 } else { 1.0 }).collect();
        let outputs = target.outputs();
        let values_twice: Vec<f32> = twice.iter().flat_map(|row| values[row * outputs..][..outputs].to_vec()).collect();
        let target_twice = match &target {
            Target::Classes { codes, classes } => {
                Target::Classes { codes: twice.iter().map(|row| codes[*row]).collect(), classes: *classes }
            }
            Target::Values(values) => Target::Values(twice.iter().map(|row| values[*row]).collect()),
        };
        for name in case["expected"].as_object().unwrap().keys() {
            let metric = metrics::find(name).unwrap();
            let score = |weight| metric.score(truth(&target, &weight), prediction(&target, &values));
            let alike = score(None);
            assert_eq!(alike.to_bits(), score(Some(vec![1.0; n])).to_bits(), "{name}");
            let (weighted, repeated) = (
                score(Some(doubled.clone())),
                metric.score((&target_twice).into(), prediction(&target_twice, &values_twice)),
            );
            assert!(
                (weighted - repeated).abs() <= 1e-12 * repeated.abs().max(1.0),
                "{name}: {weighted} and {repeated}"
            );
        }
    }
}

#[test]
fn nan_predictions_score_nan_in_every_metric() {
    for case in cases() {
        let (target, weight) = (target(&case), weight(&case));
        let mut values = numbers(&case["prediction"]);
        let middle = values.len() / 2;
        values[middle] = f32::NAN;
        for name in case["expected"].as_object().unwrap().keys() {
            assert!(
                metrics::find(name).unwrap().score(truth(&target, &weight), prediction(&target, &values)).is_nan(),
                "{name}"
            );
        }
    }
}

#[test]
fn one_class_alone_has_the_stated_answers() {
    let target = Target::Classes { codes: vec![0; 4], classes: 2 };
    let values = [0.9, 0.1, 0.8, 0.2, 0.3, 0.7, 0.6, 0.4];
    let score = |name| metrics::find(name).unwrap().score((&target).into(), prediction(&target, &values));
    assert_eq!(score("roc_auc"), 0.5);
    assert_eq!(score("average_precision"), 0.0);
    assert_eq!(score("mcc"), 0.0);
    assert_eq!(score("balanced_accuracy"), 0.75);
}

#[test]
fn perfect_predictions_are_better_than_wrong_ones_in_every_metric() {
    for metric in METRICS {
        let (truth, right, wrong) = if metric.supports(Task::Classification, 2) {
            let truth = Target::Classes { codes: vec![0, 1, 1, 0], classes: 2 };
            (truth, vec![0.9f32, 0.1, 0.1, 0.9, 0.1, 0.9, 0.9, 0.1], vec![0.1f32, 0.9, 0.9, 0.1, 0.9, 0.1, 0.1, 0.9])
        } else {
            (Target::Values(vec![1.0, 2.0, 3.0]), vec![1.0, 2.0, 3.0], vec![2.0, 0.0, 5.0])
        };
        let right = metric.score((&truth).into(), prediction(&truth, &right));
        let wrong = metric.score((&truth).into(), prediction(&truth, &wrong));
        let is_better = if metric.direction() == Direction::Minimize { right < wrong } else { right > wrong };
        assert!(is_better, "{}: {right} against {wrong}", metric.name());
    }
}
