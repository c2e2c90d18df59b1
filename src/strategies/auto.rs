//! Chooses among the other methods by the space and by how many candidates there are, says what it takes and why, and hands over
//! once what it took finds nothing better any more.
//!
//! What it goes by is in the study and in the outcomes, so that a run that is resumed decides the same. Where the search's time
//! has a limit, that is also how long the first candidates trained: another run may decide otherwise.

use super::cube::{Axis, Cube};
use super::leg::Leg;
use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions, cmaes, gp, grid, nsga2, smac, sobol, tpe};
use crate::base::registry::Named;
use crate::data::metrics::Direction;
use crate::space::Space;
use std::sync::Arc;

/// The registry entry.
pub struct Auto;

impl Named for Auto {
    fn name(&self) -> &'static str {
        "auto"
    }
    fn summary(&self) -> &'static str {
        "chooses by the space and the number of candidates, hands over where nothing better is found, says why"
    }
}

impl StrategyEntry for Auto {
    fn takes_several_objectives(&self) -> bool {
        true
    }
    fn follows_candidates(&self) -> bool {
        true
    }
    fn follows_time(&self) -> bool {
        true
    }
    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        Box::new(Search::new(space, options))
    }
}

/// What a choice is made by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Situation {
    /// Axes of numbers, of choices, and of parameters with conditions among both.
    numbers: usize,
    choices: usize,
    conditional: usize,
    /// Points of the space, where a grid has all of them.
    points: Option<u64>,
    /// Candidates that there will be.
    candidates: u64,
    batch: u64,
    objectives: usize,
    /// See [`StrategyOptions::ends_early`].
    ends_early: bool,
    /// What the search's time and training come to, where that has a limit.
    seconds: Option<Seconds>,
}

/// Seconds of the search in all, and of a candidate's training.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seconds {
    all: f64,
    trained: f64,
}

impl Seconds {
    /// How long candidates train, in words.
    fn described(self) -> String {
        let trained = match self.trained {
            seconds if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
            seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
            seconds => format!("{seconds:.1} s"),
        };
        format!("trained in {trained} each")
    }

    /// How many candidates they are enough for, where a method takes `proposal` to propose one.
    fn affordable(self, proposal: f64) -> u64 {
        (self.all / (self.trained + proposal)).max(1.0) as u64
    }
}

impl Situation {
    fn of(space: &Arc<Space>, options: &StrategyOptions) -> Situation {
        let cube = Cube::new(space.clone());
        let is_choice = |axis: &&Axis| matches!(axis, Axis::Choices(_));
        let choices = cube.axes().iter().filter(is_choice).count();
        let has_condition = |axis: &usize| !space.parameters[cube.column(*axis)].conditions.is_empty();
        // A grid thins out whole numbers of which there are many.
        let is_listed = |axis: &Axis| match axis {
            Axis::Continuous => false,
            Axis::Ordered(count) => *count <= options.resolution,
            Axis::Choices(_) => true,
        };
        let is_finite = cube.axes().iter().all(is_listed);
        let points = is_finite.then(|| grid::GridSearch.open(space.clone(), options).size()).flatten();
        Situation {
            numbers: cube.axes().len() - choices,
            choices,
            conditional: (0..cube.axes().len()).filter(has_condition).count(),
            points,
            candidates: options.candidates,
            batch: options.batch,
            objectives: options.directions.len(),
            ends_early: options.ends_early,
            seconds: None,
        }
    }

    /// The same once it is known that a candidate trains for so many seconds, of `all` that there are.
    fn within(self, all: f64, trained: f64) -> Situation {
        let seconds = Seconds { all, trained };
        let candidates = self.candidates.min(seconds.affordable(OF_A_QUICK_PROPOSAL));
        Situation { candidates, seconds: Some(seconds), ..self }
    }

    /// Whether a method that takes long to propose costs few of the candidates.
    fn has_time_to_think(&self) -> bool {
        let affordable = self.seconds.map_or(self.candidates, |seconds| seconds.affordable(OF_A_SLOW_PROPOSAL));
        affordable as f64 >= 0.8 * self.candidates as f64
    }

    /// Members of a method's generations, where the study says nothing: as many as a wide batch, which a method with
    /// smaller ones would leave empty, and which is there for a device that trains all of it at once.
    fn population(&self, name: &str, options: &StrategyOptions) -> Option<u64> {
        let has_generations = name == cmaes::CmaEs.name();
        options.population.or((has_generations && self.batch > WIDE && self.fills_generations()).then_some(self.batch))
    }

