//! Predictions as CSV: one row a row, in the order of the data.

use crate::base::order::most_likely;
use ndarray::ArrayView2;

/// `prediction` and a probability a class, or just `prediction` for numbers (`class_names` is empty then). Of equally
/// likely classes the first is predicted; a row of NaN predicts nothing.
pub fn to_csv(class_names: &[String], predicted: ArrayView2<'_, f32>) -> String {
    let mut text = String::from("prediction");
    class_names.iter().for_each(|name| text += &format!(",{}", quoted(&format!("probability of {name}"))));
    text.push('\n');
    for row in predicted.rows() {
        if class_names.is_empty() {
            text += &row.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        } else {
            text += &most_likely(row.iter().copied())
                .and_then(|class| class_names.get(class))
                .map(|name| quoted(name))
                .unwrap_or_default();
            row.iter().for_each(|share| text += &format!(",{share}"));
        }
        text.push('\n');
    }
    text
}

/// A cell, in quotes where CSV needs them.
fn quoted(cell: &str) -> String {
    let needs_quotes = cell.contains([',', '"', '\n', '\r']) || cell.trim() != cell;
    if needs_quotes { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    #[test]
    fn classes_come_with_their_probabilities() {
        let names = ["a".to_owned(), "b, \"c\"".to_owned()];
        let csv = to_csv(&names, arr2(&[[0.25, 0.75], [0.5, 0.5], [f32::NAN, f32::NAN]]).view());
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[0], "prediction,probability of a,\"probability of b, \"\"c\"\"\"");
        assert_eq!(lines[1..], ["\"b, \"\"c\"\"\",0.25,0.75", "a,0.5,0.5", ",NaN,NaN"]);
    }

    #[test]
    fn numbers_come_alone() {
        assert_eq!(to_csv(&[], arr2(&[[1.5], [-2e10]]).view()), "prediction\n1.5\n-20000000000\n");
    }
}
