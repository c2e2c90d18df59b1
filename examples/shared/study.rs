//! A study of a file, or of sets alone.

use std::path::Path;
use thousandfold::study::{LoadedConfig, StudyConfig, StudyError};

/// Of a file with these sets on top of it; `-` stands for no file.
pub fn loaded(file: &str, sets: &[String]) -> Result<LoadedConfig, StudyError> {
    Ok(match file {
        "-" => StudyConfig::of_sets("study", sets)?,
        file => StudyConfig::load(Path::new(file), sets)?,
    })
}
