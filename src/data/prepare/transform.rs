//! Applies a fitted preparation to rows. Every cell is computed alone, so threads change no bit.

use super::super::error::DataError;
use super::super::table::{Categories, Cells, Column, MISSING, Table};
use super::{CategoryPlan, CodePlan, NumberPlan, Plan, Preparation};
use ndarray::Array2;
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashMap;

/// Rows of a block that one thread fills: enough to amortise the walk over columns, few enough to stay in cache.
const BLOCK_ROWS: usize = 256;

impl Preparation {
    /// Features of these rows, `[rows, features]`, all finite but for missing cells of [`super::super::Input::Columns`].
    /// Columns are matched by name; those that the preparation does not know are ignored. A category that the training rows
    /// did not have falls into the unknown bucket, where there is none into the rare bucket, and otherwise belongs to no
    /// category.
    pub fn transform(&self, table: &Table, rows: &[u32]) -> Result<Array2<f32>, DataError> {
        let bound = self.bind(table)?;
        let width = self.features.len();
        let mut x = vec![0_f32; rows.len() * width];
        x.par_chunks_mut((BLOCK_ROWS * width).max(1)).zip(rows.par_chunks(BLOCK_ROWS)).for_each(|(block, rows)| {
            for column in &bound {
                column.fill(block, width, rows);
            }
        });
        Ok(Array2::from_shape_vec((rows.len(), width), x).expect("one value for every row and feature"))
    }

    /// How many cells of each column hold a category that the training rows did not have, for columns with any.
    pub fn unknown_cells(&self, table: &Table, rows: &[u32]) -> Result<Vec<(String, usize)>, DataError> {
        let count = |column: &Bound<'_>| match column {
            Bound::Number { .. } | Bound::Cell { .. } => 0,
            Bound::Code { codes, by_code, .. } => {
                let codes = rows.iter().map(|&row| codes[row as usize]);
                codes.filter(|&code| code != MISSING && by_code[code as usize].is_nan()).count()
            }
            Bound::Category { codes, is_known, .. } => {
                let codes = rows.iter().map(|&row| codes[row as usize]);
                codes.filter(|&code| code != MISSING && !is_known[code as usize]).count()
            }
        };
        let counts = self.bind(table)?.iter().map(count).zip(self.columns()).collect::<Vec<_>>();
        Ok(counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, name)| (name.to_owned(), n)).collect())
    }

    /// Pairs every plan with its column of a table.
    fn bind<'a>(&'a self, table: &'a Table) -> Result<Vec<Bound<'a>>, DataError> {
        let by_name: HashMap<&str, &Column> =
            table.columns.iter().map(|column| (column.name.as_str(), column)).collect();
        let missing: Vec<String> =
            self.columns().filter(|name| !by_name.contains_key(name)).map(str::to_owned).collect();
        if !missing.is_empty() {
            return Err(DataError::MissingColumns { path: table.source.clone(), columns: missing });
        }
        let bind = |plan: &'a Plan| {
            let column = by_name[plan.name()];
            match (plan, &column.cells) {
                (Plan::Number(plan), Cells::Numbers(values)) => Ok(Bound::Number { plan, values }),
                (Plan::Category(plan), Cells::Categories(categories)) => {
                    Ok(bind_category(plan, Cow::Borrowed(categories)))
                }
                // Codes that were declared categories in the study may look like numbers elsewhere.
                (Plan::Category(plan), Cells::Numbers(values)) => {
                    Ok(bind_category(plan, Cow::Owned(Categories::from_numbers(values))))
                }
                (Plan::Cell(plan), Cells::Numbers(values)) => Ok(Bound::Cell { feature: plan.feature, values }),
                (Plan::Code(plan), Cells::Categories(categories)) => Ok(bind_code(plan, Cow::Borrowed(categories))),
                (Plan::Code(plan), Cells::Numbers(values)) => {
                    Ok(bind_code(plan, Cow::Owned(Categories::from_numbers(values))))
                }
                (Plan::Number(_) | Plan::Cell(_), Cells::Categories(categories)) => Err(DataError::OtherKind {
                    path: table.source.clone(),
                    column: plan.name().to_owned(),
                    found: "categories",
                    expected: "numbers",
                    text: categories.first_text(),
                }),
            }
        };
        self.columns.iter().map(bind).collect()
    }
}

