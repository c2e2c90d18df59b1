//! Parquet: flat columns of numbers, booleans and text, read a batch at a time from each row group.

use super::columns::{Builder, Finished, Markers, NotUtf8};
use super::{
    super::error::{DataError, Place},
    super::note::Note,
    super::table::Table,
    ReadOptions,
};
use super::{Role, open, roles};
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const BATCH_ROWS: usize = 8192;

/// Reads the file. A damaged one is an error: the parquet crate's decoders index their pages without checking, so what they
/// panic of is caught here, where nothing of theirs lives on.
pub(super) fn read(path: &Path, options: &ReadOptions, markers: &Markers) -> Result<Table, DataError> {
    catch_unwind(AssertUnwindSafe(|| read_columns(path, options, markers))).unwrap_or_else(|_| {
        let reason = "a page is damaged".to_owned();
        Err(DataError::Parquet { path: path.to_owned(), reason })
    })
}

/// Reads the columns one after another, over all row groups.
fn read_columns(path: &Path, options: &ReadOptions, markers: &Markers) -> Result<Table, DataError> {
    let broken = |error: ParquetError| DataError::Parquet { path: path.to_owned(), reason: error.to_string() };
    let file = SerializedFileReader::new(open(path)?).map_err(broken)?;
    let schema = file.metadata().file_metadata().schema_descr_ptr();
    let names: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
    let roles = roles(path, &names, options)?;

    let (mut columns, mut notes, mut rows): (_, Vec<Note>, _) = (Vec::new(), Vec::new(), 0);
    for (index, (name, role)) in names.into_iter().zip(roles).enumerate() {
        if role == Role::Skipped {
            continue;
        }
        let descriptor = schema.column(index);
        let kind = Kind::of(&descriptor).map_err(|kind| {
            let (path, column, kind) = (path.to_owned(), name.clone(), kind.to_owned());
            DataError::ColumnType { path, column, kind }
        })?;
        let mut sink =
            Sink { builder: kind.builder(role), markers, kind, row: 0, definition: descriptor.max_def_level() };
        for group in 0..file.num_row_groups() {
            let group = file.get_row_group(group).map_err(broken)?;
            sink.take(group.get_column_reader(index).map_err(broken)?).map_err(|error| match error {
                SinkError::Parquet(error) => broken(error),
                SinkError::NotUtf8(NotUtf8 { byte, text }, row) => {
                    DataError::NotUtf8 { path: path.to_owned(), place: Place::Row(row), byte, text }
                }
            })?;
        }
        rows = sink.row as usize;
        if let Some(Finished::Column(column, note)) = sink.builder.finish(name, path, Place::Row)? {
            columns.push(column);
            notes.extend(note);
        }
    }
    if let Some(column) = columns.iter().find(|column| column.len() != rows) {
        let reason = format!("column \"{}\" has {} rows, others {rows}", column.name, column.len());
        return Err(DataError::Parquet { path: path.to_owned(), reason });
    }
    Ok(Table { source: path.to_owned(), columns, rows, notes })
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Numbers; what is stored is this many times as much.
    Number {
        unit: f64,
        is_unsigned: bool,
    },
    Bool,
    Text,
}

impl Kind {
    /// The kind, or the name of a type that is not read.
    fn of(column: &ColumnDescriptor) -> Result<Kind, &'static str> {
        if column.max_rep_level() > 0 {
            return Err("a list");
        }
        if column.path().parts().len() > 1 {
            return Err("nested");
        }
        let is_decimal = column.converted_type() == ConvertedType::DECIMAL
            || matches!(column.logical_type_ref(), Some(LogicalType::Decimal(_)));
        let is_unsigned = matches!(column.converted_type(), ConvertedType::UINT_32 | ConvertedType::UINT_64);
        match column.physical_type() {
            Type::BOOLEAN => Ok(Kind::Bool),
            Type::INT32 | Type::INT64 if is_decimal => {
                Ok(Kind::Number { unit: libm::pow(10.0, f64::from(column.type_scale())), is_unsigned: false })
            }
            Type::INT32 | Type::INT64 => Ok(Kind::Number { unit: 1.0, is_unsigned }),
            Type::FLOAT | Type::DOUBLE => Ok(Kind::Number { unit: 1.0, is_unsigned: false }),
            Type::BYTE_ARRAY if is_decimal => Err("a decimal of more than 18 digits"),
            Type::BYTE_ARRAY => Ok(Kind::Text),
            Type::INT96 => Err("a time stamp of 96 bits"),
            Type::FIXED_LEN_BYTE_ARRAY => Err("an array of bytes"),
        }
    }

    fn builder(self, role: Role) -> Builder {
        match self {
            // What the file says is text is text, also where it looks like numbers.
            Kind::Bool | Kind::Text => Builder::new(Role::Category),
            Kind::Number { .. } => Builder::new(role),
        }
    }
}

