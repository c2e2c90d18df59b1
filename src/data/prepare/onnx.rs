//! A fitted preparation as a part of an ONNX graph: one input a column, and the features that `transform` gives, to the bit.
//!
//! Numbers are 64-bit, NaN where missing: a cell is shifted and scaled before it becomes a 32-bit feature. Categories are
//! text, empty where missing.

use super::super::table::other_spellings;
use super::{CategoryPlan, CodePlan, NumberPlan, Plan, Preparation};
use crate::base::onnx::{Attribute, Element, Graph, Value};
use indexmap::IndexMap;

/// Columns of `[rows, ..]` and the feature that each is.
type Block = (Value, Vec<u32>);

impl Preparation {
    /// Adds one input for every column that the preparation knows, those without a feature too, so that a graph is fed
    /// what `predict` reads. Gives `[rows, features]`, 32-bit.
    pub fn onnx(&self, graph: &mut Graph) -> Value {
        let (mut numbers, mut indicators, mut categories) = (Vec::new(), Vec::new(), Vec::new());
        let (mut cells, mut codes) = (Vec::new(), Vec::new());
        for plan in &self.columns {
            let input = match plan {
                Plan::Number(_) | Plan::Cell(_) => {
                    graph.input(plan.name(), Element::Double, "a number; NaN where it is missing")
                }
                Plan::Category(_) | Plan::Code(_) => {
                    graph.input(plan.name(), Element::Text, "a category; empty where it is missing")
                }
            };
            match plan {
                Plan::Number(plan) => {
                    numbers.extend(plan.value.map(|feature| (plan, feature, input.clone())));
                    indicators.extend(plan.indicator.map(|feature| (feature, input)));
                }
                Plan::Category(plan) => categories.push((plan, input)),
                Plan::Cell(plan) => cells.extend(plan.feature.map(|feature| (feature, input))),
                Plan::Code(plan) => codes.extend(plan.feature.map(|feature| (plan, feature, input))),
            }
        }
        let blocks: Vec<Block> = [
            scaled(graph, &numbers),
            missing(graph, &indicators),
            one_hot(graph, &categories),
            as_they_are(graph, &cells),
            coded(graph, &codes),
        ]
        .into_iter()
        .flatten()
        .collect();
        in_order(graph, &blocks, self.features.len())
    }
}

/// `(cell - shift) / scale` of all numbers at once, with what stands in for missing ones.
fn scaled(graph: &mut Graph, numbers: &[(&NumberPlan, u32, Value)]) -> Option<Block> {
    let cells = side_by_side(graph, 1, numbers.iter().map(|(.., input)| input))?;
    let mut constants = |of: fn(&NumberPlan) -> f64| {
        let values: Vec<f64> = numbers.iter().map(|(plan, ..)| of(plan)).collect();
        graph.doubles(&[1, values.len()], &values)
    };
    let (fill, shift, scale) =
        (constants(|plan| plan.fill), constants(|plan| plan.shift), constants(|plan| plan.scale));
    let is_missing = graph.node("IsNaN", &[&cells], &[]);
    let filled = graph.node("Where", &[&is_missing, &fill, &cells], &[]);
    let shifted = graph.node("Sub", &[&filled, &shift], &[]);
    let scaled = graph.node("Div", &[&shifted, &scale], &[]);
    Some((finite(graph, &scaled), numbers.iter().map(|(_, feature, _)| *feature).collect()))
}

/// The nearest finite 32-bit number.
fn finite(graph: &mut Graph, value: &Value) -> Value {
    let [least, most] = [f32::MIN, f32::MAX].map(|bound| graph.doubles(&[], &[f64::from(bound)]));
    let clipped = graph.node("Clip", &[value, &least, &most], &[]);
    graph.cast(&clipped, Element::Float)
}

/// 1 where a number is missing.
fn missing(graph: &mut Graph, indicators: &[(u32, Value)]) -> Option<Block> {
    let cells = side_by_side(graph, 1, indicators.iter().map(|(_, input)| input))?;
    let is_missing = graph.node("IsNaN", &[&cells], &[]);
    Some((graph.cast(&is_missing, Element::Float), indicators.iter().map(|(feature, _)| *feature).collect()))
}

