//! What all subcommands share of the terminal: colour, how much is said, and output that survives a closed pipe.

use super::failure::Failure;
use crate::monitor::progress::ProgressView;
use crate::monitor::style::{NOTICE, paint};
use crate::study::events::Observers;
use anstream::ColorChoice;
use clap::{Args, ValueEnum};
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Args)]
pub(super) struct TerminalArguments {
    /// Say only what went wrong, and the result
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Say more of what is done and why
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
    /// When to use colour; NO_COLOR is respected too
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl TerminalArguments {
    /// Makes the choices hold for everything that is printed from here on.
    pub(super) fn apply(&self) {
        let choice = match self.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        choice.write_global();
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error",
            (_, true) => "thousandfold=debug,warn",
            _ => "warn",
        };
        let filter = EnvFilter::try_from_env("THOUSANDFOLD_LOG").unwrap_or_else(|_| EnvFilter::new(level));
        let has_color = anstream::AutoStream::choice(&io::stderr()) != ColorChoice::Never;
        // A second call (there is none) would only keep the first subscriber.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(has_color)
            .without_time()
            .with_target(false)
            .try_init();
    }
}

impl TerminalArguments {
    /// Who shows a study's progress.
    pub(super) fn observers(&self) -> Observers {
        let mut observers = Observers::default();
        if !self.quiet {
            let has_color = anstream::AutoStream::choice(&io::stderr()) != ColorChoice::Never;
            observers.push(match io::stderr().is_terminal() {
                true => Box::new(ProgressView::terminal(has_color)),
                false => Box::new(ProgressView::lines(Box::new(io::stderr()))),
            });
        }
        observers
    }
}

/// Columns of the terminal on standard output; what a file or a pipe gets is written for 120.
pub(super) fn columns() -> usize {
    const PLAIN: usize = 120;
    terminal_size::terminal_size_of(io::stdout()).map_or(PLAIN, |(width, _)| usize::from(width.0))
}

/// Says on standard error what the user should know though nothing is wrong.
pub(super) fn note(text: &str) {
    anstream::eprintln!("{} {text}", paint(NOTICE, "note:"));
}

/// Writes text to standard output; a reader that went away (`| head`) is no failure of ours, and ends the program
/// quietly.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Pipe),
        Err(error) => Err(Failure::Run(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}
