//! Strategies propose what they say.

use std::collections::BTreeSet;
use std::sync::Arc;
use thousandfold::base::random::Key;
use thousandfold::data::metrics::Direction;
use thousandfold::space::{Points, Space, SpaceBuilder};
use thousandfold::strategies::{self, Ask, STRATEGIES, Strategy, StrategyEntry, StrategyOptions};

fn space() -> Space {
    SpaceBuilder::new()
        .categorical("kind", &["a", "b", "c"], "b")
        .log("rate", 1e-4, 1e-1, 1e-3)
        .int("depth", 1, 4, 2)
        .when("depth", "kind", &["a", "b"])
        .boolean("flag", false)
        .categorical("mode", &["x", "y"], "x")
        .when("mode", "kind", &["b"])
        .log_int("width", 1, 16, 4)
        .when("width", "mode", &["y"])
        .build()
}

fn constrained() -> Space {
    space().with_overrides(&toml::from_str("constraints = [\"depth * rate < 0.1 or flag\"]").unwrap()).unwrap()
}

fn options(shuffle: bool) -> StrategyOptions {
    let new = StrategyOptions::new(Key::from_seed(11), Direction::Minimize, 9000);
    StrategyOptions { resolution: 3, shuffle, ..new }
}

fn open(name: &str, space: Space, shuffle: bool) -> Box<dyn Strategy> {
    strategies::find(name).unwrap().open(Arc::new(space), &options(shuffle))
}

/// Up to `count` candidates in batches of these sizes, over and over.
fn ask(strategy: &mut dyn Strategy, count: usize, batches: &[usize]) -> Vec<Vec<u64>> {
    let mut rows: Vec<Vec<u64>> = Vec::new();
    for batch in batches.iter().cycle() {
        let n = (*batch).min(count - rows.len());
        match strategy.ask(rows.len() as u64, n) {
            Ask::Proposals(points) => rows.extend(bits(&points)),
            Ask::Wait | Ask::Done => break,
        }
        if rows.len() >= count {
            break;
        }
    }
    rows
}

/// NaN as one pattern, so that rows can be compared.
fn bits(points: &Points) -> Vec<Vec<u64>> {
    points.rows().map(|row| row.iter().map(|v| if v.is_nan() { u64::MAX } else { v.to_bits() }).collect()).collect()
}

fn value(row: &[u64], column: usize) -> f64 {
    if row[column] == u64::MAX { f64::NAN } else { f64::from_bits(row[column]) }
}

#[test]
fn proposals_of_what_does_not_learn_do_not_depend_on_the_batch() {
    for entry in STRATEGIES.iter().filter(|entry| !entry.is_adaptive()) {
        for space in [space(), constrained()] {
            let whole = ask(&mut *open(entry.name(), space.clone(), true), 9000, &[9000]);
            let pieces = ask(&mut *open(entry.name(), space, true), 9000, &[1, 7, 300]);
            assert_eq!(whole, pieces, "{}", entry.name());
        }
    }
}

#[test]
fn candidate_0_is_the_defaults() {
    for entry in STRATEGIES {
        let mut defaults = Points::new(6);
        defaults.push(&space().defaults());
        assert_eq!(ask(&mut *open(entry.name(), space(), true), 1, &[1]), bits(&defaults), "{}", entry.name());
    }
}

#[test]
fn conditions_and_constraints_hold_in_every_proposal_and_every_choice_occurs() {
    let space = constrained();
    // What is known beforehand is the defaults here; what moves along numbers alone has no way to the other choices.
    let searches = |entry: &&&dyn StrategyEntry| !entry.comes_whole() && entry.refusal(&space).is_none();
    for entry in STRATEGIES.iter().filter(searches) {
        let rows = ask(&mut *open(entry.name(), space.clone(), true), 3000, &[500]);
        let mut kinds = BTreeSet::new();
        for row in rows.iter().skip(1) {
            let values: Vec<f64> = (0..6).map(|column| value(row, column)).collect();
            assert_eq!(values[2].is_nan(), values[0] == 2.0);
            assert_eq!(values[4].is_nan(), values[0] != 1.0);
            assert_eq!(values[5].is_nan(), values[4] != 1.0);
            assert!(space.is_allowed(&values), "{}: {values:?}", entry.name());
            kinds.insert(values[0] as u64);
        }
        assert_eq!(kinds.len(), 3, "{}", entry.name());
    }
}

