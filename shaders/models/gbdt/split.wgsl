// The best split of a leaf, as src/models/gbdt/split.rs finds it. Four columns at a time are summed into workgroup memory;
// of a column 64 threads have four slots each. Sums are whole numbers, gains a fixed sequence of rounded operations, and of
// equally good splits the one of the lowest rank is taken: whatever thread finds it.

const SLOTS = 256u;
const BLOCK = 4u;
// Slots of a thread, and threads of a column.
const SHARE = 4u;
const THREADS = WORKGROUP / BLOCK;
// Ranks of a column's cuts.
const RANKS = 1024u;
const NO_RANK = 0xffffffffu;

var<workgroup> gradient_sums: array<atomic<i32>, BLOCK * SLOTS>;
var<workgroup> hessian_sums: array<atomic<u32>, BLOCK * SLOTS>;
var<workgroup> gradient_parts: array<i32, WORKGROUP>;
var<workgroup> hessian_parts: array<u32, WORKGROUP>;
var<workgroup> count_parts: array<i32, WORKGROUP>;
// A bit for each column of the block that has a split.
var<workgroup> alive: atomic<u32>;

// What splits keep to, in the tree's own units: `rules` of src/models/gbdt/params.rs.
struct Rules {
    l1: f32,
    l2: f32,
    min_gain: f32,
    min_hessian: f32,
    smoothing: f32,
    category_l2: f32,
    step: f32,
}

// A node's sums, and what is made of them.
struct Node {
    gradient: i32,
    hessian: u32,
    rows: f32,
    // Rows by hessian.
    factor: f32,
    least: f32,
}

// The best split that a thread has found: of equal gains the lowest rank.
struct Candidate {
    gain: f32,
    rank: u32,
    // Sums of what goes right.
    gradient: i32,
    hessian: u32,
}

var<private> rules: Rules;
var<private> node: Node;
var<private> candidate: Candidate;
// Of categories; thread 0's alone.
var<private> best_set: array<u32, SET_WORDS>;
var<private> subset: Candidate;
var<private> subset_l2: f32;

fn set_rules(lane: u32) {
    let g = bitcast<i32>(standing.gradient_exponent);
    let h = bitcast<i32>(standing.hessian_exponent);
    let by_gradient = exact_power(g);
    let by_hessian = exact_power(h);
    rules = Rules(product(lanes[lane].l1, by_gradient), product(lanes[lane].l2, by_hessian),
        product(lanes[lane].min_gain, exact_power(2 * g - h)), max(product(lanes[lane].min_child_weight, by_hessian), 1.0),
        product(lanes[lane].smoothing, by_hessian), product(lanes[lane].category_l2, by_hessian),
        product(-lanes[lane].learning_rate, exact_power(h - g)));
}

fn soft(gradient: f32, l1: f32) -> f32 {
    let size = held(abs(gradient) - l1);
    return select(0.0, select(size, -size, gradient < 0.0), size > 0.0);
}

// Rows by their share of the hessian: half-way cases go up.
fn count(hessian: u32) -> i32 {
    return i32(held(product(f32(hessian), node.factor) + 0.5));
}

fn pair_score(gl: f32, hl: f32, gr: f32, hr: f32, l2: f32) -> f32 {
    let l = soft(gl, rules.l1);
    let r = soft(gr, rules.l1);
    let hl2 = held(hl + l2);
    let hr2 = held(hr + l2);
    let sum = held(product(product(l, l), hr2) + product(product(r, r), hl2));
    return quotient(sum, product(hl2, hr2));
}

// Both children's score with these sums on one side; -1 where a child is too small.
fn gain_of(lane: u32, gradient: i32, hessian: u32, rows: f32, l2: f32) -> f32 {
    let ha = f32(hessian);
    let hb = f32(node.hessian - hessian);
    if (min(ha, hb) < rules.min_hessian || min(rows, held(node.rows - rows)) < lanes[lane].min_rows) {
        return -1.0;
    }
    return pair_score(f32(node.gradient - gradient), hb, f32(gradient), ha, l2);
}

fn offer(gain: f32, rank: u32, gradient: i32, hessian: u32) {
    if (gain > candidate.gain || (gain == candidate.gain && rank < candidate.rank)) {
        candidate = Candidate(gain, rank, gradient, hessian);
    }
}

// With missing values on the left the highest of equal slots goes first, then with them on the right the lowest.
fn rank_of(column: u32, slot: u32, missing_left: bool) -> u32 {
    return column * RANKS + select(RANKS / 2u + slot, RANKS / 2u - 1u - slot, missing_left);
}

