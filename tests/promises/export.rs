//! Exported models: what reads ONNX predicts the same as `predict`, from the same cells.

use crate::onnxruntime::{Case, run as onnxruntime};
use crate::study::run;
use crate::support::Folder;
use ndarray::Array2;
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;
use thousandfold::backend::WeightArray;
use thousandfold::base::onnx::{Element, Graph};
use thousandfold::base::random::{Key, normal, uniform};
use thousandfold::data::{Cells, DataOptions, Dataset, Input, Preparation, PrepareOptions, Table, Task, read_table};
use thousandfold::models::{MODELS, find};
use thousandfold::study::StudyConfig;
use thousandfold::study::model_file::FittedModel;
use thousandfold::study::run_dir::Existing;

/// Both compute in 32 bits; sums of another order and another exp or tanh part them by some ulps (6e-8) a layer.
const TOLERANCE: f64 = 1e-5;
const ROWS: u64 = 150;

/// Numbers of all sizes, categories of which some are rare, missing cells of both kinds, and names that a graph has uses
/// for. `kind`, `pair` and `amount` can be learned.
fn cells(first_row: u64) -> String {
    let mut text = "time,dose,label,constant,colour,value,kind,pair,amount\n".to_owned();
    for row in first_row..first_row + ROWS {
        let draw = |column: u64| f64::from(normal(Key::from_seed(4).words(row * 8 + column)[0]));
        let share = |column: u64| uniform(Key::from_seed(4).words(row * 8 + column)[1]);
        let time = 1_700_000_000.0 + 20.0 * draw(0);
        let dose = if share(1) < 0.15 { String::new() } else { format!("{:.4}", draw(1) * 1e-3) };
        let colour = ["red", "blue", "näıve \"b\"", "", "red"][(share(2) * 5.0) as usize];
        let value = match (share(3) * 20.0) as u64 {
            19 => format!("r{row}"),
            share => ["x", "y", "1"][share as usize % 3].to_owned(),
        };
        let score = draw(0) + draw(4) * 0.3 + f64::from(u8::from(colour == "red"));
        let kind = ["low", "mid", "high"][(score.clamp(-1.0, 1.9) + 1.0) as usize];
        let pair = if score > 0.2 { "over" } else { "under" };
        let colour = colour.replace('"', "\"\"");
        writeln!(
            text,
            "{time:.3},{dose},{:.3},7,\"{colour}\",{value},{kind},{pair},{:.3}",
            draw(4),
            300.0 + 90.0 * score
        )
        .unwrap();
    }
    text
}

/// A model of the table, and rows that it was not trained on.
struct Fitted {
    name: String,
    model: FittedModel,
    rows: Table,
    /// Holds the exported files.
    folder: Folder,
}

impl Fitted {
    fn new(model: &str, target: &str, sets: &[&str]) -> Fitted {
        let folder = Folder::new();
        let others = ["kind", "pair", "amount"].into_iter().filter(|other| *other != target);
        let drop: Vec<String> = others.map(|other| format!("'{other}'")).collect();
        let budget = find(model).unwrap().budget().default.min(20);
        folder.write("new.csv", &cells(ROWS));
        folder.write("data.csv", &cells(0));
        let study = format!(
            "[data]\nfile = 'data.csv'\ntarget = '{target}'\ndrop = [{}]\n[model]\nname = '{model}'\nbudget = {budget}\n\
             [search]\ncandidates = 2\n[validate]\nfolds = 2\n[run]\nbackend = 'cpu'\ndir = 'run'\n",
            drop.join(", ")
        );
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).chain([folder.run_set()]).collect();
        run(StudyConfig::load(&folder.write("study.toml", &study), &sets).unwrap(), Existing::Refuse);
        let fitted = FittedModel::load(&folder.path().join("run/model.safetensors")).unwrap();
        let rows = fitted.meta.preparation.read_options(&[]);
        let rows = read_table(&folder.path().join("new.csv"), &rows).unwrap();
        Fitted { name: format!("{model} of {target}, {sets:?}"), model: fitted, rows, folder }
    }

    fn export(&self) -> PathBuf {
        let path = self.folder.path().join("model.onnx");
        std::fs::write(&path, self.model.to_onnx().unwrap()).unwrap();
        path
    }

    fn case(&self) -> Case {
        Case { model: self.export(), table: self.rows.clone() }
    }

    /// The largest difference between our predictions and those, as a share of their size where that is above 1.
    fn difference(&self, outputs: &Value) -> f64 {
        let ours = self.model.predict(&self.rows).unwrap();
        let name = if self.model.meta.class_names.is_empty() { "value_2" } else { "probabilities" };
        let theirs = matrix(&outputs[name]);
        assert_eq!(ours.dim(), theirs.dim(), "{}", self.name);
        let apart = |(a, b): (&f32, &f32)| f64::from((a - b).abs()) / f64::from(a.abs()).max(1.0);
        let worst = ours.iter().zip(&theirs).map(apart).fold(0.0, f64::max);
        if worst.is_nan() { f64::INFINITY } else { worst }
    }
}

