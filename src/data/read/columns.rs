//! Typed columns under construction: a column starts as numbers, and its cells tell what it becomes.

use super::super::error::{DataError, Place};
use super::super::note::Note;
use super::super::table::{Categories, Cells, Column, MISSING};
use super::{Role, USUAL_MARKERS};
use memchr::memchr;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// A column of numbers and text is taken as categories only if text fills at least this share of it (1 in 20) ...
const TEXT_SHARE: u64 = 20;
/// ... and it has at most so many different cells: a few words among measurements are a slip, "2, 4, more" is not.
const MIXED_LEVELS: usize = 50;

/// Which cells are missing.
pub(super) struct Markers {
    texts: HashSet<Vec<u8>>,
    /// Markers that are numbers, such as -999: they hold however the number is written.
    numbers: Vec<f64>,
}

impl Markers {
    pub(super) fn new(asked_for: &[String]) -> Markers {
        let all = USUAL_MARKERS.iter().copied().chain(asked_for.iter().map(|marker| marker.trim_ascii()));
        Markers {
            texts: all.map(|marker| marker.as_bytes().to_vec()).collect(),
            numbers: asked_for.iter().filter_map(|marker| number(marker.trim_ascii().as_bytes())).collect(),
        }
    }

    fn is_missing_text(&self, text: &[u8]) -> bool {
        text.is_empty() || self.texts.contains(text)
    }

    fn is_missing_number(&self, value: f64) -> bool {
        value.is_nan() || self.numbers.contains(&value)
    }
}

/// A cell's text is not UTF-8.
pub(super) struct NotUtf8 {
    pub(super) byte: u8,
    pub(super) text: String,
}

/// What reading a column came to.
pub(super) enum Finished {
    /// Its cells, and what should be known of how they were read.
    Column(Column, Option<Note>),
    /// Numbers that turned out to be categories: their text is needed, so the file must be read again.
    ReadAsCategory,
}

/// One column that grows cell by cell.
pub(super) enum Builder {
    Skipped,
    Numbers(NumberBuilder),
    Categories(CategoryBuilder),
}

impl Builder {
    pub(super) fn new(role: Role) -> Builder {
        match role {
            Role::Skipped => Builder::Skipped,
            Role::Inferred => Builder::Numbers(NumberBuilder::default()),
            Role::Category => Builder::Categories(CategoryBuilder { is_declared: true, ..CategoryBuilder::default() }),
        }
    }

    /// A column that is known to hold numbers and text, and to be one of categories.
    pub(super) fn turned() -> Builder {
        Builder::Categories(CategoryBuilder::default())
    }

    /// Adds a cell as it is written, which stands in this line.
    pub(super) fn push(&mut self, cell: &[u8], line: u64, markers: &Markers) -> Result<(), NotUtf8> {
        match self {
            Builder::Skipped => Ok(()),
            Builder::Categories(builder) => builder.push(cell.trim_ascii(), line, markers),
            Builder::Numbers(builder) => {
                if let Some(value) = small_decimal(cell) {
                    builder.push(value, line, cell, markers);
                    return Ok(());
                }
                let cell = cell.trim_ascii();
                if markers.is_missing_text(cell) {
                    builder.cells.push(f64::NAN);
                    return Ok(());
                }
                if let Some(value) = number(cell) {
                    builder.push(value, line, cell, markers);
                    return Ok(());
                }
                if builder.numbers == 0 && builder.infinite.is_none() {
                    // Nothing but missing cells so far: a column of text.
                    let mut categories =
                        CategoryBuilder { codes: vec![MISSING; builder.cells.len()], ..CategoryBuilder::default() };
                    categories.push(cell, line, markers)?;
                    *self = Builder::Categories(categories);
                    return Ok(());
                }
                builder.push_text(cell, line)
            }
        }
    }

    /// Adds the first of the cells that stand in this line, and gives its length.
    #[inline]
    pub(super) fn push_first(
        &mut self,
        cells: &[u8],
        delimiter: u8,
        line: u64,
        markers: &Markers,
    ) -> Result<usize, NotUtf8> {
        if let Builder::Numbers(builder) = self
            && let Some((value, length)) = leading_decimal(cells, delimiter)
        {
            builder.push(value, line, &cells[..length], markers);
            return Ok(length);
        }
        let length = memchr(delimiter, cells).unwrap_or(cells.len());
        self.push(&cells[..length], line, markers)?;
        Ok(length)
    }

    /// Adds a number of a typed file; `row` counts from 1.
    pub(super) fn push_number(&mut self, value: f64, row: u64, markers: &Markers) {
        if let Builder::Numbers(builder) = self {
            builder.push(value, row, &[], markers);
        }
    }

    /// Adds a missing cell.
    pub(super) fn push_missing(&mut self) {
        match self {
            Builder::Skipped => {}
            Builder::Numbers(builder) => builder.cells.push(f64::NAN),
            Builder::Categories(builder) => builder.codes.push(MISSING),
        }
    }

