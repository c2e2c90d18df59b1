//! Where a study says what it says: a key's line in the file, or its `--set`. Errors point there.

use crate::base::registry::nearest;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// A study file and what was set on top of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) sets: Vec<String>,
}

/// A place in a [`Source`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the file.
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The line with a marker under what is meant, indented.
        mark: String,
    },
    /// A `--set`, as it was given.
    Set(String),
}

impl Place {
    /// Writes a message with its place before it and the marked line behind it.
    pub(super) fn frame(&self, f: &mut fmt::Formatter<'_>, message: impl fmt::Display) -> fmt::Result {
        match self {
            Place::Line { path, line, mark } => write!(f, "{}, line {line}: {message}\n{mark}", path.display()),
            Place::Set(set) => write!(f, "--set {set}: {message}"),
        }
    }

    /// What a span of a text covers.
    pub(super) fn of_span(path: &Path, text: &str, span: Range<usize>) -> Place {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |place| place + 1);
        let line = text[line_start..].lines().next().unwrap_or("");
        let column = before[line_start..].chars().count();
        let marked = text.get(span).and_then(|marked| marked.lines().next()).unwrap_or("");
        let width = marked.chars().count().max(1);
        Place::Line {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            mark: format!("{}\n  | {}{}", format!("  | {line}").trim_end(), " ".repeat(column), "^".repeat(width)),
        }
    }
}

/// What of a key an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Its name.
    Name,
    /// What it holds.
    Value,
}

impl Source {
    /// Where a dotted key is said; `None` for what nobody said. What was set last holds.
    pub fn find(&self, key: &str, about: About) -> Option<Place> {
        let says = |set: &&String| {
            let said = set.split('=').next().unwrap_or("").trim();
            let is_below = |below: &str, above: &str| {
                below.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            is_below(key, said) || is_below(said, key)
        };
        if let Some(set) = self.sets.iter().rev().find(says) {
            return Some(Place::Set(set.clone()));
        }
        let document = DeTable::parse(&self.text).ok()?;
        let span = span_of(document.get_ref(), &key.split('.').collect::<Vec<_>>(), about)?;
        Some(Place::of_span(&self.path, &self.text, span))
    }
}

fn span_of(table: &DeTable<'_>, key: &[&str], about: About) -> Option<Range<usize>> {
    let (first, rest) = key.split_first()?;
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == first)?;
    match (rest, value.get_ref()) {
        ([], _) if about == About::Name => Some(name.span()),
        ([], _) => Some(value.span()),
        (rest, DeValue::Table(table)) => span_of(table, rest, about),
        _ => None,
    }
}

/// serde's words in ours: what is unknown with the nearest right one, what has the wrong kind with the right one.
pub(super) fn explain(message: &str) -> String {
    let message = message.trim_end();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let (Some(rest), [name, known @ ..]) = (message.strip_prefix("unknown "), &quoted[..]) {
        let kind = if rest.starts_with("field") { "key" } else { "value" };
        let near = nearest(name, known.iter().copied());
        let near = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
        return format!("unknown {kind} \"{name}\"{near}\n  known: {}", known.join(", "));
    }
    if let (true, [name, ..]) = (message.starts_with("missing field"), &quoted[..]) {
        return match *name {
            "data" => "there is no [data] section\n  Add it with the file and the column to predict: file = \"data.csv\", target = \"species\"".to_owned(),
            "file" => "[data] names no file\n  Add it: file = \"data.csv\"".to_owned(),
            "target" => "[data] does not say what to predict\n  Add the column: target = \"species\", or say --target species".to_owned(),
            name => format!("the key \"{name}\" is missing"),
        };
    }
    let wrong = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "));
    match wrong.and_then(|rest| rest.split_once(", expected ")) {
        Some((found, expected)) => format!("{} is not {}", in_words(found), kind_in_words(expected)),
        None => message.to_owned(),
    }
}

/// `string "a"` and "integer `1`" as the file has them.
fn in_words(found: &str) -> String {
    match found {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        found => match found.split_once(' ') {
            Some(("string", text)) => text.to_owned(),
            _ => found.split('`').nth(1).unwrap_or(found).to_owned(),
        },
    }
}

fn kind_in_words(expected: &str) -> &str {
    match expected.split(' ').next() {
        Some("u64" | "u32" | "usize") => "a whole number of 0 or more",
        Some("i64" | "i32") => "a whole number",
        Some("f64" | "f32") => "a number",
        _ => match expected {
            "a boolean" => "true or false",
            "a string" | "path string" => "a text in quotes",
            "a sequence" => "a list",
            "a map" => "a table",
            expected if expected.starts_with("struct ") => "a section of keys",
            expected => expected,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_last_is_where_a_key_is_said() {
        let source = Source {
            path: "study.toml".into(),
            text: "[model]\nname = \"mlp\"\n[space]\nhidden = { int = [1, 8] }\n".to_owned(),
            sets: vec!["model.name=a".to_owned(), "model.name=b".to_owned(), "space.hidden.step=2".to_owned()],
        };
        assert_eq!(source.find("model.name", About::Value), Some(Place::Set("model.name=b".to_owned())));
        assert_eq!(source.find("space.hidden", About::Value), Some(Place::Set("space.hidden.step=2".to_owned())));
        assert_eq!(source.find("model.nam", About::Value), None);
        let file = Source { sets: Vec::new(), ..source };
        let place = |line, mark: &str| Some(Place::Line { path: "study.toml".into(), line, mark: mark.to_owned() });
        assert_eq!(file.find("model.name", About::Value), place(2, "  | name = \"mlp\"\n  |        ^^^^^"));
        let hidden = "  | hidden = { int = [1, 8] }\n  | ^^^^^^";
        assert_eq!(file.find("space.hidden", About::Name), place(4, hidden));
    }
}
