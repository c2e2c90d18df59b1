//! Chooses among the other methods by the space and by how many candidates there are, says what it takes and why, and hands over
//! once what it took finds nothing better any more.
//!
//! What it goes by is in the study and in the outcomes, so that a run that is resumed decides the same.

use super::cube::{Axis, Cube};
use super::{
    Ask, Outcome, Strategy, StrategyEntry, StrategyOptions, cmaes, gp, grid, nsga2, numbered_from, smac, sobol, tpe,
};
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
        }
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

/// What a study asks for at first, or less.
const FIRST_BATCH: u64 = 16;
/// Fewer candidates than this show nothing to learn from.
const TOO_FEW: u64 = 10;
/// A process of so many trials still proposes faster than most models train.
const FOR_A_PROCESS: u64 = 500;
/// Past so many axes distances say little.
const AXES_OF_A_PROCESS: usize = 50;
/// Of a space with conditions each branch has a part of the trials only.
const AXES_UNDER_CONDITIONS: usize = 20;
/// Candidates for each axis from which on a distribution's shape can be learnt as well.
const FOR_A_SHAPE: u64 = 100;

/// What to take before anything is known of the outcomes.
fn choose(situation: &Situation) -> Choice {
    let Situation { candidates, batch, objectives, .. } = *situation;
    let described = situation.described();
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
    let axes = situation.axes();
    let most_axes = if situation.conditional == 0 { AXES_OF_A_PROCESS } else { AXES_UNDER_CONDITIONS };
    if candidates <= FOR_A_PROCESS && axes <= most_axes {
        return take(
            &gp::GaussianProcess,
            format!("{candidates} candidates are few enough for a Gaussian process to pay"),
        );
    }
    if situation.choices == 0 && situation.conditional == 0 && candidates >= FOR_A_SHAPE * axes as u64 {
        return take(&cmaes::CmaEs, format!("{candidates} candidates are enough to learn a distribution's shape"));
    }
    match candidates <= FOR_A_PROCESS {
        true => take(&smac::Smac, format!("{candidates} candidates over choices or conditions, which trees learn")),
        false => take(&tpe::Tpe, format!("{candidates} candidates, more than a process or a forest keeps up with")),
    }
}

/// What goes on where a method has stopped finding anything better; nothing where the method restarts by itself.
fn successor(situation: &Situation, name: &str) -> Option<&'static dyn StrategyEntry> {
    match name {
        "gp" | "tpe" | "smac" if situation.objectives == 1 && situation.numbers > 0 => Some(&cmaes::CmaEs),
        _ => None,
    }
}

struct Search {
    space: Arc<Space>,
    options: StrategyOptions,
    situation: Situation,
    direction: Direction,
    strategy: Box<dyn Strategy>,
    name: &'static str,
    /// How many methods came before.
    turns: u32,
    /// The id of the method's first candidate.
    first: u64,
    /// Every outcome, for the method to come; none where none can come.
    found: Vec<Outcome>,
    best: f64,
    /// Outcomes since the best one.
    barren: u64,
    decisions: Vec<String>,
}

impl Search {
    fn new(space: Arc<Space>, options: &StrategyOptions) -> Search {
        let situation = Situation::of(&space, options);
        let Choice { entry, reason } = choose(&situation);
        Search {
            strategy: entry.open(space.clone(), options),
            name: entry.name(),
            decisions: vec![format!("auto takes {}; {reason}", entry.name())],
            direction: options.direction(),
            options: options.clone(),
            situation,
            space,
            turns: 0,
            first: 0,
            found: Vec::new(),
            best: f64::NAN,
            barren: 0,
        }
    }

    /// Outcomes without a better one after which a method has come to its end: as many as it takes to look at every axis
    /// from both sides some times, and a fifth of all.
    fn patience(&self) -> u64 {
        (20 * self.situation.axes() as u64).max(self.options.candidates / 5)
    }

    /// Hands over where the method has come to its end and enough candidates are left for another one.
    fn consider(&mut self, first: u64) {
        let left = self.options.candidates.saturating_sub(first);
        let Some(next) = successor(&self.situation, self.name) else { return };
        if self.barren < self.patience() || left < self.options.candidates / 10 {
            return;
        }
        self.decisions.extend(self.strategy.decisions());
        self.decisions.push(format!(
            "auto goes on with {} from candidate {first} on: {} has found nothing better in {} candidates",
            next.name(),
            self.name,
            self.barren
        ));
        self.turns += 1;
        let options =
            StrategyOptions { key: self.options.key.child(self.turns), candidates: left, ..self.options.clone() };
        self.strategy = next.open(self.space.clone(), &options);
        self.strategy.recall(&std::mem::take(&mut self.found));
        (self.name, self.first, self.barren) = (next.name(), first, 0);
    }
}

impl Strategy for Search {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        self.consider(first);
        self.strategy.ask(first - self.first, n)
    }

    fn tell(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            let is_better = self.direction.compare(outcome.value(), self.best).is_lt();
            self.barren = if is_better { 0 } else { self.barren + 1 };
            if is_better {
                self.best = outcome.value();
            }
        }
        if successor(&self.situation, self.name).is_some() {
            self.found.extend_from_slice(outcomes);
        }
        self.strategy.tell(&numbered_from(self.first, outcomes));
    }

    fn recall(&mut self, earlier: &[Outcome]) {
        self.strategy.recall(earlier);
        self.found.extend_from_slice(earlier);
        let better = |best: f64, value: f64| if self.direction.compare(value, best).is_lt() { value } else { best };
        self.best = earlier.iter().map(Outcome::value).fold(self.best, better);
    }

    fn decisions(&mut self) -> Vec<String> {
        let mut decisions = std::mem::take(&mut self.decisions);
        decisions.extend(self.strategy.decisions());
        decisions
    }

    fn size(&self) -> Option<u64> {
        self.strategy.size()
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
        (search.name, search.decisions().remove(0))
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
