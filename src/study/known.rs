//! Points that are thought good before anything is trained: the user's own, and the winners of earlier runs.

use super::config::SearchOptions;
use super::error::{ConfigError, StudyError};
use super::resolve::at;
use super::source::Source;
use super::{load_result, run_dir};
use crate::space::{MODEL, Space, Value};
use indexmap::IndexMap;
use std::path::Path;

/// Winners that are taken of each earlier run, best first.
const WINNERS: usize = 5;

/// Encoded values of every known point, and notes on winners that this space has no place for. What was found in earlier
/// runs is put into the study itself, so that it goes on without them.
pub(super) fn known_points(
    search: &mut SearchOptions,
    space: &Space,
    source: &Source,
) -> Result<(Vec<Vec<f64>>, Vec<String>), StudyError> {
    let mut rows = Vec::new();
    for (number, point) in search.points.iter().enumerate() {
        let wrong = |message: String| {
            let what = ConfigError::Point { number: number + 1, message };
            at(source, "search.points", what.into())
        };
        if let Some(name) = point.keys().find(|name| space.index(name).is_none()) {
            let known: Vec<&str> = space.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            return Err(wrong(format!("no parameter is called {name}\n  These are: {}", known.join(", "))));
        }
        let row = encoded(point, space).map_err(wrong)?;
        if !space.is_allowed(&row) {
            return Err(wrong("it does not meet the constraints of [space]".to_owned()));
        }
        rows.push(row);
    }
    let mut notes = Vec::new();
    for dir in std::mem::take(&mut search.warm_start) {
        let winners = winners(&dir)?;
        let all = winners.len();
        // A winner that holds nothing that this space has, or something that it cannot have, is left out.
        let fits = |point: &IndexMap<String, Value>| {
            let point = translated(point, space);
            let row = encoded(&point, space).ok().filter(|_| !point.is_empty())?;
            space.is_allowed(&row).then(|| (space.named(&row), row))
        };
        let fitting: Vec<(IndexMap<String, Value>, Vec<f64>)> = winners.iter().filter_map(fits).collect();
        if fitting.len() < all {
            let left_out = all - fitting.len();
            notes.push(format!("{left_out} of the {all} winners of {} lie outside of this space", dir.display()));
        }
        for (point, row) in fitting {
            search.points.push(point);
            rows.push(row);
        }
    }
    Ok((rows, notes))
}

/// A winner in this space's names, as far as it has them: a parameter of one model among several is `mlp.hidden`, and
/// `hidden` where the model is the only one.
fn translated(point: &IndexMap<String, Value>, space: &Space) -> IndexMap<String, Value> {
    let model = point.get(MODEL).map(Value::to_string);
    let short = |name: &str| Some(name.strip_prefix(model.as_deref()?)?.strip_prefix('.')?.to_owned());
    let own = |name: &String| {
        let names = [Some(name.clone()), short(name)];
        names.into_iter().flatten().find(|name| space.index(name).is_some())
    };
    point.iter().filter_map(|(name, value)| Some((own(name)?, value.clone()))).collect()
}

fn encoded(point: &IndexMap<String, Value>, space: &Space) -> Result<Vec<f64>, String> {
    let wrong = |(name, value): &(&String, &Value)| {
        let parameter = space.index(name).map(|column| &space.parameters[column]);
        parameter.is_some_and(|parameter| parameter.encode(value).is_none())
    };
    match point.iter().find(wrong) {
        Some((name, value)) => Err(format!("{name} = {value} is outside of what [space] says of {name}")),
        None => space.row(point).ok_or_else(|| "it is outside of [space]".to_owned()),
    }
}

/// The parameters of an earlier run's best candidates.
fn winners(dir: &Path) -> Result<Vec<IndexMap<String, Value>>, StudyError> {
    run_dir::expect_run(dir)?;
    let result = load_result(dir)?.ok_or_else(|| ConfigError::Unfinished { dir: dir.to_owned() })?;
    Ok(result.top.into_iter().take(WINNERS).map(|chosen| chosen.params).collect())
}