fn matrix(value: &Value) -> Array2<f32> {
    let rows: Vec<Vec<Option<f32>>> = serde_json::from_value(value.clone()).unwrap();
    let width = rows.first().map_or(0, Vec::len);
    let cells = rows.concat().into_iter().map(|cell| cell.unwrap_or(f32::NAN)).collect();
    Array2::from_shape_vec((rows.len(), width), cells).unwrap()
}

/// Every model of the registry for every task that it has, in its default preparation and in others.
fn every_model() -> Vec<Fitted> {
    let preparations: [&[&str]; 2] = [
        &[],
        &["prepare.impute='most_frequent'", "prepare.scale='min_max'", "prepare.rare=0.0", "prepare.indicator=false"],
    ];
    let mut fitted = Vec::new();
    for model in MODELS.iter().filter(|model| model.onnx().is_some()) {
        for task in model.tasks() {
            let targets: &[&str] = if *task == Task::Classification { &["kind", "pair"] } else { &["amount"] };
            for target in targets {
                fitted.extend(preparations.iter().map(|sets| Fitted::new(model.name(), target, sets)));
            }
        }
    }
    fitted
}

#[test]
fn onnxruntime_predicts_the_same_from_every_exported_model() {
    let mut fitted = every_model();
    // What a search of two candidates may not meet.
    let choices = [
        ("mlp", "activation", &["tanh", "gelu", "silu"][..]),
        ("svm", "kernel", &["polynomial", "linear", "sigmoid"]),
        ("kernel_ridge", "kernel", &["laplacian", "polynomial", "linear"]),
        ("knn", "metric", &["manhattan", "cosine"]),
        ("knn", "weights", &["uniform", "distance"]),
        ("forest", "kind", &["extra_trees"]),
        ("gbdt", "objective", &["absolute", "poisson"]),
    ];
    for (model, parameter, values) in choices {
        for value in values {
            let has_classes = find(model).unwrap().tasks().contains(&Task::Classification) && parameter != "objective";
            let target = if has_classes { "kind" } else { "amount" };
            fitted.push(Fitted::new(model, target, &[&format!("space.{parameter}='{value}'")]));
        }
    }
    let Some(outputs) = onnxruntime(&fitted.iter().map(Fitted::case).collect::<Vec<_>>()) else { return };
    for (fitted, outputs) in fitted.iter().zip(&outputs) {
        let difference = fitted.difference(outputs);
        assert!(difference < TOLERANCE, "{}: {difference:e}", fitted.name);
        if !fitted.model.meta.class_names.is_empty() {
            let labels: Vec<String> = serde_json::from_value(outputs["label_2"].clone()).unwrap();
            let csv = thousandfold::monitor::predictions::to_csv(
                &fitted.model.meta.class_names,
                matrix(&outputs["probabilities"]).view(),
            );
            let likely = csv.lines().skip(1).map(|line| line.split(',').next().unwrap());
            assert!(likely.eq(labels.iter().map(String::as_str)), "{}", fitted.name);
        }
    }
}

fn reverse(table: &mut Table) {
    for column in &mut table.columns {
        match &mut column.cells {
            Cells::Numbers(values) => values.reverse(),
            Cells::Categories(categories) => categories.codes.reverse(),
        }
    }
}

#[test]
fn a_model_that_says_something_else_is_seen_in_its_predictions() {
    let mut fitted = every_model();
    let cases: Vec<Case> = fitted.iter().map(Fitted::case).collect();
    for fitted in &mut fitted {
        let is_weight = |array: &&mut WeightArray| array.name.ends_with("weight");
        match fitted.model.weights.arrays.iter_mut().filter(is_weight).max_by_key(|array| array.values.len()) {
            // The weights moved by a hundredth of their size: one alone may lead to a unit that is always off.
            Some(array) => array.values.iter_mut().for_each(|weight| *weight *= 1.01),
            // Where no single number moves much: the same rows in another order.
            None => reverse(&mut fitted.rows),
        }
    }
    let Some(outputs) = onnxruntime(&cases) else { return };
    for (fitted, outputs) in fitted.iter().zip(&outputs) {
        let difference = fitted.difference(outputs);
        assert!(difference > TOLERANCE, "{}: {difference:e}", fitted.name);
    }
}

