//! Which rows are locked away for the test, and which rows each fold trains on and is scored on.
//!
//! Everything is integers and keyed shuffles: same seed, same rows, on every platform.

mod assign;

use super::dataset::Dataset;
use super::problem::FoldRows;
use super::table::{Cells, Column, MISSING};
use super::{Target, Task};
use crate::base::random::{Key, stream};
use assign::{contiguous_parts, deal, deal_by_class, deal_groups, time_order};
use serde::{Deserialize, Serialize};

/// How rows become folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By a fold column, time or groups where the data have them; else stratified for classes, k-fold for numbers.
    #[default]
    Auto,
    /// Random parts of equal size.
    KFold,
    /// Parts with equal shares of every class.
    Stratified,
    /// Parts that split no group.
    Group,
    /// Each fold is validated on what comes after its training rows; windows expand.
    TimeSeries,
    /// One random part.
    HoldOut,
    /// The parts that a column names.
    Column,
}

impl Method {
    /// Its name in studies.
    pub fn name(self) -> &'static str {
        match self {
            Method::Auto => "auto",
            Method::KFold => "k_fold",
            Method::Stratified => "stratified",
            Method::Group => "group",
            Method::TimeSeries => "time_series",
            Method::HoldOut => "hold_out",
            Method::Column => "column",
        }
    }
}

/// The `[validate]` section of a study, but for its metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidateOptions {
    /// How rows become folds.
    pub method: Method,
    /// Number of folds, 2 or more.
    pub folds: u32,
    /// How often all folds are drawn anew.
    pub repeats: u32,
    /// `hold_out`: share of the rows to validate on.
    pub hold_out: f64,
    /// Parts of the outer loop of nested cross-validation; 0 for none.
    pub outer_folds: u32,
    /// The score; the task's default where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
}

impl Default for ValidateOptions {
    fn default() -> ValidateOptions {
        ValidateOptions { method: Method::Auto, folds: 5, repeats: 1, hold_out: 0.2, outer_folds: 0, metric: None }
    }
}

/// Why rows cannot be split as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A class would be missing in a fold.
    #[error(
        "class \"{class}\" has {rows} row(s) outside the test rows, fewer than the {folds} folds\n  Take fewer folds: --folds {rows}, drop the class's rows, or split without classes: --set validate.method=k_fold"
    )]
    FewRowsInClass {
        /// The class.
        class: String,
        /// Its rows outside the test.
        rows: u64,
        /// What was asked for.
        folds: u32,
    },
    /// Not even a row a fold.
    #[error("{rows} row(s) are too few for {folds} folds\n  Take fewer folds: --folds 2")]
    FewRows {
        /// Rows outside the test.
        rows: u64,
        /// What was asked for.
        folds: u32,
    },
    /// Not even a group a fold.
    #[error(
        "column \"{column}\" has {groups} group(s), fewer than the {folds} folds\n  Take fewer folds: --folds {groups}"
    )]
    FewGroups {
        /// The group column.
        column: String,
        /// Its groups outside the test.
        groups: u64,
        /// What was asked for.
        folds: u32,
    },
    /// A fold column with one value only.
    #[error("column \"{column}\" names {folds} fold(s); two or more are needed")]
    FewNamedFolds {
        /// The fold column.
        column: String,
        /// Its distinct values.
        folds: u64,
    },
    /// A method without the column that it needs.
    #[error("validate.method = \"{method}\" needs a column that names {role}\n  Say which: [data] {key} = \"...\"")]
    NeedsColumn {
        /// The method.
        method: &'static str,
        /// What the column would hold.
        role: &'static str,
        /// The key that names the column.
        key: &'static str,
    },
    /// Stratifying needs classes.
    #[error("validate.method = \"stratified\" needs classes, and the target is numbers\n  Use \"k_fold\"")]
    NoClasses,
    /// A number out of its range.
    #[error("{key} = {value} is not possible: {need}")]
    OutOfRange {
        /// The key in the study.
        key: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        need: &'static str,
    },
}

