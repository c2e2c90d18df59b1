//! Preparation is fitted on training rows only.

use serde_json::Value;
use std::path::{Path, PathBuf};
use thousandfold::base::random::{Key, stream};
use thousandfold::data::metrics;
use thousandfold::data::prepare::{Impute, Scale, TargetScale, fit_target};
use thousandfold::data::{
    Affine, Categories, Cells, Column, ColumnKind, DataError, DataOptions, Dataset, Fold, FoldRows, Input, MISSING,
    Preparation, PrepareOptions, Rows, Table, Target, Task, build_problem, prepare_fold, read_table,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data").join(name)
}

/// The fixture's table, with the columns that scikit-learn prepared.
fn dataset() -> Dataset {
    let mut options = DataOptions::new(fixture("table.csv"), "y");
    options.drop = vec!["id".into()];
    options.categories = vec!["code".into()];
    Dataset::load(&options).unwrap()
}

fn sklearn() -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture("preparation.json")).unwrap()).unwrap()
}

fn matrix(value: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn rows_of(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn only(dataset: &Dataset, names: &[&str]) -> Dataset {
    let mut dataset = dataset.clone();
    dataset.features.columns.retain(|column| names.contains(&column.name.as_str()));
    dataset
}

fn numbers<'a>(table: &'a mut Table, name: &str) -> &'a mut Vec<f64> {
    match &mut table.columns.iter_mut().find(|column| column.name == name).unwrap().cells {
        Cells::Numbers(values) => values,
        Cells::Categories(_) => panic!("{name} holds numbers"),
    }
}

fn categories<'a>(table: &'a mut Table, name: &str) -> &'a mut Categories {
    match &mut table.columns.iter_mut().find(|column| column.name == name).unwrap().cells {
        Cells::Categories(categories) => categories,
        Cells::Numbers(_) => panic!("{name} holds categories"),
    }
}

/// A table of one column of categories.
fn one_category(cells: &[&str]) -> Table {
    let mut levels: Vec<String> = cells.iter().filter(|cell| !cell.is_empty()).map(|&cell| cell.to_owned()).collect();
    levels.sort();
    levels.dedup();
    let code = |cell: &&str| levels.iter().position(|level| level == cell).map_or(u32::MAX, |code| code as u32);
    let categories = Categories { codes: cells.iter().map(code).collect(), levels: levels.clone() };
    let columns = vec![Column { name: "c".into(), cells: Cells::Categories(categories) }];
    Table { source: "new.csv".into(), rows: cells.len(), columns, notes: Vec::new() }
}

fn with_features(features: Table) -> Dataset {
    let rows = features.rows;
    Dataset { features, target: Target::Values((0..rows).map(|i| i as f32).collect()), ..dataset() }
}

/// Shape and bits of the features, then the targets' bits.
type Bits = (Vec<usize>, Vec<u32>, Vec<u32>);

fn bits(rows: &Rows) -> Bits {
    let y = match &rows.y {
        Target::Values(values) => values.iter().map(|value| value.to_bits()).collect(),
        Target::Classes { codes, .. } => codes.clone(),
    };
    (rows.x.shape().to_vec(), rows.x.iter().map(|value| value.to_bits()).collect(), y)
}

fn fold_bits(fold: &Fold) -> (Key, Bits, [u32; 2]) {
    (fold.key, bits(&fold.train), [fold.target.shift.to_bits(), fold.target.scale.to_bits()])
}

fn folds() -> Vec<FoldRows> {
    let fold = |fold: u32| {
        let (evals, train) = (0..60).partition(|row| row % 3 == fold);
        FoldRows { repeat: 1, fold, train, evals: vec![evals] }
    };
    (0..3).map(fold).collect()
}

fn every_option() -> Vec<PrepareOptions> {
    let mut all = Vec::new();
    for impute in [Impute::Mean, Impute::Median, Impute::MostFrequent, Impute::Constant(-1.5)] {
        for scale in [Scale::Standard, Scale::Robust, Scale::MinMax, Scale::None] {
            for rare in [0.0, 4.0, 0.2] {
                let target = TargetScale::Standard;
                all.push(PrepareOptions { impute, indicator: rare > 1.0, scale, rare, target });
            }
        }
    }
    all
}

