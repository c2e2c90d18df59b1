//! What every strategy of the registry promises, on functions whose values cost nothing.

use std::sync::Arc;
use thousandfold::base::hash::Hasher;
use thousandfold::base::pareto::hypervolume;
use thousandfold::base::random::Key;
use thousandfold::data::metrics::Direction;
use thousandfold::space::{Space, SpaceBuilder};
use thousandfold::strategies::{Ask, Outcome, STRATEGIES, StrategyEntry, StrategyOptions};

/// A search that has ended: rows as bits, NaN as one pattern, and their values, one objective after another.
#[derive(Debug, Clone, PartialEq)]
struct Course {
    rows: Vec<Vec<u64>>,
    values: Vec<u64>,
}

fn bits(value: &f64) -> u64 {
    if value.is_nan() { u64::MAX } else { value.to_bits() }
}

fn options(seed: u64, candidates: u64) -> StrategyOptions {
    StrategyOptions { batch: 50, ..StrategyOptions::new(Key::from_seed(seed), Direction::Minimize, candidates) }
}

/// Searches as a study does: whole batches of these sizes in turn, each told before the next is asked for.
fn search(
    entry: &dyn StrategyEntry,
    space: &Arc<Space>,
    options: &StrategyOptions,
    batches: &[u64],
    of: impl Fn(&[f64]) -> f64,
) -> Course {
    search_several(entry, space, options, batches, |row| vec![of(row)])
}

fn search_several(
    entry: &dyn StrategyEntry,
    space: &Arc<Space>,
    options: &StrategyOptions,
    batches: &[u64],
    of: impl Fn(&[f64]) -> Vec<f64>,
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
            let values = of(row);
            course.rows.push(row.iter().map(bits).collect());
            course.values.extend(values.iter().map(bits));
            let value = values.first().copied().unwrap_or(f64::NAN);
            outcomes.push(Outcome { values, ..Outcome::new(candidate, row.to_vec(), value) });
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
        + (libm::log10(rate) + 2.5).powi(2)
        + (depth - 5.0).abs() / 4.0
        + flag
        + (libm::log2(width) - 3.0).abs() / 3.0
        + (share - 0.7).abs()
}

type Objective = fn(&[f64]) -> f64;

/// The mixed space, or where a strategy refuses it what it is searched on instead: a bowl.
fn general(entry: &dyn StrategyEntry) -> (Arc<Space>, Objective) {
    if entry.refusal(&mixed()).is_some() { (sphere(4), sphere_value) } else { (mixed(), mixed_value) }
}

#[test]
fn equal_seeds_give_equal_courses_whatever_the_batch_and_others_differ() {
    for entry in STRATEGIES {
        let (space, value) = general(*entry);
        let run = |seed, batches: &[u64]| search(*entry, &space, &options(seed, 400), batches, value);
        let course = run(3, &[64]);
        assert_eq!(course, run(3, &[64]), "{}", entry.name());
        // What these learnt by is the batches that they were told.
        if !["tpe", "smac", "gp", "auto"].contains(&entry.name()) {
            assert_eq!(course, run(3, &[1, 7, 100]), "{}", entry.name());
        }
        if !["grid", "portfolio"].contains(&entry.name()) {
            assert_ne!(course, run(4, &[64]), "{}", entry.name());
        }
        let starts = space.starts();
        let first: Vec<Vec<u64>> = starts.iter().map(|start| start.iter().map(bits).collect()).collect();
        assert_eq!(course.rows[..starts.len()], first, "{}", entry.name());
    }
}

#[test]
fn a_value_to_maximise_leads_where_its_negative_leads_to_be_minimised() {
    for entry in STRATEGIES {
        let (space, value) = general(*entry);
        let down = search(*entry, &space, &options(5, 300), &[50], value);
        let up = StrategyOptions { directions: vec![Direction::Maximize], ..options(5, 300) };
        let up = search(*entry, &space, &up, &[50], |row| -value(row));
        assert_eq!(up.rows, down.rows, "{}", entry.name());
    }
}

