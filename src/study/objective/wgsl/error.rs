//! What can be wrong with a user's shader, its parameters and its tables.

use crate::data::error::{cause, count};
use std::path::PathBuf;

/// A shader that cannot be an objective, or not on this machine.
#[derive(Debug, thiserror::Error)]
pub enum WgslError {
    /// The file cannot be read.
    #[error("{} {}{}\n  Write a function into it: fn objective(p: Params) -> f32 {{ return p.x * p.x; }}", path.display(), match source.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        std::io::ErrorKind::InvalidData => "cannot be read: it is not UTF-8".to_owned(),
        _ => format!("cannot be read: {}", cause(source)),
    }, near.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// A file in the same folder with nearly that name.
        near: Option<String>,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing to search.
    #[error(
        "a shader has no search space of its own, and [space] is empty\n  Say what it searches: [space] rate = {{ log = [1e-4, 1e-1] }}"
    )]
    NoSpace,
    /// A parameter that no field can be called.
    #[error(
        "[space] {name}: no field of a struct can be called that in WGSL\n  Names of a shader's parameters have letters, digits and _, begin with no digit, and are no word of WGSL: {other}"
    )]
    ParameterName {
        /// As it is written.
        name: String,
        /// What it could be called.
        other: String,
    },
    /// A parameter called as the field that says whether another one exists.
    #[error(
        "[space] {name}: this is the field that says whether {of} exists, which has a condition\n  Call the parameter otherwise"
    )]
    TakenName {
        /// As it is written.
        name: String,
        /// The parameter with the condition.
        of: String,
    },
    /// A number that a device cannot tell from others.
    #[error(
        "[space] {name}: {value} is no number of a shader\n  Whole numbers go from -2147483648 to 2147483647, others from 1.2e-38 to 3.4e38 on both sides of 0"
    )]
    Range {
        /// The parameter.
        name: String,
        /// As it is written.
        value: String,
    },
    /// Two choices with one constant.
    #[error(
        "[space] {name}: \"{value}\" would be the constant {constant}, and so would another choice\n  Constants have the letters and digits of a choice alone: call one of them otherwise"
    )]
    ConstantTwice {
        /// The parameter.
        name: String,
        /// The choice.
        value: String,
        /// Its constant.
        constant: String,
    },
    /// A table that no function can be called.
    #[error(
        "the table {name} cannot be called that in WGSL\n  Its function is {name}_at: names have letters, digits and _, and begin with no digit"
    )]
    TableName {
        /// As it is written.
        name: String,
    },
    /// A name that stands for two things.
    #[error(
        "two tables, or a table and a choice, would both have the constant {name} in the shader\n  Call one of them otherwise"
    )]
    NameTwice {
        /// The name.
        name: String,
    },
    /// A cell that is no number of a shader.
    #[error("{}, row {row}: column \"{column}\" {}\n  A shader reads numbers alone: take the column out of the file, or fill it with numbers", path.display(), match text.is_empty() {
        true => "is empty here".to_owned(),
        false => format!("holds \"{text}\", which is no number of a shader"),
    })]
    NoNumber {
        /// The file.
        path: PathBuf,
        /// Counted from 1 below the header.
        row: usize,
        /// The column.
        column: String,
        /// What it holds; nothing where it is missing.
        text: String,
    },
    /// More numbers than one buffer may hold.
    #[error("{}: with this table the shader has more than 2 GiB of numbers, and a device gives it one buffer of less\n  Take fewer rows, or columns", path.display())]
    TablesTooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Something in the shader's text, which is marked.
    #[error("{message}\n  {remedy}")]
    Text {
        /// What is wrong.
        message: String,
        /// What would be right.
        remedy: String,
    },
    /// As many directions as the shader has values are needed.
    #[error("{key} says {}, and objective in {} returns {gives}, {}\n  Say one for each value: directions = [\"minimize\", \"maximize\"]; or none where all are to be small", count(*stated, "direction"), path.display(), count(*values, "value"))]
    Directions {
        /// The key that says them.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// How many are said.
        stated: usize,
        /// What the function gives, in WGSL.
        gives: String,
        /// How many values that is.
        values: usize,
    },
    /// Both keys for directions.
    #[error("objective.direction and objective.directions both say which values are better\n  Leave one of them out")]
    DirectionsTwice,
    /// The processor was asked for.
    #[error(
        "a shader is evaluated on a GPU alone, and this study asks for the processor\n  Leave backend = \"cpu\" out. Where there is no GPU, a software adapter will do: --device llvmpipe (thousandfold devices lists them)"
    )]
    Processor,
    /// No device fits what was asked for.
    #[error("a shader is evaluated on a GPU, and there is no usable one: {reason}\n  adapters: {}\n  {}", if known.is_empty() { "none".to_owned() } else { known.join("; ") }, match known.is_empty() {
        true => "Install a driver for Vulkan, Metal or DirectX 12; a software one will do, such as Mesa's lavapipe (mesa-vulkan-drivers)",
        false => "To take one of these: --device with a part of its name, or its number",
    })]
    NoAdapter {
        /// Why none was taken.
        reason: String,
        /// Names of the adapters that were seen.
        known: Vec<String>,
    },
}
