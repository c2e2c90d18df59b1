//! The scores of a group's lanes on one row set, block by block as they are predicted.
//!
//! Sums and counts are taken of sixteen lanes side by side, each in the order of the rows, so that they have the bits of a
//! lane alone; only metrics that depend on the order of the predictions keep these.

use super::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::data::metrics::{Metric, Reduced, RowTerm, Statistic};
use crate::data::{Prediction, Rows, Target};

/// A lane's score on a row set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneScore {
    /// By the metric; NaN where a prediction is NaN or infinite.
    pub score: f64,
    /// Whether all predictions are finite.
    pub is_finite: bool,
}

/// Takes the predictions of a row set.
pub struct Scoring<'a> {
    level: Level,
    metric: &'static dyn Metric,
    rows: &'a Rows,
    outputs: usize,
    lanes: usize,
    reduced: Reducing,
    /// 0 as long as all predictions of the lane are finite, else NaN.
    alarm: Lanes,
}

/// What predictions are reduced to.
enum Reducing {
    Sums(RowTerm, [f64; LANES]),
    /// `[true class, predicted class]`, sixteen lanes each.
    Counts(Vec<[f64; LANES]>),
    Predictions(Vec<Vec<f32>>),
}

impl<'a> Scoring<'a> {
    /// Of `lanes` lanes, whose predictions have so many outputs a row.
    pub fn new(level: Level, metric: &'static dyn Metric, rows: &'a Rows, outputs: usize, lanes: usize) -> Scoring<'a> {
        let reduced = match metric.statistic() {
            // The sum of no numbers is -0, as elsewhere.
            Statistic::RowSum(term) => Reducing::Sums(term, [-0.0; LANES]),
            Statistic::Confusion => Reducing::Counts(vec![[0.0; LANES]; outputs * outputs]),
            Statistic::Predictions => {
                Reducing::Predictions((0..lanes).map(|_| Vec::with_capacity(rows.y.len() * outputs)).collect())
            }
        };
        Scoring { level, metric, rows, outputs, lanes, reduced, alarm: Lanes::ZERO }
    }

    /// Takes the predictions of the rows from `first` on, `[rows, outputs]`.
    pub fn take(&mut self, first: usize, block: &[Lanes]) {
        let Scoring { level, rows, outputs, lanes, .. } = *self;
        dispatch(level, Alarm { block, alarm: &mut self.alarm });
        match &mut self.reduced {
            Reducing::Sums(term, sums) => {
                dispatch(level, Sum { term: *term, rows, first, outputs, lanes, block, sums });
            }
            Reducing::Counts(counts) => dispatch(level, Count { rows, first, outputs, block, counts }),
            Reducing::Predictions(predictions) => {
                for (lane, values) in predictions.iter_mut().enumerate() {
                    values.extend(block.iter().map(|value| value.0[lane]));
                }
            }
        }
    }

    /// Whether all that it takes of predictions is their squared errors.
    pub fn wants_squared_errors(&self) -> bool {
        matches!(self.reduced, Reducing::Sums(RowTerm::Squared, _))
    }

    /// Every lane's score by sums that were found otherwise.
    pub fn of_sums(mut self, sums: [f64; LANES]) -> Vec<LaneScore> {
        // Larger errors are of predictions that f32 does not hold.
        self.alarm = Lanes(sums.map(|sum| if sum.sqrt() < f64::from(f32::MAX) { 0.0 } else { f32::NAN }));
        self.reduced = Reducing::Sums(RowTerm::Squared, sums);
        self.finish()
    }

    /// Every lane's score, when all rows were taken.
    pub fn finish(self) -> Vec<LaneScore> {
        let truth = self.rows.truth();
        let score = |lane: usize| match &self.reduced {
            Reducing::Sums(_, sums) => self.metric.finish(truth, Reduced::RowSum(sums[lane])),
            Reducing::Counts(counts) => {
                let counts: Vec<f64> = counts.iter().map(|counts| counts[lane]).collect();
                self.metric.finish(truth, Reduced::Confusion(&counts))
            }
            Reducing::Predictions(predictions) => {
                let values = &predictions[lane];
                let prediction = match self.rows.y {
                    Target::Classes { classes, .. } => Prediction::Probabilities { classes, values },
                    Target::Values(_) => Prediction::Values(values),
                };
                self.metric.finish(truth, Reduced::Predictions(prediction))
            }
        };
        let lane_score = |lane: usize| {
            let is_finite = !self.alarm.0[lane].is_nan();
            LaneScore { score: if is_finite { score(lane) } else { f64::NAN }, is_finite }
        };
        (0..self.lanes).map(lane_score).collect()
    }
}

