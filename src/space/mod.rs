//! Layer 1: the search space: parameters with their scales and conditions, and the codec to the unit cube.
//!
//! A candidate's values travel as one row of [`Points`]: numbers as they are, a choice as its index, a bool as 0 or 1,
//! and NaN where the parameter does not exist (its condition does not hold). [`Space`] gives the rows their meaning.

mod builder;
mod codec;
pub mod constraint;
mod distance;
mod error;
mod join;
mod toml;

pub use builder::SpaceBuilder;
pub use codec::Codec;
pub use error::SpaceError;
pub use join::MODEL;

use constraint::Constraint;

use indexmap::IndexMap;
use std::fmt;

/// A parameter's value as a study file, a table or the journal shows it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// true or false
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A real number.
    Float(f64),
    /// A name of a choice.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Text(value) => f.write_str(value),
        }
    }
}

/// How a number's range is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Equal differences are equally far apart.
    Linear,
    /// Equal ratios are equally far apart.
    Log,
    /// Equal ratios of odds are equally far apart; for shares in (0, 1).
    Logit,
}

/// The values that a parameter may take.
#[derive(Debug, Clone, PartialEq)]
pub enum Domain {
    /// Real numbers from `low` to `high`, both included; with a step, only `low + k step`.
    Float {
        /// Least value.
        low: f64,
        /// Greatest value.
        high: f64,
        /// How the range is walked.
        scale: Scale,
        /// Distance of neighbours, if the values are stepped.
        step: Option<f64>,
    },
    /// Whole numbers from `low` to `high`, both included, `step` apart.
    Int {
        /// Least value.
        low: i64,
        /// Greatest value.
        high: i64,
        /// `Linear` or `Log`.
        scale: Scale,
        /// Distance of neighbours, 1 or more.
        step: i64,
    },
    /// Choices with an order, which neighbours share.
    Ordinal(Vec<Value>),
    /// Choices without an order.
    Categorical(Vec<Value>),
    /// false or true
    Bool,
    /// One value: not searched.
    Fixed(Value),
}

/// A parameter exists only where its parent has one of `values`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The parent's place in [`Space::parameters`]; always before the child's.
    pub parent: usize,
    /// The parent's values, encoded as in [`Points`], for which the child exists.
    pub values: Vec<f64>,
    /// The same values as they are written.
    pub names: Vec<Value>,
}

/// What a model can work with at all, whatever a study asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Limits {
    /// Whole numbers between two, both included.
    Whole(f64, f64),
    /// Real numbers between two, both included.
    Real(f64, f64),
    /// These values.
    Choices(Vec<Value>),
}

/// One dimension of the search.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The same name in TOML, Rust, WGSL, journal and page.
    pub name: String,
    /// What it may be.
    pub domain: Domain,
    /// The encoded value of candidate 0.
    pub default: f64,
    /// What the model can work with at all.
    pub limits: Limits,
    /// All must hold for the parameter to exist; a parent that does not exist holds no condition.
    pub conditions: Vec<Condition>,
}

impl Parameter {
    /// Whether all conditions hold in a row whose parents are known.
    fn exists(&self, row: &[f64]) -> bool {
        let holds =
            |condition: &Condition| row.get(condition.parent).is_some_and(|value| condition.values.contains(value));
        self.conditions.iter().all(holds)
    }
}

/// Rows of encoded parameter values, one a candidate.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Points {
    width: usize,
    values: Vec<f64>,
}

impl Points {
    /// No points yet, of `width` parameters each.
    pub fn new(width: usize) -> Points {
        Points { width, values: Vec::new() }
    }

    /// Points from their rows, one after another; `values.len()` is a multiple of `width`.
    pub fn from_values(width: usize, values: Vec<f64>) -> Points {
        assert!(width > 0 && values.len().is_multiple_of(width), "rows of {width} values, got {}", values.len());
        Points { width, values }
    }

    /// Number of candidates.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Number of parameters.
    pub fn width(&self) -> usize {
        self.width
    }

    /// One candidate's values.
    pub fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.width..][..self.width]
    }

    /// Every candidate's values, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// Adds a candidate.
    pub fn push(&mut self, row: &[f64]) {
        assert_eq!(row.len(), self.width);
        self.values.extend_from_slice(row);
    }
}

/// All parameters of a study. Parents stand before their children.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Space {
    /// The parameters in the order of [`Points`]' columns.
    pub parameters: Vec<Parameter>,
    /// What every candidate must meet.
    pub constraints: Vec<Constraint>,
}

impl Space {
    /// The column of a parameter.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|parameter| parameter.name == name)
    }

    /// Candidate 0: every parameter's default, NaN where its conditions do not hold.
    pub fn defaults(&self) -> Vec<f64> {
        let mut row: Vec<f64> = self.parameters.iter().map(|parameter| parameter.default).collect();
        self.mask(&mut row);
        row
    }

    /// Puts NaN where a parameter's conditions do not hold.
    pub fn mask(&self, row: &mut [f64]) {
        for (column, parameter) in self.parameters.iter().enumerate() {
            if !parameter.exists(row) {
                row[column] = f64::NAN;
            }
        }
    }

    /// What an encoded value means; `None` where the parameter does not exist, or for a value that it cannot have.
    pub fn value(&self, column: usize, encoded: f64) -> Option<Value> {
        self.parameters.get(column)?.value(encoded)
    }

    /// Whether a candidate meets every constraint.
    pub fn is_allowed(&self, row: &[f64]) -> bool {
        self.constraints.iter().all(|constraint| constraint.holds(row))
    }

    /// A candidate's code from its values by name; what is not named takes its default. `None` for a value that a
    /// parameter cannot have.
    pub fn row(&self, named: &IndexMap<String, Value>) -> Option<Vec<f64>> {
        let mut row = self.defaults();
        for (column, parameter) in self.parameters.iter().enumerate() {
            row[column] = match named.get(&parameter.name) {
                Some(value) => parameter.encode(value)?,
                None => parameter.default,
            };
        }
        self.mask(&mut row);
        Some(row)
    }

    /// The existing parameters of a candidate, by name.
    pub fn named(&self, row: &[f64]) -> IndexMap<String, Value> {
        let columns = self.parameters.iter().zip(row).enumerate();
        columns
            .filter_map(|(column, (parameter, encoded))| Some((parameter.name.clone(), self.value(column, *encoded)?)))
            .collect()
    }

    /// A candidate's value as a number; `None` where the parameter does not exist or is no number. A bool is 0 or 1.
    pub fn number(&self, row: &[f64], name: &str) -> Option<f64> {
        let column = self.index(name)?;
        match self.value(column, *row.get(column)?)? {
            Value::Bool(value) => Some(f64::from(u8::from(value))),
            Value::Int(value) => Some(value as f64),
            Value::Float(value) => Some(value),
            Value::Text(_) => None,
        }
    }

    /// Every number that a parameter may have, in the order of its codes; none for a continuum, or where there is no such
    /// parameter.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        let Some(column) = self.index(name) else { return Vec::new() };
        let codec = Codec::new(&self.parameters[column]);
        let count = codec.count().unwrap_or(0);
        let mut row = self.defaults();
        let number = |index| {
            row[column] = codec.nth(index, count);
            self.number(&row, name)
        };
        (0..count).filter_map(number).collect()
    }

    /// A candidate's choice by its name; `None` where the parameter does not exist or is no text.
    pub fn text(&self, row: &[f64], name: &str) -> Option<String> {
        let column = self.index(name)?;
        match self.value(column, *row.get(column)?)? {
            Value::Text(value) => Some(value),
            _ => None,
        }
    }
}
