//! `export`: a trained model in another program's format.

use super::failure::Failure;
use super::predict::{is_same, load_model};
use super::terminal::print;
use crate::monitor::text::count;
use crate::study::error::RunDirError;
use crate::study::run_dir::write_whole;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Write the model that a run has found for other programs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thousandfold export runs/digits_mlp --output digits.onnx
  thousandfold export runs/digits_mlp/model.safetensors --format onnx -o digits.onnx")]
pub(super) struct ExportArguments {
    /// A model file, or the directory of the run that made one
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// What is written; docs/export.md says what goes in and what comes out
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "onnx")]
    format: Format,
    /// Where the file goes
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Preparation and model as one graph, for ONNX Runtime and whatever else reads ONNX
    Onnx,
}

impl ExportArguments {
    /// An exported model replaces neither what it is made of nor a study or a table.
    fn check_output(&self) -> Result<(), Failure> {
        let ending = self.output.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        match ending.as_str() {
            _ if is_same(&self.model, &self.output) => Err(Failure::Input(format!(
                "{} is what would be exported, and is left as it is\n  Write another file: --output model.onnx",
                self.output.display()
            ))),
            "safetensors" | "toml" | "json" | "tfj" | "csv" | "gz" | "parquet" => Err(Failure::Input(format!(
                "{}: a file of that name holds something else than ONNX\n  Name the file so: --output model.onnx",
                self.output.display()
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn run(&self) -> Result<(), Failure> {
        self.check_output()?;
        let model = load_model(&self.model)?;
        let bytes = match self.format {
            Format::Onnx => model.to_onnx()?,
        };
        write_whole(&self.output, &bytes).map_err(|error| match error {
            RunDirError::Io { path, source } => Failure::unwritable(&path, &source),
            other => other.into(),
        })?;
        let meta = &model.meta;
        let columns = meta.preparation.columns().count();
        let gives = if meta.class_names.is_empty() { "value" } else { "label, probabilities" };
        print(&format!(
            "written to {}: {} of {}; in: {} of [rows, 1]; out: {gives}\n",
            self.output.display(),
            meta.model,
            meta.target_name,
            count(columns as u64, "column")
        ))
    }
}
