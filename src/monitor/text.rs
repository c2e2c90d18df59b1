//! Numbers, times and lines as people read them.

pub(crate) use crate::data::error::{count, thousands};
use std::time::Duration;

/// How many candidates a scheduler ended, and what that saved.
pub fn stopped_early(candidates: u64, saved: f64) -> String {
    let [whole, _] = saving(saved);
    format!("{} stopped early, {whole}", thousands(candidates))
}

/// The share of all training that was saved, and the same in few words. Rungs that are trained anew may take more than they spare.
pub(super) fn saving(saved: f64) -> [String; 2] {
    let percent = (100.0 * saved).round();
    let words =
        if percent < 0.0 { ["more training than without", "more training"] } else { ["of training saved", "saved"] };
    words.map(|words| format!("{:.0} % {words}", percent.abs()))
}

/// Columns that `text` takes in a terminal, its colours not counted. Every character is taken as one column wide.
pub fn width(text: &str) -> usize {
    let mut is_escape = false;
    let mut columns = 0;
    for character in text.chars() {
        match character {
            '\u{1b}' => is_escape = true,
            // Colours are `ESC [ numbers m`.
            'm' if is_escape => is_escape = false,
            _ if !is_escape => columns += 1,
            _ => {}
        }
    }
    columns
}

/// A number with about `digits` significant digits, in the shortest way that is still read at a glance: `0.0031`,
/// `12.5`, `3.2e-6`, `1,800,000`.
pub fn number(value: f64, digits: usize) -> String {
    let digits = digits.max(1);
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN".to_owned()
        } else {
            format!("{}infinity", if value < 0.0 { "-" } else { "" })
        };
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let rounded = format!("{:.*e}", digits - 1, value);
    let Some((mantissa, exponent)) = rounded.split_once('e') else { return rounded };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match exponent {
        -4..=-1 => trimmed(&format!("{value:.*}", digits - 1 + exponent.unsigned_abs() as usize)),
        0..=15 if exponent as usize + 1 >= digits => {
            let whole = thousands(value.abs().round() as u64);
            if value < 0.0 { format!("-{whole}") } else { whole }
        }
        0..=15 => trimmed(&format!("{value:.*}", digits - 1 - exponent as usize)),
        _ => format!("{}e{exponent}", trimmed(mantissa)),
    }
}

/// A score and its standard error with the same decimals, so that they can be compared: `0.0712 ± 0.0081`. Two
/// significant digits of the error decide how many.
pub fn with_error(value: f64, std_error: Option<f64>) -> String {
    match std_error.filter(|error| error.is_finite() && *error > 0.0) {
        Some(error) if value.is_finite() => {
            let decimals = (1 - error.log10().floor() as i32).clamp(0, 12) as usize;
            format!("{} ± {}", grouped(value, decimals), grouped(error, decimals))
        }
        _ => number(value, 5),
    }
}

/// Fixed decimals, with thousands told apart.
fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let sign =
        if value.is_sign_negative() && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) { "-" } else { "" };
    match whole.parse() {
        Ok(whole) => format!("{sign}{}{rest}", thousands(whole)),
        // More than 64 bits: too large for grouping to matter.
        Err(_) => format!("{sign}{text}"),
    }
}

/// `0.4 s`, `12 s`, `3:05`, `1:02:33`, `2 d 3:00`
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        _ => format!("{} d {}:{:02}", seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60),
    }
}

