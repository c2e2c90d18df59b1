//! `init`: a study file for a table, to be edited.

use super::failure::Failure;
use super::names;
use super::terminal::print;
use crate::data::error::in_shell;
use crate::study::init::study_text;
use crate::study::resolve::Study;
use crate::study::{StudyConfig, StudyError};
use clap::Args;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Write a commented study.toml for a table, with what was found in it
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  thousandfold init data.csv --target species
  thousandfold tune study.toml")]
pub(super) struct InitArguments {
    /// The table: CSV, gzip CSV, Parquet
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// The column to predict
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// What is to be trained
    #[arg(long, value_name = "NAME,...", value_parser = names::models_or_all(), value_delimiter = ',')]
    model: Vec<String>,
    /// The file to write; one that exists is left alone
    #[arg(long, short, value_name = "FILE", default_value = "study.toml")]
    output: PathBuf,
}

impl InitArguments {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let Some(target) = &self.target else { return Err(Failure::no_target(&self.data)) };
        let models = Some(self.model.join(",")).filter(|models| !models.is_empty());
        let sets: Vec<String> = models.iter().map(|models| format!("model.name={models}")).collect();
        let loaded = StudyConfig::for_table(&self.data, target, &sets)?;
        let study = Study::resolve(loaded)?;
        let models = study.objective.models().map_err(StudyError::from)?;
        let text = study_text(&study, models, &data_path(&self.data, &self.output), &in_shell(&self.output));
        self.write(&text).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Failure::Input(format!(
                "{} exists already, and is left as it is\n  Write another file: --output NAME.toml",
                self.output.display()
            )),
            _ => Failure::unwritable(&self.output, &error),
        })?;
        let (file, run, rows) = (self.output.display(), in_shell(&self.output), models.dataset.rows());
        print(&format!("{file} is a study of {rows} rows. Run it: thousandfold tune {run}\n"))
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        // Only a file that is not there yet: nobody's study is overwritten, not even in a race.
        let mut file = File::options().write(true).create_new(true).open(&self.output)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }
}

/// The table's path as the study file must say it: paths in a study are relative to its folder.
fn data_path(data: &Path, output: &Path) -> PathBuf {
    let is_beside = output.parent().is_none_or(|folder| folder.as_os_str().is_empty());
    match std::fs::canonicalize(data) {
        Ok(absolute) if !is_beside => absolute,
        _ => data.to_owned(),
    }
}
