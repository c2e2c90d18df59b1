//! A table in memory: named columns of numbers or categories, the same whatever file it came from.
//!
//! Levels of a category are kept in one order (numbers by value, then text by its bytes), so a table read from CSV, gzip
//! or Parquet has the same codes, and the same [`Table::fingerprint`].

use super::note::Note;
use crate::base::hash::Hasher;
use rayon::prelude::*;
use std::cmp::Ordering;
use std::path::PathBuf;

/// The code of a missing category.
pub const MISSING: u32 = u32::MAX;

/// Columns of equal length.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The file it was read from, for messages.
    pub source: PathBuf,
    /// In the file's order.
    pub columns: Vec<Column>,
    /// Cells in every column.
    pub rows: usize,
    /// What reading it decided, where another reader could have decided otherwise.
    pub notes: Vec<Note>,
}

/// One named column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// From the header.
    pub name: String,
    /// One cell a row.
    pub cells: Cells,
}

/// The cells of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// Finite numbers; NaN where missing.
    Numbers(Vec<f64>),
    /// Text, booleans, or codes that were declared to be categories.
    Categories(Categories),
}

/// Cells that name one of a few levels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Categories {
    /// Index into `levels`, or [`MISSING`].
    pub codes: Vec<u32>,
    /// Distinct, in the one order that [`level_order`] gives; each occurs at least once.
    pub levels: Vec<String>,
}

impl Categories {
    /// The first row, counted from 1, whose level is no number, and the level.
    pub fn first_text(&self) -> Option<(usize, String)> {
        let is_text = |level: &&String| level.trim().parse::<f64>().is_err();
        let mut rows = self.codes.iter().zip(1..);
        rows.find_map(|(&code, row)| Some((row, self.levels.get(code as usize).filter(is_text)?.clone())))
    }

    /// Brings codes and levels as they were met into their one form: `2.0` is written `2`, booleans in small letters,
    /// levels that no cell has are left out, and the rest is sorted.
    pub fn canonical(mut codes: Vec<u32>, met: Vec<String>) -> Categories {
        let is_bool = !met.is_empty() && met.iter().all(|level| is_bool(level));
        let met: Vec<String> = met
            .into_iter()
            .map(|level| match integer_part(&level) {
                _ if is_bool => level.to_ascii_lowercase(),
                Some(integer) => integer.to_owned(),
                None => level,
            })
            .collect();
        let mut is_used = vec![false; met.len()];
        for &code in codes.iter().filter(|&&code| code != MISSING) {
            is_used[code as usize] = true;
        }
        let mut order: Vec<u32> = (0..met.len() as u32).filter(|&code| is_used[code as usize]).collect();
        order.sort_by(|&a, &b| level_order(&met[a as usize], &met[b as usize]));

        let mut levels: Vec<String> = Vec::with_capacity(order.len());
        let mut recode = vec![MISSING; met.len()];
        for code in order {
            let level = &met[code as usize];
            if levels.last() != Some(level) {
                levels.push(level.clone());
            }
            recode[code as usize] = levels.len() as u32 - 1;
        }
        for code in codes.iter_mut().filter(|code| **code != MISSING) {
            *code = recode[*code as usize];
        }
        Categories { codes, levels }
    }

    /// Categories from numbers: each distinct value is a level.
    pub fn from_numbers(values: &[f64]) -> Categories {
        let mut distinct: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).map(|v| v + 0.0).collect();
        distinct.sort_unstable_by(f64::total_cmp);
        distinct.dedup();
        let codes = values.iter().map(|&value| match distinct.binary_search_by(|d| d.total_cmp(&(value + 0.0))) {
            Ok(code) => code as u32,
            Err(_) => MISSING,
        });
        Categories { codes: codes.collect(), levels: distinct.iter().map(f64::to_string).collect() }
    }
}

