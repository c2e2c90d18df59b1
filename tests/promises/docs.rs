//! The documentation says what the program does: its tables come from the registries, its keys are those that are read, and
//! its links lead somewhere.
//!
//! `UPDATE_DOCS=1 cargo test docs` writes the tables anew.

use crate::support::{Folder, quiet, studies};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use thousandfold::backend::StopFlag;
use thousandfold::base::registry::Named;
use thousandfold::data::Task;
use thousandfold::data::metrics::{Direction, METRICS};
use thousandfold::functions::FUNCTIONS;
use thousandfold::models::{DataShape, MODELS};
use thousandfold::schedulers::SCHEDULERS;
use thousandfold::strategies::STRATEGIES;
use thousandfold::study::{Ended, Start, StudyConfig, tune};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The README and its siblings, and every page of docs/.
fn pages() -> Vec<PathBuf> {
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let files = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(is_page);
    let mut pages: Vec<PathBuf> = files(root().to_owned()).chain(files(root().join("docs"))).collect();
    pages.sort();
    pages
}

fn table<T: Named + ?Sized>(kind: &str, entries: &[&T]) -> String {
    let rows = entries.iter().map(|entry| format!("| `{}` | {} |\n", entry.name(), entry.summary()));
    format!("| {kind} | what it does |\n|---|---|\n{}", rows.collect::<String>())
}

fn models() -> String {
    let mut text =
        "| model | predicts | budget | rungs | on the way | what it is |\n|---|---|---|---|---|---|\n".to_owned();
    for model in MODELS {
        let predicts = |task: &Task| if *task == Task::Classification { "classes" } else { "numbers" };
        let tasks: Vec<&str> = model.tasks().iter().map(predicts).collect();
        let budget = model.budget();
        let (name, unit, rungs, summary) = (model.name(), budget.unit, budget.counted(), model.summary());
        let changing: Vec<String> = model.schedulable().iter().map(|name| format!("`{name}`")).collect();
        let (tasks, changing) = (tasks.join(", "), changing.join(", "));
        writeln!(text, "| `{name}` | {tasks} | {} {unit} | {rungs} | {changing} | {summary} |", budget.default)
            .unwrap();
    }
    text
}

fn in_onnx() -> String {
    let named = MODELS.iter().filter(|model| model.onnx().is_some()).map(|model| format!("`{}`", model.name()));
    named.collect::<Vec<_>>().join(", ") + "\n"
}

fn metrics() -> String {
    let mut text = "| metric | scores | better is | what it is |\n|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let classes = [2, 3].map(|outputs| metric.supports(Task::Classification, outputs));
        let scores = match classes {
            [_, true] => "classes",
            [true, false] => "two classes",
            _ => "numbers",
        };
        let better = if metric.direction() == Direction::Minimize { "less" } else { "more" };
        writeln!(text, "| `{}` | {scores} | {better} | {} |", metric.name(), metric.summary()).unwrap();
    }
    text
}

fn functions() -> String {
    let mut text = "| function | parameters | objectives | what it is |\n|---|---|---|---|\n".to_owned();
    for function in FUNCTIONS {
        let (least, most) = (*function.dimensions().start(), *function.dimensions().end());
        let parameters = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let (name, objectives, summary) = (function.name(), function.objectives(), function.summary());
        writeln!(text, "| `{name}` | {parameters} | {objectives} | {summary} |").unwrap();
    }
    text
}

/// A model's default space as a study would write it.
fn space(name: &str) -> String {
    let model = MODELS.iter().find(|model| model.name() == name).unwrap();
    let shape = DataShape { task: model.tasks()[0], rows: 1000, features: 10, outputs: 3 };
    let rows = model.space(shape).to_toml();
    let rows = rows.iter().map(|(key, value)| format!("{key} = {}\n", value.to_string().trim()));
    format!("```toml\n[space]\n{}```\n", rows.collect::<String>())
}

#[test]
fn tables_hold_what_the_registries_hold() {
    let mut blocks = vec![
        ("docs/models.md", "registry: models".to_owned(), models()),
        ("docs/export.md", "registry: onnx".to_owned(), in_onnx()),
        ("docs/metrics.md", "registry: metrics".to_owned(), metrics()),
        ("docs/strategies.md", "registry: strategies".to_owned(), table("strategy", STRATEGIES)),
        ("docs/functions.md", "registry: functions".to_owned(), functions()),
        ("docs/schedulers.md", "registry: schedulers".to_owned(), table("scheduler", SCHEDULERS)),
    ];
    blocks
        .extend(MODELS.iter().map(|model| ("docs/models.md", format!("space: {}", model.name()), space(model.name()))));
    for (page, name, wanted) in blocks {
        let path = root().join(page);
        let text = read(&path);
        let opening = format!("<!-- {name} -->\n");
        let (before, rest) = text.split_once(&opening).unwrap_or_else(|| panic!("{page} has no block \"{name}\""));
        let (found, after) = rest.split_once("<!-- end -->").unwrap();
        if found != wanted && std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, format!("{before}{opening}{wanted}<!-- end -->{after}")).unwrap();
        } else {
            assert_eq!(found, wanted, "{page}, {name}: write it anew by UPDATE_DOCS=1 cargo test docs");
        }
    }
}

