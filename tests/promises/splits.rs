//! Splits are fair and repeatable.

use proptest::prelude::*;
use thousandfold::base::random::Key;
use thousandfold::data::dataset::Dataset;
use thousandfold::data::options::DataOptions;
use thousandfold::data::problem::FoldRows;
use thousandfold::data::splits::{Asked, Method, SplitError, Splits, ValidateOptions, split};
use thousandfold::data::table::{Categories, Cells, Column, Table};

/// A data set of `codes.len()` rows whose target has these classes, with columns `group`, `time` and `fold`.
fn dataset(codes: &[u32], group: Option<&[f64]>, time: Option<&[f64]>, fold: Option<&[f64]>) -> Dataset {
    let rows = codes.len();
    let numbers = |name: &str, values: &[f64]| Column { name: name.to_owned(), cells: Cells::Numbers(values.to_vec()) };
    let levels = (0..=codes.iter().copied().max().unwrap_or(0)).map(|code| format!("c{code}")).collect();
    let mut columns = vec![
        numbers("x", &(0..rows).map(|row| (row * 7 % 11) as f64).collect::<Vec<_>>()),
        Column { name: "y".to_owned(), cells: Cells::Categories(Categories::canonical(codes.to_vec(), levels)) },
    ];
    let mut options = DataOptions::new("made.csv", "y");
    for (name, values, role) in
        [("group", group, &mut options.group), ("time", time, &mut options.time), ("fold", fold, &mut options.fold)]
    {
        if let Some(values) = values {
            columns.push(numbers(name, values));
            *role = Some(name.to_owned());
        }
    }
    let table = Table { source: "made.csv".into(), columns, rows, notes: Vec::new() };
    Dataset::new(table, None, &options).unwrap()
}

fn classes(rows: usize, of: u32) -> Vec<u32> {
    (0..rows as u32).map(|row| row * row % of).collect()
}

fn options(method: Method, folds: u32) -> ValidateOptions {
    ValidateOptions { method, folds, ..ValidateOptions::default() }
}

fn splits(dataset: &Dataset, test: f64, options: &ValidateOptions) -> Splits {
    split(dataset, Some(test), options, Key::from_seed(1)).unwrap()
}

fn assert_disjoint(fold: &FoldRows) {
    assert!(fold.evals.iter().flatten().all(|row| fold.train.binary_search(row).is_err()));
}

#[test]
fn folds_and_test_are_a_partition_with_every_class_evenly_spread() {
    proptest!(|(rows in 60usize..300, of in 2u32..4, folds in 2u32..8, seed in 0u64..50)| {
        let codes = classes(rows, of);
        let data = dataset(&codes, None, None, None);
        let splits = split(&data, Some(0.25), &options(Method::Stratified, folds), Key::from_seed(seed));
        let Ok(splits) = splits else { return Ok(()) };
        let mut seen: Vec<u32> = splits.test.clone();
        seen.extend(splits.folds.iter().flat_map(|fold| fold.evals[0].clone()));
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..rows as u32).collect::<Vec<_>>());
        for fold in &splits.folds {
            assert_disjoint(fold);
            prop_assert_eq!(fold.train.len() + fold.evals[0].len(), splits.pool.len());
        }
        let sizes: Vec<usize> = splits.folds.iter().map(|fold| fold.evals[0].len()).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        for class in 0..of {
            let counts: Vec<usize> = splits.folds.iter()
                .map(|fold| fold.evals[0].iter().filter(|row| codes[**row as usize] == class).count()).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        }
    });
}

#[test]
fn no_group_is_ever_split() {
    let groups: Vec<f64> = (0..200).map(|row| f64::from(row * row % 23)).collect();
    let data = dataset(&classes(200, 2), Some(&groups), None, None);
    let splits = splits(&data, 0.2, &options(Method::Auto, 4));
    let groups_of =
        |rows: &[u32]| rows.iter().map(|row| groups[*row as usize] as u32).collect::<std::collections::BTreeSet<_>>();
    assert!(!splits.test.is_empty() && groups_of(&splits.test).is_disjoint(&groups_of(&splits.pool)));
    for fold in &splits.folds {
        assert!(!fold.evals[0].is_empty());
        assert!(groups_of(&fold.train).is_disjoint(&groups_of(&fold.evals[0])));
    }
}

#[test]
fn time_series_never_train_on_the_future() {
    let times: Vec<f64> = (0..103).map(|row| f64::from((row * 37) % 50)).collect();
    let data = dataset(&classes(103, 2), None, Some(&times), None);
    let splits = splits(&data, 0.1, &options(Method::Auto, 5));
    let latest = |rows: &[u32]| rows.iter().map(|row| times[*row as usize] as i64).max().unwrap();
    let earliest = |rows: &[u32]| rows.iter().map(|row| times[*row as usize] as i64).min().unwrap();
    assert_eq!(splits.folds.len(), 5);
    for fold in &splits.folds {
        assert!(latest(&fold.train) < earliest(&fold.evals[0]));
    }
    assert!(latest(&splits.pool) <= earliest(&splits.test));
    assert!(splits.folds.windows(2).all(|pair| pair[0].train.len() < pair[1].train.len()));
}

