//! What strategies with generations share: a method says which generation follows from the outcomes of the one before;
//! [`Generations`] does the rest. It never proposes beyond the end of a generation, so a search takes the same course
//! however many candidates are asked for at a time.

use super::cube::{Cube, middle};
use super::{Ask, Outcome, Strategy, StrategyOptions, minimized};
use crate::base::pareto::Scores;
use crate::base::random::{Key, below, normal_f64, uniform_f64};
use crate::data::metrics::Direction;
use crate::space::{Points, Space};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

/// A candidate of a population.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its place in the cube, a number on every axis: also on those of parameters that do not exist here.
    pub place: Vec<f64>,
    /// Its encoded values.
    pub row: Vec<f64>,
    /// Its outcome, of the first objective; NaN if it failed or was not told.
    pub value: f64,
    /// Its outcome of every objective; none as long as it was not told.
    pub values: Vec<f64>,
    /// By how much it is beyond what the study allows.
    pub violation: f64,
}

impl Member {
    /// The member at a place, without an outcome yet.
    pub fn new(cube: &Cube, place: Vec<f64>) -> Member {
        let row = cube.decode(&place);
        Member { place, ..Member::at(row) }
    }

    /// The member with these values, nowhere in the cube.
    pub fn at(row: Vec<f64>) -> Member {
        Member { place: Vec::new(), row, value: f64::NAN, values: Vec::new(), violation: 0.0 }
    }

    /// The member with these values; where a parameter does not exist its place is drawn.
    fn of_row(cube: &Cube, row: Vec<f64>, key: Key) -> Member {
        let drawn = |(axis, place): (u64, f64)| if place.is_nan() { uniform_f64(key.words(axis)) } else { place };
        let place = (0..).zip(cube.encode(&row)).map(drawn).collect();
        Member { place, ..Member::at(row) }
    }

    /// A member drawn uniformly from what is allowed.
    pub fn draw(cube: &Cube, key: Key) -> Member {
        let uniform = |draws: &mut Draws| cube.axes().iter().map(|_| draws.uniform()).collect();
        Member::propose(cube, key, None, uniform)
    }

    /// The first allowed of the places that `place` makes of one stream of draws after another, and another candidate
    /// than `parent` if that can be had; at last a uniform draw.
    pub fn propose(
        cube: &Cube,
        key: Key,
        parent: Option<&Member>,
        mut place: impl FnMut(&mut Draws) -> Vec<f64>,
    ) -> Member {
        let mut twin = None;
        for attempt in 0..ATTEMPTS {
            let member = Member::new(cube, place(&mut Draws::new(key.child(attempt))));
            if !cube.space().is_allowed(&member.row) {
                continue;
            }
            if parent.is_none_or(|parent| !is_same(&parent.row, &member.row)) {
                return member;
            }
            twin = Some(member);
        }
        let key = key.child(ATTEMPTS);
        twin.unwrap_or_else(|| Member::of_row(cube, cube.draw(key), key.child(0)))
    }
}

/// How often a member is made anew that is not allowed, or that is its parent.
const ATTEMPTS: u32 = 16;

/// Whether two rows are one candidate.
pub fn is_same(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan())
}

/// Orders members from the best to the worst, those that failed last.
pub fn by_value(direction: Direction) -> impl Fn(&Member, &Member) -> Ordering {
    move |a, b| direction.compare(a.value, b.value)
}

/// Numbers drawn one after another from a key of their own.
pub struct Draws {
    key: Key,
    counter: u64,
}

impl Draws {
    /// From the start of a key's stream.
    pub fn new(key: Key) -> Draws {
        Draws { key, counter: 0 }
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter - 1
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        uniform_f64(self.key.words(self.next()))
    }

    /// A whole number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        below(self.key, self.next(), bound as u64) as usize
    }

    /// The middle of one of `count` choices.
    pub fn choice(&mut self, count: u64) -> f64 {
        middle(below(self.key, self.next(), count), count)
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        normal_f64(self.key.words(self.next()))
    }
}

