//! Tables of numbers that a shader reads: one buffer on the device, a function and two constants for each table.

use super::error::WgslError;
use super::params::float;
use crate::backend::gpu::is_field;
use crate::base::hash::Hasher;
use crate::data::{Cells, ReadOptions, read_table};
use crate::study::error::StudyError;
use crate::study::resolve::{at, placed};
use crate::study::source::{About, Source};
use indexmap::IndexMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A binding holds fewer bytes than 2^31.
const WORDS_MOST: usize = (1 << 29) - 1;

/// A table's place in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: String,
    first: usize,
    rows: usize,
    columns: usize,
}

/// All tables, row by row, one after another.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::study) struct Tables {
    places: Vec<Place>,
    /// The bits of all numbers.
    words: Vec<u32>,
    /// Of every name and cell.
    fingerprint: u64,
}

impl Tables {
    /// Reads them.
    pub(super) fn read(files: &IndexMap<String, PathBuf>, source: &Source) -> Result<Tables, StudyError> {
        let mut tables = Tables::default();
        let mut hash = Hasher::default();
        for (name, path) in files {
            let key = format!("objective.tables.{name}");
            if !is_field(&format!("{name}_at")) {
                let error = WgslError::TableName { name: name.clone() };
                return Err(placed(source.find(&key, About::Name), error.into()));
            }
            let fingerprint = tables.add(name, path).map_err(|error| at(source, &key, error))?;
            hash.text(name);
            hash.word(fingerprint);
        }
        tables.fingerprint = hash.finish();
        Ok(tables)
    }

    fn add(&mut self, name: &str, path: &Path) -> Result<u64, StudyError> {
        let table = read_table(path, &ReadOptions::default())?;
        let mut columns = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let wrong = |row: usize, text: String| WgslError::NoNumber {
                path: path.to_owned(),
                row,
                column: column.name.clone(),
                text,
            };
            let values = match &column.cells {
                Cells::Numbers(values) => values,
                Cells::Categories(categories) => {
                    let (row, text) = categories.first_text().unwrap_or((1, String::new()));
                    return Err(wrong(row, text).into());
                }
            };
            let bits = (1..).zip(values).map(|(row, value)| match float(*value) {
                _ if value.is_nan() => Err(wrong(row, String::new())),
                // What is too small for an f32 is nearly 0 in a table.
                None if value.abs() < 1.0 => Ok(0),
                None => Err(wrong(row, format!("{value:?}"))),
                Some(bits) => Ok(bits),
            });
            columns.push(bits.collect::<Result<Vec<u32>, WgslError>>()?);
        }
        let place = Place { name: name.to_owned(), first: self.words.len(), rows: table.rows, columns: columns.len() };
        if table.rows.saturating_mul(columns.len()) > WORDS_MOST - self.words.len() {
            return Err(WgslError::TablesTooLarge { path: path.to_owned() }.into());
        }
        for row in 0..table.rows {
            self.words.extend(columns.iter().filter_map(|column| column.get(row)));
        }
        self.places.push(place);
        Ok(table.fingerprint())
    }

    /// The bits of all numbers.
    pub(in crate::study) fn words(&self) -> &[u32] {
        &self.words
    }

    /// Of every name and cell.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The name of the table with this number.
    pub(in crate::study) fn name(&self, index: usize) -> Option<&str> {
        self.places.get(index).map(|place| place.name.as_str())
    }

    /// All names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| place.name.as_str())
    }

    /// Each table's names in WGSL.
    pub(super) fn declared(&self) -> impl Iterator<Item = String> {
        self.places.iter().flat_map(|place| {
            let upper = place.name.to_ascii_uppercase();
            [format!("{}_at", place.name), format!("{upper}_ROWS"), format!("{upper}_COLUMNS")]
        })
    }

    /// Their functions and constants. A read beyond a table fails its lane with the reason `first_reason` plus its number.
    pub(super) fn declare(&self, first_reason: u32) -> String {
        let mut text = String::new();
        for (reason, Place { name, first, rows, columns }) in (first_reason..).zip(&self.places) {
            let upper = name.to_ascii_uppercase();
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "const {upper}_ROWS: u32 = {rows}u;\n\
                 const {upper}_COLUMNS: u32 = {columns}u;\n\
                 fn {name}_at(row: u32, column: u32) -> f32 {{\n    \
                     if (row >= {rows}u || column >= {columns}u) {{\n        \
                         thousandfold_fail({reason}u);\n        \
                         return 0.0;\n    \
                     }}\n    \
                     return thousandfold_tables[{first}u + row * {columns}u + column];\n\
                 }}\n"
            );
        }
        text
    }
}
