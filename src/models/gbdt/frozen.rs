//! A lane's state as bytes: scores, trees, and the best round.

use super::cpu::{Best, State};
use super::fold::GbdtFold;
use crate::backend::cpu::simd::{LANES, Lanes};
use crate::backend::state;
use crate::models::trees::tree::Trees;
use serde::{Deserialize, Serialize};

/// What a lane has of its own; where it began follows from its fold.
#[derive(Serialize, Deserialize)]
struct Frozen {
    rounds: u64,
    is_done: bool,
    has_failed: bool,
    scores: Vec<f32>,
    trees: Trees,
    /// Round, loss and scores.
    best: Option<(u64, i64, Vec<f32>)>,
}

/// A lane's bytes.
pub fn freeze(state: &State) -> Option<Vec<u8>> {
    state::encode(&Frozen {
        rounds: state.rounds,
        is_done: state.is_done,
        has_failed: state.has_failed,
        scores: flat(&state.scores),
        trees: state.trees.clone(),
        best: state.best.as_ref().map(|best| (best.round, best.loss, flat(&best.scores))),
    })
}

/// A lane at its beginning, brought to where the bytes say; `None` where they are of another one.
pub fn thaw(mut state: State, fold: &GbdtFold, bytes: &[u8]) -> Option<State> {
    let frozen: Frozen = state::decode(bytes)?;
    let is_long = |scores: &[f32]| scores.len() == LANES * state.scores.len();
    let has_trees = |rounds: u64| rounds.checked_mul(state.loss.scores() as u64) <= Some(frozen.trees.len() as u64);
    let is_fit = is_long(&frozen.scores)
        && has_trees(frozen.rounds)
        && frozen.trees.outputs() == 1
        && frozen.trees.is_sound(fold.fold.train.x.ncols())
        && frozen.best.as_ref().is_none_or(|(round, _, scores)| has_trees(*round) && is_long(scores));
    if !is_fit {
        return None;
    }
    state.rounds = frozen.rounds;
    (state.is_done, state.has_failed) = (frozen.is_done, frozen.has_failed);
    state.scores = lanes(&frozen.scores);
    state.trees = frozen.trees;
    state.best = frozen.best.map(|(round, loss, scores)| Best { round, loss, scores: lanes(&scores) });
    Some(state)
}

fn flat(lanes: &[Lanes]) -> Vec<f32> {
    lanes.iter().flat_map(|lanes| lanes.0).collect()
}

fn lanes(flat: &[f32]) -> Vec<Lanes> {
    flat.as_chunks().0.iter().map(|lanes| Lanes(*lanes)).collect()
}