    /// The finished column; `None` if it was skipped. `place` says what the lines are that cells came with.
    pub(super) fn finish(
        self,
        name: String,
        path: &Path,
        place: fn(u64) -> Place,
    ) -> Result<Option<Finished>, DataError> {
        match self {
            Builder::Skipped => Ok(None),
            Builder::Numbers(builder) => builder.finish(name, path, place).map(Some),
            Builder::Categories(builder) => builder.finish(name, path, place).map(Some),
        }
    }
}

#[derive(Default)]
pub(super) struct NumberBuilder {
    /// NaN where missing, and where text or an infinite number stands.
    cells: Vec<f64>,
    /// Cells that are finite numbers.
    numbers: u64,
    /// Cells that are text, and the first of them with its line.
    texts: u64,
    first_text: Option<(u64, String)>,
    /// Different texts, up to one more than decides anything.
    distinct_texts: HashSet<Vec<u8>>,
    /// Infinite cells, and the first of them with its line.
    infinite: Option<(u64, String)>,
    infinities: u64,
}

impl NumberBuilder {
    #[inline]
    fn push(&mut self, value: f64, line: u64, written: &[u8], markers: &Markers) {
        if value.is_finite() && markers.numbers.is_empty() {
            self.cells.push(value);
            self.numbers += 1;
        } else {
            self.push_odd(value, line, written, markers);
        }
    }

    fn push_odd(&mut self, value: f64, line: u64, written: &[u8], markers: &Markers) {
        if markers.is_missing_number(value) {
            self.cells.push(f64::NAN);
        } else if value.is_finite() {
            self.cells.push(value);
            self.numbers += 1;
        } else {
            self.cells.push(f64::NAN);
            self.infinities += 1;
            self.infinite.get_or_insert_with(|| match written {
                [] => (line, value.to_string()),
                _ => (line, String::from_utf8_lossy(written).into_owned()),
            });
        }
    }

    fn push_text(&mut self, text: &[u8], line: u64) -> Result<(), NotUtf8> {
        self.cells.push(f64::NAN);
        self.texts += 1;
        if self.distinct_texts.len() <= MIXED_LEVELS && !self.distinct_texts.contains(text) {
            self.distinct_texts.insert(text.to_vec());
        }
        if self.first_text.is_none() {
            self.first_text = Some((line, utf8(text)?.to_owned()));
        }
        Ok(())
    }

    fn finish(mut self, name: String, path: &Path, place: fn(u64) -> Place) -> Result<Finished, DataError> {
        let rows = self.cells.len() as u64;
        if let Some((line, text)) = self.first_text {
            let texts =
                Texts { place: place(line), first: text, count: self.texts, distinct: self.distinct_texts.len() };
            let levels = || self.distinct_texts.len() + distinct_numbers(&self.cells);
            return match texts.is_category(self.numbers, levels) {
                true => Ok(Finished::ReadAsCategory),
                false => Err(texts.error(path, name, rows)),
            };
        }
        if let Some((line, text)) = self.infinite {
            let (path, found) = (path.to_owned(), self.infinities);
            return Err(DataError::Infinite { path, place: place(line), column: name, text, found, rows });
        }
        self.cells.shrink_to_fit();
        Ok(Finished::Column(Column { name, cells: Cells::Numbers(self.cells) }, None))
    }
}

/// Different numbers, up to one more than decides anything.
fn distinct_numbers(cells: &[f64]) -> usize {
    let mut seen = HashSet::new();
    for value in cells.iter().filter(|value| !value.is_nan()) {
        seen.insert(value.to_bits());
        if seen.len() > MIXED_LEVELS {
            break;
        }
    }
    seen.len()
}

#[derive(Default)]
pub(super) struct CategoryBuilder {
    codes: Vec<u32>,
    levels: Vec<Level>,
    by_text: HashMap<Vec<u8>, u32>,
    is_declared: bool,
}

/// A level as it was met.
struct Level {
    text: String,
    line: u64,
    cells: u64,
    is_number: bool,
}

impl CategoryBuilder {
    fn push(&mut self, text: &[u8], line: u64, markers: &Markers) -> Result<(), NotUtf8> {
        let code = match self.by_text.get(text) {
            Some(&code) => code,
            None => self.meet(text, line, markers)?,
        };
        if let Some(level) = self.levels.get_mut(code as usize) {
            level.cells += 1;
        }
        self.codes.push(code);
        Ok(())
    }

    fn meet(&mut self, text: &[u8], line: u64, markers: &Markers) -> Result<u32, NotUtf8> {
        let value = number(text);
        let is_missing = markers.is_missing_text(text) || value.is_some_and(|value| markers.is_missing_number(value));
        let code = if is_missing { MISSING } else { self.levels.len() as u32 };
        if !is_missing {
            let text = utf8(text)?.to_owned();
            self.levels.push(Level { text, line, cells: 0, is_number: value.is_some() });
        }
        self.by_text.insert(text.to_vec(), code);
        Ok(code)
    }

