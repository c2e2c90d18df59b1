//! What became of every candidate, as the journal keeps it.

use super::distribution::Distribution;
use super::journal::{Outcomes, Rung};
use super::recipe::Recipe;
use crate::schedulers::Fork;
use crate::space::Points;
use std::collections::{BTreeMap, HashMap};

pub use super::trial::{Shape, Trial, TrialStatus};

/// What is left of candidates that were not kept.
#[derive(Debug)]
struct Summary {
    /// The kept ones' points.
    points: HashMap<u64, Vec<f64>>,
    counts: Counted,
    distribution: Option<Distribution>,
}

/// How many candidates there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// With an outcome.
    pub finished: u64,
    /// With a score.
    pub scored: u64,
    /// Ended early.
    pub pruned: u64,
}

/// Every trial of a study, by id, and the points they were made of; or the best of them only.
#[derive(Debug, Default)]
pub struct History {
    /// Finished candidates.
    pub trials: BTreeMap<u64, Trial>,
    /// Every candidate's point as it was proposed; row i is candidate i.
    pub points: Points,
    /// The whole budget of a candidate, as the scheduler counts it: of each of its lanes, or its folds.
    whole: u64,
    /// Of a search that kept the best alone, what became of the others.
    summary: Option<Summary>,
    /// Of candidates that have not come to their end, or were ended early, their scores on the way: by candidate and budget.
    rungs: BTreeMap<(u64, u64), Trial>,
    /// First candidate of each point, by the point's hash.
    first: HashMap<u64, u64>,
    /// Candidates whose point an earlier one has, and that one.
    twins: HashMap<u64, u64>,
    /// Of candidates that took over another's training, what they are trained with from its beginning on.
    recipes: HashMap<u64, Recipe>,
    /// Who took over from whom, and went on with which point, in this order.
    lineage: Vec<(Fork, Vec<f64>)>,
    /// Points that the journal holds, of candidates that were not proposed again yet.
    journalled: HashMap<u64, Vec<f64>>,
    /// Reasons of failures that the journal holds, of candidates whose outcomes have not been read yet.
    reasons: HashMap<u64, String>,
}

impl History {
    /// For points of `width` parameters, and candidates whose whole budget is `whole`, as the scheduler counts it.
    pub fn new(width: usize, whole: u64) -> History {
        History { points: Points::new(width), whole, ..History::default() }
    }

    /// Of a search that kept its best candidates, and of the others their number and, if it saw them, their values' distribution.
    pub(super) fn of_the_best(
        kept: impl Iterator<Item = (Trial, Vec<f64>)>,
        finished: u64,
        failed: u64,
        distribution: Option<Distribution>,
    ) -> History {
        let (mut trials, mut points) = (BTreeMap::new(), HashMap::new());
        for (trial, point) in kept {
            points.insert(trial.candidate, point);
            trials.insert(trial.candidate, trial);
        }
        let counts = Counted { finished, scored: finished - failed, pruned: 0 };
        History { trials, summary: Some(Summary { points, counts, distribution }), ..History::default() }
    }

    /// A candidate's encoded values, of one that changed them on its way those that it has now; nothing of one that was not kept.
    pub fn point(&self, candidate: u64) -> &[f64] {
        match (&self.summary, self.recipes.get(&candidate)) {
            (Some(summary), _) => summary.points.get(&candidate).map_or(&[], Vec::as_slice),
            (None, Some(recipe)) => recipe.last(),
            (None, None) => self.points.row(candidate as usize),
        }
    }

    /// What a candidate that took over another's training is trained with, from its beginning on.
    pub fn recipe(&self, candidate: u64) -> Option<&Recipe> {
        self.recipes.get(&candidate)
    }

    /// Who took over from whom, where, and went on with which point, in this order.
    pub fn lineage(&self) -> &[(Fork, Vec<f64>)] {
        &self.lineage
    }

