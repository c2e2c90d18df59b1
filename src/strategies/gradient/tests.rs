use super::super::generations::testing::{bits, box_space, mixed_space, mixed_value, options, rosenbrock, sphere};
use super::*;
use crate::space::SpaceBuilder;

/// Slopes along the cube's axes by differences, as a model with gradients would give them.
fn slopes(cube: &Cube, row: &[f64], value: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let place = cube.encode(row);
    let slope = |axis: usize| {
        let at = |offset: f64| {
            let mut place = place.clone();
            place[axis] = (place[axis] + offset).clamp(0.0, 1.0);
            (value(&cube.decode(&place)), place[axis])
        };
        let ((high, to), (low, from)) = (at(1e-6), at(-1e-6));
        (high - low) / (to - from)
    };
    (0..place.len()).map(slope).collect()
}

/// A search asked for batches of these sizes over and over: its outcomes.
fn search(
    strategy: &mut dyn Strategy,
    space: &Arc<Space>,
    candidates: u64,
    batches: &[usize],
    has_gradients: bool,
    value: impl Fn(&[f64]) -> f64 + Copy,
) -> Vec<Outcome> {
    let cube = Cube::new(space.clone());
    let mut all: Vec<Outcome> = Vec::new();
    for batch in batches.iter().cycle() {
        let first = all.len() as u64;
        let n = (*batch).min((candidates - first) as usize);
        if n == 0 {
            break;
        }
        let Ask::Proposals(points) = strategy.ask(first, n) else { break };
        assert!((1..=n).contains(&points.len()));
        let outcome = |(candidate, row): (u64, &[f64])| {
            assert!(space.log_density(row) > f64::NEG_INFINITY, "outside the space: {row:?}");
            let gradient = has_gradients.then(|| slopes(&cube, row, value));
            Outcome { gradient, ..Outcome::new(candidate, row.to_vec(), value(row)) }
        };
        let outcomes: Vec<Outcome> = (first..).zip(points.rows()).map(outcome).collect();
        strategy.tell(&outcomes);
        all.extend(outcomes);
    }
    all
}

fn best(outcomes: &[Outcome]) -> f64 {
    outcomes.iter().map(Outcome::value).fold(f64::INFINITY, f64::min)
}

fn rows(outcomes: &[Outcome]) -> Vec<Vec<u64>> {
    bits(&outcomes.iter().map(|outcome| outcome.point.clone()).collect::<Vec<_>>())
}

fn batches(seed: u64, batch: u64) -> StrategyOptions {
    StrategyOptions { batch, ..options(seed, 1000) }
}

#[test]
fn gradients_of_the_model_are_used_at_one_candidate_a_step() {
    let space = Arc::new(box_space(10));
    for (value, least) in [(sphere as fn(&[f64]) -> f64, 1e-8), (rosenbrock, 1e-3)] {
        let run = |seed, candidates| {
            let one = StrategyOptions { population: Some(1), ..batches(seed, 10) };
            best(&search(&mut Search::new(space.clone(), &one), &space, candidates, &[10], true, value))
        };
        let mut bests: Vec<f64> = (0..5).map(|seed| run(seed, if least < 1e-4 { 50 } else { 150 })).collect();
        bests.sort_by(f64::total_cmp);
        assert!(bests[2] < least, "{bests:?}");
    }
}

#[test]
fn differences_stand_in_for_gradients() {
    let space = Arc::new(box_space(5));
    let run = |seed| {
        best(&search(&mut Search::new(space.clone(), &batches(seed, 50)), &space, 800, &[50], false, rosenbrock))
    };
    let mut bests: Vec<f64> = (0..5).map(run).collect();
    bests.sort_by(f64::total_cmp);
    assert!(bests[2] < 1e-3, "{bests:?}");
}

#[test]
fn the_course_does_not_depend_on_how_many_are_asked_for() {
    let space = Arc::new(box_space(4));
    for has_gradients in [true, false] {
        let run = |sizes: &[usize]| {
            search(&mut Search::new(space.clone(), &batches(3, 40)), &space, 500, sizes, has_gradients, rosenbrock)
        };
        assert_eq!(rows(&run(&[40])), rows(&run(&[1, 7, 100])));
    }
}

