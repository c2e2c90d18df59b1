//! What schedulers share that go fold by fold: the candidates of a batch are trained on the next fold side by side, each with the
//! model's whole budget, and a test on the folds so far says who is worse than the best. Here a unit of budget is a fold.
//!
//! The best so far is the one with the least mean on these folds, among those who race and the best of those before them that
//! has been on all folds: it races along, and cannot end.

use super::{Reached, Round, Scheduler, SchedulerOptions, rungs};
use crate::base::order;

/// Who is to be compared.
pub(super) struct Field<'a> {
    /// The values of each on the same folds, less is better.
    pub(super) rows: Vec<&'a [f64]>,
    /// The place of the one with the least mean.
    pub(super) best: usize,
    /// The place of the best of those before, if there is one.
    pub(super) earlier: Option<usize>,
    /// How many folds there are in all.
    pub(super) folds: usize,
}

/// Who is worse than the best.
pub(super) trait Test: Send {
    /// Whether each one is.
    fn worse(&self, field: &Field<'_>) -> Vec<bool>;

    /// Hears the values of some candidates that have been on all folds.
    fn learn(&mut self, _whole: &[Vec<f64>]) {}
}

/// A batch after the other under a test.
pub(super) struct Race<T> {
    test: T,
    /// Folds after which there is a test, and all of them.
    rungs: Vec<u64>,
    /// The place of those that they have come to.
    rung: usize,
    /// Those who race, ascending by id.
    racing: Vec<Racer>,
    /// The values of the best that has been on all folds.
    best: Option<Vec<f64>>,
}

struct Racer {
    candidate: u64,
    values: Vec<f64>,
}

/// Folds after which there is a test: from `first` on, or from where the options have it.
pub(super) fn rungs(options: &SchedulerOptions, first: u64) -> Vec<u64> {
    let least = options.least.max(first);
    rungs::alone(&SchedulerOptions { least, interval: Some(options.interval.unwrap_or(1)), ..*options })
}

impl<T: Test> Race<T> {
    pub(super) fn new(rungs: Vec<u64>, test: T) -> Race<T> {
        Race { test, rungs, rung: 0, racing: Vec::new(), best: None }
    }

    /// Takes out those who are worse than the best: their ids.
    fn end(&mut self, folds: usize) -> Vec<u64> {
        let rows = self.racing.iter().map(|racer| &racer.values).chain(&self.best);
        let rows: Vec<&[f64]> = rows.map(|values| &values[..folds.min(values.len())]).collect();
        let means: Vec<f64> = rows.iter().map(|values| mean(values)).collect();
        let Some(best) = (0..rows.len()).min_by(|a, b| order::ascending(means[*a], means[*b])) else {
            return Vec::new();
        };
        let earlier = self.best.is_some().then(|| rows.len() - 1);
        let all = self.rungs.last().map_or(folds, |all| *all as usize);
        let mut worse = self.test.worse(&Field { rows, best, earlier, folds: all }).into_iter();
        let mut ended = Vec::new();
        self.racing.retain(|racer| {
            let is_worse = worse.next().unwrap_or(false);
            if is_worse {
                ended.push(racer.candidate);
            }
            !is_worse
        });
        ended
    }
}

impl<T: Test> Scheduler for Race<T> {
    fn next(&mut self, room: u64, batch: u64) -> Round {
        let mut ended = Vec::new();
        if let [had, to, ..] = self.rungs[self.rung..]
            && !self.racing.is_empty()
        {
            ended = self.end(had as usize).into_iter().map(|candidate| (candidate, had)).collect();
            if !self.racing.is_empty() {
                self.rung += 1;
                let go_on = self.racing.iter().map(|racer| (racer.candidate, to)).collect();
                return Round { go_on, ended, ..Round::default() };
            }
        }
        self.rung = 0;
        Round { begin: room.min(batch), budget: self.rungs[0], ended, ..Round::default() }
    }

    fn report(&mut self, reached: &[Reached]) {
        let racer = |one: &Reached| Racer { candidate: one.candidate, values: one.values.clone() };
        self.racing = reached.iter().filter(|one| !one.value.is_nan()).map(racer).collect();
        if self.rung + 1 == self.rungs.len() {
            let whole: Vec<Vec<f64>> = self.racing.drain(..).map(|racer| racer.values).collect();
            self.test.learn(&whole);
            self.best = whole.into_iter().chain(self.best.take()).min_by(|a, b| order::ascending(mean(a), mean(b)));
        }
    }
}

/// Mean in the order given.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// By how much one is above another on each fold; what is infinite on both is equal there.
pub(super) fn differences(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(a, b)| if a == b { 0.0 } else { a - b }).collect()
}