    /// Lets a candidate go on from where its parent stands, with another point.
    pub(super) fn take_over(&mut self, fork: Fork, point: Vec<f64>) {
        let Fork { candidate, parent, budget } = fork;
        let recipe = self.recipes.get(&parent).cloned();
        let mut recipe = recipe.unwrap_or_else(|| Recipe::of(self.points.row(parent as usize)));
        recipe.turns.push((budget, point.clone()));
        self.recipes.insert(candidate, recipe);
        self.lineage.push((fork, point));
    }

    /// How many candidates were proposed.
    pub fn proposed(&self) -> u64 {
        self.summary.as_ref().map_or(self.points.len() as u64, |summary| summary.counts.finished)
    }

    /// How many of them have outcomes and scores.
    pub fn counted(&self) -> Counted {
        let count =
            |is_one: fn(TrialStatus) -> bool| self.trials.values().filter(|trial| is_one(trial.status)).count() as u64;
        let all = || Counted {
            finished: self.trials.len() as u64,
            scored: count(TrialStatus::is_scored),
            pruned: count(|status| status == TrialStatus::Pruned),
        };
        self.summary.as_ref().map_or_else(all, |summary| summary.counts)
    }

    /// Whether only the best candidates were kept.
    pub fn keeps_the_best(&self) -> bool {
        self.summary.is_some()
    }

    /// How the values are distributed, where only the best candidates were kept, of all that there were.
    pub fn distribution(&self) -> Option<&Distribution> {
        self.summary.as_ref().and_then(|summary| summary.distribution.as_ref())
    }

    /// Adds the next candidate's point.
    pub fn propose(&mut self, row: &[f64]) {
        let id = self.points.len() as u64;
        let hash = hash_of(row);
        match self.first.get(&hash).copied() {
            Some(other) if is_same_point(self.points.row(other as usize), row) => drop(self.twins.insert(id, other)),
            Some(_) => {}
            None => drop(self.first.insert(hash, id)),
        }
        self.points.push(row);
    }

    /// The id of an earlier candidate with the same point, if there is one.
    pub fn twin(&self, candidate: u64) -> Option<u64> {
        self.twins.get(&candidate).copied()
    }

    /// What is known of a candidate that has had so much budget, as the scheduler counts it: its scores there, or its outcome, if it failed on the
    /// way or this is the whole budget.
    pub(super) fn at(&self, candidate: u64, budget: u64) -> Option<&Trial> {
        self.rungs.get(&(candidate, budget)).or_else(|| self.over_at(candidate, budget))
    }

    /// Its outcome, if it came to its end no later than with so much budget. What was ended there may go on in a search that
    /// was made longer, or as a twin.
    pub(super) fn over_at(&self, candidate: u64, budget: u64) -> Option<&Trial> {
        let is_on_its_way = self.rungs.contains_key(&(candidate, budget));
        let answers = |trial: &&Trial| match trial.status {
            TrialStatus::Pruned => false,
            status => budget >= self.whole || !status.is_scored(),
        };
        self.trials.get(&candidate).filter(|_| !is_on_its_way).filter(answers)
    }

    /// Takes a candidate's scores on its way.
    pub(super) fn reach(&mut self, budget: u64, trial: Trial) {
        self.rungs.insert((trial.candidate, budget), trial);
    }

    /// The budgets on its way at which a candidate was scored, ascending.
    pub(super) fn rungs_of(&self, candidate: u64) -> impl Iterator<Item = u64> {
        self.rungs.range((candidate, 0)..=(candidate, u64::MAX)).map(|((_, budget), _)| *budget)
    }

    /// The largest budget below another one at which a candidate was scored, and its scores there.
    pub(super) fn rung_below(&self, candidate: u64, budget: u64) -> Option<(u64, &Trial)> {
        let rungs = self.rungs.range((candidate, 0)..(candidate, budget));
        rungs.map(|((_, budget), trial)| (*budget, trial)).next_back()
    }

    /// Whether some candidate was scored before its end.
    pub(super) fn is_on_the_way(&self) -> bool {
        !self.rungs.is_empty()
    }

    /// Ends a candidate on a rung. What came to its end already stays as it is: a search that was shorter let it go on.
    pub(super) fn prune(&mut self, candidate: u64, budget: u64) -> Option<Trial> {
        let last = self.rungs.get(&(candidate, budget)).filter(|_| !self.trials.contains_key(&candidate))?;
        let trial = Trial { status: TrialStatus::Pruned, ..last.clone() };
        self.trials.insert(candidate, trial.clone());
        Some(trial)
    }

