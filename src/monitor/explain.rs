//! What a model goes by, as text: what it is made of, how much each column matters, what it makes of its features.

use super::style::{FAINT, GOOD, STRONG, paint};
use super::table::{Align, Table};
use super::text::{count, number, with_error, wrap, wrap_words};
use crate::models::FeatureKind;
use crate::study::explain::{Explained, FeatureTable, Importance};

/// Columns and features that are shown; JSON holds all.
const SHOWN: usize = 20;
/// Features that are named where a line is all that an output has.
const NAMED: usize = 5;
/// Widest bar.
const BAR: usize = 24;
/// Eighths of a character cell, from the left.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// The whole explanation for a terminal of so many columns.
pub fn explanation(explained: &Explained, columns: usize) -> String {
    let importance = match &explained.importance {
        Some(importance) => columns_by_importance(importance, columns),
        None => "no test rows were locked away, so nothing says how much each column matters\n".to_owned(),
    };
    let (gained, others): (Vec<&FeatureTable>, Vec<&FeatureTable>) =
        explained.features.iter().partition(|table| table.kind == FeatureKind::Gain);
    let mut parts = vec![head(explained, columns), importance, features(&others, columns)];
    parts.extend(gained.into_iter().map(|table| gains(table, columns)));
    parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("\n")
}

fn head(explained: &Explained, columns: usize) -> String {
    let facts = explained.facts.iter().map(|(name, value)| format!("{} {value}", paint(FAINT, name)));
    let pieces: Vec<String> = std::iter::once(paint(STRONG, &explained.model)).chain(facts).collect();
    wrap(&pieces, "  ", columns, 0)
}

fn columns_by_importance(importance: &Importance, columns: usize) -> String {
    let shown = &importance.columns[..importance.columns.len().min(SHOWN)];
    let longest = shown.first().map_or(0.0, |column| column.value);
    let mut table = Table::new([("column", Align::Left), ("importance", Align::Right), ("", Align::Left)]);
    for column in shown {
        // What its noise could be is drawn faint: it is not known to matter.
        let style = if column.value > 2.0 * column.std_error { GOOD } else { FAINT };
        let score = with_error(column.value, Some(column.std_error));
        table.row([column.name.clone(), score, paint(style, bar(column.value / longest))]);
    }
    let mut text = table.render_within(columns);
    if let more @ 1.. = importance.columns.len() - shown.len() {
        text += &format!(
            "{}\n",
            paint(FAINT, format!("and {} that matter no more than these", count(more as u64, "column")))
        );
    }
    let says = format!(
        "importance: by how much the {} of {} gets worse when the column's cells are shuffled among the test rows, over {} \
         shuffles; ±: over other draws of {} and other shuffles",
        importance.metric,
        number(importance.score, 4),
        importance.shuffles,
        count(importance.rows as u64, "row")
    );
    text + &paint(FAINT, wrap_words(&says, columns)) + "\n"
}

/// A bar of this share of the widest; nothing below 0.
fn bar(share: f64) -> String {
    let eighths = if share > 0.0 { (share.min(1.0) * (BAR * 8) as f64).round() as usize } else { 0 };
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// Features with the largest gains first.
fn gains(of: &FeatureTable, columns: usize) -> String {
    let mut by_size: Vec<(&String, f64)> = of.values.iter().map(|(name, gain)| (name, f64::from(*gain))).collect();
    by_size.sort_by(|a, b| b.1.total_cmp(&a.1));
    let longest = by_size.first().map_or(0.0, |(_, gain)| *gain);
    let mut table = Table::new([("feature", Align::Left), (&heading(of), Align::Right), ("", Align::Left)]);
    for (name, gain) in by_size.iter().take(SHOWN) {
        table.row([(*name).clone(), number(*gain, 3), paint(GOOD, bar(gain / longest))]);
    }
    let says = "gain: the share of what all splits gained in training that splits on the feature did; features with many \
                values are offered more splits, and gain more even where they tell nothing";
    table.render_within(columns) + &more_features(by_size.len()) + &paint(FAINT, wrap_words(says, columns)) + "\n"
}

/// What is said of features that are not shown.
fn more_features(all: usize) -> String {
    match all.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("{}\n", paint(FAINT, format!("and {} with smaller numbers", count(more as u64, "feature")))),
    }
}

/// Features with the largest numbers first: a column an output where there is room, else a line an output.
fn features(tables: &[&FeatureTable], columns: usize) -> String {
    if tables.is_empty() {
        return String::new();
    }
    let names: Vec<&String> = tables[0].values.keys().collect();
    let largest = |name: &str| {
        tables.iter().filter_map(|table| table.values.get(name)).fold(0.0, |most: f32, value| most.max(value.abs()))
    };
    let mut by_size = names.clone();
    by_size.sort_by(|a, b| largest(b).total_cmp(&largest(a)));
    let shown = &by_size[..by_size.len().min(SHOWN)];
    let headings: Vec<String> = tables.iter().map(|table| heading(table)).collect();
    let mut table = Table::new(
        std::iter::once(("feature", Align::Left)).chain(headings.iter().map(|name| (name.as_str(), Align::Right))),
    );
    let cell = |value: Option<&f32>| value.map(|value| number(f64::from(*value), 3)).unwrap_or_default();
    for name in shown {
        let cells = tables.iter().map(|table| cell(table.values.get(*name)));
        table.row(std::iter::once((*name).clone()).chain(cells));
    }
    if tables.iter().any(|table| table.intercept.is_some()) {
        let cells = tables.iter().map(|table| cell(table.intercept.as_ref()));
        table.row(std::iter::once(paint(FAINT, "intercept")).chain(cells));
    }
    if table.width() > columns {
        return tables.iter().map(|table| line(table, columns)).collect();
    }
    table.render(0) + &more_features(names.len())
}

fn heading(table: &FeatureTable) -> String {
    let kind = match table.kind {
        FeatureKind::Coefficient => "coefficient",
        FeatureKind::Gain => "gain",
    };
    table.class.as_ref().map_or_else(|| kind.to_owned(), |class| format!("{kind} of {class}"))
}

/// An output with its largest numbers.
fn line(table: &FeatureTable, columns: usize) -> String {
    let mut values: Vec<(&String, &f32)> = table.values.iter().collect();
    values.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let named = values.iter().take(NAMED).map(|(name, value)| format!("{name} {}", number(f64::from(**value), 3)));
    let more = values.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| format!("and {more} more"));
    let named: Vec<String> = named.chain(more).collect();
    let text = format!("{}: {}", paint(STRONG, heading(table)), named.join(", "));
    wrap_words(&text, columns) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(1.0).chars().count(), BAR);
        assert_eq!(bar(0.5).chars().count(), BAR / 2);
        assert_eq!(bar(1.0 / 48.0), "▌");
        assert_eq!([bar(0.0), bar(-0.3), bar(f64::NAN)], ["", "", ""]);
    }
}