#[test]
fn a_column_can_name_the_folds() {
    let folds: Vec<f64> = (0..30).map(|row| if row < 3 { f64::NAN } else { f64::from(row % 3) }).collect();
    let data = dataset(&classes(30, 2), None, None, Some(&folds));
    let splits = splits(&data, 0.0, &options(Method::Auto, 5));
    assert_eq!(splits.folds.len(), 3);
    for (name, fold) in splits.folds.iter().enumerate() {
        assert!(fold.evals[0].iter().all(|row| *row >= 3 && *row as usize % 3 == name));
        assert!((0..3).all(|row| fold.train.contains(&row)), "rows without a fold always train");
    }
}

#[test]
fn repeats_and_seeds_draw_other_folds_and_the_same_seed_the_same() {
    let data = dataset(&classes(90, 3), None, None, None);
    let twice = ValidateOptions { repeats: 2, ..options(Method::Auto, 3) };
    let a = splits(&data, 0.2, &twice);
    assert_eq!(a.folds.len(), 6);
    assert_ne!(a.folds[0].train, a.folds[3].train);
    assert_eq!(a, splits(&data, 0.2, &twice));
    let other = split(&data, Some(0.2), &twice, Key::from_seed(2)).unwrap();
    assert_ne!(a.test, other.test);
}

/// What seed 1 draws, written down once: another platform, or a changed shuffle, would show here.
#[test]
fn seed_one_draws_these_rows() {
    let data = dataset(&classes(20, 2), None, None, None);
    let splits = splits(&data, 0.2, &options(Method::KFold, 4));
    insta::assert_debug_snapshot!((&splits.test, splits.folds.iter().map(|fold| &fold.evals[0]).collect::<Vec<_>>()));
}

#[test]
fn hold_out_takes_its_share_of_every_class() {
    let codes = classes(100, 2);
    let data = dataset(&codes, None, None, None);
    let hold_out = ValidateOptions { hold_out: 0.3, ..options(Method::HoldOut, 5) };
    let splits = splits(&data, 0.0, &hold_out);
    assert_eq!(splits.folds.len(), 1);
    let held = &splits.folds[0].evals[0];
    assert_eq!(held.len(), 30);
    let share = |rows: &[u32]| rows.iter().filter(|row| codes[**row as usize] == 1).count() as f64 / rows.len() as f64;
    assert!((share(held) - share(&splits.pool)).abs() < 0.04);
}

#[test]
fn nested_parts_share_the_lanes_of_each_pair() {
    let data = dataset(&classes(120, 2), None, None, None);
    let nested = ValidateOptions { outer_folds: 5, ..ValidateOptions::default() };
    let splits = split(&data, None, &nested, Key::from_seed(3)).unwrap();
    assert!(splits.test.is_empty(), "the outer parts are the test");
    assert_eq!(splits.folds.len(), 10, "one lane a pair, not one an ordered pair");
    for part in &splits.outer {
        assert_eq!(part.inner.len(), 4);
        let mut scored = Vec::new();
        for (fold, eval) in &part.inner {
            let fold = &splits.folds[*fold];
            assert_disjoint(fold);
            assert!(part.test.iter().all(|row| fold.train.binary_search(row).is_err()), "the search sees an outer row");
            scored.extend(fold.evals[*eval].clone());
        }
        scored.sort_unstable();
        assert_eq!(scored, part.train, "inner folds partition the outer training rows");
        // What stops by the first row set to score has lanes that stopped by others.
        let unseen: Vec<usize> = part.unseen().collect();
        assert!(!unseen.is_empty() && unseen.iter().all(|fold| splits.folds[*fold].evals[0] != part.test));
    }
}

#[test]
fn what_cannot_be_split_says_why() {
    let mut codes = classes(40, 2);
    codes[7] = 2;
    codes[9] = 2;
    codes[11] = 2;
    let data = dataset(&codes, None, None, None);
    let error = |options: &ValidateOptions, test| split(&data, test, options, Key::from_seed(1)).unwrap_err();
    let few = error(&options(Method::Stratified, 5), Some(0.0));
    assert_eq!(
        few,
        SplitError::FewRowsInClass {
            class: "c2".to_owned(),
            rows: 3,
            are_integers: false,
            asked: Asked { parts: 5, key: "validate.folds" },
        }
    );
    insta::assert_snapshot!(few);
    insta::assert_snapshot!(error(&options(Method::Group, 5), None));
    insta::assert_snapshot!(error(&options(Method::KFold, 1), None));
    insta::assert_snapshot!(error(&options(Method::KFold, 41), Some(0.0)));
    insta::assert_snapshot!(error(&options(Method::KFold, 5), Some(1.5)));
    let groups: Vec<f64> = (0..40).map(|row| f64::from(row % 3)).collect();
    let data = dataset(&classes(40, 2), Some(&groups), None, None);
    let few = split(&data, Some(0.0), &options(Method::Auto, 5), Key::from_seed(1)).unwrap_err();
    insta::assert_snapshot!(few);
}

