//! A table with its parts told apart: features, target, and the columns that say how rows are split.
//!
//! Nothing is fitted here. Columns that no model could use are dropped with a [`Note`]; what looks wrong is noted too.

use super::error::DataError;
use super::note::Note;
use super::options::DataOptions;
use super::read::{ReadOptions, read_table};
use super::suspect;
use super::table::{Categories, Cells, Column, MISSING, Table};
use super::{Target, Task};
use std::path::Path;

/// The most categories that a feature may have.
pub const CATEGORIES_MOST: usize = 100_000;
/// A target of integers is taken as classes if it holds at most so many different ones.
pub const INTEGER_CLASSES_MOST: usize = 20;

/// All that is known of the data of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The columns to learn from.
    pub features: Table,
    /// The true targets of all rows.
    pub target: Target,
    /// The target's column.
    pub target_name: String,
    /// What is predicted.
    pub task: Task,
    /// The classes' names in the order of their codes; empty for regression.
    pub class_names: Vec<String>,
    /// Rows that [`DataOptions::test_column`] or [`DataOptions::test_file`] says are for the test, ascending; `None` if
    /// neither is set.
    pub test_rows: Option<Vec<u32>>,
    /// The column that [`DataOptions::group`] names, without missing cells.
    pub group: Option<Column>,
    /// The column that [`DataOptions::time`] names, without missing cells. Text is ordered by its bytes, as its codes are.
    pub time: Option<Column>,
    /// The column that [`DataOptions::fold`] names. A missing cell: the row is never validated on.
    pub fold: Option<Column>,
    /// How much each row counts, from the column that [`DataOptions::weight`] names; `None` if it is not set.
    pub weight: Option<Vec<f32>>,
    /// What the user should know.
    pub notes: Vec<Note>,
    /// Depends on every name and cell that was read, test rows included.
    pub fingerprint: u64,
}

impl Dataset {
    /// Reads the files that the options name.
    pub fn load(options: &DataOptions) -> Result<Dataset, DataError> {
        check_roles(options)?;
        let mut table = read_table(&options.file, &options.read_options())?;
        let rows = table.rows;
        let mut test_rows = None;
        if let Some(file) = &options.test_file {
            let test = read_like(&table, file, &options.missing)?;
            append(&mut table, test)?;
            test_rows = Some((rows as u32..table.rows as u32).collect());
        }
        Dataset::new(table, test_rows, options)
    }

    /// Tells a table's parts apart. Rows in `test_rows` come from a file of their own.
    pub fn new(mut table: Table, test_rows: Option<Vec<u32>>, options: &DataOptions) -> Result<Dataset, DataError> {
        check_roles(options)?;
        let fingerprint = table.fingerprint();
        let known: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
        let path = table.source.clone();
        let mut take = |role: &'static str, name: &str| {
            let unknown =
                || DataError::UnknownColumn { path: path.clone(), role, name: name.to_owned(), known: known.clone() };
            table.take(name).ok_or_else(unknown)
        };
        let target = take("target", &options.target)?;
        let mut take_some = |role, name: &Option<String>| name.as_deref().map(|name| take(role, name)).transpose();
        let group = take_some("group", &options.group)?;
        let time = take_some("time", &options.time)?;
        let fold = take_some("fold", &options.fold)?;
        let weight = take_some("weight", &options.weight)?;
        let test_column = take_some("test_column", &options.test_column)?;
        for (role, column) in [("group", &group), ("time", &time)] {
            column.as_ref().map_or(Ok(()), |column| none_missing(&path, role, column))?;
        }
        let weight = weight.map(|column| weights(&path, column)).transpose()?;
        let test_rows = match &test_column {
            Some(column) => Some(marked_rows(&path, column)?),
            None => test_rows,
        };

        let mut notes = std::mem::take(&mut table.notes);
        let Labels { target, class_names, task } = labels(&path, target, options.task, &mut notes)?;
        drop_useless(&mut table, &mut notes)?;
        notes.extend(suspect::warnings(&table, &target));
        let target_name = options.target.clone();
        Ok(Dataset {
            features: table,
            target,
            target_name,
            task,
            class_names,
            test_rows,
            group,
            time,
            fold,
            weight,
            notes,
            fingerprint,
        })
    }

    /// Number of rows, test rows included.
    pub fn rows(&self) -> usize {
        self.features.rows
    }
}