    /// What most failed candidates died of.
    pub(super) fn usual_failure(&self) -> TrialStatus {
        let count = |status: TrialStatus| self.trials.values().filter(|trial| trial.status == status).count();
        let kinds = [TrialStatus::NotFinite, TrialStatus::Infeasible, TrialStatus::Failed];
        // Of equally many the first.
        kinds.into_iter().rev().max_by_key(|status| count(*status)).unwrap_or(TrialStatus::NotFinite)
    }

    /// Takes reasons of failures from a journal; the outcomes follow.
    pub(super) fn restore_reasons(&mut self, reasons: &[(u64, String)]) {
        self.reasons.extend(reasons.iter().cloned());
    }

    /// Drops the outcomes of candidates that were not proposed.
    pub(super) fn forget_unproposed(&mut self) {
        self.trials.split_off(&(self.points.len() as u64));
    }

    /// The first of these proposals that is not what the journal says was proposed under its id.
    pub(super) fn contradiction(&mut self, first: u64, points: &Points) -> Option<u64> {
        let differs = |(candidate, row): &(u64, &[f64])| {
            self.journalled.remove(candidate).is_some_and(|journalled| !is_same_point(&journalled, row))
        };
        (first..).zip(points.rows()).find(differs).map(|(candidate, _)| candidate)
    }

    /// Takes what a journal frame holds of candidates of this shape. `false` if its columns do not fit together.
    pub fn restore(&mut self, frame: &Outcomes, shape: Shape) -> bool {
        let Some(trials) = self.read(frame, shape) else { return false };
        self.trials.extend(trials.into_iter().map(|trial| (trial.candidate, trial)));
        true
    }

    /// The same of scores on the way.
    pub fn restore_rung(&mut self, rung: &Rung, shape: Shape) -> bool {
        let Some(trials) = self.read(&rung.outcomes, shape) else { return false };
        trials.into_iter().for_each(|trial| self.reach(rung.budget, trial));
        true
    }

    /// The trials of a frame; their points are remembered.
    fn read(&mut self, frame: &Outcomes, shape: Shape) -> Option<Vec<Trial>> {
        let Shape { lanes, scores, others } = shape;
        let (n, width) = (frame.train.len(), self.points.width());
        let fits = total(frame.candidates.iter().map(|run| run.1)) == Some(n as u64)
            && total(frame.statuses.iter().map(|run| run.1)) == Some(n as u64)
            && total(frame.used.iter().map(|run| run.1)) == Some((n * lanes) as u64)
            && frame.candidates.iter().all(|run| run.0.checked_add(run.1).is_some())
            && frame.scores.len() == n * scores
            && frame.others.len() == n * others
            && frame.seconds.len() == n
            && (frame.points.is_empty() || frame.points.len() == n * width)
            && (frame.gradients.is_empty() || frame.gradients.len() == n * width);
        if !fits {
            return None;
        }
        let mut trials = Vec::with_capacity(n);
        let ids = frame.candidates.iter().flat_map(|(first, count)| *first..first + count);
        let statuses =
            frame.statuses.iter().flat_map(|(code, count)| (0..*count).map(|_| TrialStatus::from_code(*code)));
        let mut used = frame.used.iter().flat_map(|(used, count)| (0..*count).map(|_| *used));
        for (i, (candidate, status)) in ids.zip(statuses).enumerate() {
            let trial = Trial {
                candidate,
                status,
                scores: frame.scores[i * scores..][..scores].to_vec(),
                others: frame.others[i * others..][..others].to_vec(),
                train: frame.train[i],
                seconds: from_upper_half(frame.seconds[i]),
                used: used.by_ref().take(lanes).collect(),
                gradient: match frame.gradients.get(i * width..(i + 1) * width) {
                    Some(gradient) if gradient.iter().any(|slope| !slope.is_nan()) => gradient.to_vec(),
                    _ => Vec::new(),
                },
                failure: self.reasons.remove(&candidate).filter(|_| status == TrialStatus::Failed),
            };
            trials.push(trial);
            if !frame.points.is_empty() {
                self.journalled.insert(candidate, frame.points[i * width..][..width].to_vec());
            }
        }
        Some(trials)
    }

