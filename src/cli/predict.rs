//! `predict`: a trained model on new rows.

use super::failure::Failure;
use super::terminal::{self, print};
use crate::data::read_table;
use crate::monitor::predictions::to_csv;
use crate::monitor::text::thousands;
use crate::study::error::RunDirError;
use crate::study::load_result;
use crate::study::model_file::FittedModel;
use crate::study::run_dir::{model_path, write_whole};
use clap::Args;
use std::path::{Path, PathBuf};

/// Predict the rows of a table with the model that a run has found
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thousandfold predict runs/digits_mlp new.csv -o predictions.csv
  thousandfold predict runs/digits_mlp/model.safetensors new.parquet | head")]
pub(super) struct PredictArguments {
    /// A model file, or the directory of the run that made one
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The rows: CSV, gzip CSV, Parquet; columns are found by their names
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Where the predictions go, instead of to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl PredictArguments {
    /// Predictions are CSV, and replace neither what they are made of nor a study.
    fn check_output(&self) -> Result<(), Failure> {
        let Some(output) = &self.output else { return Ok(()) };
        let ending = output.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        match ending.as_str() {
            _ if is_same(&self.data, output) || is_same(&self.model, output) => Err(Failure::Input(format!(
                "{} is what the predictions are made of, and is left as it is\n  Write another file: -o predictions.csv",
                output.display()
            ))),
            "parquet" | "gz" | "toml" | "safetensors" | "json" => Err(Failure::Input(format!(
                "{}: predictions are written as plain CSV\n  Name the file so: -o predictions.csv",
                output.display()
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn run(&self) -> Result<(), Failure> {
        self.check_output()?;
        let model = load_model(&self.model)?;
        let preparation = &model.meta.preparation;
        let table = read_table(&self.data, &preparation.read_options(&model.meta.missing))?;
        let predicted = model.predict(&table)?;
        let rows: Vec<u32> = (0..table.rows as u32).collect();
        for (column, cells) in preparation.unknown_cells(&table, &rows)? {
            terminal::note(&format!(
                "column \"{column}\" holds categories that were not trained on, in {} of {} rows; they count as unknown",
                thousands(cells as u64),
                thousands(table.rows as u64)
            ));
        }
        let csv = to_csv(&model.meta.class_names, predicted.view());
        match &self.output {
            Some(output) => write_whole(output, csv.as_bytes()).map_err(|error| match error {
                RunDirError::Io { path, source } => Failure::unwritable(&path, &source),
                other => other.into(),
            }),
            None => print(&csv),
        }
    }
}

/// Whether two paths lead to the same file.
pub(super) fn is_same(a: &Path, b: &Path) -> bool {
    matches!((std::fs::canonicalize(a), std::fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// A model from its file, or from the directory of its run.
pub(super) fn load_model(path: &Path) -> Result<FittedModel, Failure> {
    let path = if path.is_dir() { model_of(path)? } else { path.to_owned() };
    Ok(FittedModel::load(&path)?)
}

/// The model of a run that has come to its end.
fn model_of(run: &Path) -> Result<PathBuf, Failure> {
    let path = model_path(run);
    if !path.exists() {
        return Err(match load_result(run)? {
            Some(result) if result.model_file.is_none() => Failure::no_model(run),
            _ => Failure::unfinished(run),
        });
    }
    Ok(path)
}
