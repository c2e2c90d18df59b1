//! Metrics of the predicted class: each is a function of the confusion counts alone, or of summed weights in their place. The predicted class is the most
//! probable one; of equally probable ones the first.

use super::{Direction, Metric, Reduced, Statistic};
use crate::base::order::most_likely;
use crate::base::registry::Named;
use crate::data::{Prediction, Target, Task, Truth};

/// Row-major `[true class, predicted class]`: the sum of the rows' weights.
pub(super) fn confusion(truth: Truth<'_>, prediction: Prediction<'_>) -> Vec<f64> {
    let (Target::Classes { codes, .. }, Prediction::Probabilities { classes, values }) = (truth.target, prediction)
    else {
        return Vec::new();
    };
    let mut counts = vec![0.0; classes * classes];
    for (at, (code, row)) in codes.iter().zip(values.chunks_exact(classes)).enumerate() {
        // Rows of NaN never come here: their score is NaN.
        let predicted = most_likely(row.iter().copied()).unwrap_or(0);
        counts[*code as usize * classes + predicted] += truth.weight_of(at);
    }
    counts
}

/// Confusion counts with their margins.
struct Counts<'a> {
    classes: usize,
    counts: &'a [f64],
}

impl<'a> Counts<'a> {
    fn new(truth: Truth<'_>, reduced: Reduced<'a>) -> Counts<'a> {
        let counts = if let Reduced::Confusion(counts) = reduced { counts } else { &[] };
        Counts { classes: truth.target.outputs(), counts }
    }

    fn right(&self, class: usize) -> f64 {
        self.counts[class * self.classes + class]
    }

    fn truly(&self, class: usize) -> f64 {
        self.counts[class * self.classes..][..self.classes].iter().sum()
    }

    fn predicted(&self, class: usize) -> f64 {
        self.counts.iter().skip(class).step_by(self.classes).sum()
    }

    fn total(&self) -> f64 {
        self.counts.iter().sum()
    }

    fn all_right(&self) -> f64 {
        (0..self.classes).map(|class| self.right(class)).sum()
    }
}

/// The mean; NaN of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

macro_rules! class_metric {
    ($(#[$doc:meta])* $type:ident, $name:literal, $summary:literal, |$counts:ident| $score:expr) => {
        $(#[$doc])*
        pub struct $type;

        impl Named for $type {
            fn name(&self) -> &'static str {
                $name
            }
            fn summary(&self) -> &'static str {
                $summary
            }
        }

        impl Metric for $type {
            fn direction(&self) -> Direction {
                Direction::Maximize
            }
            fn supports(&self, task: Task, outputs: usize) -> bool {
                task == Task::Classification && outputs >= 2
            }
            fn statistic(&self) -> Statistic {
                Statistic::Confusion
            }
            fn finish(&self, truth: Truth<'_>, reduced: Reduced<'_>) -> f64 {
                let $counts = Counts::new(truth, reduced);
                $score
            }
        }
    };
}

class_metric!(
    /// Share of rows whose class was predicted; NaN of no rows.
    Accuracy,
    "accuracy",
    "share of rows whose class was predicted",
    |counts| counts.all_right() / counts.total()
);

class_metric!(
    /// Mean recall of the classes that occur; NaN of no rows.
    BalancedAccuracy,
    "balanced_accuracy",
    "mean over classes of the share that was found",
    |counts| {
        let occurring = (0..counts.classes).filter(|class| counts.truly(*class) > 0.0);
        mean(occurring.map(|class| counts.right(class) / counts.truly(class)))
    }
);

class_metric!(
    /// Mean F1 of the classes that occur or are predicted; a class without a hit has 0.
    MacroF1,
    "macro_f1",
    "mean over classes of the harmonic mean of precision and recall",
    |counts| {
        let margins = (0..counts.classes).map(|class| (counts.right(class), counts.truly(class) + counts.predicted(class)));
        mean(margins.filter(|(_, margin)| *margin > 0.0).map(|(right, margin)| 2.0 * right / margin))
    }
);

class_metric!(
    /// Matthews' correlation coefficient for any number of classes (Gorodkin 2004); 0 where it has no meaning, that is
    /// where only one class occurs or is predicted.
    Mcc,
    "mcc",
    "Matthews correlation of predicted and true classes",
    |counts| {
        let total = counts.total();
        let (mut cross, mut predicted, mut truly) = (0.0, 0.0, 0.0);
        for class in 0..counts.classes {
            let (p, t) = (counts.predicted(class), counts.truly(class));
            cross += p * t;
            predicted += p * p;
            truly += t * t;
        }
        let spread = (total * total - predicted) * (total * total - truly);
        if spread > 0.0 { (counts.all_right() * total - cross) / spread.sqrt() } else { 0.0 }
    }
);
