//! Boosting on the CPU: a lane a group, as many at a time as there are threads.

use super::fold::{Binned, GbdtFold};
use super::grow::{Ground, Grower};
use super::objective::{self, Gradients, Loss, Quanta, Quantise, Targets, Weighted};
use super::params::GbdtParams;
use super::sample;
use super::{GbdtLanes, validate};
use crate::backend::Weights;
use crate::backend::cpu::simd::{LANES, Lanes, Level, dispatch};
use crate::backend::cpu::{GroupKey, LaneModel, LaneProgress, RowBlock};
use crate::data::Fold;
use crate::models::trees::histogram::{BLOCK, Blocks, Histogram, SideBySide, TOGETHER};
use crate::models::trees::tree::Trees;
use std::sync::{Arc, PoisonError};

/// Fewer scores than these are summed one after another in less time.
const FEWEST_TOGETHER: usize = 3;

/// One lane on one fold.
pub struct State {
    params: GbdtParams,
    pub(super) loss: Loss,
    /// Where scores start, one a score.
    start: Vec<f32>,
    /// `[scores, rows]`, of all rows of the fold.
    pub(super) scores: Vec<Lanes>,
    pub(super) trees: Trees,
    pub(super) rounds: u64,
    /// More rounds would change nothing, or may not be had.
    pub(super) is_done: bool,
    pub(super) has_failed: bool,
    pub(super) best: Option<Best>,
    /// By which power of two validation losses become whole numbers; `None` where a lane does not stop by them.
    loss_exponent: Option<i32>,
}

/// The round with the best validation score so far, where a lane stops by that.
pub(super) struct Best {
    pub(super) round: u64,
    /// In steps of [`State::loss_exponent`].
    pub(super) loss: i64,
    pub(super) scores: Vec<Lanes>,
}

/// The memory in which rounds are computed; a thread's, for one lane after the other.
#[derive(Default)]
pub struct Workspace {
    gradient: Vec<Lanes>,
    hessian: Vec<Lanes>,
    /// Packed gradients of the scores that are summed together.
    words: [Vec<[Lanes; 2]>; TOGETHER],
    quanta: [Quanta; TOGETHER],
    roots: Vec<Histogram>,
    side_by_side: SideBySide,
    rows: Vec<u32>,
    others: Vec<u32>,
    chosen: Blocks,
    grower: Grower,
    residuals: Vec<Weighted>,
}

impl LaneModel for GbdtLanes {
    type Params = GbdtParams;
    type Fold = GbdtFold;
    type Group = State;

    fn params(&self, point: &[f64]) -> GbdtParams {
        GbdtParams::read(&self.space, point)
    }

    fn key(&self, params: &GbdtParams) -> GroupKey {
        let leaves = params.most_leaves(usize::MAX) as u64;
        GroupKey { step: [0, 0], likeness: [params.trees as u32, leaves.min(1 << 20) as u32, params.bins, 0] }
    }

    fn open_fold(&self, fold: &Arc<Fold>) -> GbdtFold {
        GbdtFold::new(fold.clone())
    }

    fn group_lanes(&self) -> usize {
        1
    }

    fn bytes(&self, fold: &GbdtFold, lanes: &[GbdtParams]) -> u64 {
        let bytes = |params: &GbdtParams| {
            let scores = fold.loss(params).scores();
            let copies = 3 + u64::from(params.early_stopping > 0);
            let leaves = params.most_leaves(fold.train_rows()) as u64;
            let rows = fold.lanes() as u64 * size_of::<Lanes>() as u64;
            let columns = fold.fold.train.x.ncols().next_multiple_of(BLOCK) as u64;
            let histogram = columns * u64::from(params.bins + 1) * size_of::<u64>() as u64;
            let together = scores.min(TOGETHER) as u64;
            // A row's words lie side by side too where scores are summed together.
            let words = 2 * together + if scores >= FEWEST_TOGETHER { 2 * TOGETHER as u64 } else { 0 };
            // Scores, gradients and hessians; words and rows; a sampled layout; trees; kept histograms.
            rows * (copies * scores as u64 + words + 3)
                + fold.train_rows() as u64 * if params.column_share < 1.0 { columns } else { 0 }
                + params.trees * scores as u64 * leaves * 48
                + histogram * (together + leaves.min(64).min((64 << 20) / histogram.max(1) + 2))
        };
        lanes.iter().map(bytes).sum()
    }

    fn duration(&self, fold: &GbdtFold, lanes: &[GbdtParams]) -> u64 {
        let work = |params: &GbdtParams| {
            let leaves = params.most_leaves(fold.train_rows()) as u64;
            let levels = u64::from(leaves.ilog2()) + 2;
            params.trees.min(self.budget) * (fold.train_rows() as u64 * levels + leaves * u64::from(params.bins))
        };
        lanes.iter().map(work).sum()
    }