    /// Trials as a journal frame, with their points if these cannot be computed again. `trials` ascend by id.
    pub(super) fn to_frame(&self, trials: &[Trial], with_points: bool) -> Outcomes {
        let mut frame = Outcomes::default();
        let has_gradients = trials.iter().any(|trial| !trial.gradient.is_empty());
        for trial in trials {
            match frame.candidates.last_mut() {
                Some((first, count)) if *first + *count == trial.candidate => *count += 1,
                _ => frame.candidates.push((trial.candidate, 1)),
            }
            push_run(&mut frame.statuses, trial.status as u8);
            trial.used.iter().for_each(|used| push_run(&mut frame.used, *used));
            frame.scores.extend(&trial.scores);
            frame.others.extend(&trial.others);
            frame.train.push(trial.train);
            frame.seconds.push(upper_half(trial.seconds));
            if has_gradients {
                let slope = |column: usize| trial.gradient.get(column).copied().unwrap_or(f64::NAN);
                frame.gradients.extend((0..self.points.width()).map(slope));
            }
            if with_points {
                frame.points.extend(self.points.row(trial.candidate as usize));
            }
        }
        frame
    }
}

/// Adds a value to runs of equal ones.
fn push_run<T: PartialEq>(runs: &mut Vec<(T, u64)>, value: T) {
    match runs.last_mut() {
        Some((last, count)) if *last == value => *count += 1,
        _ => runs.push((value, 1)),
    }
}

/// The sum, if it is one.
fn total(mut counts: impl Iterator<Item = u64>) -> Option<u64> {
    counts.try_fold(0, u64::checked_add)
}

/// As the journal keeps seconds, so that a run that is resumed tells a strategy the same.
pub(super) fn as_journalled(seconds: f32) -> f32 {
    from_upper_half(upper_half(seconds))
}

fn upper_half(value: f32) -> [u8; 2] {
    ((value.to_bits() >> 16) as u16).to_le_bytes()
}