#[test]
fn rows_in_order_of_time_are_tested_on_the_last_ones_without_a_time_column_too() {
    let data = dataset(&classes(100, 2), None, None, None);
    let splits = splits(&data, 0.2, &options(Method::TimeSeries, 4));
    assert_eq!(splits.test, (80..100).collect::<Vec<u32>>());
    let bounds: Vec<(u32, u32)> = splits.folds.iter().map(|fold| (fold.evals[0][0], fold.evals[0][15])).collect();
    assert_eq!(bounds, [(16, 31), (32, 47), (48, 63), (64, 79)], "as scikit-learn's TimeSeriesSplit(4) cuts 80 rows");
}

#[test]
fn rows_of_one_time_stay_together() {
    proptest!(|(rows in 40usize..200, heavy in 0usize..90, times in 8u32..30, folds in 2u32..6, seed in 0u32..100)| {
        // One time may hold most of the rows.
        let time: Vec<f64> = (0..rows).map(|row| {
            if row * 100 / rows < heavy { 3.0 } else { f64::from((row as u32 * 37 + seed) % times) }
        }).collect();
        let distinct = time.iter().map(|time| *time as u32).collect::<std::collections::BTreeSet<_>>().len();
        prop_assume!(distinct >= 7);
        let data = dataset(&classes(rows, 2), None, Some(&time), None);
        let of = |rows: &[u32]| rows.iter().map(|row| time[*row as usize] as u32).collect::<Vec<_>>();
        let splits = split(&data, Some(0.2), &options(Method::Auto, folds), Key::from_seed(1));
        let splits = match splits {
            Ok(splits) => splits,
            // The test rows may take all but a few of the times.
            Err(SplitError::FewTimes { times, .. }) => { prop_assert!(times <= u64::from(folds)); return Ok(()) }
            Err(error) => panic!("{error}"),
        };
        prop_assert!(!splits.test.is_empty());
        prop_assert!(of(&splits.pool).iter().max() < of(&splits.test).iter().min());
        for fold in &splits.folds {
            prop_assert!(!fold.train.is_empty() && !fold.evals[0].is_empty());
            prop_assert!(of(&fold.train).iter().max() < of(&fold.evals[0]).iter().min());
        }
    });
}

#[test]
fn a_test_that_is_asked_for_is_never_empty() {
    let groups: Vec<f64> = (0..100).map(|row| f64::from(row / 20)).collect();
    let data = dataset(&classes(100, 2), Some(&groups), None, None);
    // Every group is more than twice the share.
    assert_eq!(splits(&data, 0.05, &options(Method::Auto, 3)).test.len(), 20);
    let data = dataset(&classes(12, 2), None, None, None);
    assert_eq!(splits(&data, 0.01, &options(Method::KFold, 3)).test.len(), 1);
}

#[test]
fn folds_that_would_mislead_are_refused() {
    let ascending: Vec<f64> = (0..60).map(f64::from).collect();
    let thirds: Vec<f64> = (0..60).map(|row| f64::from(row % 3)).collect();
    let timed = dataset(&classes(60, 2), None, Some(&ascending), None);
    let grouped = dataset(&classes(60, 2), Some(&thirds), None, None);
    let both = dataset(&classes(60, 2), Some(&thirds), Some(&ascending), None);
    let folded = dataset(&classes(60, 2), None, None, Some(&thirds));
    let halves: Vec<f64> = (0..60).map(|row| f64::from(row % 2)).collect();
    let halved = dataset(&classes(60, 2), None, None, Some(&halves));
    let plain = dataset(&classes(60, 2), None, None, None);
    let auto = ValidateOptions::default();
    let nested = ValidateOptions { outer_folds: 4, ..auto.clone() };
    let twice = ValidateOptions { repeats: 2, ..auto.clone() };
    let hold_out_twice = ValidateOptions { method: Method::HoldOut, ..twice.clone() };
    let scarce = dataset(&[0; 20].iter().copied().chain([1]).collect::<Vec<u32>>(), None, None, None);
    let few_times: Vec<f64> = (0..60).map(|row| f64::from(row / 20)).collect();
    let few_times = dataset(&classes(60, 2), None, Some(&few_times), None);
    let cases = [
        ("outer parts of a time series would train on the future", &timed, &nested),
        ("a time series is cut the same way each time", &timed, &twice),
        ("so is its end", &timed, &hold_out_twice),
        ("and a column", &folded, &twice),
        ("two outer parts leave nothing to train inner folds on", &halved, &nested),
        ("folds without groups", &grouped, &options(Method::KFold, 5)),
        ("groups and time", &both, &auto),
        ("one row cannot be in two folds", &scarce, &auto),
        ("three times", &few_times, &auto),
        ("too few rows for the outer parts", &plain, &ValidateOptions { outer_folds: 70, ..auto.clone() }),
    ];
    let said = cases.map(|(why, data, options)| {
        let error = split(data, Some(0.0), options, Key::from_seed(1)).expect_err(why);
        format!("# {why}\n{error}\n")
    });
    insta::assert_snapshot!(said.join("\n"));
}
