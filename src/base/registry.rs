//! A registry is a fixed list of named things; names on the command line, help, docs and contract tests loop over it.

use std::fmt;

/// Something that a registry lists: a model, a strategy, a scheduler, a metric.
pub trait Named: Sync {
    /// The name in studies, on the command line, and in the journal.
    fn name(&self) -> &'static str;
    /// One line for lists and help.
    fn summary(&self) -> &'static str;
}

/// A name that a registry does not hold, with what it does hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct UnknownName {
    /// What the registry lists: "model", "strategy", ...
    pub kind: &'static str,
    /// The name that was asked for.
    pub name: String,
    /// Every name the registry holds, in its order.
    pub known: Vec<&'static str>,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown {} \"{}\"", self.kind, self.name)?;
        if let Some(near) = nearest(&self.name, self.known.iter().copied()) {
            write!(f, "; did you mean \"{near}\"?")?;
        }
        write!(f, "\n  known: {}", self.known.join(", "))
    }
}

/// Finds an entry by name.
pub fn find<T: Named + ?Sized>(
    kind: &'static str,
    entries: &'static [&'static T],
    name: &str,
) -> Result<&'static T, UnknownName> {
    entries.iter().find(|entry| entry.name() == name).copied().ok_or_else(|| UnknownName {
        kind,
        name: name.to_owned(),
        known: entries.iter().map(|entry| entry.name()).collect(),
    })
}

/// The known word most like `word`, if any is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Two slips in a word of any length, or one in three letters, still read as a typing error.
    let budget = (word.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= budget && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