    /// Whether whole batches make enough generations.
    fn fills_generations(&self) -> bool {
        self.candidates / self.batch.max(1) >= GENERATIONS
    }

    fn axes(&self) -> usize {
        self.numbers + self.choices
    }

    /// The space in words.
    fn described(&self) -> String {
        let kinds = [(self.numbers, "number"), (self.choices, "choice")];
        let counted = kinds.iter().filter(|(count, _)| *count > 0);
        let counted: Vec<String> =
            counted.map(|(count, kind)| format!("{count} {kind}{}", if *count == 1 { "" } else { "s" })).collect();
        match self.conditional {
            0 => counted.join(" and "),
            n => format!("{}, {n} of them under conditions", counted.join(" and ")),
        }
    }
}

/// A method, and why.
struct Choice {
    entry: &'static dyn StrategyEntry,
    reason: String,
}

impl Choice {
    /// The method, and the choice in a sentence.
    fn into_decision(self) -> (&'static dyn StrategyEntry, String) {
        (self.entry, format!("auto takes {}; {}", self.entry.name(), self.reason))
    }
}

/// What is said before the choice is made.
const MEASURES: &str = "auto fills the space evenly at first, to see how long candidates train in the time there is";
/// What a study asks for at first, or less.
const FIRST_BATCH: u64 = 16;
/// Fewer candidates than this show nothing to learn from.
const TOO_FEW: u64 = 10;
/// Seconds that methods take to propose a candidate, on a core of some years ago: estimators and generations; a process or a
/// forest of hundreds of trials (benches/results/search_speed.md).
const OF_A_QUICK_PROPOSAL: f64 = 3e-4;
/// See [`OF_A_QUICK_PROPOSAL`].
const OF_A_SLOW_PROPOSAL: f64 = 1e-2;
/// A process of so many trials still proposes faster than most models train.
const FOR_A_PROCESS: u64 = 512;
/// Past so many axes distances say little.
const AXES_OF_A_PROCESS: usize = 50;
/// Of a space with conditions each branch has a part of the trials only. Of 24 axes in eight branches a process still finds more
/// than trees do (benches/results/search.md).
const AXES_UNDER_CONDITIONS: usize = 30;
/// Candidates for each axis from which on a distribution's shape can be learnt as well.
const FOR_A_SHAPE: u64 = 100;
/// Generations that it takes at least.
const GENERATIONS: u64 = 20;
/// A batch that is wider was asked for, for a device that is as wide, or there are so many candidates that it makes two hundred
/// generations.
const WIDE: u64 = 100;

/// What to take before anything is known of the outcomes.
fn choose(situation: &Situation) -> Choice {
    let Situation { candidates, batch, objectives, .. } = *situation;
    let described = match situation.seconds {
        None => situation.described(),
        Some(seconds) => format!("{}, {}", situation.described(), seconds.described()),
    };
    let take = |entry: &'static dyn StrategyEntry, why: String| Choice { entry, reason: format!("{described}: {why}") };
    match situation.points {
        Some(points) if points <= candidates && objectives == 1 => {
            return take(&grid::GridSearch, format!("the space has {points} points, and every one of them is tried"));
        }
        _ => {}
    }
    if candidates < TOO_FEW || batch.min(FIRST_BATCH) >= candidates {
        let why = match candidates < TOO_FEW {
            true => format!("{candidates} candidates are too few to learn from, so they fill the space evenly"),
            false => "all candidates are out before the first outcome is in, so they fill the space evenly".to_owned(),
        };
        return take(&sobol::SobolSearch, why);
    }
    if objectives > 1 {
        return match candidates < 1000 {
            true => {
                take(&tpe::Tpe, format!("{objectives} objectives and {candidates} candidates, few for generations"))
            }
            false => take(&nsga2::Nsga2, format!("{objectives} objectives and {candidates} candidates")),
        };
    }
    if situation.ends_early {
        let why = format!(
            "{candidates} candidates with budgets of different size, which it does not compare with each other"
        );
        return take(&tpe::Tpe, why);
    }
    let axes = situation.axes();
    let most_axes = if situation.conditional == 0 { AXES_OF_A_PROCESS } else { AXES_UNDER_CONDITIONS };
    let has_time = situation.has_time_to_think();
    if candidates <= FOR_A_PROCESS && axes <= most_axes && has_time {
        return take(
            &gp::GaussianProcess,
            format!("{candidates} candidates are few enough for a Gaussian process to pay"),
        );
    }
    let can_shape = candidates >= FOR_A_SHAPE * axes as u64 && situation.fills_generations();
    if situation.choices == 0 && situation.conditional == 0 && can_shape {
        return take(&cmaes::CmaEs, format!("{candidates} candidates are enough to learn a distribution's shape"));
    }
    match candidates <= FOR_A_PROCESS {
        true if has_time => {
            take(&smac::Smac, format!("{candidates} candidates over choices or conditions, which trees learn"))
        }
        true => {
            take(&tpe::Tpe, format!("{candidates} candidates that train faster than a process or a forest proposes"))
        }
        false => take(&tpe::Tpe, format!("{candidates} candidates, more than a process or a forest keeps up with")),
    }
}