/// A file of a graph that does nothing but prepare.
fn graph_of(folder: &Folder, preparation: &Preparation) -> PathBuf {
    let mut graph = Graph::default();
    let x = preparation.onnx(&mut graph);
    graph.output(&x, "x", Element::Float, &[None, Some(preparation.features().len())], "");
    let model = tempfile::Builder::new().suffix(".onnx").tempfile_in(folder.path()).unwrap().keep().unwrap().1;
    std::fs::write(&model, graph.into_bytes("preparation", &[]).unwrap()).unwrap();
    model
}

/// The table's features, prepared by the program and by a graph of the preparation alone.
fn prepared(folder: &Folder, options: &PrepareOptions, input: Input, rows: &Table) -> (Array2<f32>, Case) {
    let mut data = DataOptions::new(folder.write("data.csv", &cells(0)), "kind");
    data.drop = vec!["amount".into()];
    let dataset = Dataset::load(&data).unwrap();
    let preparation = Preparation::fit(&dataset, &(0..100).collect::<Vec<u32>>(), options, input);
    let model = graph_of(folder, &preparation);
    let all: Vec<u32> = (0..rows.rows as u32).collect();
    (preparation.transform(rows, &all).unwrap(), Case { model, table: rows.clone() })
}

#[test]
fn a_graph_prepares_every_cell_to_the_same_bits() {
    let folder = Folder::new();
    let path = folder.write("new.csv", &cells(ROWS));
    let mut data = DataOptions::new(path.clone(), "kind");
    data.drop = vec!["amount".into()];
    let mut rows = Dataset::load(&data).unwrap().features;
    // Cells far beyond those that were fitted on.
    for column in &mut rows.columns {
        if let Cells::Numbers(values) = &mut column.cells {
            values[..6].copy_from_slice(&[1e300, -1e300, f64::MAX, f64::MIN_POSITIVE, -0.0, f64::NAN]);
        }
    }
    let options = |text: &str| -> PrepareOptions { toml::from_str(text).unwrap() };
    let options = [
        (PrepareOptions::default(), Input::Features),
        (options("impute = { constant = -3.5 }\nscale = 'none'\nrare = 0.0"), Input::Features),
        (options("impute = 'most_frequent'\nscale = 'robust'\nindicator = false\nrare = 0.1"), Input::Features),
        (options("impute = 'mean'\nscale = 'min_max'\nrare = 1000.0"), Input::Features),
        (PrepareOptions::default(), Input::Columns),
    ];
    let prepare = |(options, input): &(PrepareOptions, Input)| prepared(&folder, options, *input, &rows);
    let (ours, cases): (Vec<_>, Vec<_>) = options.iter().map(prepare).unzip();
    let Some(outputs) = onnxruntime(&cases) else { return };
    for ((ours, outputs), options) in ours.iter().zip(&outputs).zip(&options) {
        let theirs = matrix(&outputs["x"]);
        assert_eq!(ours.dim(), theirs.dim(), "{options:?}");
        let differ = ours.iter().zip(&theirs).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert_eq!(differ, 0, "{options:?}");
    }
    // A graph of another preparation is not taken for this one.
    assert_ne!(matrix(&outputs[0]["x"]), matrix(&outputs[1]["x"]));
}

#[test]
fn categories_may_be_written_as_pandas_writes_them() {
    let folder = Folder::new();
    let text = (0..60).fold("flag,code,kind\n".to_owned(), |text, row| {
        text + &format!("{},{},{}\n", row % 2 == 0, row % 3, ["a", "b"][row % 5 % 2])
    });
    let mut options = DataOptions::new(folder.write("flags.csv", &text), "kind");
    options.categories = vec!["code".into()];
    let dataset = Dataset::load(&options).unwrap();
    let rows: Vec<u32> = (0..60).collect();
    let mut theirs = dataset.features.clone();
    for column in &mut theirs.columns {
        let Cells::Categories(categories) = &mut column.cells else { panic!("{} holds numbers", column.name) };
        for level in &mut categories.levels {
            *level = match level.as_str() {
                "true" => "True".to_owned(),
                "false" => "False".to_owned(),
                code => format!("{code}.0"),
            };
        }
    }
    let mut expected = Vec::new();
    let mut cases = Vec::new();
    for input in [Input::Features, Input::Columns] {
        let preparation = Preparation::fit(&dataset, &rows, &PrepareOptions::default(), input);
        expected.push(preparation.transform(&dataset.features, &rows).unwrap());
        cases.push(Case { model: graph_of(&folder, &preparation), table: theirs.clone() });
    }
    let Some(outputs) = onnxruntime(&cases) else { return };
    for (expected, outputs) in expected.iter().zip(&outputs) {
        assert_eq!(expected, matrix(&outputs["x"]));
    }
}