/// 1 in the feature of each cell's category, 0 in all others.
fn one_hot(graph: &mut Graph, categories: &[(&CategoryPlan, Value)]) -> Option<Block> {
    let (mut encoded, mut order) = (Vec::new(), Vec::new());
    for (plan, input) in categories {
        let features = plan.features();
        if features.is_empty() {
            continue;
        }
        // Beyond the last feature is where categories without one go: `OneHot` makes all zeros of them.
        let place = |feature: Option<u32>| {
            let place = feature.and_then(|feature| features.iter().position(|known| *known == feature));
            place.unwrap_or(features.len()) as i64
        };
        let unseen = plan.unknown.or(plan.rare);
        let mut places = spelled(plan.levels.iter().map(|(level, feature)| (level.as_str(), place(*feature))));
        let missing = plan.fill.as_ref().map(|level| places.get(level).copied().unwrap_or(place(None)));
        places.insert(String::new(), missing.unwrap_or(place(unseen)));
        let settings = [
            ("keys_strings", Attribute::Texts(places.keys().cloned().collect())),
            ("values_int64s", Attribute::Integers(places.values().copied().collect())),
            ("default_int64", Attribute::Integer(place(unseen))),
        ];
        let places = graph.ml_node("LabelEncoder", &[input], &settings);
        let depth = graph.integers(&[], &[features.len() as i64]);
        let off_and_on = graph.floats(&[2], &[0.0, 1.0]);
        let axis = ("axis", Attribute::Integer(-1));
        encoded.push(graph.node("OneHot", &[&places, &depth, &off_and_on], &[axis]));
        order.extend(features);
    }
    let joined = side_by_side(graph, 2, encoded.iter())?;
    // [rows, 1, features], because a column is [rows, 1].
    let axis = graph.integers(&[1], &[1]);
    Some((graph.node("Squeeze", &[&joined, &axis], &[]), order))
}

/// Numbers, NaN where they are missing.
fn as_they_are(graph: &mut Graph, cells: &[(u32, Value)]) -> Option<Block> {
    let numbers = side_by_side(graph, 1, cells.iter().map(|(_, input)| input))?;
    // What `Clip` makes of NaN is not said.
    let is_missing = graph.node("IsNaN", &[&numbers], &[]);
    let finite = finite(graph, &numbers);
    let missing = graph.floats(&[], &[f32::NAN]);
    let numbers = graph.node("Where", &[&is_missing, &missing, &finite], &[]);
    Some((numbers, cells.iter().map(|(feature, _)| *feature).collect()))
}

/// The places of categories among the levels of their columns; NaN for those that have none, and for missing ones.
fn coded(graph: &mut Graph, codes: &[(&CodePlan, u32, Value)]) -> Option<Block> {
    let mut encode = |(plan, _, input): &(&CodePlan, u32, Value)| {
        let places = spelled(plan.levels.iter().zip(0..).map(|(level, code)| (level.as_str(), code as f32)));
        let settings = [
            ("keys_strings", Attribute::Texts(places.keys().cloned().collect())),
            ("values_floats", Attribute::Floats(places.values().copied().collect())),
            ("default_float", Attribute::Float(f32::NAN)),
        ];
        graph.ml_node("LabelEncoder", &[input], &settings)
    };
    let encoded: Vec<Value> = codes.iter().map(&mut encode).collect();
    let joined = side_by_side(graph, 1, encoded.iter())?;
    Some((joined, codes.iter().map(|(_, feature, _)| *feature).collect()))
}

/// Levels with what they become, and so for the other ways of writing them.
fn spelled<'a, T: Copy>(levels: impl Iterator<Item = (&'a str, T)>) -> IndexMap<String, T> {
    let levels: Vec<(&str, T)> = levels.collect();
    let names: Vec<&str> = levels.iter().map(|(level, _)| *level).collect();
    let mut places: IndexMap<String, T> = levels.iter().map(|(level, place)| ((*level).to_owned(), *place)).collect();
    for (level, place) in levels {
        for other in other_spellings(level, &names) {
            places.entry(other).or_insert(place);
        }
    }
    places
}

/// All blocks, each column in its feature's place.
fn in_order(graph: &mut Graph, blocks: &[Block], width: usize) -> Value {
    let mut places = vec![0; width];
    let features = blocks.iter().flat_map(|(_, features)| features);
    for (place, feature) in (0..).zip(features) {
        places[*feature as usize] = place;
    }
    // There is a block, because there is a feature.
    let joined = side_by_side(graph, 1, blocks.iter().map(|(block, _)| block));
    let joined = joined.unwrap_or_else(|| graph.floats(&[1, 0], &[]));
    if places.iter().copied().eq(0..width as i64) {
        return joined;
    }
    let places = graph.integers(&[width], &places);
    graph.node("Gather", &[&joined, &places], &[("axis", Attribute::Integer(1))])
}

/// `None` of nothing.
fn side_by_side<'a>(graph: &mut Graph, axis: i64, values: impl Iterator<Item = &'a Value>) -> Option<Value> {
    let values: Vec<&Value> = values.collect();
    match values[..] {
        [] => None,
        [alone] => Some(alone.clone()),
        _ => Some(graph.node("Concat", &values, &[("axis", Attribute::Integer(axis))])),
    }
}
