//! `show RUN --model`: what a model goes by is measured on the test rows, with its noise, and what it says of itself is true.

use crate::study::run;
use crate::support::program::{command, done, ended};
use crate::support::{Folder, studies};
use ndarray::Array2;
use thousandfold::base::random::{shuffled, stream};
use thousandfold::data::problem::pick;
use thousandfold::data::{Cells, Prediction, Truth};
use thousandfold::models::FeatureKind;
use thousandfold::study::explain::{Explained, explain};
use thousandfold::study::load_run;
use thousandfold::study::model_file::FittedModel;
use thousandfold::study::resolve::Study;
use thousandfold::study::run_dir::Existing;

/// A run of the flowers, of which `a` and `b` tell kinds apart and the other columns nothing.
fn flowers(model: &str, sets: &[&str]) -> Folder {
    let folder = Folder::new();
    let named = [format!("model.name={model}"), "search.candidates=3".to_owned()];
    let sets: Vec<String> = named.into_iter().chain(sets.iter().map(|set| (*set).to_owned())).collect();
    run(studies::small(&folder, &sets), Existing::Refuse);
    folder
}

fn explained(folder: &Folder) -> Explained {
    explain(&folder.path().join("run")).unwrap().unwrap()
}

#[test]
fn columns_that_tell_something_matter_and_the_others_are_within_their_noise() {
    let folder = flowers("logistic", &["data.test=0.4"]);
    let explained = explained(&folder);
    let importance = explained.importance.as_ref().unwrap();
    let names: Vec<&str> = importance.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names[..2], ["a", "b"], "{importance:?}");
    for column in &importance.columns {
        let is_known = column.value > 2.0 * column.std_error;
        assert_eq!(is_known, ["a", "b"].contains(&column.name.as_str()), "{column:?}");
        assert!(column.std_error > 0.0, "{column:?}");
    }
    let result: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("run/result.json")).unwrap()).unwrap();
    let score = result["test"]["value"].as_f64().unwrap();
    assert!((importance.score - score).abs() < 1e-6 * score, "{} is not the test score {score}", importance.score);
    assert_eq!(importance.rows as u64, result["test"]["rows"].as_u64().unwrap());
}

#[test]
fn an_importance_is_the_mean_loss_over_shuffles_of_the_columns_own_cells() {
    let folder = flowers("mlp", &[]);
    let importance = explained(&folder).importance.unwrap();
    let study = Study::resolve(load_run(&folder.path().join("run"), &[]).unwrap()).unwrap();
    let fitted = FittedModel::load(&folder.path().join("run/model.safetensors")).unwrap();
    let rows = &study.objective.models().unwrap().splits.test;
    let target = pick(&study.objective.models().unwrap().dataset.target, rows);
    let names: Vec<String> = fitted.meta.preparation.columns().map(str::to_owned).collect();
    assert_eq!(names.len(), importance.columns.len());
    for (index, name) in names.iter().enumerate() {
        let shuffles = (0..importance.shuffles).map(|shuffle| {
            let key = study.key.child(stream::IMPORTANCE).child(index as u32).child(shuffle);
            let mut table = study.objective.models().unwrap().dataset.features.clone();
            let column = table.columns.iter_mut().find(|column| column.name == *name).unwrap();
            let moved = shuffled(key, rows.len()).into_iter().map(|place| rows[place as usize] as usize);
            match &mut column.cells {
                Cells::Numbers(values) => {
                    let cells: Vec<f64> = moved.map(|row| values[row]).collect();
                    rows.iter().zip(cells).for_each(|(&row, cell)| values[row as usize] = cell);
                }
                Cells::Categories(categories) => {
                    let codes: Vec<u32> = moved.map(|row| categories.codes[row]).collect();
                    rows.iter().zip(codes).for_each(|(&row, code)| categories.codes[row as usize] = code);
                }
            }
            let predicted = fitted.predict(&table).unwrap();
            let of_test: Vec<f32> = rows.iter().flat_map(|&row| predicted.row(row as usize).to_vec()).collect();
            let prediction = Prediction::Probabilities { classes: predicted.ncols(), values: &of_test };
            study.objective.models().unwrap().metric.score(Truth::from(&target), prediction) - importance.score
        });
        let mean = shuffles.sum::<f64>() / f64::from(importance.shuffles);
        let found = importance.columns.iter().find(|column| column.name == *name).unwrap();
        // The same predictions, row by row, scored and summed in the same order but for the subtraction.
        assert!((mean - found.value).abs() < 1e-9, "{name}: {mean} is not {}", found.value);
    }
}

/// What coefficients say of rows of features: numbers, or log odds of every class up to what is the same for all classes.
fn by_coefficients(explained: &Explained, x: &Array2<f32>) -> Vec<Vec<f64>> {
    let of = |row: usize| {
        let odds = explained.features.iter().map(|table| {
            assert_eq!(table.kind, FeatureKind::Coefficient);
            let products = table.values.values().zip(x.row(row)).map(|(w, x)| f64::from(*w) * f64::from(*x));
            products.sum::<f64>() + f64::from(table.intercept.unwrap())
        });
        odds.collect()
    };
    (0..x.nrows()).map(of).collect()
}

