//! Columns that look wrong to learn from: ids, and features that give the target away.
//!
//! Both are promises about every row, so most columns are cleared by a few thousand rows already.

use super::Target;
use super::note::{Leak, Note};
use super::table::{Categories, Cells, Column, MISSING, Table};
use rayon::prelude::*;

/// Rows that are looked at first.
const SAMPLE_ROWS: usize = 2_000;
/// Below this many rows, distinct or separating values are too likely by chance.
const ROWS_LEAST: usize = 30;
/// A correlation above this is taken for the target itself.
const CORRELATION: f64 = 0.9999;

/// Warnings, column by column.
pub(super) fn warnings(features: &Table, target: &Target) -> Vec<Note> {
    if features.rows < ROWS_LEAST {
        return Vec::new();
    }
    let all: Vec<u32> = (0..features.rows as u32).collect();
    let sample: Vec<u32> = all.iter().copied().step_by(features.rows.div_ceil(SAMPLE_ROWS)).collect();
    let warn = |column: &Column| {
        let leak = match target {
            Target::Classes { codes, classes } => [&sample, &all]
                .into_iter()
                .all(|rows| separates(column, codes, *classes, rows))
                .then_some(Leak::Separates),
            Target::Values(values) => {
                correlation(column, values).filter(|r| r.abs() > CORRELATION).map(Leak::Correlates)
            }
        };
        let name = column.name.clone();
        match leak {
            Some(how) => Some(Note::LeaksTarget { column: name, how }),
            None => [&sample, &all]
                .into_iter()
                .all(|rows| is_id(column, rows))
                .then_some(Note::LooksLikeId { column: name }),
        }
    };
    features.columns.par_iter().filter_map(warn).collect()
}

/// Whether integers or texts differ in all of these rows. Measurements often differ too, so other numbers do not count.
fn is_id(column: &Column, rows: &[u32]) -> bool {
    match &column.cells {
        Cells::Numbers(values) => {
            let mut cells: Vec<f64> = rows.iter().map(|&row| values[row as usize]).collect();
            if cells.iter().any(|value| value.fract() != 0.0) {
                return false;
            }
            cells.sort_unstable_by(f64::total_cmp);
            cells.windows(2).all(|pair| pair[0] != pair[1])
        }
        Cells::Categories(Categories { codes, levels }) => {
            let mut seen = vec![false; levels.len()];
            rows.iter().all(|&row| {
                let code = codes[row as usize];
                code != MISSING && !std::mem::replace(&mut seen[code as usize], true)
            })
        }
    }
}

/// Whether the column alone tells the class in all of these rows: each class is one interval of numbers, or each category
/// has one class.
fn separates(column: &Column, classes: &[u32], class_count: usize, rows: &[u32]) -> bool {
    match &column.cells {
        Cells::Numbers(values) => {
            let mut cells: Vec<(f64, u32)> =
                rows.iter().map(|&row| (values[row as usize], classes[row as usize])).collect();
            if cells.iter().any(|(value, _)| value.is_nan()) {
                return false;
            }
            cells.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let changes = cells.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
            let is_ambiguous = cells.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1);
            changes < class_count && !is_ambiguous
        }
        Cells::Categories(Categories { codes, levels }) => {
            // With categories about as rare as rows, each has one class by chance.
            if levels.len() > class_count.max(ROWS_LEAST) {
                return false;
            }
            let mut class_of = vec![None; levels.len()];
            rows.iter().all(|&row| {
                let (code, class) = (codes[row as usize], classes[row as usize]);
                code != MISSING && *class_of[code as usize].get_or_insert(class) == class
            })
        }
    }
}

/// Pearson's correlation of a numeric column without missing cells with the target.
fn correlation(column: &Column, target: &[f32]) -> Option<f64> {
    let Cells::Numbers(values) = &column.cells else { return None };
    let n = values.len() as f64;
    let mean_x = values.iter().sum::<f64>() / n;
    let mean_y = target.iter().map(|&y| f64::from(y)).sum::<f64>() / n;
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (&x, &y) in values.iter().zip(target) {
        let (dx, dy) = (x - mean_x, f64::from(y) - mean_y);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    let r = xy / (xx * yy).sqrt();
    r.is_finite().then_some(r)
}