#[test]
fn a_value_to_maximise_turns_gradients_too() {
    let space = Arc::new(box_space(3));
    let down = search(&mut Search::new(space.clone(), &batches(4, 20)), &space, 200, &[20], true, rosenbrock);
    let options = StrategyOptions { directions: vec![Direction::Maximize], ..batches(4, 20) };
    let up = search(&mut Search::new(space.clone(), &options), &space, 200, &[20], true, |row| -rosenbrock(row));
    assert_eq!(rows(&down), rows(&up));
}

#[test]
fn descents_that_ended_are_restarted_until_the_best_of_many_valleys_is_found() {
    // Nine valleys on each axis; the best is at 1.
    let value = |row: &[f64]| -> f64 {
        row.iter().map(|x| (x - 1.0) * (x - 1.0) + 4.0 * (1.0 - libm::cos(6.0 * (x - 1.0)))).sum()
    };
    let space = Arc::new(box_space(2));
    for seed in 0..5 {
        let found =
            best(&search(&mut Search::new(space.clone(), &batches(seed, 20)), &space, 1000, &[20], false, value));
        assert!(found < 1e-4, "{found}");
    }
}

#[test]
fn failures_everywhere_or_in_parts_are_survived_and_avoided() {
    let space = Arc::new(box_space(3));
    search(&mut Search::new(space.clone(), &batches(1, 20)), &space, 300, &[20], false, |_| f64::NAN);
    search(&mut Search::new(space.clone(), &batches(1, 20)), &space, 300, &[20], false, |_| f64::NEG_INFINITY);
    for has_gradients in [true, false] {
        let half = |row: &[f64]| if row[0] < 0.9 { f64::NAN } else { sphere(row) };
        let found = search(&mut Search::new(space.clone(), &batches(1, 20)), &space, 600, &[20], has_gradients, half);
        let failed = found[300..].iter().filter(|outcome| outcome.value().is_nan()).count();
        assert!(best(&found) < 1e-2 && failed < 150, "{} {failed}", best(&found));
    }
}

#[test]
fn what_is_recalled_is_refined_and_its_choices_are_kept() {
    let space = Arc::new(mixed_space());
    let cube = Cube::new(space.clone());
    let earlier: Vec<Outcome> = (0..200)
        .map(|id| {
            let row = cube.draw(Key::from_seed(id));
            Outcome::new(id, row.clone(), mixed_value(&row))
        })
        .collect();
    assert!(GradientDescent.refusal(&space).is_some_and(|reason| reason.contains("kind, depth, flag, mode, width")));
    let mut strategy = Search::new(space.clone(), &batches(2, 20));
    strategy.recall(&earlier);
    let found = search(&mut strategy, &space, 200, &[20], false, mixed_value);
    let choices = |row: &[f64]| bits(&[[&row[..1], &row[3..]].concat()]);
    for outcome in &found {
        let is_kept = earlier.iter().any(|earlier| choices(&earlier.point) == choices(&outcome.point));
        assert!(is_kept, "{:?}", outcome.point);
    }
    // The squares of the two continuous parameters are gone.
    let before = earlier.iter().min_by(|a, b| a.value().total_cmp(&b.value())).unwrap();
    let squares = |row: &[f64]| (row[1] - 1.5) * (row[1] - 1.5) + (row[2] + 2.5) * (row[2] + 2.5);
    assert!(best(&found) <= before.value() - squares(&before.point) + 1e-6, "{} {before:?}", best(&found));
}

#[test]
fn spaces_without_anything_to_move_end() {
    let space = Arc::new(SpaceBuilder::new().float("x", 0.0, 1.0, 0.3).held().build());
    let mut strategy = Search::new(space, &options(1, 10));
    assert!(matches!(strategy.ask(0, 4), Ask::Proposals(points) if points.len() == 1));
    assert_eq!(strategy.ask(1, 4), Ask::Done);
}

#[test]
fn it_goes_on_without_outcomes() {
    let space = Arc::new(box_space(3));
    let mut strategy = Search::new(space, &options(3, 1000));
    let mut first = 0;
    while first < 1000 {
        let Ask::Proposals(points) = strategy.ask(first, 100) else { panic!("no proposals after {first}") };
        first += points.len() as u64;
    }
}
