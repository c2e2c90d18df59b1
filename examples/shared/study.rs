//! A study of a file, or of sets alone.

use std::path::Path;
use thousandfold::study::resolve::Study;
use thousandfold::study::{StudyConfig, StudyError};

/// Of a file with these sets on top of it; `-` stands for no file.
pub fn study(file: &str, sets: &[String]) -> Result<Study, StudyError> {
    let loaded = match file {
        "-" => StudyConfig::of_sets("study", sets)?,
        file => StudyConfig::load(Path::new(file), sets)?,
    };
    Study::resolve(loaded)
}
