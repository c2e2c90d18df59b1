//! The search for a node's best split: features as they are drawn, cuts of each from below, gains by a [`Tally`].
//!
//! A feature's rows are counted by bin. Bins that have no row are neither looked at nor cleared, so that a node of few
//! rows takes time in proportion to those.

use super::gain::{Best, Parts};
use super::recipe::{Kind, scaled};
use crate::base::random::{Key, TOGETHER};
use crate::models::trees::bins::FeatureBins;
use crate::models::trees::tree::{BinSet, Cut, Split, contains, insert};
use std::cmp::Ordering;

/// A row of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Its index in the fold's training rows.
    pub row: u32,
    /// Its class, or its number in steps.
    pub y: i32,
    /// How often it counts.
    pub weight: u32,
}

/// What a node's rows are counted into.
pub trait Tally {
    /// Words of a node's totals.
    fn width(&self) -> usize;
    /// Totals of some rows.
    fn total(&self, samples: &[Sample], totals: &mut [u32]);
    /// Whether all rows have the same target.
    fn is_uniform(&self, samples: &[Sample], totals: &[u32]) -> bool;
    /// Turns to a node.
    fn begin(&mut self, totals: &[u32], min_leaf: u32);
    /// Counts a node's rows by their bin, of which there are `slots`, and gives a bit for each that has any.
    fn count(&mut self, samples: &[Sample], column: &[u8], slots: usize) -> [u64; 4];
    /// Forgets what a bin has.
    fn clear(&mut self, bin: u8);
    /// Empties the left side.
    fn begin_left(&mut self);
    /// Moves a bin to the left side.
    fn add(&mut self, bin: u8);
    /// The gain's parts, with a bin of missing values on the left side beside what is there, and the left side's rows.
    fn parts(&self, missing: Option<u8>) -> (Parts, u32);
    /// Whether no split could be better.
    fn is_perfect(&self, parts: &Parts) -> bool;
    /// Keeps the left side as that of the best split.
    fn keep(&mut self, missing: Option<u8>);
    /// The order of two categories by their targets.
    fn order(&self, a: u8, b: u8) -> Ordering;
    /// Totals of the best split's left side.
    fn left(&self) -> &[u32];
    /// Totals of its right side.
    fn right(&self, right: &mut [u32]);
    /// The best split so far: none after [`Tally::begin`].
    fn best(&mut self) -> &mut Best;
}

/// Where the best split is.
#[derive(Debug, Clone, Copy)]
enum Place {
    None,
    /// Between two neighbouring bins of the node.
    Between(u8, u8),
    /// Up to a bin.
    UpTo(u8),
    /// A set of bins, and all bins that the node has.
    Subset(BinSet, BinSet),
}

/// What looking at a feature has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// All rows are in one bin.
    Constant,
    Varies,
    /// A split was found that none can better.
    Perfect,
}

/// A search that goes from node to node.
pub struct Search<'a, T> {
    features: &'a [FeatureBins],
    /// `[features, rows]` bins of the training rows.
    columns: &'a [&'a [u8]],
    kind: Kind,
    /// Features that a node looks at.
    looked_at: u32,
    /// What rows are counted into.
    pub tally: T,
    /// All features; nodes swap some to the front and back.
    order: Vec<u32>,
    swaps: Vec<u32>,
    min_leaf: u32,
    rows: u32,
    place: Place,
    feature: u32,
    missing_left: bool,
    /// Whether the node has rows without a value of the best split's feature.
    has_missing: bool,
    left_weight: u32,
    right_weight: u32,
}