#[test]
fn no_validation_row_ever_touches_what_a_fold_trains_on() {
    let before = dataset();
    for options in every_option() {
        for rows in folds() {
            let mut after = before.clone();
            for (i, &row) in rows.evals[0].iter().enumerate() {
                let row = row as usize;
                let wild = [f64::NAN, 1e30, -7e200, 0.0][i % 4];
                for column in &mut after.features.columns {
                    match &mut column.cells {
                        Cells::Numbers(values) => values[row] = wild,
                        Cells::Categories(categories) => {
                            categories.codes[row] = match i % 3 {
                                0 => u32::MAX,
                                1 => 0,
                                _ => {
                                    categories.levels.push(format!("{i}: never seen"));
                                    categories.levels.len() as u32 - 1
                                }
                            };
                        }
                    }
                }
                let Target::Values(values) = &mut after.target else { panic!("regression") };
                values[row] = -1e9;
            }
            let key = Key::from_seed(3);
            let (old, old_preparation) = prepare_fold(&before, &rows, &options, Input::Features, key).unwrap();
            let (new, new_preparation) = prepare_fold(&after, &rows, &options, Input::Features, key).unwrap();
            assert_eq!(fold_bits(&old), fold_bits(&new), "{options:?}");
            assert_eq!(old_preparation, new_preparation, "{options:?}");
            assert_ne!(bits(&old.evals[0]), bits(&new.evals[0]), "the validation rows did change");
            assert!(new.evals[0].x.iter().all(|value| value.is_finite()));
        }
    }
}

#[test]
fn a_training_row_that_changes_does_touch_it() {
    // The companion of the promise above: it would not hold if nothing were fitted at all.
    let before = dataset();
    let rows = &folds()[0];
    let options = PrepareOptions { rare: 0.0, ..PrepareOptions::default() };
    let key = Key::from_seed(3);
    let (old, _) = prepare_fold(&before, rows, &options, Input::Features, key).unwrap();
    let row = rows.train[5] as usize;
    for column in 0..before.features.columns.len() {
        let mut after = before.clone();
        match &mut after.features.columns[column].cells {
            Cells::Numbers(values) => values[row] = 99.0,
            Cells::Categories(categories) => {
                categories.codes[row] = (categories.codes[row] + 1) % categories.levels.len() as u32;
            }
        }
        let (new, _) = prepare_fold(&after, rows, &options, Input::Features, key).unwrap();
        let differ = |i: usize| old.train.x.row(i) != new.train.x.row(i);
        assert!(old.train.x.shape() != new.train.x.shape() || differ(5), "column {column}");
        if matches!(before.features.columns[column].cells, Cells::Numbers(_)) {
            assert!((0..5).all(differ), "column {column}: its scale is fitted on all training rows");
        }
    }
    let mut after = before.clone();
    let Target::Values(values) = &mut after.target else { panic!("regression") };
    values[row] += 100.0;
    assert_ne!(old.target, prepare_fold(&after, rows, &options, Input::Features, key).unwrap().0.target);
}

#[test]
fn a_problem_holds_every_fold_with_its_own_key() {
    let dataset = dataset();
    let options = PrepareOptions::default();
    let problem = build_problem(
        &dataset,
        &folds(),
        &options,
        Input::Features,
        metrics::find("rmse").unwrap(),
        30,
        Key::from_seed(9),
    )
    .unwrap();
    assert_eq!((problem.task, problem.outputs, problem.budget), (Task::Regression, 1, 30));
    for (fold, rows) in problem.folds.iter().zip(folds()) {
        let (alone, _) = prepare_fold(&dataset, &rows, &options, Input::Features, Key::from_seed(9)).unwrap();
        assert_eq!(**fold, alone);
        assert_eq!(fold.key, Key::from_seed(9).child(stream::TRAINING).child(1).child(rows.fold));
        assert_eq!((fold.train.x.nrows(), fold.evals[0].x.nrows(), fold.evals[0].y.len()), (40, 20, 20));
    }
}

