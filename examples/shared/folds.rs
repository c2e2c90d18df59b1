//! Prepared folds as the scripts in benches/ write them: little-endian 32-bit words.
//!
//! Number of folds, features, classes; then for each fold its training rows and its validation rows: number of rows,
//! features row by row as floats, class codes.

use ndarray::Array2;
use std::sync::Arc;
use thousandfold::base::random::Key;
use thousandfold::data::{Affine, Fold, Problem, Rows, Target, Task, metrics};
use thousandfold::models::DataShape;

/// The problem in these bytes, for lanes of that budget; `None` where they end early.
pub fn read(bytes: &[u8], budget: u64) -> Option<Arc<Problem>> {
    let mut words = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    let mut next = || words.next();
    let (folds, features, classes) = (next()?, next()? as usize, next()? as usize);
    let mut rows = || {
        let n = next()? as usize;
        let x: Option<Vec<f32>> = (0..n * features).map(|_| next().map(f32::from_bits)).collect();
        let codes: Option<Vec<u32>> = (0..n).map(|_| next()).collect();
        let x = Array2::from_shape_vec((n, features), x?).ok()?;
        Some(Rows { x, y: Target::Classes { codes: codes?, classes } })
    };
    let fold = |fold| {
        let (train, eval) = (rows()?, rows()?);
        let key = Key::from_seed(u64::from(fold));
        Some(Arc::new(Fold { key, train, evals: vec![eval], target: Affine::IDENTITY }))
    };
    let folds: Option<Vec<_>> = (0..folds).map(fold).collect();
    let metric = metrics::find("log_loss").ok()?;
    Some(Arc::new(Problem { task: Task::Classification, outputs: classes, metric, budget, folds: folds? }))
}

/// What the first fold's training rows tell a model.
pub fn shape(problem: &Problem) -> DataShape {
    let (rows, features) = problem.folds[0].train.x.dim();
    DataShape { task: problem.task, rows, features, outputs: problem.outputs }
}
