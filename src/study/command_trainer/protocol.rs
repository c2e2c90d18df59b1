//! What a program prints, as results: a line that is a JSON object with `value` or `failure` is one, with whatever else of it is asked
//! for by name, and so is a bare number on the last line. All other lines are the program's own talk. However much it prints, a bounded part is held.

use memchr::memchr;
use serde_json::Value;

/// Longer lines are talk: what is beyond is read and dropped.
const LONGEST_LINE: usize = 64 << 10;
/// What stands in the place of one.
const OVERLONG: &[u8] = b"a line of more than 64 KiB";
/// What is quoted of a line at most, in characters.
const QUOTED: usize = 300;
/// Bytes that are kept of the end of what a program says on standard error.
const TAIL: usize = 4 << 10;

/// What a line of a program says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// A value; after so many steps, where it says so.
    Value {
        /// NaN where it is null.
        value: f64,
        /// What it says by each name that was asked for: NaN where that is null, `None` where it is no number, or not there.
        others: Vec<Option<f64>>,
        /// From 1.
        step: Option<u64>,
    },
    /// It gives up, and why.
    Failure(String),
}

/// What a line says, with these names beside the value; `None` of talk.
pub(super) fn said(line: &[u8], names: &[String]) -> Option<Said> {
    let text = std::str::from_utf8(line).ok()?.trim();
    if !text.starts_with('{') {
        return None;
    }
    let object: Value = serde_json::from_str(text).or_else(|_| serde_json::from_str(&without_nan(text))).ok()?;
    match object.get("failure") {
        None | Some(Value::Null) => {}
        Some(Value::String(reason)) => return Some(Said::Failure(quoted(reason))),
        Some(reason) => return Some(Said::Failure(quoted(&reason.to_string()))),
    }
    let value = read(object.get("value")?)?;
    let step = match object.get("step") {
        None | Some(Value::Null) => None,
        Some(step) => Some(whole(step)?),
    };
    let others = names.iter().map(|name| read(object.get(name)?)).collect();
    Some(Said::Value { value, others, step })
}

/// A number; NaN where it is null.
fn read(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Null => Some(f64::NAN),
        _ => None,
    }
}

/// A bare number.
pub(super) fn number(line: &[u8]) -> Option<f64> {
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

/// A whole number of 0 or more, which some programs write as 3.0.
fn whole(step: &Value) -> Option<u64> {
    const MOST: f64 = 9e15;
    step.as_u64().or_else(|| {
        let step = step.as_f64().filter(|step| (0.0..=MOST).contains(step) && step.fract() == 0.0)?;
        Some(step as u64)
    })
}

/// JSON knows no NaN and no infinity, and yet Python, for one, writes them: as null they can be read.
fn without_nan(text: &str) -> String {
    let mut rest = text;
    let mut read = String::with_capacity(text.len());
    let (mut in_text, mut is_escaped) = (false, false);
    while let Some(next) = rest.chars().next() {
        let word = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| !in_text && rest.starts_with(word));
        if let Some(word) = word {
            read.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        in_text ^= next == '"' && !is_escaped;
        is_escaped = in_text && next == '\\' && !is_escaped;
        read.push(next);
        rest = &rest[next.len_utf8()..];
    }
    read
}

/// A line in a message: on one line, without what would move a cursor, and no longer than anybody reads.
pub(super) fn quoted(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim();
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Bytes as they come, taken line by line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// What was read and not yet taken.
    bytes: Vec<u8>,
    /// Where the next line begins in it.
    start: usize,
    /// Whether the line at hand has been too long.
    is_overlong: bool,
    /// Whether nothing will follow.
    has_ended: bool,
}

impl Lines {
    /// Adds what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Nothing follows: what is left is a line, too.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// The next line that is whole; [`OVERLONG`] in the place of one that is too long.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let newline = memchr(b'\n', rest);
        let (first, length) = (self.start, newline.unwrap_or(rest.len()));
        let end = first + length;
        let is_overlong = self.is_overlong || length > LONGEST_LINE;
        if newline.is_none() && !self.has_ended {
            if is_overlong {
                (self.is_overlong, self.start) = (true, end);
            }
            return None;
        }
        self.is_overlong = false;
        self.start = end + usize::from(newline.is_some());
        match (is_overlong, newline) {
            (true, _) => Some(OVERLONG),
            (false, None) if length == 0 => None,
            (false, _) => self.bytes.get(first..end),
        }
    }
}

