//! What a study found, as text: the best candidates, how good the best one honestly is, and where everything lies.

use super::style::{FAINT, GOOD, NOTICE, STRONG, paint};
use super::table::{Align, Table};
use super::text::{clip, count, duration, number, stopped_early, thousands, with_error, wrap, wrap_words};
use crate::space::{MODEL, Value};
use crate::study::result::{Chosen, FunctionFacts, RunResult};
use std::time::Duration;

/// Candidates in the table; the result file holds more.
const SHOWN: usize = 10;

/// The whole summary for a terminal of so many columns.
pub fn summary(result: &RunResult, columns: usize) -> String {
    let parts = [
        head(result, columns),
        if result.front.is_empty() { best_candidates(result, columns) } else { trade_offs(result, columns) },
        estimates(result, columns),
        distribution(result, columns),
        failures(result, columns),
        places(result),
    ];
    parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// What was done, and why it ended.
fn head(result: &RunResult, columns: usize) -> String {
    let counts = &result.counts;
    let mut pieces = vec![format!(
        "{}: {} of {}",
        paint(STRONG, &result.study),
        count(counts.complete, "candidate"),
        searched(result)
    )];
    if counts.pruned > 0 {
        pieces.push(stopped_early(counts.pruned, result.saved.unwrap_or(0.0)));
    }
    if counts.failed > 0 {
        pieces.push(paint(NOTICE, format!("{} failed", thousands(counts.failed))));
    }
    let seconds = result.seconds.get("total").copied().unwrap_or(0.0);
    if let Ok(time) = Duration::try_from_secs_f64(seconds) {
        pieces.push(duration(time));
    }
    if result.lanes_per_second > 0.0 {
        pieces.push(format!("{} lanes/s", number(result.lanes_per_second, 3)));
    }
    pieces.push(format!("on {}", result.device));
    pieces.push(result.stopped_because.to_string());
    wrap_words(&pieces.join(", "), columns) + "\n"
}

/// The models that were trained, the function, the shader or the objective in Rust that was searched, or the command that was run.
fn searched(result: &RunResult) -> String {
    let of = |function: &FunctionFacts| format!("{} in {}", function.name, count(function.dimensions, "dimension"));
    let function = || result.function.as_ref().map(of);
    let command = || result.command.as_ref().map(|command| command.line.clone());
    let wgsl = || result.wgsl.as_ref().map(|wgsl| wgsl.file.clone());
    let rust = || result.rust.as_ref().map(|rust| rust.name.clone());
    result.model.clone().or_else(function).or_else(command).or_else(wgsl).or_else(rust).unwrap_or_default()
}

/// The best candidates: a line each where there is room, else a column each, as many as fit.
fn best_candidates(result: &RunResult, columns: usize) -> String {
    let top = &result.top[..result.top.len().min(SHOWN)];
    if top.iter().any(|chosen| chosen.params.contains_key(MODEL)) {
        return of_several_models(result, top, columns);
    }
    let mut names: Vec<&str> = Vec::new();
    for name in top.iter().flat_map(|chosen| chosen.params.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let is_shared =
        |name: &&str| top.len() > 1 && top.iter().all(|chosen| chosen.params.get(*name) == top[0].params.get(*name));
    let (shared, varied): (Vec<&str>, Vec<&str>) = names.into_iter().partition(is_shared);
    let lines = a_line_each(result, top, &varied);
    let mut text = match lines.width() <= columns {
        true => lines.render(0),
        false => {
            let most = (1..=top.len()).rev().find(|n| a_column_each(result, &top[..*n], &varied).width() <= columns);
            a_column_each(result, &top[..most.unwrap_or(1)], &varied).render(0)
        }
    };
    if !shared.is_empty() {
        let pieces: Vec<String> =
            shared.iter().filter_map(|name| Some(pair(name, top[0].params.get(*name)?))).collect();
        text += &wrap(&[vec![paint(FAINT, "in all of them:")], pieces].concat(), "  ", columns, 0);
    }
    text
}

/// Of several objectives the candidates that no other one beats, from one end to the other: as many as are shown of the best.
fn trade_offs(result: &RunResult, columns: usize) -> String {
    let mut front: Vec<&Chosen> = result.front.iter().collect();
    front.sort_by(|a, b| result.direction.compare(a.value, b.value));
    let shown = front.len().min(SHOWN);
    let names = result.objectives.iter().map(|name| (name.as_str(), Align::Right));
    let mut table = Table::new([("candidate", Align::Right)].into_iter().chain(names));
    for place in 0..shown {
        // Evenly along the front, both ends among them.
        let chosen = front[place * (front.len() - 1) / (shown - 1).max(1)];
        let values = std::iter::once(&chosen.value).chain(&chosen.others);
        table.row(std::iter::once(thousands(chosen.candidate)).chain(values.map(|value| number(*value, 4))));
    }
    let head = format!("{} that no other one beats in everything", count(front.len(), "candidate"));
    let head = if shown < front.len() { format!("{head}, {shown} of them:") } else { format!("{head}:") };
    wrap_words(&head, columns) + "\n" + &table.render_within(columns)
}

/// Candidates of several models, whose parameters are not each other's: a line each with what its own model was set to, as
/// far as there is room, and the best one's settings whole.
fn of_several_models(result: &RunResult, top: &[Chosen], columns: usize) -> String {
    const LEAST_ROOM: usize = 24;
    let model = |chosen: &Chosen| chosen.params.get(MODEL).map(value).unwrap_or_default();
    let settings = |chosen: &Chosen, write: fn(&str, &Value) -> String| -> Vec<String> {
        let own = chosen.params.iter().filter(|(name, _)| name.as_str() != MODEL);
        let prefix = format!("{}.", model(chosen));
        own.map(|(name, set)| write(name.strip_prefix(&prefix).unwrap_or(name), set)).collect()
    };
    // Without colours, so that it can be clipped.
    let plain = |name: &str, set: &Value| format!("{name} {}", value(set));
    let table = |numbers: usize, room: Option<usize>| {
        let headings =
            [("candidate", Align::Right), (result.metric.as_str(), Align::Right), ("training", Align::Right)];
        let named = [("model", Align::Left)].into_iter().chain(room.map(|_| ("settings", Align::Left)));
        let mut table = Table::new(headings.into_iter().take(numbers).chain(named));
        for (place, chosen) in top.iter().enumerate() {
            let cells = scores(place, chosen).into_iter().take(numbers).chain([model(chosen)]);
            table.row(cells.chain(room.map(|room| clip(&settings(chosen, plain).join(", "), room))));
        }
        table
    };
    // Where it is narrow, scores on training rows go first.
    let numbers = if table(3, None).width() <= columns { 3 } else { 2 };
    let room = columns.saturating_sub(table(numbers, None).width() + 2);
    let mut text = table(numbers, Some(room).filter(|room| *room >= LEAST_ROOM)).render(0);
    if let Some(best) = top.first() {
        let what = paint(FAINT, format!("candidate {} is {}:", thousands(best.candidate), model(best)));
        text += &wrap(&[vec![what], settings(best, pair)].concat(), "  ", columns, 0);
    }
    text
}

fn a_line_each(result: &RunResult, top: &[Chosen], varied: &[&str]) -> Table {
    let headings = [("candidate", Align::Right), (result.metric.as_str(), Align::Right), ("training", Align::Right)];
    let numbers = if is_trained(top) { 3 } else { 2 };
    let headings = headings.into_iter().take(numbers);
    let mut table = Table::new(headings.chain(varied.iter().map(|name| (*name, Align::Right))));
    for (place, chosen) in top.iter().enumerate() {
        let values = varied.iter().map(|name| chosen.params.get(*name).map(value).unwrap_or_default());
        table.row(scores(place, chosen).into_iter().take(numbers).chain(values));
    }
    table
}

fn a_column_each(result: &RunResult, top: &[Chosen], varied: &[&str]) -> Table {
    let scored: Vec<[String; 3]> = top.iter().enumerate().map(|(place, chosen)| scores(place, chosen)).collect();
    let candidates = scored.iter().map(|[candidate, ..]| (candidate.as_str(), Align::Right));
    let mut table = Table::new(std::iter::once(("candidate", Align::Left)).chain(candidates));
    let mut row = |name: &str, cells: Vec<String>| table.row(std::iter::once(name.to_owned()).chain(cells));
    row(&result.metric, scored.iter().map(|[_, score, _]| score.clone()).collect());
    if is_trained(top) {
        row("training", scored.iter().map(|[.., train]| train.clone()).collect());
    }
    for name in varied {
        row(name, top.iter().map(|chosen| chosen.params.get(*name).map(value).unwrap_or_default()).collect());
    }
    table
}

/// Whether any of them has a score on training rows.
fn is_trained(top: &[Chosen]) -> bool {
    top.iter().any(|chosen| chosen.train_value.is_some())
}

/// Id, score, training score; the best one's score stands out.
fn scores(place: usize, chosen: &Chosen) -> [String; 3] {
    let score = with_error(chosen.value, chosen.std_error);
    let score = if place == 0 { paint(GOOD, score) } else { score };
    let train = chosen.train_value.map(|value| number(value, 4)).unwrap_or_default();
    [thousands(chosen.candidate), score, train]
}

/// How good the best one is, from the most hopeful to the most honest answer.
fn estimates(result: &RunResult, columns: usize) -> String {
    let mut table = Table::new([("", Align::Left), (result.metric.as_str(), Align::Right), ("", Align::Left)]);
    let best = &result.best;
    let mut row = |name: &str, score: String, what: String| table.row([name.to_owned(), score, what]);
    row(
        "best",
        paint(GOOD, with_error(best.value, best.std_error)),
        format!("candidate {}", thousands(best.candidate)),
    );
    if let Some(function) = &result.function {
        if let Some(exact) = function.exact.filter(|_| function.noise > 0.0) {
            row("without noise", number(exact, 4), "the best candidate's value as it really is".to_owned());
        }
        if let Some(optimum) = function.optimum {
            let above = function.exact.map_or(f64::NAN, |exact| exact - optimum);
            row("optimum", number(optimum, 4), format!("the best candidate is {} above it", number(above, 3)));
        }
    }
    if let Some(one) = &result.one_se {
        let what = match one.candidate == best.candidate {
            true => "the best one is the simplest within one standard error".to_owned(),
            false => format!("candidate {}, the simplest within one standard error", thousands(one.candidate)),
        };
        row("one standard error", with_error(one.value, one.std_error), what);
    }
    if let Some(corrected) = &result.bias_corrected {
        let score = with_error(corrected.chosen.value, corrected.chosen.std_error);
        row("bias-corrected", score, "of the best, without the luck of being chosen".to_owned());
    }
    if let Some(outer) = &result.outer {
        let (scored, all) = (outer.folds.iter().flatten().count(), outer.folds.len());
        let score = outer.value.map_or_else(|| "failed".to_owned(), |value| with_error(value, outer.std_error));
        let over = if scored == all { all.to_string() } else { format!("{scored} of {all}") };
        row("nested", score, format!("over {over} outer folds, of the whole search"));
    }
    if let Some(test) = &result.test {
        row("locked test", paint(STRONG, number(test.value, 4)), format!("on {}, read once", count(test.rows, "row")));
    }
    table.render_within(columns)
}

/// How the values of all candidates are distributed, where only the best were kept.
fn distribution(result: &RunResult, columns: usize) -> String {
    let Some(quantiles) = &result.distribution else { return String::new() };
    let mut table = Table::new([("share", Align::Right), (result.metric.as_str(), Align::Right)]);
    for quantile in quantiles {
        let share = match quantile.share {
            0.0 => "least".to_owned(),
            0.5 => "median".to_owned(),
            1.0 => "greatest".to_owned(),
            share => format!("{} %", number(100.0 * share, 2)),
        };
        table.row([share, number(quantile.value, 4)]);
    }
    table.render_within(columns)
}

/// Why candidates of a command, a shader or an objective in Rust failed, most usual first.
fn failures(result: &RunResult, columns: usize) -> String {
    const SHOWN: usize = 5;
    let mut text = String::new();
    for failures in result.failures.iter().take(SHOWN) {
        let who = match failures.candidates {
            1 => format!("candidate {} failed:", thousands(failures.first)),
            many => format!("{}, {} the first of them, failed:", count(many, "candidate"), thousands(failures.first)),
        };
        text += &(wrap_words(&format!("{} {}", paint(NOTICE, who), failures.reason), columns) + "\n");
    }
    if result.failures.len() > SHOWN {
        text += "and more, in the result\n";
    }
    text
}

/// Where the run's files are.
fn places(result: &RunResult) -> String {
    let line = |name: &str, path: &str| format!("{name:<14}{path}\n");
    let json = std::path::Path::new(&result.run_dir).join("result.json");
    let trained = result.refit.as_ref().map(|refit| {
        line("trained for", &format!("{} {}, the mean of where its folds stopped", thousands(refit.budget), refit.unit))
    });
    line("run directory", &result.run_dir)
        + &result.best_file.as_ref().map(|path| line("the best", path)).unwrap_or_default()
        + &result
            .command
            .as_ref()
            .and_then(|command| command.checkpoint.as_ref())
            .map(|path| line("checkpoint", path))
            .unwrap_or_default()
        + &result.model_file.as_ref().map(|path| line("model", path)).unwrap_or_default()
        + &result.recipe_file.as_ref().map(|path| line("its training", path)).unwrap_or_default()
        + &trained.unwrap_or_default()
        + &line("result", &json.to_string_lossy())
}

fn pair(name: &str, shown: &Value) -> String {
    format!("{} {}", paint(FAINT, name), value(shown))
}

/// Real numbers with three digits; whole numbers without grouping, as they are written in studies.
fn value(shown: &Value) -> String {
    match shown {
        Value::Float(value) => number(*value, 3),
        other => other.to_string(),
    }
}
