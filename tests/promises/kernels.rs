//! What the promises of kernel_ridge and svm share: the fixtures' data and candidates.

use ndarray::Array2;
use std::sync::Arc;
use thousandfold::backend::{WeightArray, Weights};
use thousandfold::base::random::Key;
use thousandfold::data::{Affine, Fold, Problem, Rows, Target, Task};
use thousandfold::models::{DataShape, Model};
use thousandfold::space::{Domain, Space, Value};

/// A file of the fixtures of this folder.
pub fn fixture(path: &str) -> String {
    let path = format!("{}/tests/fixtures/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A data set as make.py prepares it: its training rows and every fifth row, which is held out. Numbers to predict are
/// centred and scaled. With `is_weighted` every third training row counts 2.5, the others 0.5.
pub fn prepared(name: &str, is_weighted: bool) -> (Rows, Rows) {
    let own = ["diabetes", "mixed", "mixed_numbers"].contains(&name);
    let folder = if own { "kernels" } else { "logistic" };
    let number = |cell: &str| cell.parse::<f64>().unwrap();
    let table = fixture(&format!("{folder}/{name}.csv"));
    let table: Vec<Vec<f64>> = table.lines().map(|line| line.split(',').map(number).collect()).collect();
    let features = table[0].len() - 1;
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (i, row) in table.into_iter().enumerate() {
        if i % 5 == 0 { held_out.push(row) } else { train.push(row) }
    }
    let n = train.len() as f64;
    let mean = |j: usize| train.iter().map(|row| row[j]).sum::<f64>() / n;
    let spread = |j: usize, mean: f64| (train.iter().map(|row| (row[j] - mean).powi(2)).sum::<f64>() / n).sqrt();
    let moments: Vec<(f64, f64)> = (0..=features).map(|j| (mean(j), spread(j, mean(j)))).collect();
    let has_classes = train.iter().all(|row| row[features].fract() == 0.0 && row[features] < 20.0);
    let classes = train.iter().map(|row| row[features] as usize + 1).max().unwrap();
    let rows = |table: &[Vec<f64>]| {
        let scaled = |i: usize, j: usize| ((table[i][j] - moments[j].0) / moments[j].1) as f32;
        let y = match has_classes {
            true => Target::Classes { codes: table.iter().map(|row| row[features] as u32).collect(), classes },
            false => Target::Values((0..table.len()).map(|i| scaled(i, features)).collect()),
        };
        Rows::new(Array2::from_shape_fn((table.len(), features), |(i, j)| scaled(i, j)), y)
    };
    let (mut train, held_out) = (rows(&train), rows(&held_out));
    if is_weighted {
        train.weight = Some((0..train.y.len()).map(|i| if i % 3 == 0 { 2.5 } else { 0.5 }).collect());
    }
    (train, held_out)
}

/// One fold of these rows.
pub fn problem_of(train: Rows, evals: Vec<Rows>, budget: u64) -> Arc<Problem> {
    let outputs = train.y.outputs();
    let task = if matches!(train.y, Target::Values(_)) { Task::Regression } else { Task::Classification };
    let fold = Arc::new(Fold::of_numbers(Key::from_seed(1), train, evals, Affine::IDENTITY));
    Arc::new(Problem { task, outputs, metric: &crate::support::SquaredError, budget, folds: vec![fold] })
}

/// A model's space with room for every number, and what it holds opened.
pub fn open_space(model: &dyn Model, problem: &Problem) -> Space {
    let (rows, features) = problem.folds[0].train.x.dim();
    let mut space = model.space(DataShape { task: problem.task, rows, features, outputs: problem.outputs });
    for parameter in &mut space.parameters {
        match &mut parameter.domain {
            Domain::Float { low, high, .. } => (*low, *high) = (0.0, 1e30),
            Domain::Int { low, high, .. } => (*low, *high) = (1, 30),
            Domain::Fixed(_) => {
                let scale = thousandfold::space::Scale::Linear;
                parameter.domain = Domain::Float { low: 0.0, high: 1e30, scale, step: None };
            }
            _ => {}
        }
    }
    space
}

/// The defaults with these values.
pub fn point(space: &Space, set: &[(&str, Value)]) -> Vec<f64> {
    let named = set.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    space.row(&named).unwrap_or_else(|| panic!("no candidate has {set:?}"))
}

pub fn array<'a>(weights: &'a Weights, name: &str) -> &'a WeightArray {
    weights.arrays.iter().find(|array| array.name == name).unwrap()
}

pub fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}