#[test]
fn candidates_that_fail_are_survived_and_avoided() {
    for entry in STRATEGIES {
        search(*entry, &general(*entry).0, &options(1, 300), &[60], |_| f64::NAN);
        // Six tenths of the cube fail, and the optimum lies near their edge.
        let of = |row: &[f64]| if row[0] < 1.0 { f64::NAN } else { sphere_value(row) };
        let course = search(*entry, &sphere(3), &options(2, 600), &[60], of);
        if entry.is_adaptive() {
            let failed = course.values[300..].iter().filter(|value| **value == u64::MAX).count();
            assert!(failed < 140, "{}: {failed} of 300, by chance 180", entry.name());
            assert!(best(&course) < 0.1, "{}: {}", entry.name(), best(&course));
        }
    }
}

/// What takes several objectives, and options of two of them.
fn of_several(seed: u64, candidates: u64) -> (impl Iterator<Item = &'static dyn StrategyEntry>, StrategyOptions) {
    let entries = STRATEGIES.iter().copied().filter(|entry| entry.is_adaptive() && entry.takes_several_objectives());
    (entries, StrategyOptions { directions: vec![Direction::Minimize; 2], ..options(seed, candidates) })
}

/// The optimum of one objective, and what pulls away from it: cheap candidates are narrow and flat.
fn mixed_pair(row: &[f64]) -> Vec<f64> {
    let cost = row[4].log2() / 3.0 + if row[2].is_nan() { 0.0 } else { row[2] / 4.0 } + (row[1].log10() + 4.0).abs();
    vec![mixed_value(row), cost]
}

/// The hypervolume of a course of two objectives within (8, 8).
fn covered(course: &Course) -> f64 {
    let values: Vec<f64> = course.values.iter().map(|bits| f64::from_bits(*bits)).collect();
    hypervolume(values.chunks(2), &[8.0, 8.0])
}

#[test]
fn several_objectives_are_searched_alike_whatever_the_batch_and_the_directions() {
    let (entries, down) = of_several(3, 400);
    for entry in entries {
        let course = search_several(entry, &mixed(), &down, &[64], mixed_pair);
        assert_eq!(course, search_several(entry, &mixed(), &down, &[64], mixed_pair), "{}", entry.name());
        if !["tpe", "auto"].contains(&entry.name()) {
            let other = search_several(entry, &mixed(), &down, &[1, 7, 100], mixed_pair);
            assert_eq!(course, other, "{}", entry.name());
        }
        for place in 0..2 {
            let mut up = down.clone();
            up.directions[place] = Direction::Maximize;
            let turned = search_several(entry, &mixed(), &up, &[64], |row| {
                let mut values = mixed_pair(row);
                values[place] = -values[place];
                values
            });
            assert_eq!(turned.rows, course.rows, "{}", entry.name());
        }
        let first = search(entry, &mixed(), &options(3, 400), &[64], mixed_value);
        assert_ne!(first.rows, course.rows, "{} heeds the first objective alone", entry.name());
    }
}

#[test]
fn trade_offs_are_found_better_than_by_chance() {
    let (entries, options) = of_several(2, 600);
    let median = |entry: &dyn StrategyEntry| {
        let seeds = (0..5).map(|seed| StrategyOptions { key: Key::from_seed(seed), ..options.clone() });
        let mut found: Vec<f64> =
            seeds.map(|options| covered(&search_several(entry, &mixed(), &options, &[50], mixed_pair))).collect();
        found.sort_by(f64::total_cmp);
        found[2]
    };
    let random = median(STRATEGIES[0]);
    for entry in entries {
        let own = median(entry);
        assert!(own > random, "{}: {own}, random: {random}", entry.name());
    }
}