    fn start(&self, fold: &GbdtFold, lanes: &[GbdtParams]) -> State {
        State::new(fold, lanes[0])
    }

    fn gather(&self, _: &GbdtFold, lanes: &[(&State, usize)]) -> State {
        lanes[0].0.copy()
    }

    fn freeze(&self, _: &GbdtFold, state: &State, _: usize) -> Option<Vec<u8>> {
        super::frozen::freeze(state)
    }

    fn thaw(&self, fold: &GbdtFold, params: &GbdtParams, state: &[u8]) -> Option<State> {
        super::frozen::thaw(State::new(fold, *params), fold, state)
    }

    fn turn(&self, _: &GbdtFold, state: &mut State, _: usize, params: &GbdtParams) {
        state.params = *params;
    }

    fn advance(&self, level: Level, fold: &GbdtFold, state: &mut State, budget: u64) -> Vec<LaneProgress> {
        let mut workspace = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        fold.with_binned(state.params.bins, |binned| {
            while state.rounds < budget.min(state.params.trees) && !state.is_done {
                state.round(level, fold, binned, &mut workspace);
            }
        });
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
        let is_at_its_end = state.is_done || state.rounds >= self.budget.min(state.params.trees);
        let used = match &state.best {
            Some(best) if is_at_its_end => best.round,
            _ => state.rounds,
        };
        vec![LaneProgress { used, is_capped: false }]
    }

    fn predict(&self, _: Level, fold: &GbdtFold, state: &mut State, rows: RowBlock<'_>, out: &mut [Lanes]) {
        let scores = state.best.as_ref().map_or(&state.scores, |best| &best.scores);
        let first = fold.set(rows.set).start + rows.first;
        let outputs = out.len() / rows.x.nrows().max(1);
        let (n, all) = (state.loss.scores(), fold.lanes());
        let (mut own, mut predicted) = (vec![0.0; n], vec![0.0; outputs]);
        for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
            let row = first + row;
            own.iter_mut().enumerate().for_each(|(k, own)| *own = scores[k * all + row / LANES].0[row % LANES]);
            objective::predict(state.loss, &own, &mut predicted);
            if state.has_failed {
                predicted.fill(f32::NAN);
            }
            if super::fold::is_scaled(self.task, state.params.objective) {
                predicted.iter_mut().for_each(|y| *y = *y * fold.fold.target.scale + fold.fold.target.shift);
            }
            out.iter_mut().zip(&predicted).for_each(|(out, value)| out.0[0] = *value);
        }
    }

    fn read_back(&self, _: &GbdtFold, state: &State, _: usize) -> Weights {
        let mut trees = state.trees.clone();
        if let Some(best) = &state.best {
            trees.truncate(best.round as usize * state.loss.scores());
        }
        super::to_weights(&trees, &state.start, state.params.objective)
    }
}

impl State {
    fn new(fold: &GbdtFold, params: GbdtParams) -> State {
        let (loss, start) = (fold.loss(&params), fold.start(&params));
        let scores = start.iter().flat_map(|start| std::iter::repeat_n(Lanes([*start; LANES]), fold.lanes())).collect();
        let has_failed = fold.is_hopeless(&params, &start);
        State {
            loss_exponent: fold.loss_exponent(&params, &start),
            params,
            loss,
            start,
            scores,
            trees: Trees::new(1),
            rounds: 0,
            is_done: has_failed,
            has_failed,
            best: None,
        }
    }

    fn copy(&self) -> State {
        let best = self.best.as_ref();
        State {
            start: self.start.clone(),
            scores: self.scores.clone(),
            trees: self.trees.clone(),
            best: best.map(|best| Best { scores: best.scores.clone(), ..*best }),
            ..*self
        }
    }