/// All splits of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splits {
    /// Rows locked away until the end, ascending.
    pub test: Vec<u32>,
    /// All other rows, ascending.
    pub pool: Vec<u32>,
    /// What candidates train on and are scored on.
    pub folds: Vec<FoldRows>,
    /// Nested cross-validation: its outer parts; empty without it.
    pub outer: Vec<OuterPart>,
}

/// One outer part of nested cross-validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OuterPart {
    /// The part's rows: the search for it never sees them.
    pub test: Vec<u32>,
    /// All other rows of the pool.
    pub train: Vec<u32>,
    /// Its inner folds, each as (index into [`Splits::folds`], index of the row set to score).
    pub inner: Vec<(usize, usize)>,
}

/// The part of rows that is locked away where a study says nothing.
const TEST_SHARE: f64 = 0.2;

/// Draws all splits of a data set. `test` is the share that `[data] test` names.
pub fn split(dataset: &Dataset, test: Option<f64>, options: &ValidateOptions, key: Key) -> Result<Splits, SplitError> {
    check(test, options)?;
    let method = resolve(dataset, options.method)?;
    let test = test_rows(dataset, test, options, key);
    let mut is_test = vec![false; dataset.rows()];
    test.iter().for_each(|&row| is_test[row as usize] = true);
    let pool: Vec<u32> = (0..dataset.rows() as u32).filter(|&row| !is_test[row as usize]).collect();
    let key = key.child(stream::FOLDS);
    if options.outer_folds > 0 {
        let parts = parts(dataset, &pool, method, options.outer_folds, key.child(0))?;
        let (folds, outer) = nested(&pool, &parts);
        return Ok(Splits { test, pool, folds, outer });
    }
    let mut folds = Vec::new();
    for repeat in 0..options.repeats {
        let key = key.child(repeat);
        match method {
            Method::TimeSeries => folds.extend(time_series(dataset, &pool, options.folds)?),
            Method::HoldOut => folds.push(hold_out(dataset, &pool, options.hold_out, repeat, key)?),
            _ => {
                let parts = parts(dataset, &pool, method, options.folds, key)?;
                folds.extend(parts.into_iter().enumerate().map(|(fold, part)| FoldRows {
                    repeat,
                    fold: fold as u32,
                    train: without(&pool, &part),
                    evals: vec![part],
                }));
            }
        }
    }
    Ok(Splits { test, pool, folds, outer: Vec::new() })
}

fn check(test: Option<f64>, options: &ValidateOptions) -> Result<(), SplitError> {
    let out_of_range = |key, value: String, need| Err(SplitError::OutOfRange { key, value, need });
    let is_nested = options.outer_folds > 0;
    match () {
        () if test.is_some_and(|share| !(0.0..1.0).contains(&share)) => {
            out_of_range("data.test", test.unwrap_or(0.0).to_string(), "a share of the rows from 0 to below 1")
        }
        () if options.folds < 2 => out_of_range(
            "validate.folds",
            options.folds.to_string(),
            "2 or more; for one split use validate.method = \"hold_out\"",
        ),
        () if options.repeats < 1 => out_of_range("validate.repeats", options.repeats.to_string(), "1 or more"),
        () if !(options.hold_out > 0.0 && options.hold_out < 1.0) => {
            out_of_range("validate.hold_out", options.hold_out.to_string(), "a share of the rows between 0 and 1")
        }
        () if is_nested && options.outer_folds < 3 => out_of_range(
            "validate.outer_folds",
            options.outer_folds.to_string(),
            "0, or 3 or more: the inner folds are the other outer ones",
        ),
        () if is_nested && options.repeats > 1 => {
            out_of_range("validate.repeats", options.repeats.to_string(), "1 with outer_folds")
        }
        () if is_nested && matches!(options.method, Method::TimeSeries | Method::HoldOut) => out_of_range(
            "validate.outer_folds",
            options.outer_folds.to_string(),
            "0 with this validate.method, whose folds are no parts of the rows",
        ),
        () => Ok(()),
    }
}

