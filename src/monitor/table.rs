//! Tables of text: columns as wide as their widest cell, numbers to the right, no lines drawn.

use super::style::{STRONG, paint};
use super::text::{width, wrap_words};

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table as it grows.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

/// Blanks between columns.
const GAP: usize = 2;

impl Table {
    /// A table with these headings.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Align)>) -> Table {
        Table { columns: columns.into_iter().map(|(name, align)| (name.to_owned(), align)).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells that are missing stay empty, and those beyond the headings are dropped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// All lines, as [`Table::render`] gives them; where there is no room for the last column, its cells stand below
    /// their rows.
    pub fn render_within(mut self, columns: usize) -> String {
        if self.width() <= columns {
            return self.render(0);
        }
        self.columns.pop();
        let last = self.columns.len();
        let below: Vec<String> = self.rows.iter_mut().map(|row| row.drain(last..).collect()).collect();
        let text = self.render(0);
        let notes = std::iter::once(&String::new()).chain(&below).map(String::clone).collect::<Vec<_>>();
        let lines = text.lines().zip(notes).map(|(line, note)| match note.is_empty() {
            true => format!("{line}\n"),
            false => format!("{line}\n{}\n", wrap_words(&format!("  {note}"), columns)),
        });
        lines.collect()
    }

    /// Columns that a whole line takes.
    pub fn width(&self) -> usize {
        let gaps = GAP * self.columns.len().saturating_sub(1);
        self.widths().iter().sum::<usize>() + gaps
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |column: usize| self.rows.iter().map(|row| width(&row[column])).max().unwrap_or(0);
        self.columns.iter().enumerate().map(|(i, (name, _))| widest(i).max(width(name))).collect()
    }

    /// All lines, the headings first, each `indent` columns in.
    pub fn render(&self, indent: usize) -> String {
        let widths = self.widths();
        let line = |cells: &[String], is_heading: bool| {
            let mut line = " ".repeat(indent);
            for (i, (cell, (_, align))) in cells.iter().zip(&self.columns).enumerate() {
                let pad = " ".repeat(widths[i] - width(cell));
                let gap = if i == 0 { "" } else { "  " };
                let cell = if is_heading && !cell.is_empty() { paint(STRONG, cell) } else { cell.clone() };
                line += &match align {
                    Align::Left => format!("{gap}{cell}{pad}"),
                    Align::Right => format!("{gap}{pad}{cell}"),
                };
            }
            format!("{}\n", line.trim_end())
        };
        let headings: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let rows = self.rows.iter().map(|row| line(row, false));
        std::iter::once(line(&headings, true)).chain(rows).collect()
    }

    /// The same as a Markdown table, without colours.
    pub fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = &String>| {
            let plain = |cell: &String| anstream::adapter::strip_str(cell).to_string().replace('|', "\\|");
            let cells: Vec<String> = cells.map(plain).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = self.columns.iter().map(|(_, align)| if *align == Align::Right { "---:|" } else { "---|" });
        let rule: String = rule.collect();
        let rows: String = self.rows.iter().map(|row| line(&mut row.iter())).collect();
        format!("{}|{rule}\n{rows}", line(&mut self.columns.iter().map(|(name, _)| name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_stands_below_where_it_has_no_room() {
        let mut table = Table::new([("", Align::Left), ("loss", Align::Right), ("", Align::Left)]);
        table.row(["best", "0.5", "candidate 7"].map(str::to_owned));
        table.row(["test", "0.25", ""].map(str::to_owned));
        let plain = |columns| anstream::adapter::strip_str(&table.clone().render_within(columns)).to_string();
        assert_eq!(plain(40), "      loss\nbest   0.5  candidate 7\ntest  0.25\n");
        assert_eq!(plain(14), "      loss\nbest   0.5\n  candidate 7\ntest  0.25\n");
    }

    #[test]
    fn columns_line_up_whatever_their_colours() {
        let mut table = Table::new([("name", Align::Left), ("n", Align::Right)]);
        table.row([paint(STRONG, "a"), "10".to_owned()]);
        table.row(["longer".to_owned(), "7".to_owned()]);
        let plain = anstream::adapter::strip_str(&table.render(1)).to_string();
        assert_eq!(plain, " name     n\n a       10\n longer   7\n");
        assert_eq!(table.width(), 10);
    }

    #[test]
    fn markdown_has_a_rule_and_keeps_bars_in_their_cells() {
        let mut table = Table::new([("name", Align::Left), ("n", Align::Right)]);
        table.row([paint(STRONG, "a|b"), "10".to_owned()]);
        assert_eq!(table.markdown(), "| name | n |\n|---|---:|\n| a\\|b | 10 |\n");
    }
}