/// What has values, the best first: of several objectives front after front.
fn ranked<'a>(earlier: &'a [Outcome], directions: &[Direction]) -> Vec<&'a Outcome> {
    let mut known: Vec<&Outcome> = earlier.iter().filter(|outcome| !outcome.value().is_nan()).collect();
    if let [direction] = directions {
        known.sort_by(|a, b| direction.compare(a.value(), b.value()));
        return known;
    }
    let mut scores = Scores::new(directions.len());
    known.iter().for_each(|outcome| scores.push(minimized(directions, &outcome.values), outcome.violation));
    scores.fronts().into_iter().flatten().map(|place| known[place]).collect()
}

/// What the keys of recalled founders are below; generations take the others.
const RECALLED: u32 = u32::MAX;
/// Three others to differ by, and one to differ from.
const LEAST_FOUNDERS: usize = 4;

/// How a generation follows from the one before.
pub trait Method: Send {
    /// The next generation, of one member or more. `told` is the generation before with its outcomes, `spent` the
    /// number of candidates proposed so far. The first call brings founders, of which at least one has a value.
    fn next(&mut self, cube: &Cube, told: Vec<Member>, spent: u64, key: Key) -> Vec<Member>;
}

/// A strategy that proposes one generation after another.
pub struct Generations<M> {
    cube: Cube,
    key: Key,
    directions: Vec<Direction>,
    method: M,
    /// Founders.
    size: usize,
    /// Candidates of the study.
    candidates: u64,
    /// Generations so far.
    number: u32,
    has_scored: bool,
    /// The id of the generation's first member.
    first: u64,
    members: Vec<Member>,
    /// Members that were asked for.
    asked: usize,
}

impl<M: Method> Generations<M> {
    /// Begins with `size` founders: the space's starts, and uniform draws.
    pub fn new(space: Arc<Space>, options: &StrategyOptions, size: usize, method: M) -> Generations<M> {
        Generations {
            cube: Cube::new(space),
            key: options.key,
            directions: options.directions.clone(),
            method,
            size: size.max(1),
            candidates: options.candidates,
            number: 0,
            has_scored: false,
            first: 0,
            members: Vec::new(),
            asked: 0,
        }
    }

    /// Ends the generation with what was told of it, and makes the next one.
    fn turn(&mut self, first: u64) {
        let key = self.key.child(self.number);
        let told = std::mem::take(&mut self.members);
        self.has_scored |= told.iter().any(|member| !member.value.is_nan());
        // As long as every candidate failed there is nothing to learn from.
        self.members =
            if self.has_scored { self.method.next(&self.cube, told, first, key) } else { self.found(first, key) };
        (self.first, self.asked) = (first, 0);
        self.number = self.number.wrapping_add(1);
    }

    fn found(&self, first: u64, key: Key) -> Vec<Member> {
        let starts = if first == 0 { self.cube.space().starts() } else { Vec::new() };
        // Of a population larger than the study only those that are asked for.
        let size = self.candidates.saturating_sub(first).clamp(1, self.size as u64);
        let tags = starts.len() as u32..size as u32;
        let starts = (0..).zip(starts).map(|(tag, start)| Member::of_row(&self.cube, start, key.child(tag)));
        starts.chain(tags.map(|tag| Member::draw(&self.cube, key.child(tag)))).collect()
    }
}

impl<M: Method> Strategy for Generations<M> {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        if self.asked == self.members.len() {
            self.turn(first);
        }
        let asked = &self.members[self.asked..];
        let asked = &asked[..n.min(asked.len())];
        let mut points = Points::new(self.cube.space().parameters.len());
        asked.iter().for_each(|member| points.push(&member.row));
        self.asked += asked.len();
        Ask::Proposals(points)
    }

    /// The best of what was found before are the founders, with their values: none of them is proposed again. Too few to
    /// make a population are no founders.
    fn recall(&mut self, earlier: &[Outcome]) {
        let ranked = ranked(earlier, &self.directions);
        let mut founders: Vec<Member> = Vec::new();
        let mut known = HashSet::new();
        for (tag, outcome) in (0..).zip(ranked) {
            let bits = |value: &f64| if value.is_nan() { u64::MAX } else { value.to_bits() };
            if founders.len() < self.size && known.insert(outcome.point.iter().map(bits).collect::<Vec<u64>>()) {
                let key = self.key.child(RECALLED).child(tag);
                let member = Member::of_row(&self.cube, outcome.point.clone(), key);
                let (values, violation) = (outcome.values.clone(), outcome.violation);
                founders.push(Member { value: outcome.value(), values, violation, ..member });
            }
        }
        if founders.len() >= LEAST_FOUNDERS.max(self.size / 2) {
            (self.asked, self.members) = (founders.len(), founders);
        }
    }

    /// What is told of an earlier generation, after the next was begun without it, comes too late.
    fn tell(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            let place = outcome.candidate.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
            if let Some(member) = place.and_then(|place| self.members.get_mut(place)) {
                member.value = outcome.value();
                member.values.clone_from(&outcome.values);
                member.violation = outcome.violation;
            }
        }
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

