//! The best split of a node, from its histogram.
//!
//! All sums are whole numbers, in units of the tree's own ([`super::objective::Quanta`]); a split's gain is a short fixed
//! sequence of f32 operations on them, each rounded once and none fused, so that every device that keeps to it chooses
//! alike. Sixteen columns are scanned side by side, from their last slots down. Which splits are allowed, how categories
//! are ordered, and which of equally good splits is taken follow LightGBM (Ke et al. 2017; `feature_histogram.hpp` of
//! 4.x), rows of a slot being counted by its share of the node's hessian among them.

use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::models::trees::histogram::{BLOCK, Blocks, Histogram, MOST_SLOTS, Place, Slot, gradient, halves, hessian};
use crate::models::trees::tree::{BinSet, Cut, Split, contains, insert};

/// What splits must keep to, in a tree's own units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Penalty on the absolute value of a leaf.
    pub l1: f32,
    /// Penalty on the square of a leaf's value.
    pub l2: f32,
    /// What a split must gain at least.
    pub min_gain: f32,
    /// Rows of a child at least.
    pub min_rows: f32,
    /// Hessian of a child at least; 1 or more.
    pub min_hessian: f32,
    /// How categories are split.
    pub category: CategoryRules,
}

/// How categories are split; hessians in a tree's own units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CategoryRules {
    /// Columns with so many slots or fewer part one category from the others.
    pub one_hot: usize,
    /// Added to the hessian of a category before they are ordered.
    pub smoothing: f32,
    /// Rows of a category that is to be ordered, at least.
    pub min_rows: f32,
    /// Added to `l2` where a subset is chosen.
    pub l2: f32,
    /// Categories of the smaller side at most.
    pub most: usize,
    /// Rows that two neighbouring cuts of the order are apart, at least.
    pub group_rows: f32,
}

/// A node's sums and the rows that they are of.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// Packed gradient and hessian.
    pub sums: u64,
    /// Rows.
    pub rows: u32,
}

/// A split that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// How much better than the node as it is, less `min_gain`; positive.
    pub gain: f32,
    /// The split; where missing values go is meant only if `has_missing`.
    pub split: Split,
    /// Whether the column has missing values among the fold's training rows.
    pub has_missing: bool,
    /// Packed sums of the left child.
    pub left: u64,
    /// The penalty on the children's values.
    pub l2: f32,
}

/// What is known of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its slots, with that of missing values.
    pub slots: usize,
    /// Whether they are categories.
    pub is_category: bool,
    /// Whether training rows have missing values.
    pub has_missing: bool,
}

/// Moves a sum of gradients towards zero by the penalty.
#[inline(always)]
pub fn soft(gradient: f32, l1: f32) -> f32 {
    let size = gradient.abs() - l1;
    if size > 0.0 { size.copysign(gradient) } else { 0.0 }
}

/// A leaf's score: what its best value takes off the loss, twice.
#[inline(always)]
fn score(gradient: f32, hessian: f32, rules: &Rules) -> f32 {
    let gradient = soft(gradient, rules.l1);
    gradient * gradient / (hessian + rules.l2)
}

/// Both children's scores, over a common denominator: one division. The same operations as [`Scan::gain`].
#[inline(always)]
fn pair_score(left: (f32, f32), right: (f32, f32), l1: f32, l2: f32) -> f32 {
    let (gl, gr) = (soft(left.0, l1), soft(right.0, l1));
    let (hl, hr) = (left.1 + l2, right.1 + l2);
    (gl * gl * hr + gr * gr * hl) / (hl * hr)
}

/// Half-way cases go up, as LightGBM's `RoundInt` counts rows.
#[inline(always)]
fn count(hessian: f32, factor: f32) -> f32 {
    (hessian * factor + 0.5) as i32 as f32
}