/// The end of what a program says on standard error.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// Adds what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * TAIL {
            self.0.drain(..self.0.len() - TAIL);
        }
    }

    /// Its last lines, on one.
    pub(super) fn last_lines(&self) -> Option<String> {
        const LINES: usize = 3;
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..)?;
        // The last line says most: of long ones it is what is kept.
        let joined = last.join(" / ");
        let count = joined.chars().count();
        let short: String = joined.chars().skip(count.saturating_sub(QUOTED)).collect();
        Some(quoted(&short)).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> Option<(f64, Option<u64>)> {
        match said(line.as_bytes(), &[])? {
            Said::Value { value, step, .. } => Some((value, step)),
            Said::Failure(_) => None,
        }
    }

    #[test]
    fn results_are_told_from_talk() {
        assert_eq!(value(r#"{"value": 0.5}"#), Some((0.5, None)));
        assert_eq!(value(r#" {"step": 3, "value": -1e-3, "loss": [1]} "#), Some((-1e-3, Some(3))));
        assert_eq!(value(r#"{"step": 3.0, "value": 2}"#), Some((2.0, Some(3))));
        for talk in [
            "epoch 3: 0.5",
            "0.5",
            "{}",
            "{value: 3}",
            r#"{"loss": 1}"#,
            r#"{"value": "high"}"#,
            r#"{"value": 1, "step": -1}"#,
            r#"{"value": 1, "step": 1.5}"#,
            r#"{"value": 1"#,
            r#"[{"value": 1}]"#,
            "",
        ] {
            assert_eq!(said(talk.as_bytes(), &[]), None, "{talk}");
        }
        assert_eq!(said(b"{\"value\": 1, \"x\": \"\xff\"}", &[]), None, "not UTF-8");
        assert_eq!(said(br#"{"failure": "no data"}"#, &[]), Some(Said::Failure("no data".to_owned())));
        assert_eq!(said(br#"{"failure": true, "value": 1}"#, &[]), Some(Said::Failure("true".to_owned())));
        assert_eq!(value(r#"{"failure": null, "value": 1}"#), Some((1.0, None)));
    }

    #[test]
    fn what_is_asked_for_by_name_is_read_beside_the_value() {
        let names = ["size".to_owned(), "loss".to_owned()];
        let others = |line: &str| match said(line.as_bytes(), &names) {
            Some(Said::Value { others, .. }) => others,
            said => panic!("{line}: {said:?}"),
        };
        assert_eq!(others(r#"{"loss": -2, "value": 1, "size": 3e2}"#), [Some(300.0), Some(-2.0)]);
        assert_eq!(others(r#"{"value": 1, "size": "small", "cost": 3}"#), [None, None]);
        assert!(others(r#"{"value": 1, "loss": NaN}"#)[1].is_some_and(f64::is_nan));
        assert_eq!(said(br#"{"size": 1, "loss": 2}"#, &names), None, "without a value it is talk");
    }

    #[test]
    fn what_python_writes_for_nan_is_read() {
        for word in ["NaN", "Infinity", "-Infinity", "null"] {
            let line = format!(r#"{{"step": 2, "value": {word}, "note": "a \"NaN\" \\"}}"#);
            let (value, step) = value(&line).unwrap();
            assert!(value.is_nan() && step == Some(2), "{line}");
        }
        assert_eq!(without_nan(r#"{"NaN": "x\"NaN", "y": NaN}"#), r#"{"NaN": "x\"NaN", "y": null}"#);
    }

    #[test]
    fn a_bare_number_is_one() {
        assert_eq!([" 1e3\r", "-2", "x 1"].map(|line| number(line.as_bytes())), [Some(1e3), Some(-2.0), None]);
        assert!(number(b"nan").unwrap().is_nan());
    }

    #[test]
    fn lines_are_the_same_however_they_were_cut() {
        let text = b"first\n\nsecond line\n{\"value\": 1}\nlast";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let mut found: Vec<String> = Vec::new();
            for piece in text.chunks(size) {
                lines.push(piece);
                while let Some(line) = lines.next() {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            lines.end();
            found.extend(lines.next().map(|line| String::from_utf8(line.to_vec()).unwrap()));
            assert_eq!(found, ["first", "", "second line", "{\"value\": 1}", "last"], "pieces of {size}");
            assert_eq!(lines.next(), None);
        }
    }

    #[test]
    fn a_line_without_end_is_dropped_and_the_next_one_is_read() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.push(&[b'x'; 10_000]);
            assert_eq!(lines.next(), None);
            assert!(lines.bytes.len() <= LONGEST_LINE + 10_000, "{} bytes are held", lines.bytes.len());
        }
        lines.push(b"tail\nnext\n");
        assert_eq!(lines.next(), Some(OVERLONG));
        assert_eq!(lines.next(), Some(&b"next"[..]));
        assert_eq!(lines.next(), None);
        lines.push(&[b'y'; LONGEST_LINE + 1]);
        lines.push(b"\nz\n");
        assert_eq!(lines.next(), Some(OVERLONG));
        assert_eq!(lines.next(), Some(&b"z"[..]));
    }

    #[test]
    fn of_standard_error_the_end_is_kept() {
        let mut tail = Tail::default();
        assert_eq!(tail.last_lines(), None);
        for line in 0..10_000 {
            tail.push(format!("line {line}\n\n").as_bytes());
        }
        assert!(tail.0.len() <= 2 * TAIL);
        assert_eq!(tail.last_lines().unwrap(), "line 9997 / line 9998 / line 9999");
        tail.push(&[b'\x1b'; 1000]);
        tail.push(b"ValueError: no");
        assert!(tail.last_lines().unwrap().ends_with("ValueError: no"));
        assert!(tail.last_lines().unwrap().chars().count() <= QUOTED);
    }
}