fn from_upper_half(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// Equal to the bit; parameters that do not exist are equal whatever their NaN looks like.
fn is_same_point(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

fn hash_of(row: &[f64]) -> u64 {
    let mut hash = crate::base::hash::Hasher::default();
    row.iter().for_each(|value| hash.word(if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }));
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(candidate: u64, status: TrialStatus, score: f64) -> Trial {
        let (scores, used) = (vec![score, score / 3.0], vec![100, candidate, candidate]);
        let (others, gradient) = (vec![-score], Vec::new());
        Trial { candidate, status, scores, others, train: 0.25, seconds: 0.5, used, gradient, failure: None }
    }

    const SHAPE: Shape = Shape { lanes: 3, scores: 2, others: 1 };

    fn proposed() -> (History, Vec<Trial>) {
        let mut history = History::new(2, 9);
        (0..9).for_each(|i| history.propose(&[f64::from(i), f64::NAN]));
        assert!((0..9).all(|candidate| history.twin(candidate).is_none()));
        let trials = [(2, TrialStatus::Complete), (3, TrialStatus::NotFinite), (7, TrialStatus::NotFinite)];
        (history, trials.map(|(id, status)| trial(id, status, 1.0 / (id as f64))).to_vec())
    }

    #[test]
    fn a_frame_gives_back_the_trials_that_it_was_made_of() {
        let (history, trials) = proposed();
        for with_points in [false, true] {
            let frame = history.to_frame(&trials, with_points);
            assert_eq!((frame.candidates.len(), frame.statuses.len()), (2, 2), "runs");
            let mut restored = History::new(2, 9);
            assert!(restored.restore(&frame, SHAPE));
            assert_eq!(restored.trials.into_values().collect::<Vec<_>>(), trials);
            assert!(!History::new(2, 9).restore(&frame, Shape { scores: 3, ..SHAPE }), "other folds");
            assert!(!History::new(2, 9).restore(&frame, Shape { lanes: 2, ..SHAPE }), "other lanes");
            assert!(!History::new(2, 9).restore(&frame, Shape { others: 2, ..SHAPE }), "other objectives");
            let longer = Outcomes { candidates: vec![(0, u64::MAX), (7, 4)], ..frame };
            assert!(!History::new(2, 9).restore(&longer, SHAPE), "columns of other lengths");
        }
    }

    #[test]
    fn a_frame_keeps_the_gradients_of_those_that_have_one() {
        let (history, mut trials) = proposed();
        trials[1].gradient = vec![0.5, -3.0];
        let mut restored = History::new(2, 9);
        assert!(restored.restore(&history.to_frame(&trials, true), SHAPE));
        assert_eq!(restored.trials.into_values().collect::<Vec<_>>(), trials);
    }

    #[test]
    fn a_proposal_that_is_not_the_journalled_one_is_noticed() {
        let (history, trials) = proposed();
        let points = |last: f64| Points::from_values(2, vec![2.0, f64::NAN, last, f64::NAN]);
        let restored = |with_points| {
            let mut restored = History::new(2, 9);
            restored.restore(&history.to_frame(&trials, with_points), SHAPE);
            restored
        };
        assert_eq!(restored(true).contradiction(2, &points(3.0)), None);
        assert_eq!(restored(true).contradiction(2, &points(3.5)), Some(3));
        assert_eq!(restored(false).contradiction(2, &points(3.5)), None, "nothing is known of them");
    }

    #[test]
    fn equal_points_are_found_whatever_their_missing_values_look_like() {
        let mut history = History::new(2, 9);
        [[1.0, f64::NAN], [1.0, 0.0], [1.0, -f64::NAN], [1.0, -0.0]].iter().for_each(|row| history.propose(row));
        // Other bits train to other bits.
        assert_eq!([0, 1, 2, 3].map(|candidate| history.twin(candidate)), [None, None, Some(0), None]);
    }

    #[test]
    fn scores_on_the_way_are_kept_by_budget_and_an_end_among_them() {
        let mut history = proposed().0;
        let rung = |budget: u64, trials: &[Trial]| Rung { budget, outcomes: history.to_frame(trials, true) };
        let of = |candidate: u64, score: f64| trial(candidate, TrialStatus::Complete, score);
        let rungs = [rung(1, &[of(2, 3.0), of(5, 1.0)]), rung(3, &[of(5, 0.5)])];
        for rung in &rungs {
            assert!(history.restore_rung(rung, SHAPE));
        }
        assert_eq!(
            [2, 5, 7].map(|candidate| history.rungs_of(candidate).collect::<Vec<_>>()),
            [vec![1], vec![1, 3], vec![]]
        );
        assert_eq!(history.at(5, 1), Some(&of(5, 1.0)));
        assert_eq!(history.at(5, 9), None);
        assert!(history.trials.is_empty());
        assert_eq!(history.prune(2, 3), None, "it never stood there");
        let ended = history.prune(2, 1).unwrap();
        assert_eq!((ended.status, ended.reached()), (TrialStatus::Pruned, of(2, 3.0).value()));
        assert!(ended.value().is_nan(), "it is no choice");
        assert_eq!([1, 3, 9].map(|budget| history.rung_below(5, budget).map(|rung| rung.0)), [None, Some(1), Some(3)]);
        assert_eq!(history.at(2, 3), None, "what was ended may be a twin's that goes on");
        assert_eq!(history.counted(), Counted { finished: 1, scored: 0, pruned: 1 });
        // An outcome says nothing of a rung below, unless it is a failure; and it is not taken back.
        history.trials.insert(5, of(5, 0.25));
        history.trials.insert(7, trial(7, TrialStatus::NotFinite, 1.0));
        assert_eq!(
            [1, 2, 9].map(|budget| history.at(5, budget).map(Trial::value)),
            [1.0, f64::NAN, 0.25].map(|value| { Some(of(5, value).value()).filter(|value| !value.is_nan()) })
        );
        assert!(history.at(7, 1).is_some());
        assert_eq!(history.prune(5, 3), None);
    }
}
