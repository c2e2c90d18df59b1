//! Optuna's pruners and the schedulers that decide as they do, on the same curves: `tests/fixtures/schedulers/pruners.py`.

use super::testing::{course, options};
use super::*;

const STEPS: u64 = 10;

/// After which step each candidate ended, 0 where it did not, by a scheduler that looks at every step or as it is told.
fn ended(name: &str, rule: RuleOptions, least: u64, interval: u64, curves: &[Vec<f64>]) -> Vec<u64> {
    let of = SchedulerOptions { rule, least, interval: Some(interval), ..options(STEPS) };
    let value = |candidate: u64, budget: u64| curves[candidate as usize][budget as usize - 1];
    let mut ends = vec![0; curves.len()];
    for round in course(find(name).unwrap(), &of, curves.len() as u64, 8, value) {
        round.ended.iter().for_each(|(candidate, had)| ends[*candidate as usize] = *had);
    }
    ends
}

#[test]
fn candidates_end_where_optuna_ends_them() {
    let curves: Vec<Vec<f64>> = include_str!("../../tests/fixtures/schedulers/curves.csv")
        .lines()
        .map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect())
        .collect();
    let lines = include_str!("../../tests/fixtures/schedulers/optuna.csv").lines().skip(1);
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let by_optuna = |pruner: &str| -> Vec<u64> {
        rows.iter().filter(|row| row[0] == pruner).map(|row| row[2].parse().unwrap()).collect()
    };
    let rule = RuleOptions::default();
    let patient = |patience, min_delta| RuleOptions { patience, min_delta, ..rule };
    let cases = [
        ("median", "median", rule, 1, 1),
        ("median_3_2", "median", rule, 3, 2),
        ("percentile_25", "percentile", RuleOptions { percentile: 25.0, ..rule }, 1, 1),
        ("percentile_90", "percentile", RuleOptions { percentile: 90.0, ..rule }, 1, 1),
        ("threshold_1", "threshold", RuleOptions { threshold: Some(1.0), ..rule }, 1, 1),
        ("patient_0", "patient", patient(0, 0.0), 1, 1),
        ("patient_2", "patient", patient(2, 0.0), 1, 1),
        ("patient_1_tolerant", "patient", patient(1, -0.125), 1, 1),
        ("patient_5", "patient", patient(5, 0.0), 1, 1),
    ];
    for (pruner, scheduler, rule, least, interval) in cases {
        let expected = by_optuna(pruner);
        assert_eq!(expected.len(), curves.len(), "{pruner}");
        let early = expected.iter().filter(|end| **end > 0).count();
        assert!(early > 0 && early < curves.len(), "{pruner}: some end and some don't");
        assert_eq!(ended(scheduler, rule, least, interval, &curves), expected, "{pruner}");
        // Another number is another course: what is compared can differ.
        let other = RuleOptions { percentile: rule.percentile / 2.0, threshold: Some(1.1), ..rule };
        let other = RuleOptions { patience: rule.patience + 1, ..other };
        let name = if scheduler == "median" { "percentile" } else { scheduler };
        assert_ne!(ended(name, other, least, interval, &curves), expected, "{pruner}, by other numbers");
    }
}
