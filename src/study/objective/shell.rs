//! What a shell makes of its text, as far as it decides how a value is written into it: within the quotes of the text a value
//! with quotes of its own would not be in quotes at all.

use super::template::Piece;
use crate::base::shell::in_shell;

/// Where a name stands in a shell's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In no quotes.
    Bare,
    /// In `'...'`.
    Single,
    /// In `"..."`.
    Double,
    /// In `` `...` ``, in which quotes follow rules of their own.
    Backquoted,
}

impl Place {
    /// A value as it is written there.
    pub(super) fn written(self, value: &str) -> String {
        match self {
            Place::Bare => in_shell(value, ""),
            Place::Single => value.replace('\'', r"'\''"),
            Place::Double => {
                let escaped = |c: char| ['"', '$', '`', '\\'].contains(&c).then_some('\\').into_iter().chain([c]);
                value.chars().flat_map(escaped).collect()
            }
            // Only plain words are allowed there.
            Place::Backquoted => value.to_owned(),
        }
    }
}

/// Says of each name in a shell's text where it stands.
pub(super) fn place(pieces: &mut [Piece]) {
    let mut reader = Reader::default();
    for piece in pieces {
        match piece {
            Piece::Text(text) => text.chars().for_each(|c| reader.read(c)),
            Piece::Name(_, place) => {
                *place = reader.place();
                // Whatever it is, it is a part of a word.
                reader.before = 'x';
            }
        }
    }
}

/// Reads a shell's text. Here-documents are not known of.
struct Reader {
    /// Quotes that are open, and brackets in them: the text itself, and each `$(...)` in it, where quotes begin anew.
    open: Vec<(Place, usize)>,
    is_backquoted: bool,
    is_escaped: bool,
    is_comment: bool,
    before: char,
}

impl Default for Reader {
    fn default() -> Reader {
        let open = vec![(Place::Bare, 0)];
        Reader { open, is_backquoted: false, is_escaped: false, is_comment: false, before: ' ' }
    }
}

impl Reader {
    fn place(&self) -> Place {
        match self.is_backquoted {
            true => Place::Backquoted,
            false => self.open.last().map_or(Place::Bare, |(place, _)| *place),
        }
    }

    fn read(&mut self, c: char) {
        let before = std::mem::replace(&mut self.before, c);
        if self.is_comment {
            self.is_comment = c != '\n';
            return;
        }
        if std::mem::take(&mut self.is_escaped) {
            // It is no end of a word, and no $.
            self.before = 'x';
            return;
        }
        let is_inner = self.open.len() > 1;
        let Some((place, brackets)) = self.open.last_mut() else { return };
        match (*place, c) {
            (Place::Single, '\'') | (Place::Double, '"') => *place = Place::Bare,
            (Place::Single, _) => {}
            (_, '\\') => self.is_escaped = true,
            (_, '`') => self.is_backquoted = !self.is_backquoted,
            (_, '(') if before == '$' => self.open.push((Place::Bare, 0)),
            (Place::Bare, '\'') => *place = Place::Single,
            (Place::Bare, '"') => *place = Place::Double,
            (Place::Bare, '(') => *brackets += 1,
            (Place::Bare, ')') if *brackets > 0 => *brackets -= 1,
            (Place::Bare, ')') if is_inner => drop(self.open.pop()),
            (Place::Bare, '#') => self.is_comment = before.is_whitespace() || ";&|(".contains(before),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where x stands in a text, once for each time.
    fn places(text: &str) -> Vec<Place> {
        let parts: Vec<&str> = text.split("{x}").collect();
        let mut pieces: Vec<Piece> = parts
            .iter()
            .flat_map(|part| [Piece::Text((*part).to_owned()), Piece::Name("x".to_owned(), Place::Bare)])
            .collect();
        pieces.pop();
        place(&mut pieces);
        pieces.iter().filter_map(|piece| if let Piece::Name(_, place) = piece { Some(*place) } else { None }).collect()
    }

    #[test]
    fn quotes_are_read_as_a_shell_reads_them() {
        use Place::{Backquoted, Bare, Double, Single};
        assert_eq!(places("f {x} '{x}' \"{x}\" {x}"), [Bare, Single, Double, Bare]);
        assert_eq!(places(r#"f \"{x} "\"{x}" '\'{x}"#), [Bare, Double, Bare]);
        assert_eq!(places(r#"f "it's {x}" '"{x}' it\'s {x}"#), [Double, Single, Bare]);
        assert_eq!(places(r#"f "$(g {x} (h) '{x}' "{x}") {x}" {x}"#), [Bare, Single, Double, Double, Bare]);
        assert_eq!(places("f `g {x}` {x}"), [Backquoted, Bare]);
        assert_eq!(places("# don't\nf {x} # it's\nf$#'{x}' a#'{x}'"), [Bare, Single, Single]);
    }
}