/// No column has two parts, and test rows are chosen in one way.
fn check_roles(options: &DataOptions) -> Result<(), DataError> {
    let ways = [
        ("test", options.test.is_some()),
        ("test_column", options.test_column.is_some()),
        ("test_file", options.test_file.is_some()),
    ];
    let set: Vec<&'static str> = ways.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect();
    if let [first, second, ..] = set[..] {
        return Err(DataError::TestTwice { first, second });
    }
    let named = [
        ("target", Some(&options.target)),
        ("group", options.group.as_ref()),
        ("time", options.time.as_ref()),
        ("fold", options.fold.as_ref()),
        ("weight", options.weight.as_ref()),
        ("test_column", options.test_column.as_ref()),
    ];
    let mut roles: Vec<(&'static str, &String)> =
        named.into_iter().filter_map(|(role, name)| name.map(|name| (role, name))).collect();
    roles.extend(options.drop.iter().map(|name| ("drop", name)));
    for (i, (second, name)) in roles.iter().enumerate() {
        if let Some((first, _)) = roles[..i].iter().find(|(first, other)| other == name && first != second) {
            return Err(DataError::TwoRoles { column: (*name).clone(), first, second });
        }
    }
    Ok(())
}

/// Reads the columns of `table` from another file, each as the kind that it has there.
fn read_like(table: &Table, path: &Path, missing: &[String]) -> Result<Table, DataError> {
    let names = |is_wanted: fn(&Column) -> bool| -> Vec<String> {
        table.columns.iter().filter(|column| is_wanted(column)).map(|column| column.name.clone()).collect()
    };
    let options = ReadOptions {
        only: Some(names(|_| true)),
        skip: Vec::new(),
        categories: names(|column| matches!(column.cells, Cells::Categories(_))),
        missing: missing.to_vec(),
    };
    let other = read_table(path, &options)?;
    let absent: Vec<String> = names(|_| true).into_iter().filter(|name| other.column(name).is_none()).collect();
    match absent.is_empty() {
        true => Ok(other),
        false => Err(DataError::MissingColumns { path: path.to_owned(), columns: absent }),
    }
}

/// Puts the rows of `other` below those of `table`.
fn append(table: &mut Table, mut other: Table) -> Result<(), DataError> {
    for column in &mut table.columns {
        let Some(more) = other.take(&column.name) else { continue };
        match (&mut column.cells, more.cells) {
            (Cells::Numbers(values), Cells::Numbers(more)) => values.extend(more),
            (Cells::Categories(categories), Cells::Categories(more)) => {
                let (mut codes, mut levels) = (std::mem::take(&mut categories.codes), categories.levels.clone());
                let first = levels.len() as u32;
                levels.extend(more.levels);
                codes.extend(more.codes.iter().map(|&code| if code == MISSING { MISSING } else { first + code }));
                *categories = Categories::canonical(codes, levels);
            }
            (_, more) => {
                let text = if let Cells::Categories(categories) = &more { categories.first_text() } else { None };
                let found = Column { name: column.name.clone(), cells: more };
                return Err(DataError::OtherKind {
                    path: other.source,
                    column: found.name.clone(),
                    found: found.kind(),
                    expected: column.kind(),
                    text,
                });
            }
        }
    }
    table.rows += other.rows;
    Ok(())
}

fn none_missing(path: &Path, role: &'static str, column: &Column) -> Result<(), DataError> {
    let Some(row) = column.first_missing() else { return Ok(()) };
    Err(DataError::RoleMissing {
        path: path.to_owned(),
        role,
        column: column.name.clone(),
        row: row + 1,
        found: column.missing(),
        rows: column.len(),
    })
}

/// How much each row counts.
fn weights(path: &Path, column: Column) -> Result<Vec<f32>, DataError> {
    none_missing(path, "weight", &column)?;
    let bad = |row: usize, text: String| DataError::BadWeight {
        path: path.to_owned(),
        row: row + 1,
        column: column.name.clone(),
        text,
    };
    let values = match &column.cells {
        Cells::Numbers(values) => values,
        Cells::Categories(categories) => {
            let (row, text) = categories.first_text().unwrap_or_default();
            return Err(bad(row.saturating_sub(1), text));
        }
    };
    let is_bad = |value: &f64| *value < 0.0 || !(*value as f32).is_finite();
    if let Some(row) = values.iter().position(is_bad) {
        return Err(bad(row, values[row].to_string()));
    }
    if values.iter().all(|value| *value as f32 == 0.0) {
        return Err(DataError::NoWeight { path: path.to_owned(), column: column.name.clone() });
    }
    Ok(values.iter().map(|&value| value as f32).collect())
}

/// The rows that a column marks as test rows; a missing cell marks none.
fn marked_rows(path: &Path, column: &Column) -> Result<Vec<u32>, DataError> {
    let is_marked = |text: &str| match text.to_ascii_lowercase().as_str() {
        "test" | "true" | "1" => Some(true),
        "train" | "false" | "0" => Some(false),
        _ => None,
    };
    let unreadable = |row: usize, text: String| DataError::TestMark {
        path: path.to_owned(),
        row: row + 1,
        column: column.name.clone(),
        text,
    };
    let mut rows = Vec::new();
    for row in (0..column.len()).filter(|&row| !column.is_missing(row)) {
        let text = match &column.cells {
            Cells::Numbers(values) => values[row].to_string(),
            Cells::Categories(categories) => categories.levels[categories.codes[row] as usize].clone(),
        };
        if is_marked(&text).ok_or_else(|| unreadable(row, text))? {
            rows.push(row as u32);
        }
    }
    Ok(rows)
}

/// The target as it is learned.
struct Labels {
    target: Target,
    class_names: Vec<String>,
    task: Task,
}

fn labels(path: &Path, column: Column, task: Option<Task>, notes: &mut Vec<Note>) -> Result<Labels, DataError> {
    let (path, target, rows) = (path.to_owned(), column.name.clone(), column.len());
    if let Some(row) = column.first_missing() {
        return Err(DataError::TargetMissing { path, target, row: row + 1, found: column.missing(), rows });
    }
    if column.is_constant() {
        let value = constant_value(&column);
        return Err(DataError::TargetConstant { path, target, value });
    }
    let categories = match (column.cells, task) {
        (Cells::Categories(categories), Some(Task::Regression)) => {
            let level = categories.levels.into_iter().next().unwrap_or_default();
            return Err(DataError::TargetText { path, target, level });
        }
        (Cells::Categories(categories), _) => categories,
        (Cells::Numbers(values), Some(Task::Regression)) => return regression(path.as_path(), &values),
        (Cells::Numbers(values), Some(Task::Classification)) => Categories::from_numbers(&values),
        (Cells::Numbers(values), None) => {
            let is_integer = values.iter().all(|value| value.fract() == 0.0);
            let categories = if is_integer { Categories::from_numbers(&values) } else { Categories::default() };
            let classes = categories.levels.len();
            if !(1..=INTEGER_CLASSES_MOST).contains(&classes) || classes * 2 > rows {
                return regression(path.as_path(), &values);
            }
            if classes > 2 {
                notes.push(Note::IntegersAsClasses { column: target.clone(), classes });
            }
            categories
        }
    };
    let classes = categories.levels.len();
    if classes * 2 > rows && classes > 2 {
        return Err(DataError::TooManyClasses { path, target, classes, rows });
    }
    Ok(Labels {
        target: Target::Classes { codes: categories.codes, classes },
        class_names: categories.levels,
        task: Task::Classification,
    })
}

fn regression(path: &Path, values: &[f64]) -> Result<Labels, DataError> {
    let narrow: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    if let Some(row) = narrow.iter().position(|value| !value.is_finite()) {
        return Err(DataError::TargetRange { path: path.to_owned(), row: row + 1, value: values[row] });
    }
    Ok(Labels { target: Target::Values(narrow), class_names: Vec::new(), task: Task::Regression })
}

/// What a constant column holds.
fn constant_value(column: &Column) -> String {
    match &column.cells {
        Cells::Numbers(values) => values.iter().find(|value| !value.is_nan()).map(f64::to_string).unwrap_or_default(),
        Cells::Categories(categories) => format!("\"{}\"", categories.levels.first().map_or("", String::as_str)),
    }
}

/// Drops columns that hold nothing to learn from. A constant column with missing cells stays: which cells are missing may
/// tell something.
fn drop_useless(table: &mut Table, notes: &mut Vec<Note>) -> Result<(), DataError> {
    let path = table.source.clone();
    let mut kept = Vec::with_capacity(table.columns.len());
    let (mut empty, mut constant) = (Vec::new(), Vec::new());
    for column in std::mem::take(&mut table.columns) {
        let missing = column.missing();
        if missing == column.len() {
            empty.push(column.name);
        } else if missing == 0 && column.is_constant() {
            let value = constant_value(&column);
            constant.push((column.name, value));
        } else {
            match &column.cells {
                Cells::Categories(Categories { levels, .. }) if levels.len() > CATEGORIES_MOST => {
                    let (column, levels, limit) = (column.name, levels.len(), CATEGORIES_MOST);
                    return Err(DataError::TooManyCategories { path, column, levels, limit });
                }
                _ => kept.push(column),
            }
        }
    }
    let first_note = notes.len();
    if !empty.is_empty() {
        notes.push(Note::AllMissing { columns: empty });
    }
    if !constant.is_empty() {
        notes.push(Note::Constant { columns: constant });
    }
    table.columns = kept;
    match table.columns.is_empty() {
        true => Err(DataError::NoFeature { path, dropped: notes[first_note..].iter().map(Note::to_string).collect() }),
        false => Ok(()),
    }
}
