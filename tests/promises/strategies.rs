//! What every strategy of the registry promises, on functions whose values cost nothing.

use std::sync::Arc;
use thousandfold::base::random::Key;
use thousandfold::data::metrics::Direction;
use thousandfold::space::{Space, SpaceBuilder};
use thousandfold::strategies::{Ask, Outcome, STRATEGIES, StrategyEntry, StrategyOptions};

/// A search that has ended: rows as bits, NaN as one pattern, and their values.
#[derive(Debug, Clone, PartialEq)]
struct Course {
    rows: Vec<Vec<u64>>,
    values: Vec<u64>,
}

fn bits(value: &f64) -> u64 {
    if value.is_nan() { u64::MAX } else { value.to_bits() }
}

fn options(seed: u64, candidates: u64) -> StrategyOptions {
    StrategyOptions::new(Key::from_seed(seed), Direction::Minimize, candidates)
}

/// Searches as a study does: whole batches of these sizes in turn, each told before the next is asked for.
fn search(
    entry: &dyn StrategyEntry,
    space: &Arc<Space>,
    options: &StrategyOptions,
    batches: &[u64],
    of: impl Fn(&[f64]) -> f64,
) -> Course {
    let mut strategy = entry.open(space.clone(), options);
    let mut course = Course { rows: Vec::new(), values: Vec::new() };
    for batch in batches.iter().cycle() {
        let first = course.rows.len() as u64;
        let n = (*batch).min(options.candidates - first);
        let Ask::Proposals(points) = strategy.ask(first, n as usize) else { break };
        assert!((1..=n as usize).contains(&points.len()), "{}: {} of {n}", entry.name(), points.len());
        let mut outcomes = Vec::new();
        for (candidate, row) in (first..).zip(points.rows()) {
            assert_is_in(entry, space, row);
            let value = of(row);
            course.rows.push(row.iter().map(bits).collect());
            course.values.push(bits(&value));
            outcomes.push(Outcome { candidate, point: row.to_vec(), value, folds: vec![value] });
        }
        strategy.tell(&outcomes);
        if course.rows.len() as u64 >= options.candidates {
            break;
        }
    }
    course
}

/// Fails unless every parameter has one of its values, and those alone exist whose conditions hold.
fn assert_is_in(entry: &dyn StrategyEntry, space: &Space, row: &[f64]) {
    let mut masked = row.to_vec();
    space.mask(&mut masked);
    let same = masked.iter().zip(row).all(|(masked, value)| bits(masked) == bits(value));
    assert!(same && space.is_allowed(row), "{}: {row:?}", entry.name());
    for (column, value) in row.iter().enumerate() {
        let parameter = &space.parameters[column];
        let again = space.value(column, *value).and_then(|value| parameter.encode(&value));
        assert!(value.is_nan() || again == Some(*value), "{}: {} = {value}", entry.name(), parameter.name);
    }
}

fn best(course: &Course) -> f64 {
    let values = course.values.iter().filter(|bits| **bits != u64::MAX).map(|bits| f64::from_bits(*bits));
    values.fold(f64::INFINITY, f64::min)
}

fn sphere(dimensions: usize) -> Arc<Space> {
    let builder = (0..dimensions).fold(SpaceBuilder::new(), |space, i| space.float(&format!("x{i}"), -5.0, 5.0, 4.0));
    Arc::new(builder.build())
}

/// The optimum is nowhere special.
fn sphere_value(row: &[f64]) -> f64 {
    row.iter().zip(0..).map(|(x, i)| (x - 1.3 + 0.2 * f64::from(i)).powi(2)).sum()
}

fn mixed() -> Arc<Space> {
    let builder = SpaceBuilder::new()
        .categorical("kind", &["a", "b", "c"], "b")
        .log("rate", 1e-4, 1e-1, 1e-3)
        .int("depth", 1, 9, 2)
        .when("depth", "kind", &["a", "b"])
        .boolean("flag", false)
        .log_int("width", 1, 64, 4)
        .float("share", 0.0, 1.0, 0.5)
        .when("share", "kind", &["b", "c"]);
    let constraints = toml::from_str("constraints = [\"depth * rate < 0.3 or flag\"]").unwrap();
    Arc::new(builder.build().with_overrides(&constraints).unwrap())
}

