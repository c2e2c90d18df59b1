//! Layer 4: a study, from its file to its result, and the only loop.

mod backend;
pub mod bench;
pub mod choice;
mod clock;
mod command_trainer;
pub mod config;
pub mod criteria;
pub mod distribution;
pub mod error;
pub mod events;
pub mod explain;
pub mod export;
mod failures;
mod finish;
mod function_trainer;
mod generations;
pub mod history;
pub mod init;
pub mod journal;
mod known;
mod lane_states;
pub mod model_file;
pub mod model_options;
pub mod names;
pub mod objective;
pub mod parts;
mod pending;
pub mod pipeline;
mod pipeline_trainer;
pub mod plan;
pub mod recipe;
pub mod regret;
pub mod resolve;
pub mod result;
pub mod retention;
mod rows_trainer;
pub mod run;
pub mod run_dir;
mod rust_trainer;
mod scheduling;
pub mod scorer;
mod search;
pub mod source;
pub mod stopping;
mod sweep;
mod trial;

pub use config::{LoadedConfig, StudyConfig};
pub use error::StudyError;
pub use run::{Ended, Start, tune};

use error::RunDirError;
use result::RunResult;
use std::path::Path;

/// The resolved study of a run directory, to go on with it.
pub fn load_run(dir: &Path, sets: &[String]) -> Result<LoadedConfig, StudyError> {
    run_dir::expect_run(dir)?;
    let mut loaded = StudyConfig::load(&run_dir::study_path(dir), sets)?;
    loaded.config.run.dir = Some(dir.to_owned());
    Ok(loaded)
}

/// The result of a run directory; `None` if the run has not come to its end.
pub fn load_result(dir: &Path) -> Result<Option<RunResult>, StudyError> {
    run_dir::expect_run(dir)?;
    let path = run_dir::result_path(dir);
    let io = |source| RunDirError::Io { path: path.clone(), source };
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(io)?,
    };
    let damaged = |error: serde_json::Error| RunDirError::Result { path: path.clone(), reason: error.to_string() };
    let result = serde_json::from_str(&text).map_err(damaged)?;
    Ok(Some(result))
}
