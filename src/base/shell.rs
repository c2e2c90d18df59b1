//! Words of a command line, as POSIX shells read them.

/// A word for a shell: in quotes where it is not plain. `also` are further plain characters.
pub fn in_shell(word: &str, also: &str) -> String {
    match !word.is_empty() && word.chars().all(|c| is_plain(c) || also.contains(c)) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Whether a character is itself wherever it stands.
pub fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_take_apart_is_in_quotes() {
        for plain in ["runs/a-1", "--rate=1e-3", "x@y:z,100%"] {
            assert_eq!(in_shell(plain, ""), plain);
        }
        for (word, quoted) in [("a b", "'a b'"), ("", "''"), ("it's", r"'it'\''s'"), (r"a\b", r"'a\b'"), ("~", "'~'")] {
            assert_eq!(in_shell(word, ""), quoted);
        }
        assert_eq!((in_shell("{x}", "{}"), in_shell("{x}", "")), ("{x}".to_owned(), "'{x}'".to_owned()));
    }
}
