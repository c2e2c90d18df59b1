//! What the search promises beyond the contract of all strategies.

use super::*;
use crate::space::SpaceBuilder;

fn options(seed: u64, batch: u64) -> StrategyOptions {
    StrategyOptions { batch, ..StrategyOptions::new(Key::from_seed(seed), Direction::Minimize, 1000) }
}

/// Outcomes of batches one after another, as long as there are proposals.
fn run(search: &mut Search, sizes: &[usize], f: impl Fn(&[f64]) -> f64) -> Vec<Outcome> {
    let mut all: Vec<Outcome> = Vec::new();
    for size in sizes {
        let Ask::Proposals(points) = search.ask(all.len() as u64, *size) else { break };
        let outcomes: Vec<Outcome> = (all.len() as u64..)
            .zip(points.rows())
            .map(|(candidate, row)| Outcome::new(candidate, row.to_vec(), f(row)))
            .collect();
        search.tell(&outcomes);
        all.extend(outcomes);
    }
    all
}

fn least(outcomes: &[Outcome]) -> f64 {
    outcomes.iter().map(Outcome::value).fold(f64::INFINITY, f64::min)
}

fn floats(dimensions: usize) -> Arc<Space> {
    let add = |space: SpaceBuilder, axis: usize| space.float(&format!("x{axis}"), -5.0, 5.0, -4.0);
    Arc::new((0..dimensions).fold(SpaceBuilder::new(), add).build())
}

fn bowl(row: &[f64]) -> f64 {
    (0..).zip(row).map(|(axis, x)| (x - f64::from(axis % 5) * 0.7) * (x - f64::from(axis % 5) * 0.7)).sum()
}

#[test]
fn forty_trials_find_the_bottom_of_a_bowl() {
    for (sizes, bound) in [(vec![1; 40], 1e-3), (vec![8; 5], 0.05)] {
        let mut search = Search::new(floats(3), &options(1, sizes[0] as u64));
        let best = least(&run(&mut search, &sizes, bowl));
        assert!(best < bound, "{best} in batches of {}", sizes[0]);
    }
}

#[test]
fn the_process_next_to_the_best_finds_the_bottom_to_many_digits() {
    let mut search = Search::new(floats(3), &options(12, 10));
    let best = least(&run(&mut search, &[10; 12], bowl));
    // All values range over a hundred: a kernel for all of them leaves 1e-5.
    assert!(best < 1e-6, "{best}");
}

#[test]
fn a_branch_that_looks_worse_is_not_given_up() {
    let space = SpaceBuilder::new()
        .categorical("kind", &["flat", "steep"], "flat")
        .float("a", 0.0, 1.0, 0.5)
        .when("a", "kind", &["flat"])
        .float("b", 0.0, 1.0, 0.1)
        .when("b", "kind", &["steep"]);
    let value = |row: &[f64]| match row[0] == 0.0 {
        true => 0.1 * (row[1] - 0.3) * (row[1] - 0.3),
        false => 1.0 + 10.0 * (row[2] - 0.7) * (row[2] - 0.7),
    };
    let mut search = Search::new(Arc::new(space.build()), &options(14, 5));
    let outcomes = run(&mut search, &[5; 20], value);
    let kept = |outcome: &&Outcome| search.branch(outcome.candidate).is_some_and(|branch| branch.value == 1.0);
    let kept: Vec<&Outcome> = outcomes[50..].iter().filter(kept).collect();
    // 0.15 of 50; the chance of less than three is one in fifty.
    assert!(kept.len() >= 3 && kept.iter().all(|outcome| outcome.point[0] == 1.0), "{kept:?}");
}

#[test]
fn noise_is_not_mistaken_for_progress() {
    let noisy = |row: &[f64]| {
        let word = fingerprint(row);
        bowl(row) + 2.0 * crate::base::random::normal_f64([word as u32, (word >> 32) as u32])
    };
    let mut search = Search::new(floats(2), &options(2, 5));
    let outcomes = run(&mut search, &[5; 16], noisy);
    let late: Vec<f64> = outcomes[60..].iter().map(|outcome| bowl(&outcome.point)).collect();
    let near = late.iter().filter(|value| **value < 2.0).count();
    assert!(near >= 10, "{near} of 20 within the noise: {late:?}");
}

