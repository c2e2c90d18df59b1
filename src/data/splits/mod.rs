//! Which rows are locked away for the test, and which rows each fold trains on and is scored on.
//!
//! Everything is integers and keyed shuffles: same seed, same rows, on every platform.

mod assign;
mod error;
mod subsets;
mod timeline;

pub use error::{Asked, SplitError};
pub use subsets::Subsets;

use super::dataset::Dataset;
use super::note::Note;
use super::problem::FoldRows;
use super::table::{Cells, Column, MISSING};
use super::{Target, Task};
use crate::base::random::{Key, stream};
use assign::{deal, deal_by_class, deal_groups};
use serde::{Deserialize, Serialize};
use timeline::Timeline;

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

impl OuterPart {
    /// Inner folds whose lanes did not see the part even where they stop by the first row set that they score.
    pub fn unseen(&self) -> impl Iterator<Item = usize> {
        self.inner.iter().filter(|(_, eval)| *eval == 0).map(|(fold, _)| *fold)
    }
}

/// The part of rows that is locked away where a study says nothing.
const TEST_SHARE: f64 = 0.2;

/// Draws all splits of a data set. `test` is the share that `[data] test` names.
pub fn split(dataset: &Dataset, test: Option<f64>, options: &ValidateOptions, key: Key) -> Result<Splits, SplitError> {
    let method = resolve(dataset, options.method)?;
    check(dataset, test, method, options)?;
    let test = test_rows(dataset, test, method, options, key)?;
    let mut is_test = vec![false; dataset.rows()];
    test.iter().for_each(|&row| is_test[row as usize] = true);
    let pool: Vec<u32> = (0..dataset.rows() as u32).filter(|&row| !is_test[row as usize]).collect();
    let key = key.child(stream::FOLDS);
    if options.outer_folds > 0 {
        let asked = Asked { parts: options.outer_folds, key: "validate.outer_folds" };
        let parts = parts(dataset, &pool, method, asked, key.child(0))?;
        let (folds, outer) = nested(&pool, &parts);
        return Ok(Splits { test, pool, folds, outer });
    }
    let asked = Asked { parts: options.folds, key: "validate.folds" };
    let mut folds = Vec::new();
    for repeat in 0..options.repeats {
        let key = key.child(repeat);
        match method {
            Method::TimeSeries => folds.extend(time_series(dataset, &pool, asked)?),
            Method::HoldOut => folds.push(hold_out(dataset, &pool, options.hold_out, repeat, key)?),
            _ => {
                let parts = parts(dataset, &pool, method, asked, key)?;
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

/// Whether options, method and columns go together; `method` is resolved.
fn check(dataset: &Dataset, test: Option<f64>, method: Method, options: &ValidateOptions) -> Result<(), SplitError> {
    let out_of_range = |key, value: String, need| Err(SplitError::OutOfRange { key, value, need });
    let is_nested = options.outer_folds > 0;
    // The same folds again would train the same lanes again.
    let is_drawn = match method {
        Method::TimeSeries | Method::Column => false,
        Method::HoldOut => dataset.time.is_none(),
        _ => true,
    };
    match (&dataset.group, &dataset.time) {
        (Some(group), Some(time)) => {
            let (group, time) = (group.name.clone(), time.name.clone());
            return Err(SplitError::GroupsAndTime { group, time });
        }
        (Some(group), None) if matches!(method, Method::KFold | Method::Stratified | Method::TimeSeries) => {
            return Err(SplitError::SplitsGroups { method: method.name(), column: group.name.clone() });
        }
        _ => {}
    }
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
        () if is_nested && matches!(method, Method::TimeSeries | Method::HoldOut) => out_of_range(
            "validate.outer_folds",
            options.outer_folds.to_string(),
            "0 with time_series or hold_out, whose folds are no parts of the rows",
        ),
        () if !is_drawn && options.repeats > 1 => out_of_range(
            "validate.repeats",
            options.repeats.to_string(),
            "1 where a column or the order of time decides the folds: they would be the same again",
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
fn test_rows(
    dataset: &Dataset,
    share: Option<f64>,
    method: Method,
    options: &ValidateOptions,
    key: Key,
) -> Result<Vec<u32>, SplitError> {
    if let Some(rows) = &dataset.test_rows {
        return Ok(rows.clone());
    }
    let share = share.unwrap_or(if options.outer_folds > 0 { 0.0 } else { TEST_SHARE });
    if share == 0.0 {
        return Ok(Vec::new());
    }
    let all: Vec<u32> = (0..dataset.rows() as u32).collect();
    random_part(dataset, &all, method, ("data.test", share), key.child(stream::TEST_SPLIT))
}

/// About a share of the rows, ascending: at least one and never all. The key asks for the share.
fn random_part(
    dataset: &Dataset,
    rows: &[u32],
    method: Method,
    (asks, share): (&'static str, f64),
    key: Key,
) -> Result<Vec<u32>, SplitError> {
    let too_few = |need| {
        let rows = rows.len() as u64;
        Err(SplitError::NothingLeft { key: asks, share: share.to_string(), rows, need })
    };
    if rows.len() < 2 {
        return too_few("two or more rows outside the test rows are needed");
    }
    let wanted = ((rows.len() as f64 * share).round() as usize).clamp(1, rows.len() - 1);
    let mut part = if dataset.time.is_some() || method == Method::TimeSeries {
        Timeline::new(dataset.time.as_ref(), rows).last(wanted)
    } else if let Some(group) = &dataset.group {
        assign::some_groups(&codes_of(group), rows, wanted, key)
    } else {
        match &dataset.target {
            Target::Classes { codes, .. } => assign::some_of_each_class(codes, rows, wanted, key),
            Target::Values(_) => assign::some(rows, wanted, key),
        }
    };
    if part.is_empty() {
        return too_few("they have one group or one time in common, which is never split");
    }
    part.sort_unstable();
    Ok(part)
}

/// Disjoint parts that together are the pool (but for rows that a fold column leaves to training).
fn parts(dataset: &Dataset, pool: &[u32], method: Method, asked: Asked, key: Key) -> Result<Vec<Vec<u32>>, SplitError> {
    let (rows, folds) = (pool.len() as u64, asked.parts);
    if method != Method::Column && rows < u64::from(folds) {
        return Err(SplitError::FewRows { rows, most: rows, asked });
    }
    match (method, &dataset.group, &dataset.fold, &dataset.target) {
        (Method::Group, Some(group), ..) => {
            let codes = codes_of(group);
            let groups = distinct(pool.iter().map(|&row| codes[row as usize])).len() as u64;
            if groups < u64::from(folds) {
                return Err(SplitError::FewGroups { column: group.name.clone(), groups, asked });
            }
            Ok(deal_groups(&codes, pool, folds as usize, key))
        }
        (Method::Column, _, Some(column), _) => {
            let codes = codes_of(column);
            let names = distinct(pool.iter().map(|&row| codes[row as usize]).filter(|&code| code != MISSING));
            // The inner folds of an outer part are the other parts: one is scored, and one at least is trained on.
            let is_nested = asked.key == "validate.outer_folds";
            if names.len() < if is_nested { 3 } else { 2 } {
                let folds = names.len() as u64;
                return Err(SplitError::FewNamedFolds { column: column.name.clone(), folds, is_nested });
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
                let are_integers = dataset.notes.iter().any(|note| matches!(note, Note::IntegersAsClasses { .. }));
                return Err(SplitError::FewRowsInClass { class: name, rows: counts[class], are_integers, asked });
            }
            Ok(deal_by_class(codes, pool, folds as usize, key))
        }
        _ => Ok(deal(pool, folds as usize, key)),
    }
}

/// Expanding windows, as scikit-learn's TimeSeriesSplit cuts them: the first window and each validation part are
/// `1 / (folds + 1)` of the rows.
fn time_series(dataset: &Dataset, pool: &[u32], asked: Asked) -> Result<Vec<FoldRows>, SplitError> {
    let timeline = Timeline::new(dataset.time.as_ref(), pool);
    let times = timeline.times() as u64;
    if times <= u64::from(asked.parts) {
        return Err(match &dataset.time {
            Some(time) => SplitError::FewTimes { column: time.name.clone(), times, asked },
            None => SplitError::FewRows { rows: times, most: times.saturating_sub(1), asked },
        });
    }
    let mut bounds = timeline.equal_cuts(asked.parts as usize + 1);
    bounds.push(pool.len());
    let windows = bounds.windows(2).zip(0..).map(|(bound, fold)| FoldRows {
        repeat: 0,
        fold,
        train: timeline.rows(0..bound[0]),
        evals: vec![timeline.rows(bound[0]..bound[1])],
    });
    Ok(windows.collect())
}

fn hold_out(dataset: &Dataset, pool: &[u32], share: f64, repeat: u32, key: Key) -> Result<FoldRows, SplitError> {
    let part = random_part(dataset, pool, Method::HoldOut, ("validate.hold_out", share), key)?;
    Ok(FoldRows { repeat, fold: 0, train: without(pool, &part), evals: vec![part] })
}

/// Nested cross-validation: the inner folds of an outer part are the other outer parts, so a pair of parts is left out
/// of the same training rows whichever of the two is the outer one. One lane is scored on both. It may stop by the first of
/// them, which is the one or the other in turn, so that each part has lanes that did not see it.
fn nested(pool: &[u32], parts: &[Vec<u32>]) -> (Vec<FoldRows>, Vec<OuterPart>) {
    let mut outer: Vec<OuterPart> = parts
        .iter()
        .map(|part| OuterPart { test: part.clone(), train: without(pool, part), inner: Vec::new() })
        .collect();
    let mut folds = Vec::new();
    for a in 0..parts.len() {
        for b in a + 1..parts.len() {
            // The search for part a is scored on b, the search for part b on a.
            let (first, second) = if (b - a) % 2 == 1 { (b, a) } else { (a, b) };
            outer[second].inner.push((folds.len(), 0));
            outer[first].inner.push((folds.len(), 1));
            folds.push(FoldRows {
                repeat: 0,
                fold: folds.len() as u32,
                train: without(&outer[a].train, &parts[b]),
                evals: vec![parts[first].clone(), parts[second].clone()],
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
