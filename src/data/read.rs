//! Reads a table from a file: CSV, gzip CSV or Parquet, told apart by the file's first bytes, not by its name.
//!
//! Cells go one by one from the file's bytes into typed columns; nothing holds the file's text. Gzip is decompressed on a
//! thread of its own, so that it costs no time beside the parsing.

mod columns;
mod csv;
mod inflate;
mod lines;
mod parquet;

use super::error::DataError;
use super::table::Table;
use crate::base::registry::nearest;
use columns::Markers;
use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// How cells are read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadOptions {
    /// Only these columns are read, where they exist; otherwise all are.
    pub only: Option<Vec<String>>,
    /// Columns that are left out.
    pub skip: Vec<String>,
    /// Columns that are categories even if they hold numbers.
    pub categories: Vec<String>,
    /// Markers of missing cells, beside [`USUAL_MARKERS`].
    pub missing: Vec<String>,
}

/// What is read as missing without being asked for. "None" and "n/a" are not: both are used as categories.
pub const USUAL_MARKERS: [&str; 10] = ["", "NA", "<NA>", "#N/A", "N/A", "NaN", "nan", "null", "NULL", "?"];

/// Reads a whole table. The result depends on the cells alone: the same table as CSV, gzip or Parquet gives the same
/// columns.
pub fn read_table(path: &Path, options: &ReadOptions) -> Result<Table, DataError> {
    let markers = Markers::new(&options.missing);
    let table = match sniff(path)? {
        Format::Csv => csv::read(path, false, options, &markers)?,
        Format::GzipCsv => csv::read(path, true, options, &markers)?,
        Format::Parquet => parquet::read(path, options, &markers)?,
    };
    match table.rows {
        0 => Err(DataError::NoRows { path: path.to_owned() }),
        _ => Ok(table),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    GzipCsv,
    Parquet,
}

fn sniff(path: &Path) -> Result<Format, DataError> {
    let mut head = Vec::with_capacity(4);
    open(path)?.take(4).read_to_end(&mut head).map_err(|source| unreadable(path, source))?;
    match head.as_slice() {
        [] => Err(DataError::Empty { path: path.to_owned() }),
        [0x1f, 0x8b, ..] => Ok(Format::GzipCsv),
        b"PAR1" => Ok(Format::Parquet),
        _ => Ok(Format::Csv),
    }
}

fn open(path: &Path) -> Result<File, DataError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => DataError::NotFound { path: path.to_owned(), near: near_file(path) },
        _ => unreadable(path, source),
    })?;
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(unreadable(path, std::io::Error::from(ErrorKind::IsADirectory))),
        _ => Ok(file),
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> DataError {
    DataError::Unreadable { path: path.to_owned(), source }
}

/// A file in the same folder whose name is nearly that of `path`; the ending says little, and breaks ties.
pub(crate) fn near_file(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut names: Vec<String> =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let split =
        |name: &str| name.split_once('.').map_or((name.to_owned(), String::new()), |(a, b)| (a.into(), b.into()));
    let (stem, ending) = split(path.file_name()?.to_str()?);
    names.sort_by_key(|name| (split(name).1 != ending, name.clone()));
    let stems: Vec<String> = names.iter().map(|name| split(name).0).collect();
    let near = nearest(&stem, stems.iter().map(String::as_str))?;
    let place = stems.iter().position(|stem| stem == near)?;
    Some(path.with_file_name(&names[place]).display().to_string())
}

/// What becomes of each column of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Skipped,
    Inferred,
    Category,
}

/// Checks a file's column names and what the options say of them.
fn roles(path: &Path, names: &[String], options: &ReadOptions) -> Result<Vec<Role>, DataError> {
    let mut seen = HashSet::new();
    if let Some(column) = names.iter().find(|name| !seen.insert(name.as_str())) {
        return Err(DataError::DuplicateColumn { path: path.to_owned(), column: column.clone() });
    }
    // A slip in a name must not go unnoticed; a file that is read for some of its columns need not have the others.
    for (role, named) in [("drop", &options.skip), ("categories", &options.categories)] {
        if let Some(name) = named.iter().find(|name| options.only.is_none() && !seen.contains(name.as_str())) {
            let (path, name, known) = (path.to_owned(), name.clone(), names.to_vec());
            return Err(DataError::UnknownColumn { path, role, name, known });
        }
    }
    let role = |name: &String| match () {
        () if options.skip.contains(name) => Role::Skipped,
        () if options.only.as_ref().is_some_and(|only| !only.contains(name)) => Role::Skipped,
        () if options.categories.contains(name) => Role::Category,
        () => Role::Inferred,
    };
    Ok(names.iter().map(role).collect())
}
