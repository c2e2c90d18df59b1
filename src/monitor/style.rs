//! Colours of the terminal. Blue and yellow are told apart by every eye, and nothing is said by colour alone.
//!
//! Text always carries its colours; the stream it is written to takes them out where they are not wanted (NO_COLOR, a
//! pipe, `--color never`).

use anstyle::{AnsiColor, Effects, Style};

/// Headings and what matters most.
pub const STRONG: Style = Style::new().effects(Effects::BOLD);
/// What is there to be looked up.
pub const FAINT: Style = Style::new().effects(Effects::DIMMED);
/// Progress, and the best candidate.
pub const GOOD: Style = AnsiColor::Blue.on_default().effects(Effects::BOLD);
/// What wants attention without being wrong.
pub const NOTICE: Style = AnsiColor::Yellow.on_default();

/// `text` in a style.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}
