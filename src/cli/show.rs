//! `show`: the summary of a finished run again, or what its model goes by; for people or for programs.

use super::failure::Failure;
use super::terminal::{self, print};
use crate::monitor::explain::explanation;
use crate::monitor::summary::summary;
use crate::study;
use crate::study::explain::explain;
use clap::Args;
use std::path::PathBuf;

/// Show the result of a run again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thousandfold show runs/digits_mlp
  thousandfold show runs/digits_mlp --json | jq .best.params
  thousandfold show runs/digits_mlp --model")]
pub(super) struct ShowArguments {
    /// The run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// What its model goes by: how much each column matters on the test rows, coefficients, trees
    #[arg(long)]
    model: bool,
    /// As JSON, whole; docs/result.md says what each field means
    #[arg(long)]
    json: bool,
}

impl ShowArguments {
    pub(super) fn run(&self) -> Result<(), Failure> {
        if self.model {
            return self.explain();
        }
        let Some(result) = study::load_result(&self.run)? else {
            return Err(Failure::unfinished(&self.run));
        };
        match self.json {
            true => print(&result.to_json()),
            false => print(&summary(&result, terminal::columns())),
        }
    }

    fn explain(&self) -> Result<(), Failure> {
        let Some(explained) = explain(&self.run)? else {
            return Err(Failure::unfinished(&self.run));
        };
        match self.json {
            true => print(&explained.to_json()),
            false => print(&explanation(&explained, terminal::columns())),
        }
    }
}