/// Watches for predictions that are not finite: times zero they are NaN.
struct Alarm<'a> {
    block: &'a [Lanes],
    alarm: &'a mut Lanes,
}

impl Kernel for Alarm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let zero = V::zero();
        let mut alarm = V::load(self.alarm);
        self.block.iter().for_each(|value| alarm = V::load(value).mul_add(zero, alarm));
        alarm.store(self.alarm);
    }
}

/// Adds a term of each row to every lane's sum.
struct Sum<'a> {
    term: RowTerm,
    rows: &'a Rows,
    first: usize,
    outputs: usize,
    lanes: usize,
    block: &'a [Lanes],
    sums: &'a mut [f64; LANES],
}

impl Kernel for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Sum { term, rows, first, outputs, lanes, block, sums } = self;
        let truth = rows.truth();
        let add = |sum: &mut f64, row: usize, term: f64| {
            *sum += if truth.weight.is_some() { truth.weight_of(row) * term } else { term };
        };
        let mut values = [0.0; LANES];
        match (&rows.y, term) {
            (Target::Values(y), RowTerm::Squared) => {
                for (row, (prediction, y)) in (first..).zip(block.iter().zip(&y[first..])) {
                    for (value, prediction) in values.iter_mut().zip(prediction.0) {
                        let error = f64::from(*y) - f64::from(prediction);
                        *value = error * error;
                    }
                    sums.iter_mut().zip(values).for_each(|(sum, value)| add(sum, row, value));
                }
            }
            (Target::Values(y), _) => {
                for (row, (prediction, y)) in (first..).zip(block.iter().zip(&y[first..])) {
                    for (sum, prediction) in sums.iter_mut().zip(prediction.0).take(lanes) {
                        add(sum, row, term.of_value(f64::from(*y), f64::from(prediction)));
                    }
                }
            }
            (Target::Classes { codes, .. }, RowTerm::LogLoss) => {
                for (row, (outputs, code)) in (first..).zip(block.chunks_exact(outputs).zip(&codes[first..])) {
                    let of_truth = outputs[*code as usize].0;
                    for (sum, p) in sums.iter_mut().zip(of_truth).take(lanes) {
                        add(sum, row, term.of_class(0, &[p]));
                    }
                }
            }
            (Target::Classes { codes, .. }, _) => {
                let mut one = vec![0.0; outputs];
                for (row, (outputs, code)) in (first..).zip(block.chunks_exact(outputs).zip(&codes[first..])) {
                    for (lane, sum) in sums.iter_mut().enumerate().take(lanes) {
                        one.iter_mut().zip(outputs).for_each(|(to, from)| *to = from.0[lane]);
                        add(sum, row, term.of_class(*code as usize, &one));
                    }
                }
            }
        }
    }
}

/// Counts each row's true and most likely class in every lane; of equally likely ones the first.
struct Count<'a> {
    rows: &'a Rows,
    first: usize,
    outputs: usize,
    block: &'a [Lanes],
    counts: &'a mut [[f64; LANES]],
}