#[test]
fn numbers_are_imputed_and_scaled_as_scikit_learn_does() {
    let (sklearn, dataset) = (sklearn(), only(&dataset(), &["size", "count", "offset"]));
    let (train, all): (Vec<u32>, Vec<u32>) = ((0..40).collect(), (0..60).collect());
    for options in every_option().into_iter().filter(|options| options.rare == 0.0) {
        let impute = match options.impute {
            Impute::Constant(_) => "constant".to_owned(),
            other => serde_json::to_value(other).unwrap().as_str().unwrap().to_owned(),
        };
        let case = format!("{impute}/{}", serde_json::to_value(options.scale).unwrap().as_str().unwrap());
        let truth = matrix(&sklearn["cases"][&case]);
        let preparation = Preparation::fit(&dataset, &train, &options, Input::Features);
        assert_eq!(preparation.features(), ["size", "count", "offset"]);
        let x = preparation.transform(&dataset.features, &all).unwrap();
        let error = |scale: f64| {
            let pairs = x.iter().zip(truth.iter().flatten());
            pairs.map(|(&a, &b)| (f64::from(a) * scale - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max)
        };
        // Features are f32: half a unit in the last place is 6e-8. The offset's spread is 1e-9 of its mean, which costs
        // the means of both sides some 1e-7 of it.
        assert!(error(1.0) < 5e-7, "{case}: {}", error(1.0));
        assert!(error(1.00001) > 5e-7, "{case}: the comparison sees nothing");
    }
}

#[test]
fn indicators_stand_where_scikit_learn_puts_them() {
    let (sklearn, dataset) = (sklearn(), only(&dataset(), &["size", "count", "offset"]));
    let all: Vec<u32> = (0..60).collect();
    let preparation = Preparation::fit(&dataset, &all[..40], &PrepareOptions::default(), Input::Features);
    assert_eq!(preparation.features(), ["size", "size is missing", "count", "count is missing", "offset"]);
    let x = preparation.transform(&dataset.features, &all).unwrap();
    for (name, column) in [("size", 1), ("count", 3)] {
        let truth: Vec<f32> = serde_json::from_value(sklearn["indicator"][name].clone()).unwrap();
        assert_eq!(x.column(column).to_vec(), truth, "{name}");
    }
}

#[test]
fn categories_are_encoded_as_scikit_learn_does() {
    let (sklearn, dataset) = (sklearn(), dataset());
    for (rare, columns) in sklearn["one_hot"].as_object().unwrap() {
        for (name, truth) in columns.as_object().unwrap() {
            let dataset = only(&dataset, &[name]);
            let rows = rows_of(&truth["rows"]);
            let train: Vec<u32> = rows.iter().copied().filter(|&row| row < 40).collect();
            let options = PrepareOptions { rare: rare.parse().unwrap(), ..PrepareOptions::default() };
            let preparation = Preparation::fit(&dataset, &train, &options, Input::Features);
            let names: Vec<String> = serde_json::from_value(truth["names"].clone()).unwrap();
            let ours = |name: &String| name.replacen('_', "=", 1).replace("=infrequent_sklearn", " is rare");
            assert_eq!(preparation.features(), names.iter().map(ours).collect::<Vec<_>>(), "{rare} {name}");
            let x = preparation.transform(&dataset.features, &rows).unwrap();
            let truth: Vec<f32> = matrix(&truth["x"]).concat().iter().map(|&value| value as f32).collect();
            assert_eq!(x.iter().copied().collect::<Vec<_>>(), truth, "{rare} {name}");
        }
    }
}

#[test]
fn targets_are_scaled_as_scikit_learn_does() {
    let (truth, dataset) = (&sklearn()["target"], dataset());
    let train: Vec<u32> = (0..40).collect();
    let affine = fit_target(&dataset.target, &train, TargetScale::Standard);
    let near = |a: f32, b: &Value| (f64::from(a) / b.as_f64().unwrap() - 1.0).abs() < 1e-7;
    assert!(near(affine.shift, &truth["mean"]) && near(affine.scale, &truth["scale"]), "{affine:?}");
    assert_eq!(fit_target(&dataset.target, &train, TargetScale::None), Affine::IDENTITY);
    assert_eq!(fit_target(&Target::Values(vec![7.0; 40]), &train, TargetScale::Standard).scale, 1.0);
}

#[test]
fn an_unknown_category_falls_into_its_bucket_and_is_counted() {
    let fit = |cells: &[&str], rare: f64| {
        let dataset = with_features(one_category(cells));
        let rows: Vec<u32> = (0..cells.len() as u32).collect();
        Preparation::fit(&dataset, &rows, &PrepareOptions { rare, ..PrepareOptions::default() }, Input::Features)
    };
    let encode = |preparation: &Preparation, cell: &str| {
        let table = one_category(&[cell]);
        let unknown: usize = preparation.unknown_cells(&table, &[0]).unwrap().iter().map(|(_, cells)| cells).sum();
        let x = preparation.transform(&table, &[0]).unwrap();
        let at: Vec<&str> = (x.iter().zip(preparation.features()))
            .filter(|(value, _)| **value == 1.0)
            .map(|(_, name)| name.as_str())
            .collect();
        (at.join(" + "), unknown)
    };
    let (to, known) = (|bucket: &str| (bucket.to_owned(), 1), |bucket: &str| (bucket.to_owned(), 0));

    let all_buckets = fit(&["a", "a", "b", "b", "r", "s", ""], 2.0);
    assert_eq!(all_buckets.features(), ["c=a", "c=b", "c is rare", "c is unknown"]);
    assert_eq!(encode(&all_buckets, "a"), known("c=a"));
    assert_eq!(encode(&all_buckets, "s"), known("c is rare"));
    assert_eq!(encode(&all_buckets, ""), known("c is unknown"));
    assert_eq!(encode(&all_buckets, "new"), to("c is unknown"));

    let no_missing = fit(&["a", "a", "b", "b", "r", "s"], 2.0);
    assert_eq!(encode(&no_missing, "new"), to("c is rare"));
    assert_eq!(encode(&no_missing, ""), known("c is rare"));

    let neither = fit(&["a", "b", "b", "r"], 0.0);
    assert_eq!(neither.features(), ["c=a", "c=b", "c=r"]);
    assert_eq!(encode(&neither, "new"), to(""));
}

#[test]
fn a_file_to_predict_is_matched_by_name() {
    let dataset = dataset();
    let rows: Vec<u32> = (0..60).collect();
    let preparation = Preparation::fit(&dataset, &rows, &PrepareOptions::default(), Input::Features);
    let truth = preparation.transform(&dataset.features, &rows).unwrap();

    // Other order, more columns, and codes that were declared to be categories read as numbers.
    let mut table = read_table(&fixture("table.parquet"), &preparation.read_options(&[])).unwrap();
    table.columns.reverse();
    assert_eq!(preparation.transform(&table, &rows).unwrap(), truth);
    let mut whole = read_table(&fixture("table.csv"), &Default::default()).unwrap();
    assert!(matches!(whole.column("code").unwrap().cells, Cells::Numbers(_)));
    assert_eq!(preparation.transform(&whole, &rows).unwrap(), truth);

    categories(&mut whole, "colour").levels[0] = "new".into();
    assert_ne!(preparation.transform(&whole, &rows).unwrap(), truth);
    numbers(&mut whole, "size")[3] = 1e300;
    assert!(preparation.transform(&whole, &rows).unwrap().iter().all(|value| value.is_finite()));

    whole.columns.retain(|column| !["size", "code"].contains(&column.name.as_str()));
    whole.source = "new.csv".into();
    let error = preparation.transform(&whole, &rows).unwrap_err();
    assert_eq!(
        error.to_string(),
        "new.csv: 2 columns are missing: size, code\n  Columns are matched by name; their order does not matter"
    );
    let mut other = dataset.features.clone();
    other.columns[0].cells = Cells::Categories(Categories { codes: vec![0; 60], levels: vec!["big".into()] });
    assert!(
        matches!(preparation.transform(&other, &rows), Err(DataError::OtherKind { column, .. }) if column == "size")
    );
}

#[test]
fn a_saved_preparation_gives_the_same_bits() {
    let dataset = dataset();
    let rows: Vec<u32> = (0..60).collect();
    for options in every_option() {
        let preparation = Preparation::fit(&dataset, &rows[..40], &options, Input::Features);
        let json: Preparation = serde_json::from_str(&serde_json::to_string(&preparation).unwrap()).unwrap();
        let binary: Preparation = postcard::from_bytes(&postcard::to_stdvec(&preparation).unwrap()).unwrap();
        let x = |preparation: &Preparation| preparation.transform(&dataset.features, &rows).unwrap();
        assert!(x(&json) == x(&preparation) && x(&binary) == x(&preparation), "{options:?}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let mut dataset = dataset();
    // More rows than a thread takes at a time.
    let rows: Vec<u32> = (0..3000).map(|i| i * 7 % 60).collect();
    numbers(&mut dataset.features, "size")[0] = 1e8;
    let prepare = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let preparation = Preparation::fit(&dataset, &rows, &PrepareOptions::default(), Input::Features);
            preparation.transform(&dataset.features, &rows).unwrap().mapv(f32::to_bits)
        })
    };
    let one = prepare(1);
    assert!(prepare(2) == one && prepare(5) == one);
}