    fn finish(self, name: String, path: &Path, place: fn(u64) -> Place) -> Result<Finished, DataError> {
        let rows = self.codes.len() as u64;
        let (mut numbers, mut text_cells, mut text_levels, mut first) = (0, 0, 0, None);
        for level in &self.levels {
            if level.is_number {
                numbers += level.cells;
            } else {
                text_cells += level.cells;
                text_levels += 1;
                first.get_or_insert(level);
            }
        }
        let mut note = None;
        if let Some(first) = first.filter(|_| numbers > 0 && !self.is_declared) {
            let texts =
                Texts { place: place(first.line), first: first.text.clone(), count: text_cells, distinct: text_levels };
            if !texts.is_category(numbers, || self.levels.len()) {
                return Err(texts.error(path, name, rows));
            }
            note = Some(Note::MixedAsCategory { column: name.clone(), texts: text_cells, rows });
        }
        let met = self.levels.into_iter().map(|level| level.text).collect();
        let cells = Cells::Categories(Categories::canonical(self.codes, met));
        Ok(Finished::Column(Column { name, cells }, note))
    }
}

/// The text in a column that holds numbers too.
struct Texts {
    place: Place,
    first: String,
    count: u64,
    distinct: usize,
}

impl Texts {
    fn is_category(&self, numbers: u64, levels: impl Fn() -> usize) -> bool {
        self.count >= numbers || (self.count * TEXT_SHARE >= numbers + self.count && levels() <= MIXED_LEVELS)
    }

    fn error(self, path: &Path, column: String, rows: u64) -> DataError {
        let (path, distinct) = (path.to_owned(), self.distinct as u64);
        DataError::Mixed { path, place: self.place, column, text: self.first, texts: self.count, distinct, rows }
    }
}

pub(super) fn utf8(text: &[u8]) -> Result<&str, NotUtf8> {
    std::str::from_utf8(text).map_err(|error| NotUtf8 {
        byte: text.get(error.valid_up_to()).copied().unwrap_or_default(),
        text: String::from_utf8_lossy(text).into_owned(),
    })
}

/// A number in any form that Rust reads, infinities and NaN among them.
fn number(text: &[u8]) -> Option<f64> {
    small_decimal(text).or_else(|| std::str::from_utf8(text).ok()?.parse().ok())
}

/// Powers of ten that are exact in f64.
const POWERS_OF_TEN: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A whole text that [`leading_decimal`] reads.
fn small_decimal(text: &[u8]) -> Option<f64> {
    // No byte of a number is a line break, so it delimits nothing within one.
    leading_decimal(text, b'\n').filter(|(_, length)| *length == text.len()).map(|(value, _)| value)
}

/// A decimal of at most 15 digits without an exponent that ends at a delimiter or with the text, and its length. Both its
/// digits, as an integer, and the power of ten are exact in f64, so that one division rounds correctly (Clinger 1990, "How
/// to read floating point numbers accurately").
#[inline]
fn leading_decimal(text: &[u8], delimiter: u8) -> Option<(f64, usize)> {
    let is_negative = text.first() == Some(&b'-');
    let first = usize::from(is_negative);
    let (mut at, mut mantissa, mut point) = (first, 0_u64, None);
    while let Some(&byte) = text.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            // Wraps only where there are too many digits, which is seen below.
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        } else if byte == delimiter {
            break;
        } else if byte == b'.' && point.is_none() {
            point = Some(at);
        } else {
            return None;
        }
        at += 1;
    }
    let digits = at - first - usize::from(point.is_some());
    if digits == 0 || digits > 15 {
        return None;
    }
    let value = match point {
        None => mantissa as f64,
        Some(point) => mantissa as f64 / POWERS_OF_TEN[at - 1 - point],
    };
    Some((if is_negative { -value } else { value }, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_number_is_not_read_as_one() {
        for text in ["", "-", ".", "-.", "1.2.3", "1,5", "12a", "--1", "1-", "0x10", " "] {
            assert_eq!(small_decimal(text.as_bytes()), None, "{text}");
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
        assert_eq!(number(b"1e400"), Some(f64::INFINITY));
        assert_eq!(number(b"+5"), Some(5.0));
        assert_eq!(number(b".5"), Some(0.5));
        assert_eq!(number(b"5."), Some(5.0));
    }

    proptest! {
        #[test]
        fn the_quick_way_to_read_numbers_gives_the_nearest_number(text in "-?[0-9]{1,16}(\\.[0-9]{0,12})?") {
            let nearest: f64 = text.parse().unwrap();
            if let Some(value) = small_decimal(text.as_bytes()) {
                prop_assert_eq!(value.to_bits(), nearest.to_bits());
            }
            prop_assert_eq!(number(text.as_bytes()).map(f64::to_bits), Some(nearest.to_bits()));
        }
    }
}
