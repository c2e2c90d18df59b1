// A lane's state: where it stands, its rows, its leaves, and its trees. Everything is a word; numbers go by their bits.
//
// All threads hold the same standing and compute the same new one; it is written when the dispatch ends.

// Leaves of a tree at hand, words each: LEAF_WORDS, those of its dead columns among them.
const LEAF_ROWS = 0u;
const LEAF_ROWS_END = 1u;
const LEAF_OTHERS = 2u;
const LEAF_OTHERS_END = 3u;
const LEAF_GRADIENT = 4u;
const LEAF_HESSIAN = 5u;
const LEAF_DEPTH = 6u;
const LEAF_VALUE = 7u;
// 0 where it has no split: gains are positive.
const LEAF_GAIN = 8u;
const LEAF_FEATURE = 9u;
// Of numbers: the last slot that goes left.
const LEAF_CUT = 10u;
const LEAF_MISSING_LEFT = 11u;
const LEAF_LEFT_GRADIENT = 12u;
const LEAF_LEFT_HESSIAN = 13u;
const LEAF_L2 = 14u;
// Of categories: a bit a bin.
const LEAF_SET = 16u;
const LEAF_DEAD = 24u;

const SET_WORDS = 8u;
const MISSING_LEFT = 0x80000000u;
const IS_CATEGORY = 0x40000000u;

// The slots of a column, and what is known of it: as the host packs it.
const COLUMN_SLOTS = 0xffffu;
const COLUMN_IS_CATEGORY = 0x10000u;
const COLUMN_HAS_MISSING = 0x20000u;

var<private> standing: Standing;

fn sync() {
    storageBarrier();
    workgroupBarrier();
}

fn number_at(word: u32) -> f32 {
    return bitcast<f32>(state[word]);
}

fn state_of(lane: u32, at: u32) -> u32 {
    return lanes[lane].state + at;
}

fn leaf_at(lane: u32, leaf: u32) -> u32 {
    return lanes[lane].state + lanes[lane].leaves_at + leaf * lanes[lane].leaf_words;
}

fn score_at(lane: u32, score: u32, row: u32) -> u32 {
    return lanes[lane].state + lanes[lane].scores_at + score * lanes[lane].rows + row;
}

// The largest of a row's scores, which a softmax is taken about.
fn largest_score(lane: u32, row: u32) -> f32 {
    var largest = number_at(score_at(lane, 0u, row));
    for (var k = 1u; k < lanes[lane].scores; k += 1u) {
        largest = max(largest, number_at(score_at(lane, k, row)));
    }
    return largest;
}

fn best_score_at(lane: u32, score: u32, row: u32) -> u32 {
    return lanes[lane].state + lanes[lane].best_at + score * lanes[lane].rows + row;
}

// Where scores start: of a class by what the fold's rows have, of a number as the lane says.
fn start_of(lane: u32, score: u32) -> f32 {
    if (lanes[lane].loss == LOSS_BINARY || lanes[lane].loss == LOSS_SOFTMAX) {
        return targets[lanes[lane].start + score];
    }
    return lanes[lane].start_value;
}

// A row's slot of a column: 0 where its cell is missing.
fn slot_of(lane: u32, column: u32, row: u32) -> u32 {
    let word = codes[lanes[lane].codes + (column / 4u) * lanes[lane].rows + row];
    return (word >> (8u * (column % 4u))) & 255u;
}

fn load_standing(lane: u32) {
    let at = state_of(lane, 0u);
    standing = Standing(state[at], state[at + 1u], state[at + 2u], state[at + 3u], state[at + 4u], state[at + 5u],
        state[at + 6u], state[at + 7u], state[at + 8u], state[at + 9u], state[at + 10u], state[at + 11u], state[at + 12u],
        state[at + 13u], state[at + 14u]);
}

fn store_standing(lane: u32) {
    let at = state_of(lane, 0u);
    state[at] = standing.leaves;
    state[at + 1u] = standing.cursor;
    state[at + 2u] = standing.level_end;
    state[at + 3u] = standing.levels_left;
    state[at + 4u] = standing.is_changed;
    state[at + 5u] = standing.trees;
    state[at + 6u] = standing.splits;
    state[at + 7u] = standing.values;
    state[at + 8u] = standing.row_count;
    state[at + 9u] = standing.other_count;
    state[at + 10u] = standing.gradient_exponent;
    state[at + 11u] = standing.hessian_exponent;
    state[at + 12u] = standing.best_round;
    state[at + 13u] = standing.best_loss_high;
    state[at + 14u] = standing.best_loss_low;
}
