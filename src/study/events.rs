//! What a study tells those who watch it. Observers cannot change the study; one that fails is dropped with a warning.

use super::history::Trial;
use super::regret::Remaining;
use super::result::RunResult;
use crate::data::metrics::Direction;
use std::path::Path;

/// Where a study is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Reading the data.
    Loading,
    /// Splitting and preparing the folds.
    Preparing,
    /// Compiling shaders.
    Compiling,
    /// Training candidates.
    Searching,
    /// Training the winner on all rows but the test's.
    Refitting,
    /// Writing model and result.
    Writing,
}

impl Phase {
    /// In words; the key in the result file.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Loading => "loading",
            Phase::Preparing => "preparing",
            Phase::Compiling => "compiling",
            Phase::Searching => "searching",
            Phase::Refitting => "refitting",
            Phase::Writing => "writing",
        }
    }
}

/// The best candidate so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestSoFar {
    /// Its id.
    pub candidate: u64,
    /// Its score.
    pub value: f64,
    /// Standard error of the score; `None` with one fold.
    pub std_error: Option<f64>,
}

/// Where candidates stand that climb a scheduler's rungs together: of a batch or a bracket, of all where they begin one after
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rungs {
    /// What is being trained to: units of the model's budget, or folds.
    pub budget: u64,
    /// The whole budget, or all folds.
    pub whole: u64,
    /// Whether candidates go fold by fold.
    pub is_by_fold: bool,
    /// Lanes that have entered; fold by fold each candidate has one.
    pub entered: u64,
    /// Those of them whose candidates have neither been ended early nor failed.
    pub alive: u64,
}

/// How far the search is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Candidates with an outcome, earlier sessions' included.
    pub candidates: u64,
    /// How many there will be, where that is known.
    pub total: u64,
    /// Lanes trained in this session.
    pub lanes: u64,
    /// The share of this session's work that is done, by what lanes take: the largest are trained first.
    pub share: f64,
    /// Candidates taken from the journal.
    pub resumed: u64,
    /// Seconds of search in this session.
    pub seconds: f64,
    /// Seconds that a session may search.
    pub limit: Option<f64>,
    /// The best so far.
    pub best: Option<BestSoFar>,
    /// Candidates that failed.
    pub failed: u64,
    /// Candidates that a scheduler ended early.
    pub pruned: u64,
    /// Units of budget that lanes were trained for in this session.
    pub trained: u64,
    /// Of the training that candidates that have come to their end would have taken with their whole budget, the share that
    /// they did not need.
    pub saved: f64,
    /// Where those that climb stand, under a scheduler that ends candidates on their way.
    pub rungs: Option<Rungs>,
    /// What may be left to gain, where a stop rule looks at it.
    pub remaining: Option<Remaining>,
}

impl Progress {
    /// Lanes a second in this session.
    pub fn lanes_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.lanes as f64 / self.seconds } else { 0.0 }
    }
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A new phase.
    Phase(Phase),
    /// Something that the user should know of data or settings.
    Note(String),
    /// The search begins.
    Started {
        /// The study's name.
        study: &'a str,
        /// The run directory.
        dir: &'a Path,
        /// The metric's name.
        metric: &'static str,
        /// Which scores are better.
        direction: Direction,
        /// What was found in the data: rows, and columns by kind.
        data: &'a str,
        /// What trains: "cpu" or "gpu", and the device's name.
        backend: &'a str,
        /// Where it stands at the start.
        progress: Progress,
    },
    /// A lane was trained.
    Lane(Progress),
    /// Outcomes were journalled.
    Trials {
        /// The outcomes.
        trials: &'a [Trial],
        /// How far the search is with them.
        progress: Progress,
    },
    /// The study has come to its end.
    Finished(&'a RunResult),
}

/// Watches a study.
pub trait Observer {
    /// Something happened.
    fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()>;
}

/// All who watch.
#[derive(Default)]
pub struct Observers(Vec<Box<dyn Observer>>);

impl Observers {
    /// Adds one.
    pub fn push(&mut self, observer: Box<dyn Observer>) {
        self.0.push(observer);
    }

    /// Tells everyone; who fails is dropped, and the others hear of it.
    pub fn notify(&mut self, event: &Event<'_>) {
        let mut failures = Vec::new();
        self.0.retain_mut(|observer| match observer.notify(event) {
            Ok(()) => true,
            Err(error) => {
                failures.push(error.to_string());
                false
            }
        });
        for failure in failures {
            self.notify(&Event::Note(format!("a progress display failed and was dropped: {failure}")));
        }
    }
}
