// A lane's state: where its growth stands, the rows of its tree, the nodes that wait, and what its trees say of the rows to
// score. Everything is a word; numbers go by their bits.
//
// All threads hold the same standing; of its hashes only thread 0 has the right ones, and writes them.

// A node that waits to be split: its parent's key, which child it is, splits above it, where its rows and its rows to score
// begin and end, and then a bit for each column that is known not to vary there.
const ENTRY_PARENT = 0u;
const ENTRY_SIDE = 2u;
const ENTRY_DEPTH = 3u;
const ENTRY_ROWS = 4u;
const ENTRY_ROWS_END = 5u;
const ENTRY_SCORED = 6u;
const ENTRY_SCORED_END = 7u;
const ENTRY_CONSTANTS = 8u;

var<private> standing: Standing;

fn sync() {
    storageBarrier();
    workgroupBarrier();
}

fn state_of(lane: u32, at: u32) -> u32 {
    return lanes[lane].state + at;
}

fn entry_at(lane: u32, place: u32) -> u32 {
    return state_of(lane, lanes[lane].entries_at) + place * lanes[lane].entry_words;
}

// Rows of nodes at odd depths lie in another place than those at even ones: a split moves them over.
fn rows_at(lane: u32, depth: u32) -> u32 {
    return state_of(lane, lanes[lane].rows_at) + (depth & 1u) * lanes[lane].train_rows;
}

fn scored_at(lane: u32, depth: u32) -> u32 {
    return state_of(lane, lanes[lane].scored_at) + (depth & 1u) * lanes[lane].scored_rows;
}

// A row's bin of a column; rows to score come after the training rows.
fn bin_of(lane: u32, column: u32, row: u32) -> u32 {
    let word = codes[lanes[lane].codes + column * lanes[lane].code_words + row / 4u];
    return (word >> (8u * (row % 4u))) & 255u;
}

fn weight_of(lane: u32, row: u32) -> u32 {
    return state[state_of(lane, lanes[lane].weights_at) + row];
}

fn child_of(key: vec2<u32>, tag: u32) -> vec2<u32> {
    return threefry(key, vec2<u32>(tag, CHILD));
}

fn load_standing(lane: u32) {
    let at = state_of(lane, 0u);
    standing = Standing(state[at], state[at + 1u], array<u32, 2>(state[at + 2u], state[at + 3u]),
        array<u32, 2>(state[at + 4u], state[at + 5u]));
}

fn store_standing(lane: u32) {
    let at = state_of(lane, 0u);
    state[at] = standing.trees;
    state[at + 1u] = standing.open;
    state[at + 2u] = standing.tree_hash[0];
    state[at + 3u] = standing.tree_hash[1];
    state[at + 4u] = standing.hash[0];
    state[at + 5u] = standing.hash[1];
}

// Thread 0 adds two words of a node to the hash of its tree.
fn add_to_hash(a: u32, b: u32) {
    let hash = threefry(vec2<u32>(standing.tree_hash[0], standing.tree_hash[1]), vec2<u32>(a, b));
    standing.tree_hash = array<u32, 2>(hash.x, hash.y);
}