#[test]
fn nothing_is_proposed_twice_and_a_discrete_space_is_searched_to_its_end() {
    let space = SpaceBuilder::new().int("x", 1, 12, 3).categorical("k", &["a", "b", "c"], "a").boolean("f", true);
    let mut search = Search::new(Arc::new(space.build()), &options(4, 5));
    let outcomes = run(&mut search, &[5; 30], |row| (row[0] - 7.0).abs() + row[1]);
    let rows: HashSet<u64> = outcomes.iter().map(|outcome| fingerprint(&outcome.point)).collect();
    assert_eq!((rows.len(), outcomes.len()), (72, 72));
    // The best of 72 is among the first half of them.
    assert_eq!(least(&outcomes[..35]), 0.0);
}

#[test]
fn what_was_recalled_is_known_from_the_start() {
    let space = floats(4);
    let earlier = run(&mut Search::new(space.clone(), &options(5, 1)), &[1; 40], bowl);
    let mut search = Search::new(space.clone(), &options(6, 1));
    search.recall(&earlier);
    let outcomes = run(&mut search, &[1; 8], bowl);
    assert_eq!(outcomes[0].point, space.starts()[0]);
    assert_eq!(outcomes[1].value(), least(&earlier));
    // Six trials without anything known are points of the design.
    assert!(least(&outcomes[2..]) < 0.01, "{}", least(&outcomes[2..]));
}

#[test]
fn many_axes_are_searched_in_a_trust_region_and_the_user_is_told() {
    let mut search = Search::new(floats(25), &options(7, 20));
    let outcomes = run(&mut search, &[20; 8], bowl);
    let said = search.decisions();
    assert!(said.iter().any(|text| text.contains("trust region from candidate 40 on")), "{said:?}");
    let (early, late) = (least(&outcomes[..40]), least(&outcomes[40..]));
    assert!(late < 0.5 * early, "{early} {late}");
}

#[test]
fn thousands_of_trials_have_a_capped_model() {
    let space = floats(3);
    let mut search = Search::new(space.clone(), &options(8, 100));
    let cube = Cube::new(space);
    let told: Vec<Outcome> = (0..3000)
        .map(|candidate| {
            let row = cube.draw(Key::from_seed(candidate));
            Outcome::new(candidate, row.clone(), bowl(&row))
        })
        .collect();
    search.tell(&told);
    search.design = 0;
    let Ask::Proposals(points) = search.ask(3000, 100) else { panic!("proposals") };
    assert_eq!(points.len(), 100);
    assert_eq!(search.model.as_ref().map(|model| model.posterior.data()), Some(models::LOCAL_DATA));
    assert!(points.rows().map(bowl).fold(f64::INFINITY, f64::min) < 0.01 * least(&told).max(0.1));
}

#[test]
fn proposals_that_are_out_are_kept_away_from() {
    let mut search = Search::new(floats(2), &options(9, 4));
    run(&mut search, &[4; 5], bowl);
    let ask = |search: &mut Search, first| match search.ask(first, 4) {
        Ask::Proposals(points) => points.rows().map(<[f64]>::to_vec).collect::<Vec<_>>(),
        _ => panic!("proposals"),
    };
    let (first, second) = (ask(&mut search, 20), ask(&mut search, 24));
    for a in &first {
        assert!(second.iter().all(|b| (a[0] - b[0]).abs() + (a[1] - b[1]).abs() > 1e-6), "{a:?} in {second:?}");
    }
}

#[test]
fn values_without_a_number_among_them_and_equal_ones_are_survived() {
    for value in [f64::NAN, f64::INFINITY, 3.0] {
        let mut search = Search::new(floats(2), &options(10, 10));
        assert_eq!(run(&mut search, &[10; 4], |_| value).len(), 40);
    }
    let mut search = Search::new(floats(2), &options(11, 10));
    let mixed = |row: &[f64]| if row[0] < 0.0 { f64::NEG_INFINITY } else { f64::MAX };
    assert_eq!(run(&mut search, &[10; 4], mixed).len(), 40);
}