/// Finds a node's best split; the first column of equally good ones. `dead` has a bit a column: those that an ancestor had
/// no split for are passed over, as LightGBM does, and those that this node has none for become so. `level` is the
/// instruction set.
pub fn best(
    blocks: &Blocks,
    columns: &[Column],
    histogram: &Histogram,
    node: Totals,
    rules: &Rules,
    dead: &mut [u64],
    level: Level,
) -> Option<Found> {
    let parent = score(gradient(node.sums) as f32, hessian(node.sums) as f32, rules);
    // Where nothing can be told apart, rounding must not look like a gain.
    let least = parent * (1.0 + 1.0 / 1_048_576.0) + rules.min_gain;
    let mut best = Best { gain: least, column: u32::MAX, cut: 0, missing_left: false, categories: None };
    for pair in blocks.pairs.iter().map(|pair| &blocks.blocks[pair.clone()]) {
        let Some(low) = histogram.block(&pair[0]) else { continue };
        let high = pair.get(1).and_then(|block| histogram.block(block)).unwrap_or(&NONE);
        let mut of = [const { None }; LANES];
        for (of, column) in of.iter_mut().zip(pair.iter().flat_map(|block| block.columns)) {
            let is_alive = |place: usize| dead[place / 64] >> (place % 64) & 1 == 0;
            *of = columns.get(column as usize).filter(|_| is_alive(column as usize)).map(|known| (column, known));
        }
        let numbers = of.iter().flatten().filter(|(_, known)| !known.is_category);
        let (has_numbers, has_missing) =
            numbers.fold((false, false), |(_, missing), (_, known)| (true, missing || known.has_missing));
        let mut scanned = [Lanes::ZERO; 4];
        if has_numbers {
            let scan = Scan { low, high, slots: pair[0].slots, node, rules, least, cuts: scanned };
            scanned = dispatch(level, WithMissing { scan, has_missing });
        }
        let [gains, cuts, missing_gains, missing_cuts] = scanned;
        for (lane, (column, known)) in of.into_iter().enumerate().filter_map(|(lane, of)| Some((lane, of?))) {
            let has_split = if known.is_category {
                let sums = if lane < BLOCK { low } else { high };
                let found = best_categories(sums, lane % BLOCK, known.slots, node, rules, least);
                found.is_some_and(|(gain, set, l2)| best.offer_categories(gain, column, set, l2))
            } else {
                let is_left = best.offer(gains.0[lane], column, cuts.0[lane].to_bits(), true);
                let (gain, cut) = (missing_gains.0[lane], missing_cuts.0[lane].to_bits());
                known.has_missing && best.offer(gain, column, cut, false) || is_left
            };
            if !has_split {
                dead[column as usize / 64] |= 1 << (column % 64);
            }
        }
    }
    best.found(blocks, columns, histogram, parent + rules.min_gain, rules)
}

/// The slots of a block that there is not.
static NONE: [Slot; MOST_SLOTS] = [Slot::EMPTY; MOST_SLOTS];

/// The best so far.
struct Best {
    gain: f32,
    column: u32,
    cut: u32,
    missing_left: bool,
    categories: Option<(BinSet, f32)>,
}

impl Best {
    fn is_beaten_by(&self, gain: f32, column: u32) -> bool {
        gain > self.gain || gain == self.gain && column < self.column && self.column != u32::MAX
    }

    /// Takes a column's best cut if it is better; whether there is one.
    fn offer(&mut self, gain: f32, column: u32, cut: u32, missing_left: bool) -> bool {
        if cut > 0 && self.is_beaten_by(gain, column) {
            *self = Best { gain, column, cut, missing_left, categories: None };
        }
        cut > 0
    }

    /// The same of a subset of categories.
    fn offer_categories(&mut self, gain: f32, column: u32, set: BinSet, l2: f32) -> bool {
        if self.is_beaten_by(gain, column) {
            *self = Best { gain, column, cut: 0, missing_left: false, categories: Some((set, l2)) };
        }
        true
    }

    fn found(
        self,
        blocks: &Blocks,
        columns: &[Column],
        histogram: &Histogram,
        shift: f32,
        rules: &Rules,
    ) -> Option<Found> {
        let known = columns.get(self.column as usize)?;
        let Place { block, lane } = blocks.places[self.column as usize]?;
        let sums = histogram.block(&blocks.blocks[block])?;
        let gain = self.gain - shift;
        if gain.is_nan() || gain <= 0.0 {
            return None;
        }
        let (cut, l2) = match self.categories {
            Some((set, l2)) => (Cut::Subset(set), l2),
            None => (Cut::UpTo((self.cut - 2) as u8), rules.l2),
        };
        let split = Split { feature: self.column, cut, missing_left: self.missing_left };
        let goes_left = goes_left(&split, known.slots);
        let left = (0..known.slots)
            .filter(|slot| goes_left[*slot] == 1)
            .fold(0u64, |sum, slot| sum.wrapping_add(sums[slot].0[lane]));
        Some(Found { gain, split, has_missing: known.has_missing, left, l2 })
    }
}

/// For each slot of a split's column 1 where its rows go left.
pub fn goes_left(split: &Split, slots: usize) -> [u8; MOST_SLOTS] {
    let mut left = [0; MOST_SLOTS];
    left[0] = u8::from(split.missing_left);
    match &split.cut {
        Cut::UpTo(last) => left[1..=usize::from(*last) + 1].fill(1),
        Cut::Subset(set) => {
            for (bin, left) in left[1..].iter_mut().enumerate().take(slots - 1) {
                *left = u8::from(contains(set, bin as u8));
            }
        }
    }
    left
}

