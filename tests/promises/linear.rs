//! What the tests of the linear models share: scikit-learn's solutions, and the data that they are for.

use ndarray::Array2;
use std::path::Path;
use std::sync::Arc;
use thousandfold::backend::{WeightArray, Weights};
use thousandfold::base::random::Key;
use thousandfold::data::{
    Affine, DataOptions, Dataset, Fold, FoldRows, Input, PrepareOptions, Problem, Rows, Target, Task, prepare_fold,
};
use thousandfold::space::{Domain, Scale, Space, Value};

/// What scikit-learn found.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default)]
pub struct Solution {
    pub data: String,
    pub l2: f64,
    pub alpha: f64,
    pub l1_ratio: f64,
    pub fit_intercept: bool,
    pub positive: bool,
    pub class_weight: String,
    /// Whether row `i` of the table counts for `0.25 + i % 4`.
    pub weighted: bool,
    /// How many of the training rows it was fitted to, all over the table; or all.
    pub rows: Option<usize>,
    /// Of the first held-out rows: values, or decision values.
    pub predictions: serde_json::Value,
    /// Of the smaller sets.
    pub coef: Option<serde_json::Value>,
    pub intercept: Option<serde_json::Value>,
}

impl Default for Solution {
    fn default() -> Solution {
        Solution {
            data: String::new(),
            l2: 1.0,
            alpha: 1.0,
            l1_ratio: 0.5,
            fit_intercept: true,
            positive: false,
            class_weight: "none".to_owned(),
            weighted: false,
            rows: None,
            predictions: serde_json::Value::Null,
            coef: None,
            intercept: None,
        }
    }
}

fn fixture(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file)
}