impl Kernel for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Count { rows, first, outputs, block, counts } = self;
        let Target::Classes { codes, .. } = &rows.y else { return };
        let truth = rows.truth();
        for (row, (of_row, code)) in (first..).zip(block.chunks_exact(outputs).zip(&codes[first..])) {
            let (mut best, mut class) = (of_row[0].0, [0u32; LANES]);
            for (output, values) in (1..).zip(&of_row[1..]) {
                for ((best, class), value) in best.iter_mut().zip(&mut class).zip(values.0) {
                    let is_better = value > *best;
                    *best = if is_better { value } else { *best };
                    *class = if is_better { output } else { *class };
                }
            }
            let weight = truth.weight_of(row);
            let of_code = &mut counts[*code as usize * outputs..][..outputs];
            class.iter().enumerate().for_each(|(lane, class)| of_code[*class as usize][lane] += weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, uniform};
    use crate::data::Task;
    use crate::data::metrics::METRICS;
    use ndarray::Array2;

    /// Predictions of `lanes` lanes, with ties, and the rows that they are of.
    fn predicted(task: Task, outputs: usize, rows: usize, is_weighted: bool) -> (Rows, Vec<Lanes>) {
        let draw = |i: usize| uniform(Key::from_seed(3).words(i as u64)[0]);
        let y = match task {
            Task::Classification => {
                let codes = (0..rows).map(|row| (draw(row) * outputs as f32) as u32).collect();
                Target::Classes { codes, classes: outputs }
            }
            Task::Regression => Target::Values((0..rows).map(|row| draw(row) * 9.0 - 4.0).collect()),
        };
        let mut set = Rows::new(Array2::zeros((rows, 1)), y);
        set.weight = is_weighted.then(|| (0..rows).map(|row| draw(row + 99)).collect());
        let value = |row: usize, output: usize, lane: usize| {
            let mut parts = (0..outputs).map(|k| 1.0 + (draw((row * outputs + k) * LANES + lane + 7) * 4.0).floor());
            let sum: f32 = parts.clone().sum();
            let part = parts.nth(output).unwrap_or(0.0);
            if task == Task::Regression { part } else { part / sum }
        };
        let of_row = |i: usize| Lanes(std::array::from_fn(|lane| value(i / outputs, i % outputs, lane)));
        (set, (0..rows * outputs).map(of_row).collect())
    }

    #[test]
    fn blocks_give_the_bits_of_whole_predictions_in_every_metric() {
        let mut seen = 0;
        for (task, outputs) in [(Task::Classification, 2), (Task::Classification, 5), (Task::Regression, 1)] {
            for is_weighted in [false, true] {
                let (rows, block) = predicted(task, outputs, 61, is_weighted);
                for metric in METRICS.iter().filter(|metric| metric.supports(task, outputs)) {
                    for level in Level::available() {
                        let mut scoring = Scoring::new(level, *metric, &rows, outputs, 11);
                        scoring.take(0, &block[..40 * outputs]);
                        scoring.take(40, &block[40 * outputs..]);
                        for (lane, score) in scoring.finish().into_iter().enumerate() {
                            let values: Vec<f32> = block.iter().map(|value| value.0[lane]).collect();
                            let prediction = match task {
                                Task::Classification => Prediction::Probabilities { classes: outputs, values: &values },
                                Task::Regression => Prediction::Values(&values),
                            };
                            let whole = metric.score(rows.truth(), prediction);
                            assert_eq!(score.score.to_bits(), whole.to_bits(), "{}, {}", metric.name(), level.name());
                            seen += 1;
                        }
                    }
                }
            }
        }
        assert!(seen > 500);
    }

    #[test]
    fn a_prediction_that_is_not_finite_is_its_lanes_alone() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (rows, mut block) = predicted(Task::Regression, 1, 20, false);
            block[7].0[3] = bad;
            let mut scoring = Scoring::new(Level::detect(), METRICS[8], &rows, 1, LANES);
            scoring.take(0, &block);
            for (lane, score) in scoring.finish().into_iter().enumerate() {
                assert_eq!((score.is_finite, score.score.is_nan()), (lane != 3, lane == 3), "lane {lane}");
            }
        }
    }
}
