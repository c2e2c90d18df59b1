//! Splits along time: what is trained on comes before what is scored. Rows of one time are never parted.

use super::codes_of;
use crate::data::table::Column;

/// Rows in order of time.
pub(super) struct Timeline {
    rows: Vec<u32>,
    /// Where in `rows` each time begins.
    starts: Vec<usize>,
}

impl Timeline {
    /// Orders rows by the time column, equal times in row order; without one by row, each with a time of its own.
    pub(super) fn new(time: Option<&Column>, rows: &[u32]) -> Timeline {
        let mut rows = rows.to_vec();
        let Some(time) = time else {
            return Timeline { starts: (0..rows.len()).collect(), rows };
        };
        let codes = codes_of(time);
        rows.sort_by_key(|&row| (codes[row as usize], row));
        let begins = |place: &usize| *place == 0 || codes[rows[*place] as usize] != codes[rows[place - 1] as usize];
        Timeline { starts: (0..rows.len()).filter(begins).collect(), rows }
    }

    /// How many different times there are.
    pub(super) fn times(&self) -> usize {
        self.starts.len()
    }

    /// The rows of some places, ascending.
    pub(super) fn rows(&self, places: std::ops::Range<usize>) -> Vec<u32> {
        let mut rows = self.rows[places].to_vec();
        rows.sort_unstable();
        rows
    }

    /// About the `wanted` last rows, ascending; at least one time's rows, never all. Nothing where there is one time.
    pub(super) fn last(&self, wanted: usize) -> Vec<u32> {
        match self.cuts(&[self.rows.len() - wanted])[..] {
            [cut] => self.rows(cut..self.rows.len()),
            _ => Vec::new(),
        }
    }

    /// Places that cut the rows into `parts` runs of about equal length, the first taking the remainder: scikit-learn's
    /// TimeSeriesSplit where no two rows have the same time. Needs `parts` different times.
    pub(super) fn equal_cuts(&self, parts: usize) -> Vec<usize> {
        let length = self.rows.len() / parts;
        let wanted: Vec<usize> = (1..parts).map(|part| self.rows.len() - (parts - part) * length).collect();
        self.cuts(&wanted)
    }

    /// Moves each ascending place back to where its time begins, and further only where two would meet or nothing would
    /// be left before the first or after the last. Empty where there are too few times.
    fn cuts(&self, wanted: &[usize]) -> Vec<usize> {
        let times = self.starts.len();
        if times <= wanted.len() {
            return Vec::new();
        }
        let mut previous = 0;
        let cut = |(i, place): (usize, &usize)| {
            let begun = self.starts.partition_point(|start| start <= place).saturating_sub(1);
            // The cuts behind this one need a time each.
            previous = begun.clamp(previous + 1, times - (wanted.len() - i));
            self.starts[previous]
        };
        wanted.iter().enumerate().map(cut).collect()
    }
}