/// What the tests of several strategies need.
#[cfg(test)]
pub mod testing {
    use super::*;
    use crate::space::SpaceBuilder;
    use crate::strategies::StrategyEntry;

    /// Options of a search that minimizes.
    pub fn options(seed: u64, candidates: u64) -> StrategyOptions {
        StrategyOptions::new(Key::from_seed(seed), Direction::Minimize, candidates)
    }

    /// `dimensions` real numbers in [-5, 5], 4 by default.
    pub fn box_space(dimensions: usize) -> Space {
        (0..dimensions).fold(SpaceBuilder::new(), |space, i| space.float(&format!("x{i}"), -5.0, 5.0, 4.0)).build()
    }

    /// Choices, steps, whole numbers and conditions.
    pub fn mixed_space() -> Space {
        SpaceBuilder::new()
            .categorical("kind", &["a", "b", "c", "d"], "a")
            .float("x", -5.0, 5.0, 4.0)
            .float("y", -5.0, 5.0, 4.0)
            .int("depth", 1, 20, 2)
            .when("depth", "kind", &["b", "c"])
            .boolean("flag", false)
            .categorical("mode", &["p", "q", "r", "s", "t"], "p")
            .when("mode", "kind", &["c"])
            .log_int("width", 1, 1024, 4)
            .when("width", "mode", &["s", "t"])
            .build()
    }

    /// 0 at kind c, x 1.5, y -2.5, depth 13, flag true, mode s, width 200.
    pub fn mixed_value(row: &[f64]) -> f64 {
        let squares = (row[1] - 1.5).powi(2) + (row[2] + 2.5).powi(2);
        let depth = if row[3].is_nan() { 3.0 } else { (row[3] - 13.0).abs() / 5.0 };
        let mode = if row[5].is_nan() { 3.0 } else { [2.0, 3.0, 2.5, 0.0, 1.0][row[5] as usize] };
        let width = if row[6].is_nan() { 3.0 } else { (row[6] / 200.0).ln().abs() };
        squares + [1.0, 2.0, 0.0, 2.0][row[0] as usize] + depth + mode + width + f64::from(u8::from(row[4] == 0.0))
    }

    /// Sum of squares around 1, 1, 1, ...
    pub fn sphere(row: &[f64]) -> f64 {
        row.iter().map(|x| (x - 1.0).powi(2)).sum()
    }

    /// Rosenbrock's valley.
    pub fn rosenbrock(row: &[f64]) -> f64 {
        row.windows(2).map(|x| 100.0 * (x[1] - x[0] * x[0]).powi(2) + (1.0 - x[0]).powi(2)).sum()
    }

    /// A search's candidates and values, asked for in batches of these sizes over and over.
    pub fn search(
        entry: &dyn StrategyEntry,
        space: Space,
        options: &StrategyOptions,
        batches: &[usize],
        value: impl Fn(&[f64]) -> f64,
    ) -> (Vec<Vec<f64>>, Vec<f64>) {
        let space = Arc::new(space);
        let mut strategy = entry.open(space.clone(), options);
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for batch in batches.iter().cycle() {
            let first = rows.len() as u64;
            let n = (*batch).min((options.candidates - first) as usize);
            if n == 0 {
                break;
            }
            let Ask::Proposals(points) = strategy.ask(first, n) else { panic!("no proposals after {first}") };
            assert!((1..=n).contains(&points.len()));
            for (candidate, row) in (first..).zip(points.rows()) {
                assert!(space.log_density(row) > f64::NEG_INFINITY, "outside the space: {row:?}");
                let value = value(row);
                let outcome = Outcome::new(candidate, row.to_vec(), value);
                strategy.tell(&[outcome]);
                rows.push(row.to_vec());
                values.push(value);
            }
        }
        (rows, values)
    }

