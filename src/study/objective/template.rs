//! A command as a study writes it, and what becomes of it for a candidate: `{name}` takes a parameter's value.

use super::shell::{self, Place};
use crate::base::registry::nearest;
use crate::base::shell::in_shell;
use indexmap::IndexMap;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A command as it is written: one text, for a shell, or a list of the program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// What `sh -c` runs.
    Shell(String),
    /// The program and its arguments, which no shell sees.
    Arguments(Vec<String>),
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandLine::Shell(text) => f.write_str(text),
            CommandLine::Arguments(arguments) => {
                let quoted: Vec<String> = arguments.iter().map(|argument| in_shell(argument, "{}")).collect();
                f.write_str(&quoted.join(" "))
            }
        }
    }
}

impl Serialize for CommandLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            CommandLine::Shell(text) => serializer.serialize_str(text),
            CommandLine::Arguments(arguments) => arguments.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CommandLine, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = CommandLine;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command: one text for the shell, or a list of texts, [\"python\", \"train.py\", \"{rate}\"]")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<CommandLine, E> {
        Ok(CommandLine::Shell(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CommandLine, A::Error> {
        let mut arguments = Vec::new();
        while let Some(argument) = list.next_element()? {
            arguments.push(argument);
        }
        Ok(CommandLine::Arguments(arguments))
    }
}

/// A piece of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// A parameter, or one of [`GIVEN`], and where it stands.
    Name(String, Place),
}

/// What a program is told beside its parameters, by these names in its command and, in capitals, in its environment.
pub(in crate::study) const GIVEN: [&str; 6] = ["budget", "whole_budget", "seed", CHECKPOINT, "trial", "repeat"];
/// The one of these that is a path.
pub(in crate::study) const CHECKPOINT: &str = "checkpoint";

/// A command taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    arguments: Vec<Vec<Piece>>,
    is_shell: bool,
}

/// `{name}` names nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown {
    pub(super) name: String,
    pub(super) near: Option<String>,
}

impl Template {
    /// Takes a command apart; what it names are parameters or [`GIVEN`].
    pub(super) fn new(line: &CommandLine, parameters: &[&str]) -> Result<Template, Unknown> {
        let (texts, is_shell): (&[String], bool) = match line {
            CommandLine::Shell(text) => (std::slice::from_ref(text), true),
            CommandLine::Arguments(arguments) => (arguments, false),
        };
        let mut arguments: Vec<Vec<Piece>> = texts.iter().map(|text| pieces(text)).collect();
        if is_shell {
            arguments.iter_mut().for_each(|pieces| shell::place(pieces));
        }
        let known = || parameters.iter().copied().chain(GIVEN);
        let names = arguments.iter().flatten().filter_map(|piece| match piece {
            Piece::Name(name, _) => Some(name),
            Piece::Text(_) => None,
        });
        match names.into_iter().find(|name| !known().any(|known| known == *name)) {
            Some(name) => Err(Unknown { name: name.clone(), near: nearest(name, known()).map(str::to_owned) }),
            None => Ok(Template { arguments, is_shell }),
        }
    }

    /// Whether a shell runs it.
    pub(in crate::study) fn is_shell(&self) -> bool {
        self.is_shell
    }

    /// What stands in quotes of the command's own, where only plain words can.
    pub(super) fn quoted(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().flatten().filter_map(|piece| match piece {
            Piece::Name(name, Place::Backquoted) => Some(name.as_str()),
            // The directory is nobody's choice: it is written as these quotes need it.
            Piece::Name(name, Place::Single | Place::Double) if name != CHECKPOINT => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether it names something.
    pub(in crate::study) fn names(&self, wanted: &str) -> bool {
        self.arguments.iter().flatten().any(|piece| matches!(piece, Piece::Name(name, _) if name == wanted))
    }

    /// The program, where it is the same for all candidates.
    pub(super) fn program(&self) -> Option<&str> {
        match self.arguments.first().map(Vec::as_slice) {
            Some([Piece::Text(program)]) if !self.is_shell => Some(program),
            _ => None,
        }
    }

    /// The program and its arguments, or the one text for the shell, with these values in the places of their names. A
    /// parameter that has none does not exist in the candidate: an argument that names it is left out, and with one that is
    /// nothing else the flag before it; in a shell's text its place is empty.
    pub(in crate::study) fn filled(&self, values: &IndexMap<String, String>) -> Vec<String> {
        if self.is_shell {
            let written = |piece: &Piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Name(name, place) => values.get(name).map(|value| place.written(value)).unwrap_or_default(),
            };
            return self.arguments.iter().map(|pieces| pieces.iter().map(written).collect()).collect();
        }
        let mut filled: Vec<String> = Vec::new();
        // Whether the argument before was written as a flag alone.
        let mut is_behind_flag = false;
        for pieces in &self.arguments {
            let written = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Name(name, _) => values.get(name).map(String::as_str),
            });
            match written.collect::<Option<String>>() {
                Some(argument) => filled.push(argument),
                None if is_behind_flag && matches!(pieces.as_slice(), [Piece::Name(..)]) => drop(filled.pop()),
                None => {}
            }
            is_behind_flag = matches!(pieces.as_slice(), [Piece::Text(text)] if text.starts_with('-'));
        }
        filled
    }
}