/// Sixteen columns from their last slot down, those of two blocks.
struct Scan<'a> {
    low: &'a [Slot; MOST_SLOTS],
    high: &'a [Slot; MOST_SLOTS],
    slots: usize,
    node: Totals,
    rules: &'a Rules,
    least: f32,
    /// Best gain and its slot with missing values on the left, then with them on the right. A cut at slot t sends values
    /// below it left; 0 is none.
    cuts: [Lanes; 4],
}

struct WithMissing<'a> {
    scan: Scan<'a>,
    has_missing: bool,
}

impl Kernel for WithMissing<'_> {
    type Output = [Lanes; 4];

    #[inline(always)]
    fn run<V: Simd>(self) -> [Lanes; 4] {
        match (self.has_missing, self.scan.rules.l1 > 0.0) {
            (false, false) => self.scan.run::<V, false, false>(),
            (false, true) => self.scan.run::<V, false, true>(),
            (true, false) => self.scan.run::<V, true, false>(),
            (true, true) => self.scan.run::<V, true, true>(),
        }
    }
}

/// A node's totals and rules in registers.
#[derive(Clone, Copy)]
struct Wide<V> {
    gradient: V,
    hessian: V,
    rows: V,
    factor: V,
    half: V,
    l1: V,
    l2: V,
    min_rows: V,
    min_hessian: V,
}

impl Scan<'_> {
    #[inline(always)]
    fn run<V: Simd, const MISSING: bool, const L1: bool>(self) -> [Lanes; 4] {
        let Scan { low, high, slots, node, rules, least, cuts: mut out } = self;
        let (g, h) = (gradient(node.sums), hessian(node.sums));
        let rows = node.rows as f32;
        let wide = Wide {
            gradient: V::splat_bits(g as u32),
            hessian: V::splat_bits(h),
            rows: V::splat(rows),
            factor: V::splat(rows / h as f32),
            half: V::splat(0.5),
            l1: V::splat(rules.l1),
            l2: V::splat(rules.l2),
            min_rows: V::splat(rules.min_rows),
            min_hessian: V::splat(rules.min_hessian),
        };
        let (mut g_right, mut h_right, mut rows_right) = (V::zero(), V::zero(), V::zero());
        let [g_missing, h_missing] = sums::<V>(&low[0], &high[0]);
        // Rows with missing values on the right are counted from the left, as LightGBM does: a slot's rows are rounded.
        let mut rows_of_values = V::zero();
        if MISSING {
            for slot in 1..slots {
                rows_of_values = rows_of_values.add(wide.count(sums::<V>(&low[slot], &high[slot])[1]));
            }
        }
        let (mut best, mut cut) = (V::splat(least), V::zero());
        let (mut best_missing, mut cut_missing) = (V::splat(least), V::zero());
        for slot in (2..slots + usize::from(MISSING)).rev() {
            if slot < slots {
                let [g, h] = sums::<V>(&low[slot], &high[slot]);
                (g_right, h_right) = (g_right.add_bits(g), h_right.add_bits(h));
                rows_right = rows_right.add(wide.count(h));
                let gain = wide.gain::<L1>(g_right, h_right, rows_right);
                let is_better = best.less(gain);
                best = V::select(is_better, gain, best);
                cut = V::select(is_better, V::splat_bits(slot as u32), cut);
            }
            if MISSING {
                let (g, h) = (g_right.add_bits(g_missing), h_right.add_bits(h_missing));
                let gain = wide.gain::<L1>(g, h, rows_of_values.sub(rows_right));
                // Of equal gains the lowest slot, down to which no row lies between: LightGBM comes from the other side.
                let is_worse = gain.less(best_missing);
                let kept = V::select(is_worse, best_missing, gain);
                cut_missing = V::select(is_worse, cut_missing, V::splat_bits(slot as u32));
                best_missing = kept;
            }
        }
        if MISSING {
            // What never was better than the least is no cut.
            let is_better = V::splat(least).less(best_missing);
            cut_missing = V::select(is_better, cut_missing, V::zero());
        }
        best.store(&mut out[0]);
        cut.store(&mut out[1]);
        best_missing.store(&mut out[2]);
        cut_missing.store(&mut out[3]);
        out
    }
}

/// Sixteen columns' gradients and hessians of one slot.
#[inline(always)]
fn sums<V: Simd>(low: &Slot, high: &Slot) -> [V; 2] {
    let [h, g] = V::load(halves(low)).deinterleave(V::load(halves(high)));
    [g, h]
}