#[test]
fn what_does_not_vary_over_the_training_rows_is_no_feature() {
    let mut dataset = dataset();
    let train: Vec<u32> = (0..40).collect();
    numbers(&mut dataset.features, "offset")[..40].fill(3.0);
    categories(&mut dataset.features, "colour").codes[..40].fill(1);
    let features = Preparation::fit(&dataset, &train, &PrepareOptions::default(), Input::Features);
    let names = features.features();
    assert!(names.iter().all(|name| !name.starts_with("offset") && !name.starts_with("colour")), "{names:?}");

    dataset.features.columns.retain(|column| ["offset", "colour"].contains(&column.name.as_str()));
    let rows = FoldRows { repeat: 0, fold: 2, train, evals: Vec::new() };
    let error =
        prepare_fold(&dataset, &rows, &PrepareOptions::default(), Input::Features, Key::from_seed(0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no feature varies over the 40 training rows of repeat 0, fold 2\n  Take fewer folds, or other columns"
    );
}

#[test]
fn options_read_as_they_are_written() {
    let read = |text: &str| toml::from_str::<PrepareOptions>(text);
    assert_eq!(read("").unwrap(), PrepareOptions::default());
    let options = read("impute = { constant = 0 }\nscale = \"min_max\"\nrare = 5\ntarget = \"none\"").unwrap();
    assert_eq!((options.impute, options.scale, options.rare), (Impute::Constant(0.0), Scale::MinMax, 5.0));
    assert_eq!(read(&toml::to_string(&options).unwrap()).unwrap(), options);
    for wrong in ["rare = -1", "rare = nan", "impute = { constant = inf }", "imput = \"mean\"", "scale = \"max\""] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn columns_stay_as_they_are_and_codes_follow_the_training_rows() {
    let cells = |values: &[f64]| Cells::Numbers(values.to_vec());
    let column = |name: &str, cells: Cells| Column { name: name.to_owned(), cells };
    let codes = vec![2, 0, MISSING, 2, 1, 0];
    let levels = ["a", "b", "c"].map(str::to_owned).to_vec();
    let mut dataset = dataset();
    dataset.features.rows = 6;
    dataset.features.columns = vec![
        column("size", cells(&[3.0, f64::NAN, -1e300, 4.5, 7.0, 0.25])),
        column("flat", cells(&[1.0, 1.0, 1.0, 1.0, 9.0, 1.0])),
        column("gap", cells(&[2.0, f64::NAN, 2.0, 2.0, 2.0, 2.0])),
        column("kind", Cells::Categories(Categories { codes, levels })),
    ];
    // The training rows have neither the 9 nor the level b.
    let train = [0, 1, 2, 3, 5];
    let preparation = Preparation::fit(&dataset, &train, &PrepareOptions::default(), Input::Columns);
    assert_eq!(preparation.features(), ["size", "gap", "kind"]);
    let number = ColumnKind::Number;
    assert_eq!(preparation.kinds(), [number, number, ColumnKind::Category { levels: 2 }]);
    preparation.check().unwrap();
    let x = preparation.transform(&dataset.features, &[0, 1, 2, 3, 4, 5]).unwrap();
    let nan = f32::NAN;
    let expected =
        [[3.0, 2.0, 1.0], [nan, nan, 0.0], [f32::MIN, 2.0, nan], [4.5, 2.0, 1.0], [7.0, 2.0, nan], [0.25, 2.0, 0.0]];
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(x.as_slice().unwrap()), bits(expected.as_flattened()));
    assert_eq!(preparation.unknown_cells(&dataset.features, &[3, 4]).unwrap(), [("kind".to_owned(), 1)]);
    // It goes through a model file.
    let file = serde_json::to_string(&preparation).unwrap();
    assert_eq!(preparation, serde_json::from_str::<Preparation>(&file).unwrap());
}

#[test]
fn weights_follow_their_rows_into_every_fold() {
    let mut dataset = dataset();
    let weight: Vec<f32> = (0..dataset.rows()).map(|row| row as f32 * 0.5).collect();
    dataset.weight = Some(weight);
    let rows = &folds()[1];
    let (fold, _) =
        prepare_fold(&dataset, rows, &PrepareOptions::default(), Input::Features, Key::from_seed(1)).unwrap();
    let expected = |rows: &[u32]| Some(rows.iter().map(|row| *row as f32 * 0.5).collect::<Vec<_>>());
    assert_eq!(fold.train.weight, expected(&rows.train));
    assert_eq!(fold.evals[0].weight, expected(&rows.evals[0]));
}
