//! What the user should know of his data though nothing is wrong with it: what was dropped, decided or looks odd.

use super::error::{count, list, thousands};
use std::fmt;

/// One remark on a table or data set.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// A column that holds both numbers and text was read as categories.
    MixedAsCategory {
        /// The column.
        column: String,
        /// Rows with text.
        texts: u64,
        /// All rows.
        rows: u64,
    },
    /// Columns that are the same in every row: dropped.
    Constant {
        /// The columns, each with what it holds.
        columns: Vec<(String, String)>,
    },
    /// Columns without a cell that is not missing: dropped.
    AllMissing {
        /// The columns.
        columns: Vec<String>,
    },
    /// The target's few distinct integers were taken as classes.
    IntegersAsClasses {
        /// The target.
        column: String,
        /// How many.
        classes: usize,
    },
    /// The column looks like a row number or a name: it differs in every row.
    LooksLikeId {
        /// The column.
        column: String,
    },
    /// The column gives the target away.
    LeaksTarget {
        /// The column.
        column: String,
        /// How that was seen.
        how: Leak,
    },
}

/// How a column gives the target away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leak {
    /// Its value alone tells the class in every row.
    Separates,
    /// Its correlation with the target.
    Correlates(f64),
}

impl Note {
    /// Whether the user should probably act on it.
    pub fn is_warning(&self) -> bool {
        matches!(self, Note::LooksLikeId { .. } | Note::LeaksTarget { .. })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::MixedAsCategory { column, texts, rows } => {
                write!(
                    f,
                    "column \"{column}\" is read as categories: {} of {} hold text",
                    thousands(*texts),
                    count(*rows, "row")
                )
            }
            Note::Constant { columns } => match columns.as_slice() {
                [(column, value)] => write!(f, "column \"{column}\" is dropped: it is {value} in every row"),
                _ => {
                    let names: Vec<&str> = columns.iter().map(|(column, _)| column.as_str()).collect();
                    write!(
                        f,
                        "{} are dropped, each the same in every row: {}",
                        count(names.len(), "column"),
                        list(&names)
                    )
                }
            },
            Note::AllMissing { columns } => match columns.as_slice() {
                [column] => write!(f, "column \"{column}\" is dropped: every cell is missing"),
                _ => write!(f, "{} are dropped, every cell missing: {}", count(columns.len(), "column"), list(columns)),
            },
            Note::IntegersAsClasses { column, classes } => write!(
                f,
                "the target \"{column}\" holds {classes} distinct integers, taken as classes\n  To predict a number: [data] task = \"regression\""
            ),
            Note::LooksLikeId { column } => write!(
                f,
                "column \"{column}\" looks like an id: it differs in every row\n  To leave it out: [data] drop = [{column:?}]"
            ),
            Note::LeaksTarget { column, how } => {
                write!(f, "column \"{column}\" gives the target away: ")?;
                match how {
                    Leak::Separates => write!(f, "its value alone tells the class in every row")?,
                    Leak::Correlates(r) => write!(f, "its correlation with the target is {r:.6}")?,
                }
                write!(f, "\n  If it is not known when a prediction is made, leave it out: [data] drop = [{column:?}]")
            }
        }
    }
}