// Looks at the cuts of a thread's slots. `begin` is the column's first slot in the sums.
fn scan(lane: u32, column: u32, known: u32, begin: u32, is_in: bool, bit: u32, thread: u32) {
    let part = thread % THREADS;
    let slots = known & COLUMN_SLOTS;
    let has_missing = (known & COLUMN_HAS_MISSING) != 0u;
    var gradient = 0;
    var hessian = 0u;
    var rows = 0;
    for (var i = 0u; i < SHARE; i += 1u) {
        let slot = part * SHARE + i;
        if (is_in && slot > 0u) {
            gradient += atomicLoad(&gradient_sums[begin + slot]);
            let own = atomicLoad(&hessian_sums[begin + slot]);
            hessian += own;
            rows += count(own);
        }
    }
    gradient_parts[thread] = gradient;
    hessian_parts[thread] = hessian;
    count_parts[thread] = rows;
    workgroupBarrier();
    for (var step = 1u; step < THREADS; step <<= 1u) {
        if (part + step < THREADS) {
            gradient += gradient_parts[thread + step];
            hessian += hessian_parts[thread + step];
            rows += count_parts[thread + step];
        }
        workgroupBarrier();
        gradient_parts[thread] = gradient;
        hessian_parts[thread] = hessian;
        count_parts[thread] = rows;
        workgroupBarrier();
    }
    if (!is_in) {
        return;
    }
    let rows_of_values = count_parts[thread - part];
    let missing_gradient = atomicLoad(&gradient_sums[begin]);
    let missing_hessian = atomicLoad(&hessian_sums[begin]);
    // From the last slot down, with all slots above on the right.
    gradient = 0;
    hessian = 0u;
    rows = 0;
    if (part + 1u < THREADS) {
        gradient = gradient_parts[thread + 1u];
        hessian = hessian_parts[thread + 1u];
        rows = count_parts[thread + 1u];
    }
    var has_split = false;
    if (has_missing && part + 1u == THREADS) {
        let gain = gain_of(lane, missing_gradient, missing_hessian, f32(rows_of_values), rules.l2);
        has_split = gain > node.least;
        if (has_split) {
            offer(gain, rank_of(column, slots, false), missing_gradient, missing_hessian);
        }
    }
    for (var i = SHARE; i > 0u; i -= 1u) {
        let slot = part * SHARE + i - 1u;
        if (slot < 2u || slot >= slots) {
            continue;
        }
        gradient += atomicLoad(&gradient_sums[begin + slot]);
        let own = atomicLoad(&hessian_sums[begin + slot]);
        hessian += own;
        rows += count(own);
        let gain = gain_of(lane, gradient, hessian, f32(rows), rules.l2);
        if (gain > node.least) {
            has_split = true;
            offer(gain, rank_of(column, slot, true), gradient, hessian);
        }
        if (has_missing) {
            let g = gradient + missing_gradient;
            let h = hessian + missing_hessian;
            let gain = gain_of(lane, g, h, f32(rows_of_values - rows), rules.l2);
            if (gain > node.least) {
                has_split = true;
                offer(gain, rank_of(column, slot, false), g, h);
            }
        }
    }
    if (has_split) {
        atomicOr(&alive, bit);
    }
}

