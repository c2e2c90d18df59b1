//! CSV with a header: the delimiter is found by looking, cells go straight from the file's bytes into columns.
//!
//! Up to the first quote, lines are cut and numbers read in one walk over the bytes; from there on the csv crate's parser
//! finds the cells.

use super::columns::{Builder, Finished, Markers, NotUtf8, utf8};
use super::inflate::Inflate;
use super::lines::Lines;
use super::{
    super::error::{DataError, Place},
    super::note::Note,
    super::table::Table,
    ReadOptions,
};
use super::{Role, open, roles, unreadable};
use csv::{ByteRecord, Reader, ReaderBuilder};
use memchr::memchr;
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
    let Head { names, delimiter, sample, length } = head(path, &mut bytes)?;
    let roles = roles(path, &names, options)?;
    let builder = |(name, role)| match role {
        Role::Inferred if turned.contains(name) => Builder::turned(),
        _ => Builder::new(role),
    };
    let mut rows = Rows {
        path,
        markers,
        delimiter,
        builders: names.iter().zip(roles).map(builder).collect(),
        rows: 0,
        line: 1 + sample[..length].iter().filter(|&&byte| byte == b'\n').count() as u64,
    };
    // Files of old Macs end lines with a bare carriage return, which only the parser knows.
    let has_lines = sample[..length].ends_with(b"\n") || sample[length..].starts_with(b"\n");
    let mut body = Cursor::new(sample).chain(bytes);
    body.get_mut().0.set_position(length as u64);
    let mut lines = Lines::new(body);
    if has_lines {
        while let Some(block) = lines.next_block().map_err(|source| unreadable(path, source))? {
            rows.take_lines(block)?;
        }
    }
    rows.take_records(lines.rest())?;
    finish(path, names, rows.builders, rows.rows)
}

/// The start of a file: its header, and what was read to find it.
struct Head {
    names: Vec<String>,
    delimiter: u8,
    sample: Vec<u8>,
    /// Bytes of the sample that the header takes.
    length: usize,
}

fn head(path: &Path, bytes: &mut dyn Read) -> Result<Head, DataError> {
    let mut sample = Vec::new();
    loop {
        let wanted = SAMPLE_BYTES.max(sample.len() as u64);
        let read = bytes.take(wanted).read_to_end(&mut sample).map_err(|source| unreadable(path, source))?;
        let delimiter = delimiter(&sample);
        let mut reader = reader(delimiter, sample.as_slice());
        let mut record = ByteRecord::new();
        if !reader.read_byte_record(&mut record).map_err(|error| unreadable(path, error.into()))? {
            return Err(DataError::Empty { path: path.to_owned() });
        }
        let length = reader.position().byte() as usize;
        // A header that fills the sample may go on after it.
        if length < sample.len() || (read as u64) < wanted {
            return Ok(Head { names: header(path, &record)?, delimiter, sample, length });
        }
    }
}

fn reader<R: Read>(delimiter: u8, bytes: R) -> Reader<R> {
    ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(BUFFER_BYTES)
        .from_reader(bytes)
}

/// The rows of a file on their way into columns.
struct Rows<'a> {
    path: &'a Path,
    markers: &'a Markers,
    delimiter: u8,
    builders: Vec<Builder>,
    rows: usize,
    /// Of the next byte, from 1.
    line: u64,
}

impl Rows<'_> {
    /// Whole lines that hold no quote.
    fn take_lines(&mut self, block: &[u8]) -> Result<(), DataError> {
        let mut start = 0;
        while start < block.len() {
            let end = memchr(b'\n', &block[start..]).map_or(block.len(), |length| start + length);
            let line = &block[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                self.take_line(line)?;
            }
            self.line += 1;
            start = end + 1;
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), DataError> {
        let mut start = 0;
        for builder in &mut self.builders {
            let Some(cells) = line.get(start..) else {
                return Err(self.ragged(self.line, cells(line, self.delimiter)));
            };
            let length = (builder.push_first(cells, self.delimiter, self.line, self.markers))
                .map_err(|error| not_utf8(self.path, self.line, error))?;
            start += length + 1;
        }
        // Behind the last cell is the end of the line, where a delimiter would stand.
        if start != line.len() + 1 {
            return Err(self.ragged(self.line, cells(line, self.delimiter)));
        }
        self.rows += 1;
        Ok(())
    }

    /// Records that may hold quotes.
    fn take_records(&mut self, bytes: impl Read) -> Result<(), DataError> {
        let mut reader = reader(self.delimiter, Tail { bytes, last: 0, is_over: false });
        let mut record = ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|error| unreadable(self.path, error.into()))? {
            let line = self.line - 1 + record.position().map_or(1, |position| position.line());
            if reader.get_ref().cuts(&record) {
                return Err(DataError::OpenQuote { path: self.path.to_owned(), line });
            }
            if record.len() != self.builders.len() {
                return Err(self.ragged(line, record.len()));
            }
            for (builder, cell) in self.builders.iter_mut().zip(record.iter()) {
                builder.push(cell, line, self.markers).map_err(|error| not_utf8(self.path, line, error))?;
            }
            self.rows += 1;
        }
        Ok(())
    }

    fn ragged(&self, line: u64, found: usize) -> DataError {
        let (path, expected) = (self.path.to_owned(), self.builders.len() as u64);
        DataError::Ragged { path, line, found: found as u64, expected }
    }
}

fn cells(line: &[u8], delimiter: u8) -> usize {
    1 + line.iter().filter(|&&byte| byte == delimiter).count()
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
        match builder.finish(name.clone(), path, Place::Line)? {
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
    DataError::NotUtf8 { path: path.to_owned(), place: Place::Line(line), byte, text }
}
