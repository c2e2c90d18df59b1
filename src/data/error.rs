//! What can be wrong with data: what happened and where, then, on lines of their own, what to do.

use crate::base::registry::nearest;
use crate::base::shell;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where in a file a row is, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The line of a text file in which the row starts; the header is line 1.
    Line(u64),
    /// The row of a file without lines.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// Why a file cannot be read as a table, or a table cannot be learned from.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No such file.
    #[error("{} does not exist{}", path.display(), near.as_deref().map_or_else(|| beginning(path), |near| did_you_mean(Some(near)).to_string()))]
    NotFound {
        /// As it was given.
        path: PathBuf,
        /// A file in the same folder with nearly that name.
        near: Option<String>,
    },
    /// The file cannot be opened, or reading it stopped.
    #[error("{}: cannot be read: {}{}", path.display(), cause(source), advice(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system, or the decompressor, said.
        source: std::io::Error,
    },
    /// No byte in the file.
    #[error("{} is empty\n  A table has a line of column names and a line for each row", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Column names and nothing below them.
    #[error("{} holds column names but no rows\n  A table has a line of column names and a line for each row", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// The first line is data.
    #[error(
        "{}, line 1: only numbers where column names belong (\"{first}\", ...)\n  The first line must name the columns",
        path.display()
    )]
    NoHeader {
        /// The file.
        path: PathBuf,
        /// The first cell.
        first: String,
    },
    /// Two columns share a name.
    #[error("{}: two columns are named \"{column}\"\n  Rename one of them", path.display())]
    DuplicateColumn {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A row with more or fewer cells than the header.
    #[error(
        "{}, line {line}: {} where the header has {expected}\n  A stray delimiter or an open quote often is the cause",
        path.display(), count(*found, "cell")
    )]
    Ragged {
        /// The file.
        path: PathBuf,
        /// Where the row starts, from 1.
        line: u64,
        /// Its cells.
        found: u64,
        /// The header's cells.
        expected: u64,
    },
    /// A quoted cell without an end.
    #[error(
        "{}, line {line}: a quote is opened in this row and never closed\n  A quote within a quoted cell is written twice: \"\"",
        path.display()
    )]
    OpenQuote {
        /// The file.
        path: PathBuf,
        /// Where the row starts, from 1.
        line: u64,
    },
    /// Text in another encoding.
    #[error(
        "{}, {place}: not UTF-8 (byte 0x{byte:02x} in {text:?})\n  {}",
        path.display(), encoding(*byte, text)
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Its row.
        place: Place,
        /// The first byte that is not.
        byte: u8,
        /// The cell, with replacement characters.
        text: String,
    },
    /// A column of numbers with text in it.
    #[error("{}, {place}: column \"{column}\" holds \"{}\", which is not a number\n  {texts} of {} hold text in this column{}. To read \"{}\" as missing: [data] missing = [{text:?}]\n  To read the column as categories: [data] categories = [{column:?}]",
        path.display(), shown(text), count(*rows, "row"), several(*distinct), shown(text))]
    Mixed {
        /// The file.
        path: PathBuf,
        /// The first such row.
        place: Place,
        /// The column.
        column: String,
        /// What it holds there.
        text: String,
        /// Rows with text in this column.
        texts: u64,
        /// How many different texts there are.
        distinct: u64,
        /// All rows.
        rows: u64,
    },
    /// A number that is not finite.
    #[error("{}, {place}: column \"{column}\" holds {text}, which is not a finite number\n  {found} of {} in this column do. To read {text} as missing: [data] missing = [\"{text}\"]", path.display(), count(*rows, "row"))]
    Infinite {
        /// The file.
        path: PathBuf,
        /// The first such row.
        place: Place,
        /// The column.
        column: String,
        /// How it is written there.
        text: String,
        /// Rows that hold one.
        found: u64,
        /// All rows.
        rows: u64,
    },
    /// A Parquet file that is damaged, or uses what is not read.
    #[error("{}: not readable as Parquet: {reason}\n  {DAMAGED}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A Parquet column of a type without a meaning here.
    #[error("{}: column \"{column}\" is {kind}, which cannot be read as numbers or categories\n  To leave it out: [data] drop = [{column:?}]", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type, with an article.
        kind: String,
    },
    /// A column that the study names is not there.
    #[error("{}: no column \"{name}\", named by data.{role}{}\n  columns: {}", path.display(), did_you_mean(near(name, known)), list(known))]
    UnknownColumn {
        /// The file.
        path: PathBuf,
        /// The key that names it.
        role: &'static str,
        /// The name.
        name: String,
        /// Every column of the file.
        known: Vec<String>,
    },
    /// One column is given two parts to play.
    #[error("column \"{column}\" cannot be data.{first} and data.{second} at once")]
    TwoRoles {
        /// The column.
        column: String,
        /// One key that names it.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Test rows are chosen in two ways.
    #[error("data.{first} and data.{second} both choose the test rows\n  Keep one of them")]
    TestTwice {
        /// One key.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Rows whose part in the splits is not known.
    #[error("{}, row {row}: column \"{column}\", named by data.{role}, is missing\n  {found} of {} lack it: fill it in, or remove them", path.display(), count(*rows, "row"))]
    RoleMissing {
        /// The file.
        path: PathBuf,
        /// The key that names the column.
        role: &'static str,
        /// The column.
        column: String,
        /// The first such row, counted from 1 below the header.
        row: usize,
        /// How many there are.
        found: usize,
        /// All rows.
        rows: usize,
    },
    /// Rows without a target.
    #[error("{}, row {row}: the target \"{target}\" is missing\n  {found} of {} have no target; a row without one cannot be learned from or scored: remove them", path.display(), count(*rows, "row"))]
    TargetMissing {
        /// The file.
        path: PathBuf,
        /// The target's column.
        target: String,
        /// The first such row, counted from 1 below the header.
        row: usize,
        /// How many there are.
        found: usize,
        /// All rows.
        rows: usize,
    },
    /// Nothing to predict.
    #[error("{}: the target \"{target}\" is {value} in every row\n  Name the column to predict: [data] target = \"...\"", path.display())]
    TargetConstant {
        /// The file.
        path: PathBuf,
        /// The target's column.
        target: String,
        /// Its only value.
        value: String,
    },
    /// Regression on text.
    #[error("{}: the target \"{target}\" holds text (\"{level}\", ...), which regression cannot predict\n  To predict classes: [data] task = \"classification\"", path.display())]
    TargetText {
        /// The file.
        path: PathBuf,
        /// The target's column.
        target: String,
        /// One of its levels.
        level: String,
    },
    /// A target with about as many classes as rows.
    #[error("{}: the target \"{target}\" has {classes} classes in {}\n  For a number: [data] task = \"regression\"; otherwise name another column: [data] target = \"...\"", path.display(), count(*rows, "row"))]
    TooManyClasses {
        /// The file.
        path: PathBuf,
        /// The target's column.
        target: String,
        /// Distinct values.
        classes: usize,
        /// All rows.
        rows: usize,
    },
    /// A target beyond what 32-bit numbers hold.
    #[error("{}, row {row}: the target {value} is beyond the range of 32-bit numbers (3.4e38)\n  Scale the column", path.display())]
    TargetRange {
        /// The file.
        path: PathBuf,
        /// Counted from 1 below the header.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A category that would become more features than anything can learn from.
    #[error("{}: column \"{column}\" has {} different categories, more than {}\n  If it only names rows, leave it out: [data] drop = [{column:?}]", path.display(), thousands(*levels as u64), thousands(*limit as u64))]
    TooManyCategories {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Distinct levels.
        levels: usize,
        /// The most that are taken.
        limit: usize,
    },
    /// Prepared rows that the machine has no room for.
    #[error("{}: {} on {} take {}, and this machine has {} of memory{}\n  Fewer folds or repeats take less, too", path.display(), count(*features, "feature"), count(*folds, "fold"), gigabytes(*bytes), gigabytes(*memory), widest.as_ref().map(|(column, features)| format!("\n  Column \"{column}\" becomes {} of them: leave it out: [data] drop = [{column:?}], or let its rare categories share one: [prepare] rare = 100", thousands(*features as u64))).unwrap_or_default())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What they would take.
        bytes: u64,
        /// What there is.
        memory: u64,
        /// Features of a row.
        features: usize,
        /// Folds over all repeats.
        folds: usize,
        /// The category with the most features, and how many.
        widest: Option<(String, usize)>,
    },
    /// Every column was dropped.
    #[error("{}: no feature is left{}", path.display(), reasons(dropped))]
    NoFeature {
        /// The file.
        path: PathBuf,
        /// Why, column by column.
        dropped: Vec<String>,
    },
    /// No feature varies over a fold's training rows.
    #[error("no feature varies over the {} of repeat {repeat}, fold {fold}\n  Take fewer folds, or other columns", count(*rows, "training row"))]
    NothingToLearn {
        /// The repeat.
        repeat: u32,
        /// The fold.
        fold: u32,
        /// Its training rows.
        rows: usize,
    },
    /// The column that marks test rows holds something else.
    #[error("{}, row {row}: data.test_column \"{column}\" holds \"{text}\"\n  A test row is marked with test, true or 1, any other with train, false or 0", path.display())]
    TestMark {
        /// The file.
        path: PathBuf,
        /// Counted from 1 below the header.
        row: usize,
        /// The column.
        column: String,
        /// What it holds.
        text: String,
    },
    /// The column of weights holds something else.
    #[error("{}, row {row}: data.weight \"{column}\" holds \"{text}\"\n  A weight is a number from 0 up", path.display())]
    BadWeight {
        /// The file.
        path: PathBuf,
        /// Counted from 1 below the header.
        row: usize,
        /// The column.
        column: String,
        /// What it holds.
        text: String,
    },
    /// No row counts.
    #[error("{}: data.weight \"{column}\" is 0 in every row\n  A weight is how much a row counts: some must be above 0", path.display())]
    NoWeight {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// A second file, or a file to predict, that lacks columns.
    #[error("{}: {} missing: {}\n  Columns are matched by name; their order does not matter", path.display(), if columns.len() == 1 { "a column is".to_owned() } else { format!("{} columns are", columns.len()) }, list(columns))]
    MissingColumns {
        /// The file.
        path: PathBuf,
        /// Their names.
        columns: Vec<String>,
    },
    /// A column of the other kind than the one that was trained on.
    #[error("{}{}where {expected} were trained on{}", path.display(), other_kind(column, found, text.as_ref()), text.as_ref().map(|_| "\n  Remove such cells, or leave them empty to have them imputed").unwrap_or_default())]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What it holds.
        found: &'static str,
        /// What it held.
        expected: &'static str,
        /// The first row, counted from 1 below the header, that holds text where numbers belong, and the text.
        text: Option<(usize, String)>,
    },
}

/// What the system said, without its numbers.
pub(crate) fn cause(source: &std::io::Error) -> String {
    let text = source.to_string();
    // Temporary files are named behind the message: their names mean nothing to anyone.
    let text = text.split(" at path \"").next().unwrap_or_default();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut letters = text.chars();
    // "No such file" in the middle of a sentence; "UTF-8" stays.
    match (letters.next(), letters.as_str().starts_with(|second: char| second.is_uppercase())) {
        (Some(first), false) => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

const DAMAGED: &str = "The file is damaged or was cut off: copy or download it again";

fn advice(source: &std::io::Error) -> String {
    use std::io::ErrorKind::*;
    match source.kind() {
        IsADirectory => "\n  Name a file in it".to_owned(),
        UnexpectedEof | InvalidData | InvalidInput => format!("\n  {DAMAGED}"),
        _ => String::new(),
    }
}

fn other_kind(column: &str, found: &str, text: Option<&(usize, String)>) -> String {
    match text {
        Some((row, text)) => format!(", row {row}: column \"{column}\" holds \"{}\" ", shown(text)),
        None => format!(": column \"{column}\" holds {found} "),
    }
}

/// Where a path begins, for one that leads to nothing.
fn beginning(path: &Path) -> String {
    match path.is_relative() {
        true => {
            "\n  A path on the command line begins in the current folder, one in a study beside its file".to_owned()
        }
        false => String::new(),
    }
}

/// What to do with bytes that are not UTF-8: a byte order mark tells UTF-16, and no other text holds a NUL.
fn encoding(byte: u8, text: &str) -> String {
    let from = match byte {
        0xfe.. => "UTF-16",
        _ if text.contains('\0') => return "This is no text; tables are CSV, gzip CSV or Parquet files".to_owned(),
        _ => "WINDOWS-1252",
    };
    format!("Save the file as UTF-8, or convert it: iconv -f {from} -t UTF-8")
}

/// A cell or a name from a file: its start, and nothing in it that a terminal would obey.
fn shown(text: &str) -> String {
    const SHOWN: usize = 60;
    let plain = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut start: String = plain.take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        start.push('…');
    }
    start
}

/// A path as a command line takes it: in quotes where a shell would take it apart.
pub(crate) fn in_shell(path: &Path) -> String {
    // Where it parts folders no shell is known to take it for anything else.
    shell::in_shell(&path.display().to_string(), if cfg!(windows) { "\\" } else { "" })
}

fn did_you_mean(near: Option<&str>) -> impl fmt::Display {
    near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"))
}

fn near<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    nearest(name, known.iter().map(String::as_str))
}

pub(crate) fn count(n: impl Into<Count>, what: &str) -> String {
    let Count(n) = n.into();
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

pub(crate) struct Count(u64);

impl From<u64> for Count {
    fn from(n: u64) -> Count {
        Count(n)
    }
}

impl From<usize> for Count {
    fn from(n: usize) -> Count {
        Count(n as u64)
    }
}

/// `1,797`, as people write it.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// At most a dozen names: a table can have thousands.
pub(crate) fn list(names: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn several(distinct: u64) -> String {
    if distinct > 1 { ", not all the same".to_owned() } else { String::new() }
}

fn reasons(dropped: &[String]) -> String {
    dropped.iter().take(12).map(|reason| format!("\n  {reason}")).collect()
}