fn resolve(dataset: &Dataset, method: Method) -> Result<Method, SplitError> {
    let needs = |has: bool, role, key| {
        if has { Ok(method) } else { Err(SplitError::NeedsColumn { method: method.name(), role, key }) }
    };
    match method {
        Method::Auto => Ok(match dataset.task {
            _ if dataset.fold.is_some() => Method::Column,
            _ if dataset.time.is_some() => Method::TimeSeries,
            _ if dataset.group.is_some() => Method::Group,
            Task::Classification => Method::Stratified,
            Task::Regression => Method::KFold,
        }),
        Method::Group => needs(dataset.group.is_some(), "each row's group", "group"),
        Method::Column => needs(dataset.fold.is_some(), "each row's fold", "fold"),
        Method::Stratified if dataset.task == Task::Regression => Err(SplitError::NoClasses),
        _ => Ok(method),
    }
}

/// The locked test rows: what the data say, else a share of the rows; in time order the last ones, whole groups where
/// there are groups, with equal shares of every class where there are classes.
fn test_rows(dataset: &Dataset, share: Option<f64>, options: &ValidateOptions, key: Key) -> Vec<u32> {
    if let Some(rows) = &dataset.test_rows {
        return rows.clone();
    }
    let default = if options.outer_folds > 0 { 0.0 } else { TEST_SHARE };
    let all: Vec<u32> = (0..dataset.rows() as u32).collect();
    random_part(dataset, &all, share.unwrap_or(default), key.child(stream::TEST_SPLIT))
}

/// About `share` of the rows, ascending.
fn random_part(dataset: &Dataset, rows: &[u32], share: f64, key: Key) -> Vec<u32> {
    let wanted = (rows.len() as f64 * share).round() as usize;
    if wanted == 0 {
        return Vec::new();
    }
    let mut part = if let Some(time) = &dataset.time {
        let order = time_order(time, rows);
        order[order.len() - wanted..].to_vec()
    } else if let Some(group) = &dataset.group {
        assign::some_groups(&codes_of(group), rows, wanted, key)
    } else {
        match &dataset.target {
            Target::Classes { codes, .. } => assign::some_of_each_class(codes, rows, wanted, key),
            Target::Values(_) => assign::some(rows, wanted, key),
        }
    };
    part.sort_unstable();
    part
}

/// Disjoint parts that together are the pool (but for rows that a fold column leaves to training).
fn parts(dataset: &Dataset, pool: &[u32], method: Method, folds: u32, key: Key) -> Result<Vec<Vec<u32>>, SplitError> {
    if method != Method::Column && pool.len() < folds as usize {
        return Err(SplitError::FewRows { rows: pool.len() as u64, folds });
    }
    match (method, &dataset.group, &dataset.fold, &dataset.target) {
        (Method::Group, Some(group), ..) => {
            let codes = codes_of(group);
            let groups = distinct(pool.iter().map(|&row| codes[row as usize])).len() as u64;
            if groups < u64::from(folds) {
                return Err(SplitError::FewGroups { column: group.name.clone(), groups, folds });
            }
            Ok(deal_groups(&codes, pool, folds as usize, key))
        }
        (Method::Column, _, Some(column), _) => {
            let codes = codes_of(column);
            let names = distinct(pool.iter().map(|&row| codes[row as usize]).filter(|&code| code != MISSING));
            if names.len() < 2 {
                return Err(SplitError::FewNamedFolds { column: column.name.clone(), folds: names.len() as u64 });
            }
            let rows_of = |name: &u32| pool.iter().copied().filter(|&row| codes[row as usize] == *name).collect();
            Ok(names.iter().map(rows_of).collect())
        }
        (Method::Stratified, .., Target::Classes { codes, classes }) => {
            let mut counts = vec![0u64; *classes];
            pool.iter().for_each(|&row| counts[codes[row as usize] as usize] += 1);
            let few =
                (0..*classes).filter(|&class| counts[class] < u64::from(folds)).min_by_key(|&class| counts[class]);
            if let Some(class) = few {
                let name = dataset.class_names.get(class).cloned().unwrap_or_default();
                return Err(SplitError::FewRowsInClass { class: name, rows: counts[class], folds });
            }
            Ok(deal_by_class(codes, pool, folds as usize, key))
        }
        _ => Ok(deal(pool, folds as usize, key)),
    }
}

