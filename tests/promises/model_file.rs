//! Model files: what is written predicts the same when it is read, and a hostile file is refused, never obeyed.

use crate::study::run;
use crate::support::{Folder, studies};
use std::path::{Path, PathBuf};
use thousandfold::base::random::{Key, below};
use thousandfold::data::{DataOptions, Task, read_table};
use thousandfold::models::{MODELS, Model};
use thousandfold::study::model_file::FittedModel;
use thousandfold::study::run_dir::Existing;

/// A fitted model's file, in a folder with its data; of a model that knows no classes one that predicts numbers.
fn model(folder: &Folder, name: &str) -> PathBuf {
    let target = if classifiers().any(|classifier| classifier == name) { "kind" } else { "a" };
    let sets = [
        format!("model.name={name}"),
        "search.candidates=2".to_owned(),
        "model.budget=2".to_owned(),
        format!("data.target={target}"),
    ];
    run(studies::small(folder, &sets), Existing::Refuse);
    folder.path().join("run/model.safetensors")
}

/// The models that know classes.
fn classifiers() -> impl Iterator<Item = &'static str> {
    let has_classes = |model: &&&dyn Model| model.tasks().contains(&Task::Classification);
    MODELS.iter().filter(has_classes).map(|model| model.name())
}

fn table(folder: &Folder, model: &FittedModel) -> thousandfold::data::table::Table {
    let path = folder.path().join("flowers.csv");
    read_table(&path, &model.meta.preparation.read_options(&DataOptions::new(&path, "").missing)).unwrap()
}

fn refusal(path: &Path) -> String {
    FittedModel::load(path).map(|_| ()).unwrap_err().to_string()
}

/// A file with this metadata and these tensors, each `(name, shape)` of ones.
fn file_of(folder: &Folder, meta: &str, arrays: &[(String, Vec<usize>)]) -> PathBuf {
    use safetensors::tensor::{Dtype, TensorView};
    let bytes: Vec<Vec<u8>> =
        arrays.iter().map(|(_, shape)| 1f32.to_le_bytes().repeat(shape.iter().product())).collect();
    let views = arrays
        .iter()
        .zip(&bytes)
        .map(|((name, shape), bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let info = std::collections::HashMap::from([("thousandfold".to_owned(), meta.to_owned())]);
    let path = folder.path().join("made.safetensors");
    std::fs::write(&path, safetensors::serialize(views.collect::<Vec<_>>(), Some(info)).unwrap()).unwrap();
    path
}

fn shapes(fitted: &FittedModel) -> Vec<(String, Vec<usize>)> {
    fitted.weights.arrays.iter().map(|array| (array.name.clone(), array.shape.clone())).collect()
}

#[test]
fn a_model_predicts_the_same_after_it_was_written_and_read() {
    for name in classifiers() {
        let folder = Folder::new();
        let path = model(&folder, name);
        let fitted = FittedModel::load(&path).unwrap();
        let again = folder.path().join("again.safetensors");
        fitted.save(&again).unwrap();
        let reread = FittedModel::load(&again).unwrap();
        assert_eq!(fitted, reread);
        let table = table(&folder, &fitted);
        let predicted = fitted.predict(&table).unwrap();
        assert_eq!(predicted.dim(), (120, 3));
        assert!(predicted.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-5));
        assert_eq!(predicted, reread.predict(&table).unwrap());
    }
}

#[test]
fn a_model_file_with_a_changed_or_missing_byte_never_brings_the_program_down() {
    for name in MODELS.iter().map(|model| model.name()) {
        let folder = Folder::new();
        let path = model(&folder, name);
        let fitted = FittedModel::load(&path).unwrap();
        let table = table(&folder, &fitted);
        let bytes = std::fs::read(&path).unwrap();
        let damaged = folder.path().join("damaged.safetensors");
        let key = Key::from_seed(11);
        let mut refused = 0;
        for trial in 0..240 {
            let mut bytes = bytes.clone();
            match trial % 3 {
                0 => bytes.truncate(below(key, trial, bytes.len() as u64) as usize),
                // The header, where every length and every name stands, more often than the weights.
                kind => {
                    let end = if kind == 1 { 4000.min(bytes.len()) } else { bytes.len() };
                    let place = below(key, 2 * trial, end as u64) as usize;
                    bytes[place] ^= 1 << below(key, 2 * trial + 1, 8);
                }
            }
            std::fs::write(&damaged, bytes).unwrap();
            match FittedModel::load(&damaged) {
                Err(_) => refused += 1,
                // What is still a model predicts something of every row, or says why not.
                Ok(fitted) => drop(fitted.predict(&table)),
            }
        }
        // Every cut, and many a flipped bit of the header.
        assert!(refused > 90, "{name}: {refused} of 240");
    }
}

#[test]
fn files_that_are_no_model_say_why() {
    let folder = Folder::new();
    let fitted = FittedModel::load(&model(&folder, "mlp")).unwrap();
    let meta = serde_json::to_value(&fitted.meta).unwrap();
    let with = |key: &str, value: serde_json::Value| {
        let mut meta = meta.clone();
        meta[key] = value;
        refusal(&file_of(&folder, &meta.to_string(), &shapes(&fitted)))
    };
    assert!(with("format", 99.into()).contains("format version 99"));
    assert!(with("model", "mpl".into()).contains("did you mean \"mlp\"?"));
    assert!(with("class_names", serde_json::json!(["a"])).contains("classes"));
    assert!(with("class_names", serde_json::json!(["a", "b"])).contains("3 outputs for 2"));
    assert!(with("target", serde_json::json!({ "shift": 0.0, "scale": 0.0 })).contains("target scale"));
    let mut preparation = meta["preparation"].clone();
    preparation["features"] = serde_json::json!([]);
    assert!(with("preparation", preparation.clone()).contains("no feature"));
    preparation["features"] = serde_json::json!(["a"]);
    assert!(with("preparation", preparation.clone()).contains("makes no sense"));
    preparation["features"] = meta["preparation"]["features"].clone();
    preparation["features"].as_array_mut().unwrap().push("z".into());
    assert!(with("preparation", preparation).contains("feature \"z\" comes of no column"));
    let meta = meta.to_string();
    assert!(refusal(&file_of(&folder, "{}", &shapes(&fitted))).contains("format"));
    assert!(refusal(&file_of(&folder, &meta, &[])).contains("layer_0.weight is missing"));
    let mut wider = shapes(&fitted);
    wider.iter_mut().filter(|(name, _)| name == "layer_0.weight").for_each(|(_, shape)| shape[0] += 1);
    assert!(refusal(&file_of(&folder, &meta, &wider)).contains("features"));
    assert!(refusal(&folder.write("text.safetensors", "not a model")).contains("is not a model of thousandfold"));
    assert!(refusal(folder.path()).contains("it is not a file"));
    assert!(refusal(&folder.path().join("nothing")).contains("does not exist"));
}