/// A column's cells on their way into their builder.
struct Sink<'a> {
    builder: Builder,
    markers: &'a Markers,
    kind: Kind,
    row: u64,
    /// The definition level of a cell that is not null.
    definition: i16,
}

enum SinkError {
    Parquet(ParquetError),
    /// With the row.
    NotUtf8(NotUtf8, u64),
}

impl Sink<'_> {
    fn take(&mut self, reader: ColumnReader) -> Result<(), SinkError> {
        let Kind::Number { unit, is_unsigned } = self.kind else {
            return match reader {
                ColumnReader::BoolColumnReader(reader) => {
                    self.drain(reader, |sink, &value| sink.text(if value { b"true" } else { b"false" }))
                }
                ColumnReader::ByteArrayColumnReader(reader) => {
                    self.drain(reader, |sink, value| sink.text(value.data()))
                }
                _ => {
                    Err(SinkError::Parquet(ParquetError::General("a row group's type differs from the schema".into())))
                }
            };
        };
        match reader {
            ColumnReader::Int32ColumnReader(reader) if is_unsigned => {
                self.drain(reader, |sink, &value| sink.number(f64::from(value as u32)))
            }
            ColumnReader::Int32ColumnReader(reader) => {
                self.drain(reader, |sink, &value| sink.number(f64::from(value) / unit))
            }
            ColumnReader::Int64ColumnReader(reader) if is_unsigned => {
                self.drain(reader, |sink, &value| sink.number(value as u64 as f64))
            }
            ColumnReader::Int64ColumnReader(reader) => {
                self.drain(reader, |sink, &value| sink.number(value as f64 / unit))
            }
            ColumnReader::FloatColumnReader(reader) => self.drain(reader, |sink, &value| sink.number(f64::from(value))),
            ColumnReader::DoubleColumnReader(reader) => self.drain(reader, |sink, &value| sink.number(value)),
            _ => Err(SinkError::Parquet(ParquetError::General("a row group's type differs from the schema".into()))),
        }
    }

    fn drain<T: DataType>(
        &mut self,
        mut reader: ColumnReaderImpl<T>,
        mut push: impl FnMut(&mut Self, &T::T) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        let (mut values, mut definitions) = (Vec::with_capacity(BATCH_ROWS), Vec::with_capacity(BATCH_ROWS));
        loop {
            values.clear();
            definitions.clear();
            let levels = (self.definition > 0).then_some(&mut definitions);
            let (records, ..) =
                reader.read_records(BATCH_ROWS, levels, None, &mut values).map_err(SinkError::Parquet)?;
            if records == 0 {
                return Ok(());
            }
            let mut known = values.iter();
            for record in 0..records {
                self.row += 1;
                let is_null = definitions.get(record).is_some_and(|&level| level < self.definition);
                match if is_null { None } else { known.next() } {
                    Some(value) => push(self, value)?,
                    None => self.builder.push_missing(),
                }
            }
        }
    }

    fn number(&mut self, value: f64) -> Result<(), SinkError> {
        match self.builder {
            // Declared categories are told apart by how their numbers are written.
            Builder::Categories(_) => self.text(value.to_string().as_bytes()),
            _ => {
                self.builder.push_number(value, self.row, self.markers);
                Ok(())
            }
        }
    }

    fn text(&mut self, text: &[u8]) -> Result<(), SinkError> {
        let row = self.row;
        self.builder.push(text, row, self.markers).map_err(|error| SinkError::NotUtf8(error, row))
    }
}