/// Expanding windows, as scikit-learn's TimeSeriesSplit cuts them: the first window and each validation part are
/// `1 / (folds + 1)` of the rows. Rows of one time stay together.
fn time_series(dataset: &Dataset, pool: &[u32], folds: u32) -> Result<Vec<FoldRows>, SplitError> {
    if pool.len() <= folds as usize {
        return Err(SplitError::FewRows { rows: pool.len() as u64, folds });
    }
    let order = match &dataset.time {
        Some(time) => time_order(time, pool),
        None => pool.to_vec(),
    };
    let times = dataset.time.as_ref().map(codes_of);
    let is_same_time = |a: u32, b: u32| times.as_ref().is_some_and(|codes| codes[a as usize] == codes[b as usize]);
    let bounds = contiguous_parts(&order, folds as usize + 1, is_same_time);
    if bounds.windows(2).any(|bound| bound[0] >= bound[1]) {
        return Err(SplitError::FewRows { rows: pool.len() as u64, folds });
    }
    Ok((1..=folds as usize)
        .map(|fold| {
            let sorted = |rows: &[u32]| {
                let mut rows = rows.to_vec();
                rows.sort_unstable();
                rows
            };
            FoldRows {
                repeat: 0,
                fold: fold as u32 - 1,
                train: sorted(&order[..bounds[fold]]),
                evals: vec![sorted(&order[bounds[fold]..bounds[fold + 1]])],
            }
        })
        .collect())
}

fn hold_out(dataset: &Dataset, pool: &[u32], share: f64, repeat: u32, key: Key) -> Result<FoldRows, SplitError> {
    let part = random_part(dataset, pool, share, key);
    let train = without(pool, &part);
    if part.is_empty() || train.is_empty() {
        return Err(SplitError::FewRows { rows: pool.len() as u64, folds: 2 });
    }
    Ok(FoldRows { repeat, fold: 0, train, evals: vec![part] })
}

/// Nested cross-validation: the inner folds of an outer part are the other outer parts, so a pair of parts is left out
/// of the same training rows whichever of the two is the outer one. One lane is scored on both.
fn nested(pool: &[u32], parts: &[Vec<u32>]) -> (Vec<FoldRows>, Vec<OuterPart>) {
    let mut outer: Vec<OuterPart> = parts
        .iter()
        .map(|part| OuterPart { test: part.clone(), train: without(pool, part), inner: Vec::new() })
        .collect();
    let mut folds = Vec::new();
    for a in 0..parts.len() {
        for b in a + 1..parts.len() {
            // The search for part a is scored on b, the search for part b on a.
            outer[a].inner.push((folds.len(), 1));
            outer[b].inner.push((folds.len(), 0));
            folds.push(FoldRows {
                repeat: 0,
                fold: folds.len() as u32,
                train: without(&outer[a].train, &parts[b]),
                evals: vec![parts[a].clone(), parts[b].clone()],
            });
        }
    }
    (folds, outer)
}

/// The rows of `all` that are not in `part`; both ascending.
fn without(all: &[u32], part: &[u32]) -> Vec<u32> {
    all.iter().copied().filter(|row| part.binary_search(row).is_err()).collect()
}

fn distinct(codes: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut codes: Vec<u32> = codes.collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// A column's cells as codes in ascending order of their values.
fn codes_of(column: &Column) -> Vec<u32> {
    match &column.cells {
        Cells::Categories(categories) => categories.codes.clone(),
        Cells::Numbers(values) => super::table::Categories::from_numbers(values).codes,
    }
}
