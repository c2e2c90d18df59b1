//! The end of a search of an analytic function: how near it came to what is known.

use super::{Closing, chosen, scored};
use crate::study::choice;
use crate::study::clock::Clock;
use crate::study::error::{RunDirError, StudyError};
use crate::study::events::{Observers, Phase};
use crate::study::objective::FunctionObjective;
use crate::study::result::{FunctionFacts, RunResult};
use crate::study::run_dir::{RunDir, write_whole};

pub(super) fn finish(
    closing: &Closing<'_>,
    function: &FunctionObjective,
    dir: &RunDir,
    clock: &mut Clock,
    observers: &mut Observers,
) -> Result<RunResult, StudyError> {
    clock.enter(Phase::Writing, observers);
    let Closing { study, history, .. } = closing;
    let ranked = choice::ranked(study.direction(), &scored(study, history), 1);
    // There is one: the study would have ended before.
    let best = ranked.first().map_or(0, |best| best.candidate);
    let point = history.point(best);
    let facts = FunctionFacts {
        name: function.name().to_owned(),
        dimensions: function.dimensions(),
        instance: function.instance(),
        noise: function.noise(),
        optimum: function.optimum(),
        exact: function.evaluator().exact(point).first().copied(),
    };
    let best_file = match history.keeps_the_best() {
        true => {
            let path = dir.best();
            let io = |error: csv::Error| RunDirError::Io { path: path.clone(), source: error.into() };
            write_whole(&path, &table(closing).map_err(io)?)?;
            Some(dir.best().display().to_string())
        }
        false => None,
    };
    Ok(RunResult { function: Some(facts), best_file, ..closing.result(chosen(study, history, best), dir, clock) })
}

/// Every kept candidate as CSV, best first.
fn table(closing: &Closing<'_>) -> Result<Vec<u8>, csv::Error> {
    let Closing { study, history, .. } = closing;
    let mut table = csv::Writer::from_writer(Vec::new());
    let names = study.space.parameters.iter().map(|parameter| parameter.name.as_str());
    table.write_record(["candidate", study.objective.metric()].into_iter().chain(names))?;
    let scored = scored(study, history);
    for one in choice::ranked(study.direction(), &scored, scored.len()) {
        // What does not exist in a candidate is an empty cell.
        let cell = |(column, encoded): (usize, &f64)| {
            study.space.value(column, *encoded).map(|value| value.to_string()).unwrap_or_default()
        };
        let values = history.point(one.candidate).iter().enumerate().map(cell);
        table.write_record([one.candidate.to_string(), format!("{:?}", one.value)].into_iter().chain(values))?;
    }
    table.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}