/// What goes on where a method has stopped finding anything better; nothing where the method restarts by itself.
fn successor(situation: &Situation, name: &str) -> Option<&'static dyn StrategyEntry> {
    match name {
        // Scores of different budgets do not show whether there is anything better.
        _ if situation.ends_early => None,
        "gp" | "tpe" | "smac" if situation.objectives == 1 && situation.numbers > 0 => Some(&cmaes::CmaEs),
        _ => None,
    }
}

/// Whether a method has no use for what comes after it: it begins anew by itself, or has tried everything.
fn is_last(name: &str) -> bool {
    matches!(name, "cmaes" | "nsga2" | "grid")
}

struct Search {
    options: StrategyOptions,
    situation: Situation,
    direction: Direction,
    leg: Leg,
    /// How many methods came before.
    turns: u32,
    best: f64,
    /// Outcomes since the best one.
    barren: u64,
    /// Where the choice waits for the first candidates' times: the seconds of those that were trained, and their number.
    measured: Option<(f64, u32)>,
}

impl Search {
    fn new(space: Arc<Space>, options: &StrategyOptions) -> Search {
        let situation = Situation::of(&space, options);
        let waits = options.time.is_some() && situation.candidates > FIRST_BATCH;
        let (entry, decision) = match waits {
            true => (&sobol::SobolSearch as &'static dyn StrategyEntry, MEASURES.to_owned()),
            false => choose(&situation).into_decision(),
        };
        let keeps = waits || !is_last(entry.name());
        let own = StrategyOptions { population: situation.population(entry.name(), options), ..options.clone() };
        let mut leg = Leg::new(space, entry, &own, keeps);
        leg.decide(decision);
        Search {
            leg,
            direction: options.direction(),
            options: options.clone(),
            situation,
            turns: 0,
            best: f64::NAN,
            barren: 0,
            measured: waits.then_some((0.0, 0)),
        }
    }

    /// Outcomes without a better one after which a method has come to its end: as many as it takes to look at every axis
    /// from both sides some times, and a fifth of all.
    fn patience(&self) -> u64 {
        (20 * self.situation.axes() as u64).max(self.situation.candidates / 5)
    }

    /// Past its plan it plans for twice as many, and goes on with what suits these.
    fn plan_on(&mut self, first: u64) {
        while self.options.candidates <= first {
            self.options.candidates = self.options.candidates.saturating_mul(2).max(1);
        }
        // A grid does not begin in the middle, and how much time there is now was not told.
        self.situation =
            Situation { candidates: self.options.candidates, points: None, seconds: None, ..self.situation };
        let choice = choose(&self.situation);
        if !is_last(self.leg.name()) && choice.entry.name() != self.leg.name() {
            let (entry, why) = choice.into_decision();
            self.hand_over(entry, format!("past its plan, from candidate {first} on, {why}"), first);
        }
    }

    /// Hands over where a choice is due, or where the method has come to its end and enough candidates are left for another.
    fn consider(&mut self, first: u64) {
        if first >= self.options.candidates {
            self.plan_on(first);
        }
        if let Some((seconds, trained)) = self.measured.filter(|_| first >= FIRST_BATCH) {
            self.measured = None;
            if let (Some(time), 1..) = (self.options.time, trained) {
                self.situation = self.situation.within(time, seconds / f64::from(trained));
            }
            // A grid begins anew: it has to fit into what is left.
            let left = self.options.candidates.saturating_sub(first);
            self.situation.points = self.situation.points.filter(|points| *points <= left);
            let (entry, decision) = choose(&self.situation).into_decision();
            return self.hand_over(entry, decision, first);
        }
        let left = self.situation.candidates.saturating_sub(first);
        let Some(next) = successor(&self.situation, self.leg.name()) else { return };
        if self.barren < self.patience() || left < self.situation.candidates / 10 {
            return;
        }
        let decision = format!(
            "auto goes on with {} from candidate {first} on: {} has found nothing better in {} candidates",
            next.name(),
            self.leg.name(),
            self.barren
        );
        self.hand_over(next, decision, first);
    }

    /// Goes on with another method from candidate `first` on, and with what was found so far.
    fn hand_over(&mut self, entry: &'static dyn StrategyEntry, decision: String, first: u64) {
        self.turns += 1;
        self.barren = 0;
        // A method that plans for fewer than there turn out to be goes on nevertheless.
        let candidates = self.situation.candidates.saturating_sub(first).max(1);
        let (key, population) =
            (self.options.key.child(self.turns), self.situation.population(entry.name(), &self.options));
        let options = StrategyOptions { key, candidates, population, ..self.options.clone() };
        let keeps = !is_last(entry.name());
        self.leg.hand_over(first, entry, &options, keeps, decision);
    }
}

impl Strategy for Search {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        self.consider(first);
        self.leg.ask(first, n)
    }

