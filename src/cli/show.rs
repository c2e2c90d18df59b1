//! `show`: the summary of a finished run again, or its result for programs.

use super::failure::Failure;
use super::terminal::{self, print};
use crate::monitor::summary::summary;
use crate::study;
use clap::Args;
use std::path::PathBuf;

/// Show the result of a run again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thousandfold show runs/digits_mlp
  thousandfold show runs/digits_mlp --json | jq .best.params")]
pub(super) struct ShowArguments {
    /// The run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// As JSON, whole; docs/result.md says what each field means
    #[arg(long)]
    json: bool,
}

impl ShowArguments {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let Some(result) = study::load_result(&self.run)? else {
            return Err(Failure::unfinished(&self.run));
        };
        match self.json {
            true => print(&result.to_json()),
            false => print(&summary(&result, terminal::columns())),
        }
    }
}