fn mixed_value(row: &[f64]) -> f64 {
    let known = |x: f64| if x.is_nan() { 1.0 } else { x };
    let [kind, rate, depth, flag, width, share] = [0, 1, 2, 3, 4, 5].map(|column| known(row[column]));
    (kind - 1.0).abs()
        + (rate.log10() + 2.5).powi(2)
        + (depth - 5.0).abs() / 4.0
        + flag
        + (width.log2() - 3.0).abs() / 3.0
        + (share - 0.7).abs()
}

#[test]
fn equal_seeds_give_equal_courses_whatever_the_batch_and_others_differ() {
    for entry in STRATEGIES {
        let run = |seed, batches: &[u64]| search(*entry, &mixed(), &options(seed, 400), batches, mixed_value);
        let course = run(3, &[64]);
        assert_eq!(course, run(3, &[64]), "{}", entry.name());
        // What tpe learnt by is the batches that it was told.
        if entry.name() != "tpe" {
            assert_eq!(course, run(3, &[1, 7, 100]), "{}", entry.name());
        }
        if entry.name() != "grid" {
            assert_ne!(course, run(4, &[64]), "{}", entry.name());
        }
        let starts = mixed().starts();
        let first: Vec<Vec<u64>> = starts.iter().map(|start| start.iter().map(bits).collect()).collect();
        assert_eq!(course.rows[..starts.len()], first, "{}", entry.name());
    }
}

#[test]
fn a_value_to_maximise_leads_where_its_negative_leads_to_be_minimised() {
    for entry in STRATEGIES {
        let down = search(*entry, &mixed(), &options(5, 300), &[50], mixed_value);
        let up = StrategyOptions { direction: Direction::Maximize, ..options(5, 300) };
        let up = search(*entry, &mixed(), &up, &[50], |row| -mixed_value(row));
        assert_eq!(up.rows, down.rows, "{}", entry.name());
    }
}

#[test]
fn candidates_that_fail_are_survived_and_avoided() {
    for entry in STRATEGIES {
        search(*entry, &mixed(), &options(1, 300), &[60], |_| f64::NAN);
        // Six tenths of the cube fail, and the optimum lies near their edge.
        let of = |row: &[f64]| if row[0] < 1.0 { f64::NAN } else { sphere_value(row) };
        let course = search(*entry, &sphere(3), &options(2, 600), &[60], of);
        if entry.is_adaptive() {
            let failed = course.values[300..].iter().filter(|value| **value == u64::MAX).count();
            assert!(failed < 120, "{}: {failed} of 300, by chance 180", entry.name());
            assert!(best(&course) < 0.1, "{}: {}", entry.name(), best(&course));
        }
    }
}

#[test]
fn what_learns_beats_random_search_on_ten_dimensions_fourfold_at_least() {
    let median = |entry: &dyn StrategyEntry| {
        let mut bests: Vec<f64> =
            (0..3).map(|seed| best(&search(entry, &sphere(10), &options(seed, 1500), &[100], sphere_value))).collect();
        bests.sort_by(f64::total_cmp);
        bests[1]
    };
    let random = median(STRATEGIES[0]);
    for entry in STRATEGIES.iter().filter(|entry| entry.is_adaptive()) {
        let own = median(*entry);
        assert!(4.0 * own < random, "{}: {own}, random: {random}", entry.name());
    }
}

#[test]
fn spaces_of_every_shape_are_searched_or_refused() {
    let choices =
        (0..6).fold(SpaceBuilder::new(), |space, i| space.categorical(&format!("c{i}"), &["x", "y", "z"], "y"));
    let wide = (0..500).fold(SpaceBuilder::new(), |space, i| space.float(&format!("x{i}"), 0.0, 1.0, 0.25));
    let held = SpaceBuilder::new().categorical("only", &["one"], "one");
    let one = SpaceBuilder::new().int("depth", 1, 3, 2);
    for (space, what) in [(choices, "choices"), (wide, "500 parameters"), (held, "one value"), (one, "one parameter")] {
        let space = Arc::new(space.build());
        for entry in STRATEGIES {
            match entry.refusal(&space) {
                Some(reason) => assert_eq!((entry.name(), what), ("cmaes", "choices"), "{reason}"),
                None => {
                    let of = |row: &[f64]| row.iter().sum();
                    let course = search(*entry, &space, &options(9, 120), &[16, 32], of);
                    assert!(!course.rows.is_empty(), "{}, {what}", entry.name());
                }
            }
        }
    }
}