    /// One round: a tree a score, all of them from the same gradients.
    fn round(&mut self, level: Level, fold: &GbdtFold, binned: &Binned, work: &mut Workspace) {
        let (n, all, scores) = (fold.train_lanes(), fold.lanes(), self.loss.scores());
        let targets = fold.targets(&self.params);
        work.gradient.resize(n * scores, Lanes::ZERO);
        work.hessian.resize(n * scores, Lanes::ZERO);
        work.words.iter_mut().take(scores).for_each(|words| words.resize(n, [Lanes::ZERO; 2]));
        dispatch(
            level,
            Gradients {
                loss: self.loss,
                targets: Targets { y: &targets.y, weight: &targets.weight },
                scores: &self.scores,
                gradient: &mut work.gradient,
                hessian: &mut work.hessian,
            },
        );
        sample::rows(fold, self.params.row_share, self.rounds, &mut work.rows, &mut work.others);
        let mut is_changed = false;
        for score in 0..scores {
            let place = score % TOGETHER;
            if place == 0 && !self.quantise(level, binned, score, work) {
                (self.is_done, self.has_failed) = (true, true);
                return;
            }
            work.grower.root = work.roots.pop();
            work.grower.rows.clone_from(&work.rows);
            if self.loss.is_certain(self.start[score]) {
                // Its gradients are nothing: so is its tree.
                work.grower.rows.clear();
            }
            work.grower.others.clone_from(&work.others);
            let share = self.params.column_share;
            if share < 1.0 {
                let tree = self.rounds * scores as u64 + score as u64;
                let is_in = sample::columns(fold.fold.key, share, tree, binned.columns.len());
                work.chosen.select(&binned.blocks, fold.train_rows(), |column| is_in[column]);
            }
            let chosen = if share < 1.0 { &work.chosen } else { &binned.blocks };
            let ground = self.ground(level, binned, chosen, packed(&work.words[place]), work.quanta[place]);
            work.grower.grow(&ground, &mut self.trees);
            is_changed |= !work.grower.is_stump();
            let own = &mut self.scores[score * all..][..all];
            let (loss, rate, residuals) = (self.loss, self.params.learning_rate, &mut work.residuals);
            work.grower.finish(&mut self.trees, |rows, others, value| {
                let value = match loss.leaf_quantile() {
                    Some(share) => {
                        let left = |row: &u32| {
                            let (at, lane) = (*row as usize / LANES, *row as usize % LANES);
                            Weighted {
                                value: targets.y[at].0[lane] - own[at].0[lane],
                                weight: targets.weight[at].0[lane],
                                whole: targets.whole[*row as usize],
                            }
                        };
                        residuals.clear();
                        residuals.extend(rows.iter().map(left));
                        objective::quantile_of(residuals, share) * rate
                    }
                    None => value,
                };
                for row in rows.iter().chain(others) {
                    own[*row as usize / LANES].0[*row as usize % LANES] += value;
                }
                value
            });
        }
        self.rounds += 1;
        let is_sampled = self.params.row_share < 1.0 || self.params.column_share < 1.0;
        self.is_done = !is_changed && !is_sampled;
        self.watch(level, fold);
    }

    /// Makes whole numbers of the gradients of the next scores from `first` on, and sums their roots together where that is
    /// less work; whether all are finite.
    fn quantise(&self, level: Level, binned: &Binned, first: usize, work: &mut Workspace) -> bool {
        let n = work.words[0].len();
        let together = TOGETHER.min(self.loss.scores() - first);
        for place in 0..together {
            let at = (first + place) * n;
            let (gradient, hessian) = (&work.gradient[at..][..n], &work.hessian[at..][..n]);
            match dispatch(level, Quantise { gradient, hessian, words: &mut work.words[place] }) {
                Some(quanta) => work.quanta[place] = quanta,
                None => return false,
            }
        }
        if together >= FEWEST_TOGETHER && self.params.column_share >= 1.0 {
            let words: [&[u64]; TOGETHER] = std::array::from_fn(|place| packed(&work.words[place]));
            let blocks = &binned.blocks;
            work.roots.extend((0..together).map(|_| work.grower.histogram(blocks)));
            blocks.build_together(level, &work.rows, &words[..together], &mut work.side_by_side, &mut work.roots);
            // They are taken from the end.
            work.roots.reverse();
        }
        true
    }

    /// Keeps the best round on the first row set to score, and stops when none has been better for long.
    fn watch(&mut self, level: Level, fold: &GbdtFold) {
        let Some((targets, exponent)) = fold.eval_targets(&self.params).zip(self.loss_exponent) else { return };
        let loss = validate::loss(level, self.loss, &self.scores, fold.set(1), fold.lanes(), targets, exponent);
        match &self.best {
            Some(best) if loss >= best.loss => {
                self.is_done |= self.rounds - best.round >= self.params.early_stopping;
            }
            _ => self.best = Some(Best { round: self.rounds, loss, scores: self.scores.clone() }),
        }
    }

    fn ground<'a>(
        &self,
        level: Level,
        binned: &'a Binned,
        chosen: &'a Blocks,
        words: &'a [u64],
        quanta: Quanta,
    ) -> Ground<'a> {
        Ground {
            all: &binned.blocks,
            chosen,
            columns: &binned.columns,
            bins: &binned.bins,
            words,
            rules: self.params.rules(quanta),
            growth: self.params.growth,
            step: self.params.step(quanta),
            quanta,
            min_gain: self.params.min_gain,
            level,
        }
    }
}

/// Words of sixteen rows as one row's each.
fn packed(words: &[[Lanes; 2]]) -> &[u64] {
    const { assert!(size_of::<[Lanes; 2]>() == LANES * size_of::<u64>() && cfg!(target_endian = "little")) };
    // SAFETY: the same bytes, more strictly aligned than words need; every bit pattern is a word.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len() * LANES) }
}