    fn tell(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            if let Some((seconds, trained)) = self.measured.as_mut().filter(|_| outcome.seconds > 0.0) {
                (*seconds, *trained) = (*seconds + outcome.seconds, *trained + 1);
            }
            let is_better = self.direction.compare(outcome.value(), self.best).is_lt();
            self.barren = if is_better { 0 } else { self.barren + 1 };
            if is_better {
                self.best = outcome.value();
            }
        }
        self.leg.tell(outcomes);
    }

    fn recall(&mut self, earlier: &[Outcome]) {
        self.leg.recall(earlier);
        let better = |best: f64, value: f64| if self.direction.compare(value, best).is_lt() { value } else { best };
        self.best = earlier.iter().map(Outcome::value).fold(self.best, better);
    }

    fn decisions(&mut self) -> Vec<String> {
        self.leg.decisions()
    }

    fn size(&self) -> Option<u64> {
        self.leg.size()
    }
}

#[cfg(test)]
mod tests {
    use super::super::generations::testing::{box_space, mixed_space, options};
    use super::*;
    use crate::space::SpaceBuilder;

    fn taken(space: Space, candidates: u64, batch: u64) -> (&'static str, String) {
        let options = StrategyOptions { batch, ..options(1, candidates) };
        let mut search = Search::new(Arc::new(space), &options);
        (search.leg.name(), search.decisions().remove(0))
    }

    #[test]
    fn under_a_scheduler_it_takes_what_compares_like_with_like_and_keeps_it() {
        let options = StrategyOptions { batch: 10, ends_early: true, ..options(1, 200) };
        let mut search = Search::new(Arc::new(box_space(4)), &options);
        let why = search.decisions().remove(0);
        assert!(search.leg.name() == "tpe" && why.contains("budgets"), "{why}");
        search.barren = 1000;
        search.consider(50);
        assert_eq!(search.leg.name(), "tpe");
    }

    #[test]
    fn the_choice_follows_the_space_and_the_number_of_candidates() {
        let steps = SpaceBuilder::new().int("a", 1, 5, 2).boolean("b", true).build();
        let (name, why) = taken(steps, 50, 10);
        assert_eq!(name, "grid");
        assert!(why.contains("10 points"), "{why}");
        assert_eq!(taken(box_space(4), 5, 1).0, "sobol");
        assert_eq!(taken(box_space(4), 15, 50).0, "sobol");
        assert_eq!(taken(box_space(4), 50, 50).0, "gp");
        let many = SpaceBuilder::new().int("a", 1, 1000, 2).boolean("b", true).build();
        assert_ne!(taken(many, 100, 10).0, "grid", "it would leave most of them out");
        assert_eq!(taken(box_space(4), 200, 10).0, "gp");
        assert_eq!(taken(box_space(4), 20_000, 50).0, "cmaes");
        assert_eq!(taken(box_space(300), 20_000, 50).0, "tpe");
        assert_eq!(taken(mixed_space(), 200, 10).0, "gp");
        let branches = SpaceBuilder::new().categorical("kind", &["a", "b"], "a");
        let add = |space: SpaceBuilder, i: usize| {
            let name = format!("x{i}");
            space.float(&name, 0.0, 1.0, 0.5).when(&name, "kind", &["b"])
        };
        let (name, why) = taken((0..30).fold(branches, add).build(), 200, 10);
        assert_eq!(name, "smac");
        assert!(why.contains("30 of them under conditions"), "{why}");
        assert_eq!(taken(mixed_space(), 5000, 50).0, "tpe");
    }