#[test]
fn failures_and_limits_of_several_objectives_are_avoided() {
    let (entries, options) = of_several(1, 600);
    for entry in entries {
        let nan = f64::NAN;
        for fail in [[nan, nan], [0.0, nan], [nan, 0.0]] {
            search_several(entry, &mixed(), &options, &[60], |_| fail.to_vec());
        }
        for kind in [f64::INFINITY, f64::NEG_INFINITY] {
            search_several(entry, &mixed(), &options, &[60], |row| vec![kind, mixed_value(row)]);
        }
        // Six tenths of the cube fail; the front lies along their edge.
        let of = |row: &[f64]| if row[0] < 1.0 { vec![nan, 0.0] } else { vec![sphere_value(row), row[1]] };
        let course = search_several(entry, &sphere(3), &options, &[60], of);
        let failed = course.values[600..].chunks(2).filter(|values| values[0] == u64::MAX).count();
        assert!(failed < 120, "{}: {failed} of 300, by chance 180", entry.name());
        // The same as a limit: told with values, so that these alone would lead astray.
        let mut strategy = entry.open(sphere(3), &options);
        let (mut first, mut beyond) = (0, 0);
        while first < options.candidates {
            let Ask::Proposals(points) = strategy.ask(first, 60) else { panic!("{} has an end", entry.name()) };
            let outcome = |(candidate, row): (u64, &[f64])| Outcome {
                values: vec![sphere_value(row) + 10.0 * row[0], row[1]],
                violation: (1.0 - row[0]).max(0.0),
                ..Outcome::new(candidate, row.to_vec(), 0.0)
            };
            let outcomes: Vec<Outcome> = (first..).zip(points.rows()).map(outcome).collect();
            strategy.tell(&outcomes);
            first += outcomes.len() as u64;
            beyond += outcomes.iter().filter(|o| o.candidate >= 300 && o.violation > 0.0).count();
        }
        assert!(beyond < 180, "{}: {beyond} of 300 beyond the limit, by chance 180", entry.name());
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
fn what_was_found_before_is_gone_on_from() {
    let random = search(STRATEGIES[0], &sphere(5), &options(11, 400), &[400], sphere_value);
    let earlier: Vec<Outcome> = (0..)
        .zip(random.rows.iter().zip(&random.values))
        .map(|(id, (row, value))| {
            Outcome::new(id, row.iter().map(|bits| f64::from_bits(*bits)).collect(), f64::from_bits(*value))
        })
        .collect();
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let before = median(earlier.iter().map(Outcome::value).collect());
    let best_before = earlier.iter().map(Outcome::value).fold(f64::INFINITY, f64::min);
    for entry in STRATEGIES.iter().filter(|entry| entry.is_adaptive()) {
        let mut strategy = entry.open(sphere(5), &options(12, 1000));
        strategy.recall(&earlier);
        let Ask::Proposals(points) = strategy.ask(0, 20) else { panic!("{}", entry.name()) };
        let values: Vec<f64> = points.rows().map(sphere_value).collect();
        assert!(median(values.clone()) < before / 2.0, "{}: {values:?}, before {before}", entry.name());
        // Nor is it lost later on.
        let mut told = 0;
        let mut best = f64::INFINITY;
        let mut strategy = entry.open(sphere(5), &options(12, 1000));
        strategy.recall(&earlier);
        while told < 300 {
            let Ask::Proposals(points) = strategy.ask(told, 50) else { panic!("{}", entry.name()) };
            let outcome = |(id, row): (u64, &[f64])| Outcome::new(id, row.to_vec(), sphere_value(row));
            let outcomes: Vec<Outcome> = (told..).zip(points.rows()).map(outcome).collect();
            told += outcomes.len() as u64;
            best = outcomes.iter().map(Outcome::value).fold(best, f64::min);
            strategy.tell(&outcomes);
        }
        assert!(best < best_before, "{}: {best}, before {best_before}", entry.name());
    }
}

/// What each strategy draws: a change of one of these changes every search by it, and is told in the changelog. gp is not among
/// them, because its linear algebra rounds by the processor's instructions.
const STREAMS: &[(&str, u64)] = &[
    ("random", 6_257_717_396_348_386_482),
    ("grid", 8_082_568_012_846_328_146),
    ("sobol", 17_397_553_792_885_453_053),
    ("halton", 6_229_092_976_528_215_749),
    ("latin", 7_836_463_415_060_432_076),
    ("portfolio", 886_533_612_987_543_446),
    ("tpe", 4_498_310_414_653_461_309),
    ("smac", 13_933_031_539_221_006_339),
    ("cmaes", 9_207_311_888_457_929_282),
    ("de", 2_170_777_195_988_982_750),
    ("de_rand", 7_893_983_689_107_604_208),
    ("pso", 15_467_731_489_233_335_487),
    ("pso_ring", 12_196_863_750_712_307_908),
    ("genetic", 2_029_038_391_845_126_348),
    ("nsga2", 7_809_458_360_525_928_424),
    ("gradient", 4_340_282_409_140_064_329),
];

#[test]
fn random_streams_are_those_that_they_were() {
    let found: Vec<(&str, u64)> = STRATEGIES
        .iter()
        .filter(|entry| !["gp", "auto"].contains(&entry.name()))
        .map(|entry| {
            let (space, value) = general(*entry);
            let course = search(*entry, &space, &options(1, 300), &[20], value);
            let mut hash = Hasher::default();
            course.rows.iter().flatten().for_each(|bits| hash.word(*bits));
            (entry.name(), hash.finish())
        })
        .collect();
    assert_eq!(found, STREAMS);
}

/// What learns a model of outcomes takes seconds for thousands of proposals; the others take microseconds each.
const MODELS: &[&str] = &["tpe", "smac", "gp"];

/// A method whose proposals look at every pair of trials, or which solves for all of them, does not come to an end here: 10^10
/// pairs are minutes, and a matrix of all would take 80 GB.
#[test]
fn a_hundred_thousand_trials_hold_no_strategy_up() {
    const MANY: u64 = 100_000;
    let space = sphere(10);
    let random = search(STRATEGIES[0], &space, &options(21, MANY), &[1000], sphere_value);
    let row = |row: &Vec<u64>| row.iter().map(|bits| f64::from_bits(*bits)).collect();
    let outcome = |(id, (bits, value)): (u64, (&Vec<u64>, &u64))| Outcome::new(id, row(bits), f64::from_bits(*value));
    let earlier: Vec<Outcome> = (0..).zip(random.rows.iter().zip(&random.values)).map(outcome).collect();
    for entry in STRATEGIES.iter().filter(|entry| entry.name() != "portfolio") {
        if !MODELS.contains(&entry.name()) {
            let course = search(*entry, &space, &options(22, MANY), &[1000], sphere_value);
            assert_eq!(course.rows.len() as u64, MANY, "{}", entry.name());
            assert!(!entry.is_adaptive() || best(&course) < 1e-2, "{}: {}", entry.name(), best(&course));
        }
        // Few proposals after many trials, as where a search takes over from another.
        let mut strategy = entry.open(space.clone(), &options(23, MANY));
        strategy.recall(&earlier);
        let mut told = 0;
        while told < 60 {
            let Ask::Proposals(points) = strategy.ask(told, 20) else { panic!("{} has an end", entry.name()) };
            let outcome = |(id, row): (u64, &[f64])| Outcome::new(id, row.to_vec(), sphere_value(row));
            let outcomes: Vec<Outcome> = (told..).zip(points.rows()).map(outcome).collect();
            strategy.tell(&outcomes);
            told += outcomes.len() as u64;
        }
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
                Some(reason) => {
                    let refused = [("cmaes", "choices"), ("gradient", "choices"), ("gradient", "one parameter")];
                    assert!(refused.contains(&(entry.name(), what)), "{what}: {reason}");
                }
                None => {
                    let of = |row: &[f64]| row.iter().sum();
                    let course = search(*entry, &space, &options(9, 120), &[16, 32], of);
                    assert!(!course.rows.is_empty(), "{}, {what}", entry.name());
                }
            }
        }
    }
}