/// Takes `{name}` out of a text. All other braces are the command's own, and so are those of `${name}`; `{{name}}` is the text
/// `{name}`.
fn pieces(text: &str) -> Vec<Piece> {
    let (mut pieces, mut own) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, behind) = rest.split_at(open);
        own.push_str(before);
        let escaped =
            behind.strip_prefix("{{").and_then(named).and_then(|(name, rest)| Some((name, rest.strip_prefix('}')?)));
        let taken = behind.strip_prefix('{').and_then(named).filter(|_| !before.ends_with('$'));
        match (escaped, taken) {
            (Some((name, after)), _) => {
                own.push_str(&format!("{{{name}}}"));
                rest = after;
            }
            (None, Some((name, after))) => {
                pieces.extend(Some(std::mem::take(&mut own)).filter(|own| !own.is_empty()).map(Piece::Text));
                pieces.push(Piece::Name(name.to_owned(), Place::Bare));
                rest = after;
            }
            (None, None) => {
                own.push('{');
                rest = &behind[1..];
            }
        }
    }
    own.push_str(rest);
    pieces.extend(Some(own).filter(|own| !own.is_empty()).map(Piece::Text));
    pieces
}

/// `name}rest` as its two parts.
fn named(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('}')?;
    is_name(name).then_some((name, rest))
}

/// Whether a text can be a parameter's name: what an environment variable and a shell can be called.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(line: &CommandLine, values: &[(&str, &str)]) -> Vec<String> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Template::new(line, &["rate", "kind", "momentum"]).unwrap().filled(&values)
    }

    fn arguments(line: &[&str], values: &[(&str, &str)]) -> Vec<String> {
        filled(&CommandLine::Arguments(line.iter().map(|text| (*text).to_owned()).collect()), values)
    }

    fn shell(text: &str, values: &[(&str, &str)]) -> String {
        filled(&CommandLine::Shell(text.to_owned()), values).concat()
    }

    #[test]
    fn names_in_braces_take_values_and_other_braces_are_the_commands_own() {
        let values = [("rate", "0.1"), ("kind", "a b"), ("budget", "3")];
        let taken = arguments(&["run", "--rate={rate},{rate}", "{kind}", "{budget}", ""], &values);
        assert_eq!(taken, ["run", "--rate=0.1,0.1", "a b", "3", ""]);
        let own = ["{", "}{", "{ x }", "{{rate}}", "{}", "${rate}", "{1}", "{rate", "{{ {rate} }}"];
        assert_eq!(
            arguments(&own, &values),
            ["{", "}{", "{ x }", "{rate}", "{}", "${rate}", "{1}", "{rate", "{{ 0.1 }}"]
        );
        let awk = shell("awk 'BEGIN { x = {rate}; print x }' ${HOME} {kind}", &values);
        assert_eq!(awk, "awk 'BEGIN { x = 0.1; print x }' ${HOME} 'a b'");
        assert_eq!(shell("f {kind}", &[("kind", "it's")]), r"f 'it'\''s'");
        let path = [("checkpoint", "/a $b/it's")];
        assert_eq!(
            shell("f {checkpoint}/x '{checkpoint}/x' \"{checkpoint}/x\"", &path),
            r#"f '/a $b/it'\''s'/x '/a $b/it'\''s/x' "/a \$b/it's/x""#
        );
    }

    #[test]
    fn what_does_not_exist_is_left_out_with_its_flag() {
        let line = ["run", "-v", "--momentum", "{momentum}", "--m={momentum}", "x{momentum}", "--rate", "{rate}"];
        assert_eq!(arguments(&line, &[("rate", "1")]), ["run", "-v", "--rate", "1"]);
        let both = [("rate", "1"), ("momentum", "-2")];
        assert_eq!(arguments(&line, &both)[2..4], ["--momentum", "-2"]);
        // A value that looks like a flag is none.
        assert_eq!(arguments(&["run", "{rate}", "{momentum}"], &[("rate", "-1")]), ["run", "-1"]);
        assert_eq!(shell("run {momentum} {rate}", &[("rate", "1")]), "run  1");
    }

    #[test]
    fn a_name_of_nothing_is_unknown() {
        let line = CommandLine::Arguments(vec!["run".to_owned(), "{rat}".to_owned()]);
        let unknown = Template::new(&line, &["rate"]).unwrap_err();
        assert_eq!((unknown.name.as_str(), unknown.near.as_deref()), ("rat", Some("rate")));
    }

    #[test]
    fn a_command_is_shown_as_a_shell_would_take_it() {
        let line = CommandLine::Arguments(["python", "my file.py", "--rate={rate}"].map(str::to_owned).to_vec());
        assert_eq!(line.to_string(), "python 'my file.py' --rate={rate}");
    }
}
