//! What a population leaves beside its model: who took over from whom, and its winner's training as a study that runs again.

use super::Closing;
use crate::study::error::{RunDirError, StudyError};
use crate::study::names::Names;
use crate::study::recipe;
use crate::study::run_dir::{RunDir, write_whole};
use crate::study::stopping::StopOptions;

/// The files of a population; `None` of a search without one.
pub(super) struct Files {
    pub(super) recipe: Option<String>,
    pub(super) lineage: Option<String>,
}

/// Writes both, for the winner `best`.
pub(super) fn write(closing: &Closing<'_>, best: u64, dir: &RunDir) -> Result<Files, StudyError> {
    if closing.history.lineage().is_empty() {
        return Ok(Files { recipe: None, lineage: None });
    }
    let lineage = dir.lineage();
    let unwritable =
        |error: csv::Error| RunDirError::Io { path: lineage.clone(), source: std::io::Error::other(error) };
    let table = table(closing).map_err(unwritable)?;
    write_whole(&lineage, &table)?;
    let recipe = dir.recipe();
    write_whole(&recipe, study(closing, best)?.as_bytes())?;
    let shown = |path: std::path::PathBuf| Some(path.display().to_string());
    Ok(Files { recipe: shown(recipe), lineage: shown(lineage) })
}

/// A study of the winner alone: trained on the same folds, with its hyperparameters changing where they did, it comes to the
/// same score.
fn study(closing: &Closing<'_>, best: u64) -> Result<String, StudyError> {
    let Closing { study, history, .. } = closing;
    let recipe = study.recipe(history, best);
    let mut config = study.config.clone();
    config.model.schedule = recipe.stages(&study.space).into_iter().skip(1).collect();
    // The first candidate of a search has the defaults of its space.
    let mut space = (*study.space).clone();
    let values = space.parameters.iter_mut().zip(&recipe.first).filter(|(_, value)| !value.is_nan());
    values.for_each(|(parameter, value)| parameter.default = *value);
    config.space = space.to_toml();
    config.search.strategy = Names(vec!["random".to_owned()]);
    (config.search.points, config.search.warm_start) = (Vec::new(), Vec::new());
    config.search.scheduler = "full".to_owned();
    (config.search.candidates, config.search.batch, config.search.plan) = (1, None, None);
    config.stop = StopOptions::default();
    config.run.dir = None;
    Ok(config.to_toml()?)
}

/// Who took over from whom, where, and with what: a row each, in the order in which it was.
fn table(closing: &Closing<'_>) -> Result<Vec<u8>, csv::Error> {
    let Closing { study, history, .. } = closing;
    let columns = recipe::schedulable(&study.objective);
    let mut table = csv::Writer::from_writer(Vec::new());
    let names = columns.iter().map(|column| study.space.parameters[*column].name.as_str());
    table.write_record(["candidate", "from", "at"].into_iter().chain(names))?;
    for (fork, point) in history.lineage() {
        let cell = |column: &usize| {
            study.space.value(*column, point[*column]).map(|value| value.to_string()).unwrap_or_default()
        };
        let ids = [fork.candidate, fork.parent, fork.budget].map(|number| number.to_string());
        table.write_record(ids.into_iter().chain(columns.iter().map(cell)))?;
    }
    table.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}