#[test]
fn random_candidates_are_drawn_without_those_before_them() {
    let whole = ask(&mut *open("random", space(), false), 100, &[100]);
    let Ask::Proposals(late) = open("random", space(), false).ask(90, 10) else { panic!("random always proposes") };
    assert_eq!(whole[90..], bits(&late));
}

#[test]
fn a_grid_has_each_real_point_exactly_once() {
    // rate: 3 places; depth: 3 of 4 thinned out to 3; width: 3.
    // a: 3 rates x 3 depths x 2 flags; b: the same x (x: 1, y: 3 widths); c: 3 rates x 2 flags.
    let expected = 3 * 3 * 2 + 3 * 3 * 2 * (1 + 3) + 3 * 2;
    for shuffle in [false, true] {
        let mut grid = open("grid", space(), shuffle);
        let rows = ask(&mut *grid, 10_000, &[17]);
        let distinct: BTreeSet<_> = rows.iter().cloned().collect();
        assert_eq!(distinct.len(), rows.len(), "a point came twice");
        assert_eq!(rows.len() as u64, grid.size().unwrap());
        // The defaults' rate of 1e-3 is no point of three even places: they come on top.
        assert_eq!(rows.len(), expected + 1);
        let plain = ask(&mut *open("grid", space(), false), 10_000, &[1000]);
        assert_eq!(plain.iter().cloned().collect::<BTreeSet<_>>(), distinct);
        assert_eq!(plain == rows, !shuffle);
    }
}

#[test]
fn a_grid_whose_points_hold_the_defaults_does_not_repeat_them() {
    let space = SpaceBuilder::new().int("a", 0, 4, 2).boolean("b", true).build();
    let options = StrategyOptions { resolution: 5, ..options(false) };
    let mut grid = strategies::find("grid").unwrap().open(Arc::new(space), &options);
    let rows = ask(&mut *grid, 1000, &[4]);
    assert_eq!(rows.len(), 10);
    assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), 10);
}

#[test]
fn defaults_that_are_a_point_of_the_grid_but_for_rounding_are_that_point() {
    // The middle of 25 places from 1e-4 to 1e4 comes out of exp(ln) as 1.0000000000000018.
    let space = SpaceBuilder::new().log("l2", 1e-4, 1e4, 1.0).boolean("fit_intercept", true).build();
    let options = StrategyOptions { resolution: 25, ..options(false) };
    let mut grid = strategies::find("grid").unwrap().open(Arc::new(space), &options);
    assert_eq!(grid.size(), Some(50));
    let rows = ask(&mut *grid, 1000, &[1000]);
    assert_eq!(rows.len(), 50);
    assert_eq!(rows.iter().filter(|row| (f64::from_bits(row[0]) - 1.0).abs() < 1e-9).count(), 2);
}

#[test]
fn a_grid_of_ten_to_the_eighth_points_starts_at_once() {
    let builder = (0..8).fold(SpaceBuilder::new(), |builder, i| builder.float(&format!("p{i}"), 0.0, 1.0, 0.123));
    let options = StrategyOptions { resolution: 10, ..options(true) };
    let mut grid = strategies::find("grid").unwrap().open(Arc::new(builder.build()), &options);
    assert_eq!(grid.size(), Some(100_000_001));
    let rows = ask(&mut *grid, 1000, &[1000]);
    assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), 1000);
}