/// Levels that are numbers by their value, before all others by their bytes.
pub fn level_order(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

/// How other programs write a level of these: `True` for `true`, `2.0` for `2`. [`Categories::canonical`] takes each for it.
pub fn other_spellings(level: &str, levels: &[&str]) -> Vec<String> {
    if levels.iter().all(|level| is_bool(level)) {
        let capital = level.chars().take(1).flat_map(char::to_uppercase).chain(level.chars().skip(1)).collect();
        return vec![capital, level.to_uppercase()];
    }
    let fractional = format!("{level}.0");
    if integer_part(&fractional) == Some(level) { vec![fractional] } else { Vec::new() }
}

fn is_bool(level: &str) -> bool {
    level.eq_ignore_ascii_case("true") || level.eq_ignore_ascii_case("false")
}

/// `-12` of `-12.00`: integers that were written as floating numbers, as pandas does where some are missing.
fn integer_part(level: &str) -> Option<&str> {
    let (integer, fraction) = level.split_once('.')?;
    let digits = integer.strip_prefix('-').unwrap_or(integer);
    let is_integer = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (is_integer && !fraction.is_empty() && fraction.bytes().all(|b| b == b'0')).then_some(integer)
}

impl Column {
    /// Number of cells.
    pub fn len(&self) -> usize {
        match &self.cells {
            Cells::Numbers(values) => values.len(),
            Cells::Categories(categories) => categories.codes.len(),
        }
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the cell in this row is missing.
    pub fn is_missing(&self, row: usize) -> bool {
        match &self.cells {
            Cells::Numbers(values) => values[row].is_nan(),
            Cells::Categories(categories) => categories.codes[row] == MISSING,
        }
    }

    /// Number of missing cells.
    pub fn missing(&self) -> usize {
        match &self.cells {
            Cells::Numbers(values) => values.iter().filter(|value| value.is_nan()).count(),
            Cells::Categories(categories) => categories.codes.iter().filter(|&&code| code == MISSING).count(),
        }
    }

    /// The first missing cell's row.
    pub fn first_missing(&self) -> Option<usize> {
        match &self.cells {
            Cells::Numbers(values) => values.iter().position(|value| value.is_nan()),
            Cells::Categories(categories) => categories.codes.iter().position(|&code| code == MISSING),
        }
    }

    /// Whether all cells that are not missing are equal; a column with none is constant.
    pub fn is_constant(&self) -> bool {
        match &self.cells {
            Cells::Numbers(values) => {
                let mut known = values.iter().filter(|value| !value.is_nan());
                let first = known.next();
                known.all(|value| Some(value) == first)
            }
            Cells::Categories(categories) => categories.levels.len() <= 1,
        }
    }

    /// "number" or "category", as messages call it.
    pub fn kind(&self) -> &'static str {
        match &self.cells {
            Cells::Numbers(_) => "number",
            Cells::Categories(_) => "category",
        }
    }

    /// 64 bits that depend on the name and on every cell, on no platform and on no file format.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Hasher::default();
        hash.text(&self.name);
        match &self.cells {
            Cells::Numbers(values) => values.iter().for_each(|&value| {
                // One zero and one NaN, so that how a file writes them does not count.
                hash.word(if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() });
            }),
            Cells::Categories(categories) => {
                categories.levels.iter().for_each(|level| hash.text(level));
                categories.codes.iter().for_each(|&code| hash.word(code.into()));
            }
        }
        hash.finish()
    }
}

impl Table {
    /// The column with this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Takes the column with this name out of the table.
    pub fn take(&mut self, name: &str) -> Option<Column> {
        let index = self.columns.iter().position(|column| column.name == name)?;
        Some(self.columns.remove(index))
    }

    /// 64 bits that depend on names, their order, and every cell.
    pub fn fingerprint(&self) -> u64 {
        let columns: Vec<u64> = self.columns.par_iter().map(Column::fingerprint).collect();
        let mut hash = Hasher::default();
        columns.into_iter().for_each(|column| hash.word(column));
        hash.finish()
    }

    /// Bytes that the cells take.
    pub fn size(&self) -> usize {
        self.columns
            .iter()
            .map(|column| match &column.cells {
                Cells::Numbers(values) => size_of_val(values.as_slice()),
                Cells::Categories(c) => {
                    size_of_val(c.codes.as_slice())
                        + c.levels.iter().map(|l| l.len() + size_of::<String>()).sum::<usize>()
                }
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn categories(cells: &[&str]) -> Categories {
        let mut met: Vec<String> = Vec::new();
        let codes = cells.iter().map(|cell| match met.iter().position(|level| level == cell) {
            _ if cell.is_empty() => MISSING,
            Some(code) => code as u32,
            None => {
                met.push((*cell).to_owned());
                met.len() as u32 - 1
            }
        });
        let codes = codes.collect();
        Categories::canonical(codes, met)
    }

    #[test]
    fn levels_have_one_order_whatever_order_they_were_met_in() {
        let a = categories(&["10", "b", "9", "", "a"]);
        assert_eq!(a.levels, ["9", "10", "a", "b"]);
        assert_eq!(a.codes, [1, 3, 0, MISSING, 2]);
    }

    #[test]
    fn integers_written_as_floating_numbers_are_the_same_level() {
        let a = categories(&["1.0", "2", "1", "2.00", "2.5"]);
        assert_eq!(a.levels, ["1", "2", "2.5"]);
        assert_eq!(a.codes, [0, 1, 0, 1, 2]);
        assert_eq!(a, Categories::from_numbers(&[1.0, 2.0, 1.0, 2.0, 2.5]));
    }

    #[test]
    fn booleans_have_one_spelling() {
        assert_eq!(categories(&["True", "FALSE"]).levels, ["false", "true"]);
        assert_eq!(categories(&["True", "Maybe"]).levels, ["Maybe", "True"]);
    }

    #[test]
    fn a_fingerprint_sees_every_cell_name_and_place() {
        let column =
            |name: &str, values: &[f64]| Column { name: name.to_owned(), cells: Cells::Numbers(values.to_vec()) };
        let table =
            |columns: Vec<Column>| Table { source: PathBuf::new(), rows: 2, columns, notes: Vec::new() }.fingerprint();
        let base = table(vec![column("a", &[0.0, 1.0]), column("b", &[2.0, f64::NAN])]);
        assert_eq!(base, table(vec![column("a", &[-0.0, 1.0]), column("b", &[2.0, -f64::NAN])]));
        for other in [
            vec![column("a", &[1.0, 0.0]), column("b", &[2.0, f64::NAN])],
            vec![column("a", &[0.0, 1.0 + f64::EPSILON]), column("b", &[2.0, f64::NAN])],
            vec![column("b", &[2.0, f64::NAN]), column("a", &[0.0, 1.0])],
            vec![column("a", &[0.0, 1.0]), column("c", &[2.0, f64::NAN])],
            vec![column("a", &[0.0, 1.0]), column("b", &[2.0, 0.0])],
        ] {
            assert_ne!(base, table(other));
        }
    }
}