// A number's place in f32's total order.
fn order_key(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    return select(bits ^ 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

// Takes a subset if it is better than the best so far: it is then empty, to be filled.
fn take_subset(gain: f32, column: u32, gradient: i32, hessian: u32, l2: f32) -> bool {
    let rank = column * RANKS;
    if (!(gain > subset.gain || (gain == subset.gain && rank < subset.rank))) {
        return false;
    }
    subset = Candidate(gain, rank, gradient, hessian);
    subset_l2 = l2;
    best_set = array<u32, SET_WORDS>();
    return true;
}

fn add_to_set(slot: u32) {
    best_set[(slot - 1u) / 32u] |= 1u << ((slot - 1u) % 32u);
}

// The nth slot of the order of ratios, from either end.
fn nth_of(n: u32, used: u32, from_the_end: bool) -> u32 {
    return u32(count_parts[select(n, used - 1u - n, from_the_end)]);
}

// The best subset of a column's categories. All threads order them; one walks.
fn look_at_categories(lane: u32, column: u32, known: u32, begin: u32, bit: u32, thread: u32) {
    let slots = known & COLUMN_SLOTS;
    if (slots <= lanes[lane].one_hot) {
        if (thread == 0u) {
            var least = node.least;
            for (var slot = 1u; slot < slots; slot += 1u) {
                let g = atomicLoad(&gradient_sums[begin + slot]);
                let h = atomicLoad(&hessian_sums[begin + slot]);
                let gain = gain_of(lane, g, h, f32(count(h)), rules.l2);
                if (gain > least) {
                    least = gain;
                    atomicOr(&alive, bit);
                    // What goes right is the rest.
                    if (take_subset(gain, column, node.gradient - g, node.hessian - h, rules.l2)) {
                        add_to_set(slot);
                    }
                }
            }
        }
        return;
    }
    // Categories with too few rows are left out; the others are ordered by gradient over hessian, each by itself.
    let has_slot = thread > 0u && thread < slots;
    var key = 0u;
    var is_used = false;
    if (has_slot) {
        let h = atomicLoad(&hessian_sums[begin + thread]);
        is_used = f32(count(h)) >= lanes[lane].smoothing;
        let g = f32(atomicLoad(&gradient_sums[begin + thread]));
        key = order_key(quotient(g, held(f32(h) + rules.smoothing)));
    }
    hessian_parts[thread] = key;
    gradient_parts[thread] = select(0, 1, is_used);
    workgroupBarrier();
    var place = 0u;
    var used = 0u;
    for (var other = 1u; other < slots; other += 1u) {
        if (gradient_parts[other] == 1) {
            used += 1u;
            let is_before = hessian_parts[other] < key || (hessian_parts[other] == key && other < thread);
            place += select(0u, 1u, is_before);
        }
    }
    if (is_used) {
        count_parts[place] = i32(thread);
    }
    workgroupBarrier();
    if (thread > 0u) {
        return;
    }
    let l2 = held(rules.l2 + rules.category_l2);
    let most = min(lanes[lane].most_categories, (used + 1u) / 2u);
    var least = node.least;
    for (var side = 0u; side < 2u; side += 1u) {
        var gradient = 0;
        var hessian = 0u;
        var rows = 0.0;
        var group = 0.0;
        for (var i = 0u; i < most; i += 1u) {
            let slot = nth_of(i, used, side == 1u);
            gradient += atomicLoad(&gradient_sums[begin + slot]);
            let own = atomicLoad(&hessian_sums[begin + slot]);
            hessian += own;
            rows += f32(count(own));
            group += f32(count(own));
            if (held(node.rows - rows) < lanes[lane].group_rows) {
                break;
            }
            let gain = gain_of(lane, gradient, hessian, rows, l2);
            if (gain < 0.0 || group < lanes[lane].group_rows) {
                continue;
            }
            group = 0.0;
            if (gain > least) {
                least = gain;
                atomicOr(&alive, bit);
                if (take_subset(gain, column, node.gradient - gradient, node.hessian - hessian, l2)) {
                    for (var before = 0u; before <= i; before += 1u) {
                        add_to_set(nth_of(before, used, side == 1u));
                    }
                }
            }
        }
    }
}

// Sums a leaf's rows of a block of columns; `mask` has a bit for each that is wanted.
fn sum_block(lane: u32, block: u32, mask: u32, begin: u32, end: u32, thread: u32) {
    for (var slot = thread; slot < BLOCK * SLOTS; slot += WORKGROUP) {
        atomicStore(&gradient_sums[slot], 0);
        atomicStore(&hessian_sums[slot], 0u);
    }
    if (thread == 0u) {
        atomicStore(&alive, 0u);
    }
    workgroupBarrier();
    let rows_at = state_of(lane, lanes[lane].rows_at);
    let words_at = state_of(lane, lanes[lane].words_at);
    for (var place = begin + thread; place < end; place += WORKGROUP) {
        let row = state[rows_at + place];
        let word = codes[lanes[lane].codes + block * lanes[lane].rows + row];
        let gradient = bitcast<i32>(state[words_at + 2u * row]);
        let hessian = state[words_at + 2u * row + 1u];
        for (var i = 0u; i < BLOCK; i += 1u) {
            if ((mask >> i & 1u) == 1u) {
                let slot = i * SLOTS + (word >> (8u * i) & 255u);
                atomicAdd(&gradient_sums[slot], gradient);
                atomicAdd(&hessian_sums[slot], hessian);
            }
        }
    }
    workgroupBarrier();
}

// Finds a leaf's best split and writes it there. All threads call it.
fn look(lane: u32, leaf: u32, thread: u32) {
    let at = leaf_at(lane, leaf);
    let begin = state[at + LEAF_ROWS];
    let end = state[at + LEAF_ROWS_END];
    let gradient = bitcast<i32>(state[at + LEAF_GRADIENT]);
    let hessian = state[at + LEAF_HESSIAN];
    let own = soft(f32(gradient), rules.l1);
    let parent = quotient(product(own, own), held(f32(hessian) + rules.l2));
    node = Node(gradient, hessian, f32(end - begin), quotient(f32(end - begin), f32(hessian)),
        held(product(parent, 1.0 + 1.0 / 1048576.0) + rules.min_gain));
    candidate = Candidate(node.least, NO_RANK, 0, 0u);
    subset = candidate;
    let blocks = (lanes[lane].columns + BLOCK - 1u) / BLOCK;
    for (var block = 0u; block < blocks; block += 1u) {
        let word = block * BLOCK / 32u;
        let shift = block * BLOCK % 32u;
        let chosen = state[state_of(lane, lanes[lane].chosen_at) + word] & ~state[at + LEAF_DEAD + word];
        let mask = chosen >> shift & 15u;
        if (mask == 0u) {
            continue;
        }
        sum_block(lane, block, mask, begin, end, thread);
        let column = block * BLOCK + thread / THREADS;
        let known = table[lanes[lane].column_table + min(column, lanes[lane].columns - 1u)];
        let bit = 1u << (thread / THREADS);
        scan(lane, column, known, thread / THREADS * SLOTS, (mask & bit) != 0u && (known & COLUMN_IS_CATEGORY) == 0u, bit,
            thread);
        for (var i = 0u; i < BLOCK; i += 1u) {
            if ((mask >> i & 1u) == 0u) {
                continue;
            }
            let known = table[lanes[lane].column_table + block * BLOCK + i];
            if ((known & COLUMN_IS_CATEGORY) != 0u) {
                workgroupBarrier();
                look_at_categories(lane, block * BLOCK + i, known, i * SLOTS, 1u << i, thread);
            }
        }
        workgroupBarrier();
        if (thread == 0u) {
            state[at + LEAF_DEAD + word] |= (mask & ~atomicLoad(&alive)) << shift;
        }
        // The next block's sums are cleared by all.
        sync();
    }
    settle(lane, at, parent, thread);
}

// Writes the best of all threads' candidates.
fn settle(lane: u32, at: u32, parent: f32, thread: u32) {
    let is_subset = thread == 0u && (subset.gain > candidate.gain
        || (subset.gain == candidate.gain && subset.rank < candidate.rank));
    var own = candidate;
    if (is_subset) {
        own = subset;
    }
    let has_split = own.rank != NO_RANK;
    clear_cells(thread);
    if (has_split) {
        atomicMax(&cells[0], bitcast<u32>(own.gain));
    }
    workgroupBarrier();
    let is_greatest = has_split && bitcast<u32>(own.gain) == atomicLoad(&cells[0]);
    if (is_greatest) {
        // The least rank has the greatest complement.
        atomicMax(&cells[1], ~own.rank);
    }
    if (thread == 0u) {
        state[at + LEAF_GAIN] = 0u;
    }
    sync();
    let gain = held(own.gain - held(parent + rules.min_gain));
    if (is_greatest && ~own.rank == atomicLoad(&cells[1]) && gain > 0.0) {
        let column = own.rank / RANKS;
        let place = own.rank % RANKS;
        state[at + LEAF_GAIN] = bitcast<u32>(gain);
        state[at + LEAF_LEFT_GRADIENT] = bitcast<u32>(node.gradient - own.gradient);
        state[at + LEAF_LEFT_HESSIAN] = node.hessian - own.hessian;
        state[at + LEAF_FEATURE] = column;
        state[at + LEAF_MISSING_LEFT] = select(0u, 1u, place < RANKS / 2u);
        // A cut at a slot sends those below it left.
        state[at + LEAF_CUT] = select(place - RANKS / 2u, RANKS / 2u - 1u - place, place < RANKS / 2u) - 1u;
        state[at + LEAF_L2] = bitcast<u32>(rules.l2);
        if (is_subset) {
            state[at + LEAF_FEATURE] = column | IS_CATEGORY;
            state[at + LEAF_MISSING_LEFT] = 0u;
            state[at + LEAF_L2] = bitcast<u32>(subset_l2);
            for (var word = 0u; word < SET_WORDS; word += 1u) {
                state[at + LEAF_SET + word] = best_set[word];
            }
        }
    }
    sync();
}