/// A plan with the cells it is applied to.
enum Bound<'a> {
    Number {
        plan: &'a NumberPlan,
        values: &'a [f64],
    },
    Category {
        codes: Cow<'a, [u32]>,
        /// The feature of each of the table's codes.
        features: Vec<Option<u32>>,
        is_known: Vec<bool>,
        missing: Option<u32>,
    },
    Cell {
        feature: Option<u32>,
        values: &'a [f64],
    },
    Code {
        feature: Option<u32>,
        codes: Cow<'a, [u32]>,
        /// What each of the table's codes becomes; NaN for levels that the training rows do not have.
        by_code: Vec<f32>,
    },
}

fn bind_code<'a>(plan: &CodePlan, categories: Cow<'a, Categories>) -> Bound<'a> {
    let known: HashMap<&str, f32> =
        plan.levels.iter().enumerate().map(|(code, level)| (level.as_str(), code as f32)).collect();
    let by_code = categories.levels.iter().map(|level| known.get(level.as_str()).copied().unwrap_or(f32::NAN));
    let by_code = by_code.collect();
    Bound::Code { feature: plan.feature, codes: codes_of(categories), by_code }
}

fn codes_of(categories: Cow<'_, Categories>) -> Cow<'_, [u32]> {
    match categories {
        Cow::Borrowed(categories) => Cow::Borrowed(categories.codes.as_slice()),
        Cow::Owned(categories) => Cow::Owned(categories.codes),
    }
}

fn bind_category<'a>(plan: &CategoryPlan, categories: Cow<'a, Categories>) -> Bound<'a> {
    let known: HashMap<&str, Option<u32>> =
        plan.levels.iter().map(|(level, feature)| (level.as_str(), *feature)).collect();
    let unseen = plan.unknown.or(plan.rare);
    let found: Vec<Option<&Option<u32>>> = categories.levels.iter().map(|level| known.get(level.as_str())).collect();
    let features = found.iter().map(|feature| feature.copied().unwrap_or(unseen)).collect();
    let is_known = found.iter().map(Option::is_some).collect();
    let missing = match &plan.fill {
        Some(level) => known.get(level.as_str()).copied().flatten(),
        None => unseen,
    };
    Bound::Category { codes: codes_of(categories), features, is_known, missing }
}

impl Bound<'_> {
    /// Writes this column's features of a block of rows, which holds zeros.
    fn fill(&self, block: &mut [f32], width: usize, rows: &[u32]) {
        match self {
            Bound::Number { plan, values } => {
                if let Some(feature) = plan.value {
                    for (features, &row) in block.chunks_exact_mut(width).zip(rows) {
                        let cell = values[row as usize];
                        let cell = if cell.is_nan() { plan.fill } else { cell };
                        features[feature as usize] = finite((cell - plan.shift) / plan.scale);
                    }
                }
                if let Some(feature) = plan.indicator {
                    for (features, &row) in block.chunks_exact_mut(width).zip(rows) {
                        features[feature as usize] = f32::from(values[row as usize].is_nan());
                    }
                }
            }
            Bound::Cell { feature, values } => {
                let Some(feature) = feature else { return };
                for (features, &row) in block.chunks_exact_mut(width).zip(rows) {
                    let cell = values[row as usize];
                    features[*feature as usize] = if cell.is_nan() { f32::NAN } else { finite(cell) };
                }
            }
            Bound::Code { feature, codes, by_code } => {
                let Some(feature) = feature else { return };
                for (features, &row) in block.chunks_exact_mut(width).zip(rows) {
                    let code = codes[row as usize];
                    features[*feature as usize] = if code == MISSING { f32::NAN } else { by_code[code as usize] };
                }
            }
            Bound::Category { codes, features: by_code, missing, .. } => {
                for (features, &row) in block.chunks_exact_mut(width).zip(rows) {
                    let code = codes[row as usize];
                    let feature = if code == MISSING { *missing } else { by_code[code as usize] };
                    if let Some(feature) = feature {
                        features[feature as usize] = 1.0;
                    }
                }
            }
        }
    }
}

/// The nearest finite f32: a cell far beyond the training rows may exceed its range.
fn finite(value: f64) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32 }
}