    /// What is taken once the first candidates have trained for so many seconds each, of ten that there are.
    fn taken_in_ten_seconds(space: Space, candidates: u64, seconds: f64) -> (&'static str, String) {
        let options = StrategyOptions { batch: 50, time: Some(10.0), ..options(1, candidates) };
        let mut search = Search::new(Arc::new(space), &options);
        let Ask::Proposals(points) = search.ask(0, 16) else { panic!("a search without a beginning") };
        assert_eq!(search.leg.name(), "sobol");
        let told: Vec<Outcome> = (0..)
            .zip(points.rows())
            .map(|(id, row)| Outcome { seconds, ..Outcome::new(id, row.to_vec(), row[0]) })
            .collect();
        search.tell(&told);
        assert!(matches!(search.ask(16, 32), Ask::Proposals(_)));
        (search.leg.name(), search.decisions().pop().unwrap_or_default())
    }

    #[test]
    fn where_time_has_a_limit_the_choice_follows_what_training_takes() {
        let (name, why) = taken_in_ten_seconds(box_space(4), 20_000, 0.1);
        assert_eq!(name, "gp");
        assert!(why.contains("trained in 100.0 ms each: 99 candidates are few enough"), "{why}");
        assert_eq!(taken_in_ten_seconds(box_space(4), 20_000, 1e-5).0, "cmaes");
        assert_eq!(taken_in_ten_seconds(box_space(4), 500, 0.011).0, "gp", "there is time for 476 of 500");
        assert_eq!(taken_in_ten_seconds(box_space(4), 500, 0.019).0, "tpe", "there is time for 344 of 500");
        assert_eq!(taken_in_ten_seconds(box_space(4), 500, 0.0).0, "gp", "nothing was measured");
        assert_eq!(taken_in_ten_seconds(box_space(300), 20_000, 0.1).0, "smac");
        let steps = || SpaceBuilder::new().int("a", 1, 5, 2).int("b", 1, 5, 2).build();
        assert_eq!(taken_in_ten_seconds(steps(), 50, 0.01).0, "grid");
        assert_ne!(taken_in_ten_seconds(steps(), 30, 0.01).0, "grid", "14 candidates are left for 25 points");
    }

    #[test]
    fn past_its_plan_it_takes_what_suits_twice_as_many() {
        let space = Arc::new(box_space(2));
        let mut search = Search::new(space, &StrategyOptions { batch: 20, ..options(3, 300) });
        let (mut first, mut names) = (0, Vec::new());
        while first < 620 {
            let Ask::Proposals(points) = search.ask(first, 20) else { panic!("a search without end") };
            // Ever better, so that nothing but the plan ends a method.
            let told: Vec<Outcome> =
                (first..).zip(points.rows()).map(|(id, row)| Outcome::new(id, row.to_vec(), -(id as f64))).collect();
            first += told.len() as u64;
            search.tell(&told);
            names.push(search.leg.name());
        }
        assert_eq!(names[14], "gp");
        assert!(names[15..].iter().all(|name| *name == "cmaes"), "600 are enough for a shape: {names:?}");
        assert_eq!(search.decisions().len(), 2);
    }

    #[test]
    fn a_wide_batch_is_filled_and_a_study_s_own_keeps_small_generations() {
        let asked_for = |batch: u64| {
            let options = StrategyOptions { batch, ..options(1, 20_000) };
            let mut search = Search::new(Arc::new(box_space(4)), &options);
            assert_eq!(search.leg.name(), "cmaes");
            let Ask::Proposals(points) = search.ask(0, 1) else { panic!("a search without a beginning") };
            search.tell(&[Outcome::new(0, points.row(0).to_vec(), 1.0)]);
            let Ask::Proposals(points) = search.ask(1, batch as usize) else { panic!("a search without end") };
            points.len()
        };
        // 4 + 3 ln 4, rounded down.
        assert_eq!((asked_for(50), asked_for(500)), (8, 500));
    }

    #[test]
    fn what_finds_nothing_more_hands_over_and_says_so() {
        let space = Arc::new(box_space(2));
        let mut search = Search::new(space, &StrategyOptions { batch: 20, ..options(3, 400) });
        let (mut first, mut said) = (0, Vec::new());
        while first < 400 {
            let Ask::Proposals(points) = search.ask(first, 20) else { panic!("a search without end") };
            // Flat: nothing after the first is better.
            let told: Vec<Outcome> =
                (first..).zip(points.rows()).map(|(id, row)| Outcome::new(id, row.to_vec(), 1.0)).collect();
            first += told.len() as u64;
            search.tell(&told);
            said.extend(search.decisions());
        }
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[1].contains("cmaes from candidate 100 on: gp has found nothing better in"), "{said:?}");
    }
}
