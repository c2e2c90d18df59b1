//! Layer 6: the command line. One file a subcommand, conversion only: the library does the work, prints nothing and
//! never exits; what it gives back becomes text and an exit code here.

mod bench;
mod devices;
mod export;
mod failure;
mod flags;
mod init;
mod interrupt;
mod list;
mod names;
mod predict;
mod show;
mod terminal;
mod tune;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tunes machine-learning models by training thousands of candidates at once, on the GPU or the CPU.
#[derive(Debug, Parser)]
#[command(
    name = "thousandfold",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  thousandfold tune data.csv --target species      find the best model for a table
  thousandfold tune configs/digits_mlp.toml        run a study
  thousandfold resume runs/digits_mlp              go on with one that was stopped

Exit codes: 0 done, 1 error in the input, 2 wrong usage, 3 the run failed, 130 interrupted."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    terminal: terminal::TerminalArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    Tune(Box<tune::TuneArguments>),
    Resume(tune::ResumeArguments),
    Show(show::ShowArguments),
    Predict(predict::PredictArguments),
    Export(export::ExportArguments),
    Init(init::InitArguments),
    List(list::ListArguments),
    Devices(devices::DevicesArguments),
    Bench(bench::BenchArguments),
}

/// The whole program: reads the arguments, runs the subcommand, and says what became of it.
pub fn main() -> ExitCode {
    // Prints help, or what is wrong with the arguments, and exits with 0 or 2.
    let arguments = Arguments::parse();
    arguments.terminal.apply();
    let result = match &arguments.command {
        Command::Tune(tune) => tune.run(&arguments.terminal),
        Command::Resume(resume) => resume.run(&arguments.terminal),
        Command::Show(show) => show.run(),
        Command::Predict(predict) => predict.run(),
        Command::Export(export) => export.run(),
        Command::Init(init) => init.run(),
        Command::List(list) => list.run(),
        Command::Devices(devices) => devices.run(),
        Command::Bench(bench) => bench.run(&arguments.terminal),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
