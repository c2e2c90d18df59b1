//! The one place where errors become words and exit codes: `error: what happened, where`, then what to do.

use crate::backend::BackendError;
use crate::base::registry::UnknownName;
use crate::data::error::{cause, count, in_shell, list};
use crate::data::{DataError, DataOptions, read_table};
use crate::study::StudyError;
use crate::study::error::{ConfigError, ModelFileError, RunDirError};
use anstyle::{AnsiColor, Style};
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

/// Headlines of errors: bold, in a colour that is told from the others by any eye.
const ERROR: Style = AnsiColor::Red.on_default().bold();

/// Why a subcommand did not do what it was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something is wrong with what the user gave: exit code 1.
    Input(String),
    /// The input was right, and yet the run failed: exit code 3.
    Run(String),
    /// The user stopped it; holds what to do to go on: exit code 130.
    Interrupted(String),
    /// Whoever read our output went away: nothing to say, and nothing failed.
    Pipe,
}

impl Failure {
    /// A table alone does not say what to predict. If it cannot be read, that is what is wrong.
    pub(super) fn no_target(data: &Path) -> Failure {
        match read_table(data, &DataOptions::new(data, "").read_options()) {
            Err(error) => error.into(),
            Ok(table) => {
                let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
                let (data, names) = (data.display(), list(&names));
                Failure::Input(format!(
                    "{data}: which column is to be predicted? Say --target COLUMN\n  columns: {names}"
                ))
            }
        }
    }

    /// A file that was asked for and cannot be written. What the disk has no room for is not the user's slip.
    pub(super) fn unwritable(path: &Path, source: &std::io::Error) -> Failure {
        let (path, what) = (path.display(), cause(source));
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Failure::Run(format!(
                "{path}: cannot be written: {what}\n  Make room on the disk, or name another file: --output FILE"
            )),
            _ => Failure::Input(format!("{path}: cannot be written: {what}\n  Name another file: --output FILE")),
        }
    }

    /// The same about `what`, called as the user called it.
    pub(super) fn renamed(self, what: &str, name: &str) -> Failure {
        match self {
            Failure::Input(message) => Failure::Input(message.replace(what, name)),
            other => other,
        }
    }

    /// A study that was stopped, with what to do to go on.
    pub(super) fn interrupted(dir: &Path, candidates: u64) -> Failure {
        let dir = in_shell(dir);
        let done = count(candidates, "candidate");
        Failure::Interrupted(format!(
            "Stopped; the outcomes of {done} are safe.\n  To go on: thousandfold resume {dir}"
        ))
    }

    /// A run without a result.
    pub(super) fn unfinished(dir: &Path) -> Failure {
        let (dir, run) = (dir.display(), in_shell(dir));
        Failure::Input(format!(
            "{dir} has not come to its end, and has no result\n  To go on: thousandfold resume {run}"
        ))
    }

    /// A run that is over and trained no model.
    pub(super) fn no_model(dir: &Path) -> Failure {
        let (dir, run) = (dir.display(), in_shell(dir));
        Failure::Input(format!(
            "{dir} has no model: no data were learned from in it\n  For its best candidate: thousandfold show {run}"
        ))
    }

    /// Says it on standard error, and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let (code, message) = match self {
            Failure::Input(message) => (1, message),
            Failure::Run(message) => (3, message),
            Failure::Interrupted(message) => {
                anstream::eprintln!("{message}");
                return ExitCode::from(130);
            }
            Failure::Pipe => return ExitCode::SUCCESS,
        };
        anstream::eprintln!("{ERROR}error:{ERROR:#} {message}");
        ExitCode::from(code)
    }
}

impl From<StudyError> for Failure {
    fn from(error: StudyError) -> Failure {
        if error.is_input() { Failure::Input(error.to_string()) } else { Failure::Run(error.to_string()) }
    }
}

/// Errors of the layers below the study are those of a study.
macro_rules! by_way_of_study_error {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure::from(StudyError::from(error))
            }
        })*
    };
}

by_way_of_study_error!(ConfigError, DataError, ModelFileError, RunDirError, UnknownName, BackendError);