/// A rate or an amount with a prefix: `1.6 T`, `23 G`, `870 k`, `12`; three digits at most.
pub fn with_prefix(value: f64) -> String {
    const PREFIXES: [(f64, &str); 5] = [(1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    let (scale, prefix) = PREFIXES.into_iter().find(|(scale, _)| value.abs() >= *scale).unwrap_or((1.0, " "));
    format!("{}{prefix}", number(value / scale, 3))
}

/// `1.5 GiB`
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{} {}", number(value, if unit == 0 { 4 } else { 3 }), UNITS[unit])
}

/// At most `columns` columns of an uncoloured line, its end replaced by `…` where it was longer.
pub fn clip(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let mut clipped: String = line.chars().take(columns.saturating_sub(1)).collect();
    if columns > 0 {
        clipped.push('…');
    }
    clipped
}

/// The first of these lines that fits, from the longest to the shortest; the last one is clipped if it has to be.
pub fn first_that_fits(columns: usize, lines: impl IntoIterator<Item = String>) -> String {
    let mut last = String::new();
    for line in lines {
        if width(&line) <= columns {
            return line;
        }
        last = line;
    }
    clip(&anstream::adapter::strip_str(&last).to_string(), columns)
}

/// Lines broken between words where they would pass `columns`; what goes on in a next line stands two columns further in.
pub fn wrap_words(text: &str, columns: usize) -> String {
    const INDENT: usize = 2;
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let start = paragraph.len() - paragraph.trim_start().len();
        let mut line = " ".repeat(start);
        let mut is_empty = true;
        for word in paragraph.split_whitespace() {
            if !is_empty && width(&line) + 1 + width(word) > columns {
                lines.push(std::mem::replace(&mut line, " ".repeat(start + INDENT)));
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// Pieces after one another, `indent` columns in, broken between pieces where a line would pass `columns`.
pub fn wrap(pieces: &[String], separator: &str, columns: usize, indent: usize) -> String {
    let mut lines = Vec::new();
    let mut line = String::new();
    for (i, piece) in pieces.iter().enumerate() {
        let piece = if i + 1 < pieces.len() { format!("{piece}{separator}") } else { piece.clone() };
        if !line.is_empty() && indent + width(&line) + width(piece.trim_end()) > columns {
            lines.push(std::mem::take(&mut line));
        }
        line.push_str(&piece);
    }
    lines.push(line);
    lines.iter().map(|line| format!("{:indent$}{}\n", "", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits_and_lose_their_noise() {
        for (value, text) in [
            (0.0, "0"),
            (0.003_123_4, "0.0031"),
            (0.1, "0.1"),
            (12.53, "13"),
            (1.25, "1.2"),
            (-0.5, "-0.5"),
            (3.21e-6, "3.2e-6"),
            (1_800_000.0, "1,800,000"),
            (-1234.4, "-1,234"),
            (9.99, "10"),
            (0.0999, "0.1"),
            (2.5e20, "2.5e20"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-infinity"),
        ] {
            assert_eq!(number(value, 2), text, "{value:?}");
        }
        assert_eq!(number(0.071_234, 5), "0.071234");
        assert_eq!(number(54321.6, 5), "54,322");
    }

    #[test]
    fn a_score_and_its_error_share_their_decimals() {
        assert_eq!(with_error(0.071_234, Some(0.008_09)), "0.0712 ± 0.0081");
        assert_eq!(with_error(48_123.4, Some(612.0)), "48,123 ± 612");
        assert_eq!(with_error(-0.5, Some(0.25)), "-0.50 ± 0.25");
        assert_eq!(with_error(0.5, None), "0.5");
        assert_eq!(with_error(0.5, Some(0.0)), "0.5");
        assert_eq!(with_error(f64::NAN, Some(0.1)), "NaN");
    }

    #[test]
    fn what_takes_more_than_it_saves_is_said_so() {
        assert_eq!(stopped_early(1200, 0.614), "1,200 stopped early, 61 % of training saved");
        assert_eq!(stopped_early(7, -0.2), "7 stopped early, 20 % more training than without");
        assert_eq!(
            [0.2, -0.2, -0.001].map(|saved| saving(saved)[1].clone()),
            ["20 % saved", "20 % more training", "0 % saved"]
        );
    }

    #[test]
    fn times_are_as_long_as_they_need_to_be() {
        for (seconds, text) in
            [(0.42, "0.4 s"), (12.0, "12 s"), (185.0, "3:05"), (3753.0, "1:02:33"), (183_600.0, "2 d 3:00")]
        {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn amounts_have_prefixes() {
        assert_eq!(with_prefix(1.62e12), "1.62 T");
        assert_eq!(with_prefix(870_400.0), "870 k");
        assert_eq!(with_prefix(12.0), "12 ");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(bytes(512), "512 bytes");
    }

    #[test]
    fn colours_take_no_columns() {
        let painted = crate::monitor::style::paint(crate::monitor::style::GOOD, "mm ±");
        assert!(painted.len() > 5 && width(&painted) == 4);
        assert_eq!(first_that_fits(4, [painted.clone(), "x".to_owned()]), painted);
        assert_eq!(first_that_fits(3, [painted]), "mm…");
    }

    #[test]
    fn lines_break_between_words_and_keep_their_indent() {
        let text = "note: three columns are dropped\n  each the same in every row";
        let wrapped = "note: three\n  columns are\n  dropped\n  each the same\n    in every row";
        assert_eq!(wrap_words(text, 16), wrapped);
        assert_eq!(wrap_words(text, 100), text);
        assert_eq!(wrap_words("unbreakable", 4), "unbreakable");
    }

    #[test]
    fn lines_break_between_pieces() {
        let pieces = ["alpha 1", "beta 2", "gamma 3"].map(str::to_owned);
        assert_eq!(wrap(&pieces, ", ", 18, 2), "  alpha 1, beta 2,\n  gamma 3\n");
    }
}
