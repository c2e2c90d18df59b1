//! CSV with a header: the delimiter is found by looking, cells go straight from the parser's record into columns.

use super::columns::{Builder, Finished, Markers, NotUtf8, utf8};
use super::inflate::Inflate;
use super::{super::error::DataError, super::note::Note, super::table::Table, ReadOptions};
use super::{Role, open, roles, unreadable};
use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use std::io::{Cursor, Read};
use std::path::Path;

const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];
/// How much of the file is looked at to find the delimiter.
const SAMPLE_BYTES: u64 = 64 << 10;
const SAMPLE_RECORDS: usize = 20;
const BUFFER_BYTES: usize = 256 << 10;

/// Reads the file in one pass, and a second time only if a column that began as numbers turns out to be categories.
pub(super) fn read(path: &Path, is_gzip: bool, options: &ReadOptions, markers: &Markers) -> Result<Table, DataError> {
    let mut turned: Vec<String> = Vec::new();
    loop {
        let file = open(path)?;
        let bytes: Box<dyn Read> = if is_gzip { Box::new(Inflate::new(file)) } else { Box::new(file) };
        match pass(path, bytes, options, &turned, markers)? {
            Pass::Whole(table) => return Ok(table),
            Pass::Again(categories) => turned = categories,
        }
    }
}

enum Pass {
    Whole(Table),
    /// These columns must be read as categories.
    Again(Vec<String>),
}

fn pass(
    path: &Path,
    mut bytes: Box<dyn Read>,
    options: &ReadOptions,
    turned: &[String],
    markers: &Markers,
) -> Result<Pass, DataError> {
    let mut sample = Vec::new();
    bytes.by_ref().take(SAMPLE_BYTES).read_to_end(&mut sample).map_err(|source| unreadable(path, source))?;
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter(&sample))
        .has_headers(false)
        .buffer_capacity(BUFFER_BYTES)
        .from_reader(Tail { bytes: Cursor::new(sample).chain(bytes), last: 0, is_over: false });

    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record).map_err(|error| csv_error(path, error))? {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    let names = header(path, &record)?;
    let roles = roles(path, &names, options)?;
    let mut builders: Vec<Builder> = (names.iter().zip(roles))
        .map(
            |(name, role)| {
                if role == Role::Inferred && turned.contains(name) { Builder::turned() } else { Builder::new(role) }
            },
        )
        .collect();

    let mut rows = 0;
    while reader.read_byte_record(&mut record).map_err(|error| csv_error(path, error))? {
        let line = record.position().map_or(0, |position| position.line());
        if reader.get_ref().cuts(&record) {
            return Err(DataError::OpenQuote { path: path.to_owned(), line });
        }
        for (builder, cell) in builders.iter_mut().zip(record.iter()) {
            builder.push(cell, line, markers).map_err(|error| not_utf8(path, line, error))?;
        }
        rows += 1;
    }
    finish(path, names, builders, rows)
}

/// Watches the end of the file, where the parser closes an open quote without a word.
struct Tail<R> {
    bytes: R,
    /// The last byte that ends no line.
    last: u8,
    is_over: bool,
}

impl<R> Tail<R> {
    /// Whether the file ended within this record: only a quoted cell spans lines, and its end would end the file.
    fn cuts(&self, record: &ByteRecord) -> bool {
        self.is_over && self.last != b'"' && record.iter().next_back().is_some_and(|cell| cell.contains(&b'\n'))
    }
}

impl<R: Read> Read for Tail<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.bytes.read(buffer)?;
        self.is_over = n == 0;
        self.last = buffer[..n].trim_ascii_end().last().copied().unwrap_or(self.last);
        Ok(n)
    }
}

fn finish(path: &Path, names: Vec<String>, builders: Vec<Builder>, rows: usize) -> Result<Pass, DataError> {
    let (mut columns, mut notes, mut again): (_, Vec<Note>, _) = (Vec::new(), Vec::new(), Vec::new());
    for (name, builder) in names.into_iter().zip(builders) {
        match builder.finish(name.clone(), path)? {
            Some(Finished::Column(column, note)) => {
                columns.push(column);
                notes.extend(note);
            }
            Some(Finished::ReadAsCategory) => again.push(name),
            None => {}
        }
    }
    match again.is_empty() {
        true => Ok(Pass::Whole(Table { source: path.to_owned(), columns, rows, notes })),
        false => Ok(Pass::Again(again)),
    }
}

/// The delimiter that cuts the first lines into the most cells, equally many in each; a comma if none does.
fn delimiter(sample: &[u8]) -> u8 {
    let cells = |delimiter: u8| -> usize {
        let mut reader =
            ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(sample);
        let mut widths = reader.byte_records().map_while(Result::ok).take(SAMPLE_RECORDS).map(|record| record.len());
        let Some(first) = widths.next() else { return 0 };
        // The sample may end within a record: what is last does not count unless it is the only one.
        let rest: Vec<usize> = widths.collect();
        let whole = rest.len().saturating_sub(usize::from(rest.len() < SAMPLE_RECORDS - 1));
        if rest[..whole].iter().all(|&width| width == first) { first } else { 1 }
    };
    // Ragged files still need their delimiter, so that the error can name the line: the header decides for them.
    let in_header = |delimiter: u8| {
        let line = sample.split(|&byte| byte == b'\n').next().unwrap_or_default();
        line.iter().filter(|&&byte| byte == delimiter).count()
    };
    let rank = |delimiter: u8| (cells(delimiter), in_header(delimiter));
    // `max_by_key` takes the last of equals: the comma.
    DELIMITERS.into_iter().rev().max_by_key(|&delimiter| rank(delimiter)).unwrap_or(b',')
}

fn header(path: &Path, record: &ByteRecord) -> Result<Vec<String>, DataError> {
    let mut names = Vec::with_capacity(record.len());
    for (i, cell) in record.iter().enumerate() {
        let name = utf8(cell.trim_ascii()).map_err(|error| not_utf8(path, 1, error))?;
        // pandas writes its row numbers under an empty name.
        names.push(if name.is_empty() { format!("unnamed_{}", i + 1) } else { name.to_owned() });
    }
    match names.first() {
        Some(first) if names.iter().all(|name| name.parse::<f64>().is_ok()) => {
            Err(DataError::NoHeader { path: path.to_owned(), first: first.clone() })
        }
        _ => Ok(names),
    }
}

fn not_utf8(path: &Path, line: u64, NotUtf8 { byte, text }: NotUtf8) -> DataError {
    DataError::NotUtf8 { path: path.to_owned(), line, byte, text }
}

fn csv_error(path: &Path, error: csv::Error) -> DataError {
    match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, |position| position.line());
            DataError::Ragged { path: path.to_owned(), line, found: *len, expected: *expected_len }
        }
        _ => unreadable(path, std::io::Error::from(error)),
    }
}