    /// Median over 9 seeds of the least value of a search.
    pub fn median_best(
        entry: &dyn StrategyEntry,
        space: &Space,
        candidates: u64,
        value: impl Fn(&[f64]) -> f64 + Copy,
    ) -> f64 {
        let best = |seed| {
            let (_, values) = search(entry, space.clone(), &options(seed, candidates), &[100], value);
            values.into_iter().fold(f64::INFINITY, f64::min)
        };
        let mut bests: Vec<f64> = (0..9).map(best).collect();
        bests.sort_by(f64::total_cmp);
        bests[4]
    }

    /// Rows as bits, so that NaN compare.
    pub fn bits(rows: &[Vec<f64>]) -> Vec<Vec<u64>> {
        rows.iter().map(|row| row.iter().map(|value| value.to_bits()).collect()).collect()
    }

    /// What any strategy with generations must keep.
    pub fn keeps_the_contract(entry: &dyn StrategyEntry) {
        takes_the_same_course_whatever_the_batches(entry);
        survives_failures(entry);
        proposes_in_every_space(entry);
        goes_on_without_outcomes(entry);
        turns_with_the_direction(entry);
    }

    fn takes_the_same_course_whatever_the_batches(entry: &dyn StrategyEntry) {
        let run = |batches: &[usize]| search(entry, mixed_space(), &options(5, 1200), batches, mixed_value).0;
        let whole = run(&[1200]);
        assert_eq!(bits(&whole), bits(&run(&[1, 7, 300])));
        assert_eq!(bits(&whole[..1]), bits(&[mixed_space().defaults()]));
    }

    fn survives_failures(entry: &dyn StrategyEntry) {
        let (rows, _) = search(entry, mixed_space(), &options(1, 600), &[64], |_| f64::NAN);
        assert!(bits(&rows).iter().collect::<std::collections::BTreeSet<_>>().len() > 550, "no variety");
        // Half of the box fails: what failed is never better than what did not, nor poisons a state.
        let half = |row: &[f64]| if row[0] < 0.0 { f64::NAN } else { sphere(row) };
        let (_, values) = search(entry, box_space(3), &options(1, 2000), &[64], half);
        let best = values.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(best < 1e-2, "{best}");
        let failed = values[1500..].iter().filter(|value| value.is_nan()).count();
        assert!(failed < 200, "{failed} of the last 500 failed");
        let infinite = |row: &[f64]| if row[0] < 0.0 { f64::INFINITY } else { f64::NEG_INFINITY };
        search(entry, box_space(3), &options(1, 600), &[64], infinite);
    }

    fn proposes_in_every_space(entry: &dyn StrategyEntry) {
        let spaces = [
            SpaceBuilder::new().categorical("held", &["so"], "so").build(),
            SpaceBuilder::new().float("x", 0.0, 1.0, 0.5).build(),
            SpaceBuilder::new().boolean("b", true).build(),
            (0..9).fold(SpaceBuilder::new(), |s, i| s.categorical(&format!("c{i}"), &["u", "v", "w"], "u")).build(),
            box_space(500),
        ];
        for space in spaces {
            let sum = |row: &[f64]| row.iter().sum();
            let (_, values) = search(entry, space, &options(2, 1500), &[64], sum);
            assert!(values.iter().copied().fold(f64::INFINITY, f64::min) < values[0] || values[0] == 0.0);
        }
        for population in [1, 2, 3, 5000] {
            let options = StrategyOptions { population: Some(population), ..options(2, 600) };
            search(entry, mixed_space(), &options, &[64], mixed_value);
        }
    }

    fn goes_on_without_outcomes(entry: &dyn StrategyEntry) {
        let mut strategy = entry.open(Arc::new(mixed_space()), &options(3, 1000));
        let mut first = 0;
        while first < 1000 {
            let Ask::Proposals(points) = strategy.ask(first, 100) else { panic!("no proposals after {first}") };
            first += points.len() as u64;
        }
    }

    fn turns_with_the_direction(entry: &dyn StrategyEntry) {
        let (rows, _) = search(entry, mixed_space(), &options(5, 800), &[64], mixed_value);
        let up = StrategyOptions { directions: vec![Direction::Maximize], ..options(5, 800) };
        let (mirrored, _) = search(entry, mixed_space(), &up, &[64], |row| -mixed_value(row));
        assert_eq!(bits(&rows), bits(&mirrored));
    }
}