#[test]
fn every_model_has_its_growth_measured() {
    let text = read(&root().join("docs/growth.md"));
    for name in MODELS.iter().map(|model| model.name()) {
        let block = text.split(&format!("<!-- growth: {name} -->\n")).nth(1);
        let block = block.and_then(|rest| rest.split("<!-- end -->").next());
        let block = block.unwrap_or_else(|| panic!("docs/growth.md has no block of {name}"));
        let has_all = ["| lanes |", &format!("pictures/growth_{name}.svg")].iter().all(|part| block.contains(part));
        assert!(has_all, "{name} was not measured: python benches/growth.py --only {name}");
    }
}

/// The keys of a section, as its own error lists them.
fn known_keys(section: &str) -> Vec<String> {
    let folder = Folder::new();
    let other = if section == "data" { String::new() } else { format!("[{section}]\nno_such_key = 1\n") };
    let data = if section == "data" { "no_such_key = 1\n" } else { "" };
    let other = if section == "objective" { other + "function = 'sphere'\n" } else { other };
    let path = folder.write("study.toml", &format!("[data]\nfile = 'x.csv'\ntarget = 'y'\n{data}{other}"));
    let error = StudyConfig::load(&path, &[]).unwrap_err().to_string();
    let known = error.split("known: ").nth(1).unwrap_or_else(|| panic!("{section}: {error}"));
    known.lines().next().unwrap().split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_of_a_study_is_described() {
    let pages = [
        ("data", "docs/data.md"),
        ("prepare", "docs/data.md"),
        ("model", "docs/study.md"),
        ("search", "docs/study.md"),
        ("validate", "docs/validation.md"),
        ("stop", "docs/study.md"),
        ("run", "docs/study.md"),
        // A function's keys, a command's, a shader's, and those of an objective in Rust.
        ("objective", "docs/functions.md docs/command.md docs/wgsl.md docs/rust.md"),
    ];
    for (section, page) in pages {
        let text: String = page.split(' ').map(|page| read(&root().join(page))).collect();
        let keys = known_keys(section);
        assert!(keys.len() >= 2, "{section}: {keys:?}");
        for key in keys {
            // In the first cell of a table's row, alone or beside others.
            let is_described =
                |line: &str| line.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{key}`")));
            assert!(text.lines().any(is_described), "{page} does not describe {section}.{key}");
        }
    }
}

#[test]
fn every_field_of_the_result_is_described() {
    let folder = Folder::new();
    let ended = tune(studies::small(&folder, &[]), Start::default(), &mut quiet(), &StopFlag::default()).unwrap();
    let Ended::Finished(result) = ended else { panic!("nobody interrupted it") };
    let json: serde_json::Value = serde_json::from_str(&result.to_json()).unwrap();
    let mut fields = BTreeSet::new();
    collect(&json, &mut fields);
    assert!(fields.len() > 30);
    let text = read(&root().join("docs/result.md"));
    for field in fields {
        let is_there = [format!("`{field}`"), format!(".{field}`")].iter().any(|written| text.contains(written));
        assert!(is_there, "docs/result.md does not describe {field}");
    }
}

/// Every field's name, but for names that depend on the study.
fn collect(value: &serde_json::Value, fields: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(entries) => {
            for (name, value) in entries {
                fields.insert(name.clone());
                if !["params", "seconds", "versions"].contains(&name.as_str()) {
                    collect(value, fields);
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, fields)),
        _ => {}
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        let folder = page.parent().unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                links += 1;
                assert!(folder.join(path).exists(), "{}: {target} is not there", page.display());
            }
        }
    }
    assert!(links > 20, "only {links} links were found");
}

#[test]
fn every_page_is_reached_from_the_readme() {
    let readme = read(&root().join("README.md"));
    for page in pages().iter().filter(|page| page.parent().unwrap().ends_with("docs")) {
        let name = format!("docs/{}", page.file_name().unwrap().to_string_lossy());
        assert!(readme.contains(&name), "README.md does not lead to {name}");
    }
}

#[test]
fn the_readmes_first_two_commands_are_the_main_job_and_the_tests() {
    let readme = read(&root().join("README.md"));
    let commands: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("cargo ")).collect();
    assert!(commands[0].starts_with("run --release -- tune configs/digits_mlp.toml"), "{commands:?}");
    assert!(commands[1].starts_with("test"), "{commands:?}");
}
