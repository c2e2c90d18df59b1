//! Prepared folds as the scripts in benches/ write them: little-endian 32-bit words.
//!
//! Number of folds, features, classes (0 for numbers), 1 if rows have weights, 1 if numbers are scaled for training as a
//! study scales them; the categories of each feature (0 for numbers); then for each fold its training rows and its
//! validation rows: number of rows, features row by row as floats, class codes or numbers, weights if there are any.

use ndarray::Array2;
use std::sync::Arc;
use thousandfold::base::random::Key;
use thousandfold::data::metrics::Metric;
use thousandfold::data::prepare::{TargetScale, fit_target};
use thousandfold::data::{ColumnKind, Fold, Problem, Rows, Target, Task, metrics};
use thousandfold::models::DataShape;

/// The problem in these bytes, for lanes of that budget; `None` where they end early.
pub fn read(bytes: &[u8], budget: u64) -> Option<Arc<Problem>> {
    let mut words = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    let mut next = || words.next();
    let (folds, features, classes) = (next()?, next()? as usize, next()? as usize);
    let (has_weights, is_scaled) = (next()? == 1, next()? == 1);
    let kind = |levels| if levels == 0 { ColumnKind::Number } else { ColumnKind::Category { levels } };
    let columns: Arc<[ColumnKind]> = (0..features).map(|_| next().map(kind)).collect::<Option<_>>()?;
    let mut rows = || {
        let n = next()? as usize;
        let mut floats = |count| (0..count).map(|_| next().map(f32::from_bits)).collect::<Option<Vec<f32>>>();
        let x = Array2::from_shape_vec((n, features), floats(n * features)?).ok()?;
        let y = floats(n)?;
        let weight = if has_weights { Some(floats(n)?) } else { None };
        let y = match classes {
            0 => Target::Values(y),
            _ => Target::Classes { codes: y.into_iter().map(f32::to_bits).collect(), classes },
        };
        Some(Rows { x, y, weight })
    };
    let fold = |fold| {
        let (train, eval) = (rows()?, rows()?);
        let all: Vec<u32> = (0..train.y.len() as u32).collect();
        let scale = if is_scaled { TargetScale::Standard } else { TargetScale::None };
        let target = fit_target(&train.y, &all, scale);
        let key = Key::from_seed(u64::from(fold));
        let columns = columns.clone();
        Some(Arc::new(Fold { key, train, evals: vec![eval], may_stop_early: true, target, columns }))
    };
    let folds: Option<Vec<_>> = (0..folds).map(fold).collect();
    let task = if classes == 0 { Task::Regression } else { Task::Classification };
    let metric: &'static dyn Metric = metrics::default_for(task);
    Some(Arc::new(Problem { task, outputs: classes.max(1), metric, budget, folds: folds? }))
}

/// What the first fold's training rows tell a model.
pub fn shape(problem: &Problem) -> DataShape {
    let (rows, features) = problem.folds[0].train.x.dim();
    DataShape { task: problem.task, rows, features, outputs: problem.outputs }
}