/// scikit-learn's solutions in a file.
pub fn solutions(file: &str) -> Vec<Solution> {
    let path = fixture("linear").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The fold of a solution: every fifth row of its table is held out, features are standardised by the others. The target is
/// scaled, or class codes where `is_classifier`.
pub fn fold_of(solution: &Solution, is_classifier: bool) -> Fold {
    let mut fold = if solution.data == "mixed" { mixed() } else { standardised(&solution.data, is_classifier) };
    if solution.weighted {
        // Training rows 0, 1, 2, 3, 4 are rows 1, 2, 3, 4, 6 of the table.
        let weight = |i: usize| 0.25 + ((i + i / 4 + 1) % 4) as f32;
        fold.train.weight = Some((0..fold.train.y.len()).map(weight).collect());
    }
    if let Some(rows) = solution.rows {
        fold.train = some_rows(&fold.train, rows);
    }
    fold
}

fn some_rows(rows: &Rows, count: usize) -> Rows {
    let places: Vec<usize> = (0..count).map(|i| i * rows.y.len() / count).collect();
    let y = match &rows.y {
        Target::Classes { codes, classes } => {
            Target::Classes { codes: places.iter().map(|&i| codes[i]).collect(), classes: *classes }
        }
        Target::Values(values) => Target::Values(places.iter().map(|&i| values[i]).collect()),
    };
    Rows::new(rows.x.select(ndarray::Axis(0), &places), y)
}

fn standardised(name: &str, is_classifier: bool) -> Fold {
    let path = fixture(if name == "diabetes" { "linear" } else { "logistic" }).join(format!("{name}.csv"));
    let text = std::fs::read_to_string(path).unwrap();
    let number = |cell: &str| cell.parse::<f64>().unwrap();
    let table: Vec<Vec<f64>> = text.lines().map(|line| line.split(',').map(number).collect()).collect();
    let features = table[0].len() - 1;
    let train: Vec<usize> = (0..table.len()).filter(|i| i % 5 != 0).collect();
    let held_out: Vec<usize> = (0..table.len()).step_by(5).collect();
    let moments: Vec<(f64, f64)> = (0..=features)
        .map(|j| {
            let mean = train.iter().map(|&i| table[i][j]).sum::<f64>() / train.len() as f64;
            let square = train.iter().map(|&i| (table[i][j] - mean).powi(2)).sum::<f64>() / train.len() as f64;
            (mean, square.sqrt())
        })
        .collect();
    let classes = table.iter().map(|row| row[features] as usize + 1).max().unwrap();
    let rows = |places: &[usize]| {
        let targets = places.iter().map(|&i| table[i][features]);
        let y = if is_classifier {
            Target::Classes { codes: targets.map(|y| y as u32).collect(), classes }
        } else {
            Target::Values(targets.map(|y| y as f32).collect())
        };
        let scaled = |(i, j): (usize, usize)| ((table[places[i]][j] - moments[j].0) / moments[j].1) as f32;
        Rows::new(Array2::from_shape_fn((places.len(), features), scaled), y)
    };
    let (shift, scale) = moments[features];
    let target = if is_classifier { Affine::IDENTITY } else { Affine { shift: shift as f32, scale: scale as f32 } };
    Fold::of_numbers(Key::from_seed(1), rows(&train), vec![rows(&held_out)], target)
}

/// The table of categories and missing cells, prepared by this program.
fn mixed() -> Fold {
    let dataset = Dataset::load(&DataOptions::new(fixture("linear").join("mixed.csv"), "y")).unwrap();
    let (evals, train) = (0..180).partition(|row| row % 5 == 0);
    let rows = FoldRows { repeat: 0, fold: 0, train, evals: vec![evals] };
    prepare_fold(&dataset, &rows, &PrepareOptions::default(), Input::Features, Key::from_seed(1)).unwrap().0
}

/// A problem of one fold.
pub fn problem_of(fold: Fold) -> Arc<Problem> {
    let outputs = fold.train.y.outputs();
    let task = if matches!(fold.train.y, Target::Values(_)) { Task::Regression } else { Task::Classification };
    let metric = &crate::support::SquaredError;
    Arc::new(Problem { task, outputs, metric, budget: 1000, folds: vec![Arc::new(fold)] })
}

/// A space in which everything that is held is open, and penalties are any number.
pub fn opened(mut space: Space) -> Space {
    for parameter in &mut space.parameters {
        if let Domain::Fixed(Value::Bool(is_on)) = parameter.domain {
            parameter.default = f64::from(u8::from(is_on));
        }
        let values = |names: &[&str]| names.iter().map(|name| Value::Text((*name).into())).collect();
        parameter.domain = match parameter.name.as_str() {
            "fit_intercept" | "positive" => Domain::Bool,
            "class_weight" => Domain::Categorical(values(&["none", "balanced"])),
            _ => Domain::Float { low: 0.0, high: 1e30, scale: Scale::Linear, step: None },
        };
    }
    space
}

/// A candidate of an opened space from its values by name; the others are the defaults.
pub fn point(space: &Space, values: &[(&str, f64)]) -> Vec<f64> {
    let mut row = space.defaults();
    for (name, value) in values {
        row[space.index(name).unwrap()] = *value;
    }
    row
}

pub fn array<'a>(weights: &'a Weights, name: &str) -> &'a WeightArray {
    weights.arrays.iter().find(|array| array.name == name).unwrap()
}

/// `x w + b` in f64, `[rows][outputs]`.
pub fn decisions(weights: &Weights, rows: &Rows) -> Vec<Vec<f64>> {
    let (weight, intercept) = (array(weights, "weight"), array(weights, "intercept"));
    let of_row = |row: ndarray::ArrayView1<'_, f32>| {
        let outputs = weight.values.chunks_exact(row.len()).zip(&intercept.values);
        let dot = |w: &[f32]| w.iter().zip(row).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
        outputs.map(|(w, b)| dot(w) + f64::from(*b)).collect()
    };
    rows.x.rows().into_iter().map(of_row).collect()
}

/// A number, a list of them or a list of lists, in order.
pub fn numbers(value: &serde_json::Value) -> Vec<f64> {
    match value {
        serde_json::Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

/// The largest distance between two lists of numbers of equal length, as a share of the second's largest.
pub fn distance(found: &[f64], truth: &[f64]) -> f64 {
    assert_eq!(found.len(), truth.len());
    let largest = truth.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let furthest = found.iter().zip(truth).fold(0.0f64, |furthest, (a, b)| furthest.max((a - b).abs()));
    assert!(found.iter().all(|value| value.is_finite()), "{found:?}");
    furthest / largest.max(1e-6)
}
