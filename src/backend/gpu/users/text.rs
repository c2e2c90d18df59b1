//! What can be said of a user's text, and done to it, by its words alone: what is refused before it is read, and how its loops come to
//! count their turns.

use super::{IS_ENDLESS, PREFIX, TURNS_LEFT, UsersFault, UsersFaultKind};
use std::ops::Range;

/// Signs of a statement, and `else if`s of a function, at most: the compiler goes down into both by calling itself, and nothing that
/// bounds brackets and braces bounds them.
const MOST_SIGNS: usize = 500;
/// See [`MOST_SIGNS`].
const MOST_ELSE_IFS: usize = 100;

/// What of WGSL's own is used behind the text: a text that calls something of its own so would change what it means.
const USED: [&str; 12] =
    ["array", "bitcast", "bool", "f32", "fma", "i32", "log", "sqrt", "u32", "vec2", "vec3", "EvaluationBatch"];

/// What the words of a text say against it before it is read: names that are not its to give, and what is so long that the
/// compiler would not come to its end.
pub(super) fn refuse_words(own: &str) -> Result<(), UsersFault> {
    let fault = |span: Range<usize>, kind| Err(UsersFault { span: Some(span), kind });
    let (mut at, mut depth, mut signs, mut else_ifs) = (0, 0usize, 0, 0);
    // The words before, without what stands between.
    let (mut last, mut is_variable) = ("", false);
    for token in tokens(own) {
        let span = at..at + token.len();
        at = span.end;
        if token.starts_with("//") || token.starts_with("/*") || token.trim().is_empty() {
            continue;
        }
        if token.starts_with(PREFIX) {
            let instead = "Names that begin so are those of what is put behind the text: call it otherwise";
            return fault(span, UsersFaultKind::NotForLanes("a name that begins with thousandfold_", instead));
        }
        let names = matches!(last, "fn" | "alias" | "struct" | "const" | "override") || last == "var" || is_variable;
        // `var<private> name`
        is_variable = depth == 0 && (is_variable || last == "var") && !token.starts_with(is_word);
        is_variable |=
            depth == 0 && matches!(token, "private" | "workgroup" | "storage" | "uniform" | "read" | "read_write");
        if depth == 0 && names && USED.contains(&token) {
            return fault(span, UsersFaultKind::Redefined(token.to_owned()));
        }
        match token {
            ";" => signs = 0,
            "{" => (depth, signs) = (depth + 1, 0),
            "}" => (depth, signs) = (depth.saturating_sub(1), 0),
            "fn" => else_ifs = 0,
            "if" if last == "else" => else_ifs += 1,
            _ if token.starts_with(['+', '-', '*', '/', '%', '&', '|', '^', '<', '>', '=', '!', '~']) => signs += 1,
            _ => {}
        }
        if signs > MOST_SIGNS {
            let instead = "Compute it in several: let part = ...;";
            return fault(span, UsersFaultKind::NotForLanes("a statement of more than 500 signs", instead));
        }
        if else_ifs > MOST_ELSE_IFS {
            let instead = "Write a switch, or read from a table";
            return fault(span, UsersFaultKind::NotForLanes("a function with more than a hundred else ifs", instead));
        }
        last = token;
    }
    Ok(())
}

/// The mark of an entry point.
pub(super) fn stage(own: &str) -> Option<Range<usize>> {
    let (mut at, mut last) = (0, "");
    tokens(own).find_map(|token| {
        let span = at..at + token.len();
        at = span.end;
        let before = std::mem::replace(&mut last, token);
        (before == "@" && matches!(token, "compute" | "vertex" | "fragment")).then(|| span.start - 1..span.end)
    })
}

/// A text whose loops count their turns: `if (left == 0) { is_endless = 1; break; } left -= 1;` at the beginning of each.
/// Numbers, not times: a lane ends in the same turn on every device, whatever runs beside it.
///
/// Of a text that was [`inspect`]ed. `for`, `while` and `loop` are nothing but keywords in WGSL, there are no texts in
/// quotes, and no expression has a brace: the first brace behind one of them opens its body.
pub(in crate::backend::gpu) fn counted(text: &str) -> String {
    let turn = format!(" if ({TURNS_LEFT} == 0u) {{ {IS_ENDLESS} = 1u; break; }} {TURNS_LEFT} -= 1u;");
    let mut counted = String::with_capacity(text.len());
    let mut is_loop = false;
    for token in tokens(text) {
        counted.push_str(token);
        match token {
            "for" | "while" | "loop" => is_loop = true,
            "{" if std::mem::take(&mut is_loop) => counted.push_str(&turn),
            _ => {}
        }
    }
    counted
}

/// A text's words, comments, and everything else character by character.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let length = match first {
            '/' if rest.starts_with("//") => rest.find(LINE_BREAKS).unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest).unwrap_or(rest.len()),
            first if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        rest = behind;
        Some(token)
    })
}

/// Whether a character belongs to a word. Of those beyond ASCII all do that are no space: some do in WGSL, and no sign is there.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii() && !c.is_whitespace()
}

/// What ends a comment of one line.
const LINE_BREAKS: [char; 7] = ['\n', '\u{b}', '\u{c}', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// A comment that the text ends within.
pub(super) fn open_comment(text: &str) -> Option<Range<usize>> {
    let last = tokens(text).filter(|token| token.starts_with("/*")).last()?;
    (text.ends_with(last) && comment(last).is_none()).then(|| text.len() - last.len()..text.len())
}

/// Bytes of the comment that a text begins with, comments in it among them; `None` where it has no end.
fn comment(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        match rest {
            "" => return None,
            _ if rest.starts_with("/*") => (depth, at) = (depth + 1, at + 2),
            _ if rest.starts_with("*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += rest.chars().next().map_or(1, char::len_utf8),
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}