impl<'a, T: Tally> Search<'a, T> {
    /// A search over the features of a fold.
    pub fn new(
        features: &'a [FeatureBins],
        columns: &'a [&'a [u8]],
        kind: Kind,
        looked_at: u32,
        tally: T,
    ) -> Search<'a, T> {
        Search {
            features,
            columns,
            kind,
            looked_at,
            tally,
            order: (0..features.len() as u32).collect(),
            swaps: Vec::with_capacity(features.len()),
            min_leaf: 1,
            rows: 0,
            place: Place::None,
            feature: 0,
            missing_left: false,
            has_missing: false,
            left_weight: 0,
            right_weight: 0,
        }
    }

    /// A feature's bins of all training rows.
    pub fn column(&self, feature: u32) -> &'a [u8] {
        self.columns[feature as usize]
    }

    /// How a feature is binned.
    pub fn bins(&self, feature: u32) -> &'a FeatureBins {
        &self.features[feature as usize]
    }

    /// The best split of a node's rows, if any leaves `min_leaf` of them on both sides. `constants` has a bit for each
    /// feature that is known not to vary over them, and gets more.
    #[inline(always)]
    pub fn split(
        &mut self,
        key: Key,
        samples: &[Sample],
        totals: &[u32],
        constants: &mut [u64],
        min_leaf: u32,
    ) -> Option<Split> {
        self.tally.begin(totals, min_leaf);
        (self.place, self.min_leaf, self.rows) = (Place::None, min_leaf, samples.len() as u32);
        let count = self.order.len();
        let mut words = [[0; 2]; TOGETHER];
        let (mut has_varied, mut bins) = (false, [0; 256]);
        for drawn in 0..count {
            if drawn >= self.looked_at as usize && has_varied {
                break;
            }
            if drawn % TOGETHER == 0 {
                words = key.words_together((drawn / TOGETHER * TOGETHER) as u64);
            }
            let [word, cut] = words[drawn % TOGETHER];
            let other = drawn + scaled(word, (count - drawn) as u32) as usize;
            self.order.swap(drawn, other);
            self.swaps.push(other as u32);
            let feature = self.order[drawn];
            let (place, bit) = (feature as usize / 64, 1u64 << (feature % 64));
            if constants[place] & bit != 0 {
                continue;
            }
            match self.look(feature, samples, &mut bins, cut) {
                Look::Constant => constants[place] |= bit,
                Look::Varies => has_varied = true,
                Look::Perfect => break,
            }
        }
        while let Some(other) = self.swaps.pop() {
            self.order.swap(self.swaps.len(), other as usize);
        }
        self.best_split()
    }

    #[inline(always)]
    fn look(&mut self, feature: u32, samples: &[Sample], bins: &mut [u8; 256], word: u32) -> Look {
        let features = self.features;
        let found = &features[feature as usize];
        let occupied = self.tally.count(samples, self.columns[feature as usize], found.slots());
        let mut count = 0;
        for (word, mut bits) in occupied.into_iter().enumerate() {
            while bits != 0 {
                bins[count] = (word * 64) as u8 + bits.trailing_zeros() as u8;
                bits &= bits - 1;
                count += 1;
            }
        }
        let look = if count < 2 {
            Look::Constant
        } else if found.is_category() {
            self.look_at_categories(feature, &mut bins[..count], word)
        } else {
            self.look_at_numbers(feature, found, &bins[..count], word)
        };
        bins[..count].iter().for_each(|bin| self.tally.clear(*bin));
        look
    }

    /// Cuts between bins in their order; rows without a value, in the last bin, are tried on both sides.
    #[inline(always)]
    fn look_at_numbers(&mut self, feature: u32, found: &FeatureBins, bins: &[u8], word: u32) -> Look {
        let missing = Some(found.missing()).filter(|missing| bins.ends_with(&[*missing]));
        let values = &bins[..bins.len() - usize::from(missing.is_some())];
        let last = values.len() - 1;
        // Only one cut where it is drawn: before which bin, and where between the bins.
        let mut drawn = None;
        if self.kind == Kind::ExtraTrees && last > 0 {
            let (low, high) = (found.places[usize::from(values[0])][0], found.places[usize::from(values[last])][1]);
            let bin = bin_at(found, low + scaled(word, high - low), values[0], values[last] - 1);
            drawn = Some((values.partition_point(|value| *value <= bin) - 1, bin));
        }
        self.tally.begin_left();
        // All values on one side is a split if some are missing.
        let cuts = &values[..last + usize::from(missing.is_some())];
        for (at, bin) in cuts.iter().enumerate() {
            self.tally.add(*bin);
            if drawn.is_some_and(|(only, _)| at != only) {
                continue;
            }
            let place = match drawn {
                Some((_, bin)) => Place::UpTo(bin),
                None if at == last => Place::UpTo(found.bins as u8 - 1),
                None => Place::Between(*bin, values[at + 1]),
            };
            if self.consider(feature, place, None, missing.is_some()) {
                return Look::Perfect;
            }
            if at < last && missing.is_some() && self.consider(feature, place, missing, true) {
                return Look::Perfect;
            }
            if drawn.is_some() {
                break;
            }
        }
        Look::Varies
    }

    /// Cuts between categories in the order of their targets; missing values are one of them.
    #[inline(always)]
    fn look_at_categories(&mut self, feature: u32, bins: &mut [u8], word: u32) -> Look {
        bins.sort_unstable_by(|a, b| self.tally.order(*a, *b).then(a.cmp(b)));
        let missing = self.features[feature as usize].missing();
        let has_missing = bins.contains(&missing);
        let drawn = scaled(word, bins.len() as u32 - 1) as usize;
        let (mut set, mut all) = (BinSet::default(), BinSet::default());
        bins.iter().for_each(|bin| insert(&mut all, *bin));
        self.tally.begin_left();
        for (at, bin) in bins[..bins.len() - 1].iter().enumerate() {
            self.tally.add(*bin);
            insert(&mut set, *bin);
            if self.kind == Kind::ExtraTrees && at != drawn {
                continue;
            }
            if self.consider(feature, Place::Subset(set, all), None, has_missing) {
                return Look::Perfect;
            }
        }
        Look::Varies
    }

    /// Takes a split if it is the best so far; whether none can be better.
    #[inline(always)]
    fn consider(&mut self, feature: u32, place: Place, missing: Option<u8>, has_missing: bool) -> bool {
        let (parts, rows) = self.tally.parts(missing);
        if rows < self.min_leaf || self.rows - rows < self.min_leaf || !self.tally.best().take(parts) {
            return false;
        }
        self.tally.keep(missing);
        (self.feature, self.place, self.missing_left, self.has_missing) =
            (feature, place, missing.is_some(), has_missing);
        (self.left_weight, self.right_weight) = (parts.left_weight, parts.right_weight);
        self.tally.is_perfect(&parts)
    }

    /// The best split as a tree holds it. What the node has not seen goes where most of its rows go.
    #[inline(always)]
    fn best_split(&self) -> Option<Split> {
        let found = self.features.get(self.feature as usize)?;
        let is_left_heavier = self.left_weight > self.right_weight;
        let missing_left = if self.has_missing { self.missing_left } else { is_left_heavier };
        let (cut, missing_left) = match self.place {
            Place::None => return None,
            Place::UpTo(last) => (Cut::UpTo(last), missing_left),
            Place::Between(below, above) => {
                let (low, high) = (found.places[usize::from(below)][1], found.places[usize::from(above)][0]);
                // A value in the very middle goes left, whatever steps were lost in rounding down.
                let middle = (low + (high - low) / 2).saturating_add(2);
                (Cut::UpTo(bin_at(found, middle, below, above - 1)), missing_left)
            }
            Place::Subset(set, all) => {
                let missing = found.missing();
                let others = if is_left_heavier { all.map(|word| !word) } else { BinSet::default() };
                let missing_left = if self.has_missing { contains(&set, missing) } else { is_left_heavier };
                (Cut::Subset(std::array::from_fn(|word| set[word] | others[word])), missing_left)
            }
        };
        Some(Split { feature: self.feature, cut, missing_left })
    }
}

/// The last bin whose values lie at or below a place, between `first` and `last`.
#[inline(always)]
fn bin_at(bins: &FeatureBins, place: u32, first: u8, last: u8) -> u8 {
    let places = &bins.places[usize::from(first)..=usize::from(last)];
    first + (places.partition_point(|bin| bin[1] <= place).max(1) - 1) as u8
}

/// The bins of some rows, each given to `add` with its row, as a bit each.
#[inline(always)]
pub fn mark(samples: &[Sample], column: &[u8], slots: usize, mut add: impl FnMut(usize, &Sample)) -> [u64; 4] {
    let mut occupied = [0u64; 4];
    if slots <= 64 {
        // One word stays in a register, where it would else be read back after each write.
        let mut word = 0;
        for sample in samples {
            let bin = column[sample.row as usize];
            add(usize::from(bin), sample);
            word |= 1 << (bin & 63);
        }
        occupied[0] = word;
    } else {
        for sample in samples {
            let bin = column[sample.row as usize];
            add(usize::from(bin), sample);
            occupied[usize::from(bin >> 6)] |= 1 << (bin & 63);
        }
    }
    occupied
}
