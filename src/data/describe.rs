//! What was found in a table, in words: how many columns of which kind, and what each holds.

use super::dataset::Dataset;
use super::error::{count, list, thousands};
use super::table::{Cells, Column};

/// Categories that are named; the others are counted.
const NAMED: usize = 4;

/// `891 rows; 5 columns of numbers; 3 of categories: sex, embarked, deck`
pub fn columns_by_kind(dataset: &Dataset) -> String {
    let is_category = |column: &&Column| matches!(column.cells, Cells::Categories(_));
    let columns = &dataset.features.columns;
    let categories: Vec<&str> = columns.iter().filter(is_category).map(|column| column.name.as_str()).collect();
    let numbers = count(columns.len() - categories.len(), "column");
    let rows = count(dataset.rows(), "row");
    match categories.len() {
        0 => format!("{rows}; {numbers} of numbers"),
        n => format!("{rows}; {numbers} of numbers; {n} of categories: {}", list(&categories)),
    }
}

/// `number, 0.42 to 80, 177 missing` or `category, 2 different: female, male`
pub fn column(column: &Column) -> String {
    let mut text = match &column.cells {
        Cells::Numbers(values) => {
            // NaN is what is missing, and passes through neither.
            let (low, high) = values
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
            format!("number, {low} to {high}")
        }
        Cells::Categories(categories) => {
            let named = categories.levels.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = if categories.levels.len() > NAMED { ", ..." } else { "" };
            format!("category, {} different: {named}{more}", thousands(categories.levels.len() as u64))
        }
    };
    match column.missing() {
        0 => {}
        missing => text += &format!("; {} missing", thousands(missing as u64)),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::table::Categories;

    #[test]
    fn columns_are_described_by_what_they_hold() {
        let numbers = Column { name: "age".to_owned(), cells: Cells::Numbers(vec![3.5, f64::NAN, -1.0]) };
        assert_eq!(column(&numbers), "number, -1 to 3.5; 1 missing");
        let levels = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let cells = Cells::Categories(Categories { codes: vec![0, 1, 2, 3, 4], levels });
        assert_eq!(column(&Column { name: "deck".to_owned(), cells }), "category, 5 different: a, b, c, d, ...");
    }
}