#[test]
fn coefficients_are_the_by_coefficients_of_classes() {
    for classes in [2, 3] {
        let folder = Folder::new();
        let table = std::fs::read_to_string(studies::flowers(&folder)).unwrap();
        let table = if classes == 2 { table.replace(",k2", ",k1") } else { table };
        folder.write("data.csv", &table);
        let tune = ["tune", "data.csv", "--target", "kind", "--model", "logistic", "--candidates", "2", "-q"];
        done(&folder, &[&tune[..], &["--backend", "cpu", "--run-dir", "run"]].concat());
        let explained = explained(&folder);
        let named: Vec<&str> = explained.features.iter().filter_map(|table| table.class.as_deref()).collect();
        assert_eq!(named, if classes == 2 { vec!["k1"] } else { vec!["k0", "k1", "k2"] });
        let fitted = FittedModel::load(&folder.path().join("run/model.safetensors")).unwrap();
        let study = Study::resolve(load_run(&folder.path().join("run"), &[]).unwrap()).unwrap();
        let all: Vec<u32> = (0..120).collect();
        let x = fitted.meta.preparation.transform(&study.objective.models().unwrap().dataset.features, &all).unwrap();
        assert_eq!(explained.features[0].values.len(), x.ncols());
        let predicted = fitted.predict(&study.objective.models().unwrap().dataset.features).unwrap();
        for (odds, row) in by_coefficients(&explained, &x).into_iter().zip(predicted.outer_iter()) {
            let odds = if classes == 2 { vec![0.0, odds[0]] } else { odds };
            let sum: f64 = odds.iter().map(|odds| odds.exp()).sum();
            for (odds, p) in odds.iter().zip(row) {
                // Ours are summed in 64 bits, the model's in 32.
                assert!((odds.exp() / sum - f64::from(*p)).abs() < 1e-5, "{odds} {p}");
            }
        }
    }
}

#[test]
fn coefficients_of_a_number_are_in_its_own_units() {
    let folder = Folder::new();
    studies::flowers(&folder);
    let tune = ["tune", "flowers.csv", "--target", "a", "--model", "ridge", "--candidates", "2", "-q"];
    done(&folder, &[&tune[..], &["--backend", "cpu", "--run-dir", "run"]].concat());
    let explained = explained(&folder);
    assert_eq!((explained.features.len(), &explained.features[0].class), (1, &None));
    let fitted = FittedModel::load(&folder.path().join("run/model.safetensors")).unwrap();
    let study = Study::resolve(load_run(&folder.path().join("run"), &[]).unwrap()).unwrap();
    let all: Vec<u32> = (0..120).collect();
    let x = fitted.meta.preparation.transform(&study.objective.models().unwrap().dataset.features, &all).unwrap();
    let predicted = fitted.predict(&study.objective.models().unwrap().dataset.features).unwrap();
    for (odds, row) in by_coefficients(&explained, &x).iter().zip(predicted.outer_iter()) {
        assert!((odds[0] - f64::from(row[0])).abs() < 1e-5, "{odds:?} {row}");
    }
}

#[test]
fn trees_say_how_many_they_are_and_what_each_feature_gained() {
    for (model, sets) in [("gbdt", &["space.trees=7", "space.min_leaf=5"][..]), ("forest", &["space.trees=7"])] {
        let folder = flowers(model, sets);
        let explained = explained(&folder);
        let facts: Vec<(&str, &str)> =
            explained.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // A boosted tree is of one of three classes.
        match model {
            "gbdt" => assert_eq!(facts[..2], [("rounds", "7"), ("trees", "21")]),
            _ => assert_eq!(facts[0], ("trees", "7")),
        }
        let [gains] = &explained.features[..] else { panic!("{:?}", explained.features) };
        assert_eq!((gains.kind, &gains.class, gains.intercept), (FeatureKind::Gain, &None, None));
        let names: Vec<&str> = gains.values.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "b", "c", "d", "colour"]);
        assert!((gains.values.values().sum::<f32>() - 1.0).abs() < 1e-6, "{gains:?}");
        // The two that tell kinds apart.
        assert!(gains.values["a"].min(gains.values["b"]) > gains.values["c"].max(gains.values["d"]), "{gains:?}");
        let told = done(&folder, &["show", "run", "--model"]).out;
        for said in ["trees", "a tree", "depth", "gain", "█"] {
            assert!(told.contains(said), "{said}: {told}");
        }
    }
}

#[test]
fn show_model_is_plain_in_a_pipe_and_json_holds_all_of_it() {
    let folder = flowers("logistic", &[]);
    let told = done(&folder, &["show", "run", "--model"]);
    for said in ["logistic", "importance", "log_loss", "24 rows", "coefficient of k0", "colour=red", "intercept", "█"]
    {
        assert!(told.out.contains(said), "{said}: {}", told.out);
    }
    assert!(!told.out.contains('\u{1b}'), "{}", told.out);
    assert!(done(&folder, &["show", "run", "--model", "--color", "always"]).out.contains('\u{1b}'));
    let json = done(&folder, &["show", "run", "--model", "--json"]).out;
    assert_eq!(json, explained(&folder).to_json());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["importance"]["columns"].as_array().map(Vec::len), Some(5));
    assert_eq!(json["features"].as_array().map(Vec::len), Some(3));
}

#[test]
fn other_data_are_not_taken_for_the_runs() {
    let folder = flowers("logistic", &[]);
    let table = std::fs::read_to_string(folder.path().join("flowers.csv")).unwrap();
    folder.write("flowers.csv", &table.replacen(",red,", ",blue,", 1));
    let told = ended(&mut command(&folder, &["show", "run", "--model"]));
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("run was made with other data"), "{}", told.err);
}