impl<V: Simd> Wide<V> {
    /// [`count`]
    #[inline(always)]
    fn count(&self, hessian: V) -> V {
        hessian.ints_to_float().mul(self.factor).add(self.half).float_to_ints().ints_to_float()
    }

    /// [`soft`]
    #[inline(always)]
    fn soft<const L1: bool>(&self, gradient: V) -> V {
        if !L1 {
            return gradient;
        }
        // The square is what counts: the sign may go.
        V::zero().max(gradient.abs().sub(self.l1))
    }

    /// [`pair_score`] with these on the right; -1 where a child is too small. `rows` are those of either child.
    #[inline(always)]
    fn gain<const L1: bool>(&self, gradient: V, hessian: V, rows: V) -> V {
        let (gr, hr) = (gradient.ints_to_float(), hessian.ints_to_float());
        let (gl, hl) =
            (self.gradient.sub_bits(gradient).ints_to_float(), self.hessian.sub_bits(hessian).ints_to_float());
        let (gl, gr) = (self.soft::<L1>(gl), self.soft::<L1>(gr));
        let (hl2, hr2) = (hl.add(self.l2), hr.add(self.l2));
        let sum = gl.mul(gl).mul(hr2).add(gr.mul(gr).mul(hl2));
        let gain = sum.div(hl2.mul(hr2));
        let has_few = rows.min(self.rows.sub(rows)).less(self.min_rows);
        let is_light = hl.min(hr).less(self.min_hessian);
        let none = V::splat(-1.0);
        V::select(is_light, none, V::select(has_few, none, gain))
    }
}

/// The best subset of one column's categories: its gain, its bins, and the penalty that goes with it.
fn best_categories(
    sums: &[Slot; MOST_SLOTS],
    lane: usize,
    slots: usize,
    node: Totals,
    rules: &Rules,
    least: f32,
) -> Option<(f32, BinSet, f32)> {
    let (g, h, rows) = (gradient(node.sums), hessian(node.sums), node.rows as f32);
    let factor = rows / h as f32;
    let category = &rules.category;
    // Both children's score where `left` goes left; nothing where a child is too small.
    let gain = |left: u64, rows_left: f32, l2: f32| {
        let (gl, hl) = (gradient(left), hessian(left));
        let (hl_float, hr_float) = (hl as f32, (h - hl) as f32);
        let is_light = hl_float.min(hr_float) < rules.min_hessian;
        let is_small = rows_left.min(rows - rows_left) < rules.min_rows;
        let children = || pair_score((gl as f32, hl_float), ((g - gl) as f32, hr_float), rules.l1, l2);
        (!is_light && !is_small).then(children)
    };
    let word = |slot: u8| sums[usize::from(slot)].0[lane];
    let rows_of = |word: u64| count(hessian(word) as f32, factor);
    let (mut best, mut set) = (least, None);
    if slots <= category.one_hot {
        for slot in 1..slots as u8 {
            let gain = gain(word(slot), rows_of(word(slot)), rules.l2);
            if let Some(gain) = gain.filter(|gain| *gain > best) {
                let mut one = BinSet::default();
                insert(&mut one, slot - 1);
                (best, set) = (gain, Some(one));
            }
        }
        return set.map(|set| (best, set, rules.l2));
    }
    let l2 = rules.l2 + category.l2;
    let mut order = [(0.0f32, 0u8); MOST_SLOTS];
    let mut used = 0;
    for slot in 1..slots {
        let word = word(slot as u8);
        if rows_of(word) >= category.min_rows {
            order[used] = (gradient(word) as f32 / (hessian(word) as f32 + category.smoothing), slot as u8);
            used += 1;
        }
    }
    let order = &mut order[..used];
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let most = category.most.min(used.div_ceil(2));
    for from_the_end in [false, true] {
        let nth = |i: usize| order[if from_the_end { used - 1 - i } else { i }].1;
        let (mut left, mut rows_left, mut group) = (0u64, 0.0, 0.0);
        for i in 0..most {
            let word = word(nth(i));
            left = left.wrapping_add(word);
            rows_left += rows_of(word);
            group += rows_of(word);
            if rows - rows_left < category.group_rows {
                break;
            }
            let Some(gain) = gain(left, rows_left, l2) else { continue };
            if group < category.group_rows {
                continue;
            }
            group = 0.0;
            if gain > best {
                let mut subset = BinSet::default();
                (0..=i).for_each(|i| insert(&mut subset, nth(i) - 1));
                (best, set) = (gain, Some(subset));
            }
        }
    }
    set.map(|set| (best, set, l2))
}
