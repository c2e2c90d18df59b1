//! What became of every candidate, as the journal keeps it.

use super::choice::{mean, std_error};
use super::journal::Outcomes;
use crate::backend::LaneStatus;
use crate::space::Points;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// How a candidate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum TrialStatus {
    /// Every lane trained to its budget, or converged.
    Complete = 0,
    /// Scored, but some lane's solver stopped at its cap.
    IterationLimit = 1,
    /// Some lane's weights or predictions became NaN or infinite.
    NotFinite = 2,
    /// No draw met the constraints.
    Infeasible = 3,
}

impl TrialStatus {
    fn from_code(code: u8) -> TrialStatus {
        match code {
            0 => TrialStatus::Complete,
            1 => TrialStatus::IterationLimit,
            3 => TrialStatus::Infeasible,
            _ => TrialStatus::NotFinite,
        }
    }

    /// The worse of two.
    fn with(self, lane: LaneStatus) -> TrialStatus {
        match (self, lane) {
            (TrialStatus::Infeasible, _) => self,
            (_, LaneStatus::NotFinite) | (TrialStatus::NotFinite, _) => TrialStatus::NotFinite,
            (_, LaneStatus::IterationLimit) | (TrialStatus::IterationLimit, _) => TrialStatus::IterationLimit,
            _ => TrialStatus::Complete,
        }
    }

    /// Whether it has a score.
    pub fn is_scored(self) -> bool {
        matches!(self, TrialStatus::Complete | TrialStatus::IterationLimit)
    }

    /// In words.
    pub fn reason(self) -> &'static str {
        match self {
            TrialStatus::Complete => "complete",
            TrialStatus::IterationLimit => "its solver stopped at its cap",
            TrialStatus::NotFinite => "its weights or predictions became NaN or infinite",
            TrialStatus::Infeasible => "no draw met the constraints",
        }
    }
}

/// A finished candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Its id.
    pub candidate: u64,
    /// How it ended.
    pub status: TrialStatus,
    /// One score for each row set of each fold.
    pub scores: Vec<f64>,
    /// Mean score on training rows.
    pub train: f32,
    /// Seconds of training over all its lanes.
    pub seconds: f32,
}

impl Trial {
    /// Mean of the scores; NaN where it has none.
    pub fn value(&self) -> f64 {
        if self.status.is_scored() { mean(&self.scores) } else { f64::NAN }
    }

    /// Standard error of that mean.
    pub fn std_error(&self) -> Option<f64> {
        std_error(&self.scores)
    }

    /// One that never trained.
    pub fn infeasible(candidate: u64, scores: usize) -> Trial {
        let status = TrialStatus::Infeasible;
        Trial { candidate, status, scores: vec![f64::NAN; scores], train: f32::NAN, seconds: 0.0 }
    }
}

/// A candidate some of whose lanes have reported.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    status: TrialStatus,
    scores: Vec<f64>,
    train: Vec<f64>,
    seconds: f64,
    missing: usize,
}

impl Pending {
    pub(super) fn new(lanes: usize, scores: usize) -> Pending {
        let status = TrialStatus::Complete;
        Pending { status, scores: vec![f64::NAN; scores], train: vec![f64::NAN; lanes], seconds: 0.0, missing: lanes }
    }

    /// Takes the report of lane `lane`, whose scores begin at `first`; whether it was the last.
    pub(super) fn take(&mut self, lane: usize, first: usize, report: &crate::backend::LaneReport) -> bool {
        self.status = self.status.with(report.status);
        self.scores[first..first + report.evals.len()].copy_from_slice(&report.evals);
        self.train[lane] = report.train;
        self.seconds += report.seconds;
        self.missing -= 1;
        self.missing == 0
    }

    pub(super) fn finish(self, candidate: u64) -> Trial {
        // A metric without an answer on some fold leaves the candidate without a score.
        let is_scored = self.scores.iter().all(|score| !score.is_nan());
        let status = if is_scored { self.status } else { self.status.with(LaneStatus::NotFinite) };
        let train = mean(&self.train) as f32;
        Trial { candidate, status, scores: self.scores, train, seconds: self.seconds as f32 }
    }
}

/// Every trial of a study, by id, and the points they were made of.
#[derive(Debug, Default)]
pub struct History {
    /// Finished candidates.
    pub trials: BTreeMap<u64, Trial>,
    /// Every proposed candidate's point; row i is candidate i.
    pub points: Points,
    /// First candidate of each point, by the point's hash.
    first: HashMap<u64, u64>,
}

impl History {
    /// For points of `width` parameters.
    pub fn new(width: usize) -> History {
        History { trials: BTreeMap::new(), points: Points::new(width), first: HashMap::new() }
    }

    /// Adds the next candidate's point; the id of an earlier candidate with the same point, if there is one.
    pub fn propose(&mut self, row: &[f64]) -> Option<u64> {
        let id = self.points.len() as u64;
        let is_same = |other: u64| {
            let other = self.points.row(other as usize);
            other.iter().zip(row).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
        };
        let hash = hash_of(row);
        let twin = self.first.get(&hash).copied().filter(|other| is_same(*other));
        self.first.entry(hash).or_insert(id);
        self.points.push(row);
        twin
    }

    /// What most failed candidates died of.
    pub(super) fn usual_failure(&self) -> TrialStatus {
        let count = |status: TrialStatus| self.trials.values().filter(|trial| trial.status == status).count();
        if count(TrialStatus::Infeasible) > count(TrialStatus::NotFinite) {
            TrialStatus::Infeasible
        } else {
            TrialStatus::NotFinite
        }
    }

    /// Drops the outcomes of candidates that were not proposed.
    pub(super) fn forget_unproposed(&mut self) {
        self.trials.split_off(&(self.points.len() as u64));
    }

    /// Takes what a journal frame holds; `scores` numbers a candidate. `false` if its columns do not fit together.
    pub fn restore(&mut self, frame: &Outcomes, scores: usize) -> bool {
        let n = frame.candidates.len();
        let fits = frame.statuses.len() == n
            && frame.scores.len() == n * scores
            && frame.train.len() == n
            && frame.seconds.len() == n;
        if fits {
            for (i, candidate) in frame.candidates.iter().enumerate() {
                let trial = Trial {
                    candidate: *candidate,
                    status: TrialStatus::from_code(frame.statuses[i]),
                    scores: frame.scores[i * scores..][..scores].to_vec(),
                    train: frame.train[i],
                    seconds: frame.seconds[i],
                };
                self.trials.insert(*candidate, trial);
            }
        }
        fits
    }
}

/// Trials as a journal frame.
pub(super) fn to_frame(trials: &[Trial]) -> Outcomes {
    Outcomes {
        candidates: trials.iter().map(|trial| trial.candidate).collect(),
        statuses: trials.iter().map(|trial| trial.status as u8).collect(),
        scores: trials.iter().flat_map(|trial| trial.scores.iter().copied()).collect(),
        train: trials.iter().map(|trial| trial.train).collect(),
        seconds: trials.iter().map(|trial| trial.seconds).collect(),
    }
}

fn hash_of(row: &[f64]) -> u64 {
    let mut hash = crate::base::hash::Hasher::default();
    row.iter().for_each(|value| hash.word(if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }));
    hash.finish()
}
