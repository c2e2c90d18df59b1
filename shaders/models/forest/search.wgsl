// The search for a node's best split, as src/models/forest/search.rs does it: features as they are drawn, cuts of each side
// by side. Thread t looks at the cut behind bin t, or behind the category of rank t. Of equally good ones the first is
// taken.

const NOTHING = 0xffffffffu;
// Words of a bit for each bin.
const SET_WORDS = 8u;
const MISSING_LEFT = 0x80000000u;
const IS_CATEGORY = 0x40000000u;

// What is known of a column: its bins, as the host packs them, and where their places lie.
const COLUMN_WORDS = 2u;
const COLUMN_BINS = 0xffffu;
const COLUMN_IS_CATEGORY = 0x10000u;

// Where the best split is: between two bins of the node, up to a bin, or in a set of bins.
const PLACE_BETWEEN = 0u;
const PLACE_UP_TO = 1u;
const PLACE_SUBSET = 2u;

struct Best {
    gain: Gain,
    left_weight: u32,
    // NOTHING where there is none.
    feature: u32,
    kind: u32,
    below: u32,
    above: u32,
    missing_left: bool,
    has_missing: bool,
}

// A bit for each bin that has rows, and for each thread whose cut may be the best.
var<workgroup> occupied: array<atomic<u32>, SET_WORDS>;
var<workgroup> contenders: array<atomic<u32>, SET_WORDS>;
var<workgroup> greatest_key: atomic<u32>;
// A feature, and the word that draws its cut.
var<workgroup> drawn: vec2<u32>;
// Thread 0 writes the rest.
var<workgroup> best: Best;
var<workgroup> best_set: array<u32, SET_WORDS>;
var<workgroup> best_all: array<u32, SET_WORDS>;
// All bins that go left, that of missing values among them.
var<workgroup> left_bins: array<u32, SET_WORDS>;

// Draws features until one comes that may vary; NOTHING behind the last one that the node looks at. For thread 0.
fn draw_feature(lane: u32, entry: u32, key: vec2<u32>, done: u32, has_varied: bool) -> vec3<u32> {
    let order = state_of(lane, lanes[lane].order_at);
    let swaps = state_of(lane, lanes[lane].swaps_at);
    let columns = lanes[lane].columns;
    for (var place = done; place < columns; place += 1u) {
        if (place >= lanes[lane].looked_at && has_varied) {
            return vec3<u32>(NOTHING, 0u, place);
        }
        let words = threefry(key, vec2<u32>(place, 0u));
        let other = place + scaled(words.x, columns - place);
        let feature = state[order + other];
        state[order + other] = state[order + place];
        state[order + place] = feature;
        state[swaps + place] = other;
        if (((state[entry + ENTRY_CONSTANTS + feature / 32u] >> (feature % 32u)) & 1u) == 0u) {
            return vec3<u32>(feature, words.y, place + 1u);
        }
    }
    return vec3<u32>(NOTHING, 0u, columns);
}

fn undo_draws(lane: u32, done: u32) {
    let order = state_of(lane, lanes[lane].order_at);
    let swaps = state_of(lane, lanes[lane].swaps_at);
    for (var place = done; place > 0u; place -= 1u) {
        let other = state[swaps + place - 1u];
        let feature = state[order + other];
        state[order + other] = state[order + place - 1u];
        state[order + place - 1u] = feature;
    }
}

// Finds a node's best split into `best`. All threads call it.
fn search(lane: u32, entry: u32, rows: u32, begin: u32, end: u32, key: vec2<u32>, thread: u32) {
    if (thread == 0u) {
        best.feature = NOTHING;
        best.gain.key = 0u;
    }
    var done = 0u;
    var has_varied = false;
    loop {
        if (thread == 0u) {
            let next = draw_feature(lane, entry, key, done, has_varied);
            drawn = next.xy;
            done = next.z;
        }
        let feature = workgroupUniformLoad(&drawn);
        if (feature.x == NOTHING) {
            break;
        }
        if (look(lane, feature.x, feature.y, rows, begin, end, thread)) {
            has_varied = true;
        } else if (thread == 0u) {
            state[entry + ENTRY_CONSTANTS + feature.x / 32u] |= 1u << (feature.x % 32u);
        }
    }
    if (thread == 0u) {
        undo_draws(lane, done);
    }
    sync();
}

fn is_occupied(bin: u32) -> bool {
    return ((atomicLoad(&occupied[bin / 32u]) >> (bin % 32u)) & 1u) == 1u;
}

// Bits of a word of bins that lie below `end`.
fn bits_below(word: u32, end: u32) -> u32 {
    if (end <= 32u * word) {
        return 0u;
    }
    return select((1u << ((end - 32u * word) % 32u)) - 1u, 0xffffffffu, end >= 32u * word + 32u);
}

// The last bin with rows below `end`; NOTHING where there is none.
fn last_occupied(end: u32) -> u32 {
    for (var word = SET_WORDS; word > 0u; word -= 1u) {
        let bits = atomicLoad(&occupied[word - 1u]) & bits_below(word - 1u, end);
        if (bits != 0u) {
            return 32u * (word - 1u) + firstLeadingBit(bits);
        }
    }
    return NOTHING;
}

// The first bin with rows from `begin` on.
fn first_occupied(begin: u32) -> u32 {
    for (var word = begin / 32u; word < SET_WORDS; word += 1u) {
        let bits = atomicLoad(&occupied[word]) & ~bits_below(word, begin);
        if (bits != 0u) {
            return 32u * word + firstTrailingBit(bits);
        }
    }
    return NOTHING;
}

// The last bin whose values lie at or below a place, between `first` and `last`.
fn bin_at(places: u32, place: u32, first: u32, last: u32) -> u32 {
    var low = first;
    var high = last + 1u;
    while (low < high) {
        let middle = (low + high) / 2u;
        if (table[places + 2u * middle + 1u] <= place) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return max(low, first + 1u) - 1u;
}

fn count_rows(lane: u32, feature: u32, rows: u32, begin: u32, end: u32, chunk: u32, is_category: bool, thread: u32) {
    for (var place = begin + thread; place < end; place += WORKGROUP) {
        let row = state[rows + place];
        count_row(lane, row, bin_of(lane, feature, row), chunk, is_category);
    }
    workgroupBarrier();
}

// Puts the categories that have rows into the order of their targets.
fn rank(bins: u32, thread: u32) {
    if (thread <= bins && is_occupied(thread)) {
        var before = 0u;
        for (var other = 0u; other <= bins; other += 1u) {
            if (is_occupied(other) && comes_before(other, thread)) {
                before += 1u;
            }
        }
        by_rank[before] = thread;
    }
    workgroupBarrier();
}

// Looks at a feature's cuts; whether it varies over the node's rows.
fn look(lane: u32, feature: u32, word: u32, rows: u32, begin: u32, end: u32, thread: u32) -> bool {
    let known = table[lanes[lane].column_table + COLUMN_WORDS * feature];
    let places = table[lanes[lane].column_table + COLUMN_WORDS * feature + 1u];
    let bins = known & COLUMN_BINS;
    let is_category = (known & COLUMN_IS_CATEGORY) != 0u;
    clear_tally(thread);
    if (thread < SET_WORDS) {
        atomicStore(&occupied[thread], 0u);
        atomicStore(&contenders[thread], 0u);
    }
    if (thread == 0u) {
        atomicStore(&greatest_key, 0u);
    }
    clear_fields(thread);
    count_rows(lane, feature, rows, begin, end, 0u, is_category, thread);
    if (field(FIELD_ROWS, thread) > 0u) {
        atomicOr(&occupied[thread / 32u], 1u << (thread % 32u));
    }
    workgroupBarrier();
    var count = 0u;
    for (var i = 0u; i < SET_WORDS; i += 1u) {
        count += countOneBits(atomicLoad(&occupied[i]));
    }
    if (count < 2u) {
        return false;
    }
    let has_missing = is_occupied(bins);
    let last = last_occupied(bins);
    var positions = bins + 1u;
    if (is_category) {
        rank(bins, thread);
        positions = count;
    }
    // Of extra trees the only cut, and the bin up to which it goes.
    var only = NOTHING;
    var up_to = NOTHING;
    if (lanes[lane].is_extra == 1u) {
        if (is_category) {
            only = scaled(word, count - 1u);
        } else {
            let first = first_occupied(0u);
            if (first < last) {
                let low = table[places + 2u * first];
                let high = table[places + 2u * last + 1u];
                up_to = bin_at(places, low + scaled(word, high - low), first, last - 1u);
                only = last_occupied(up_to + 1u);
            }
        }
    }
    var is_cut = only == NOTHING || thread == only;
    if (is_category) {
        is_cut = is_cut && thread + 1u < count;
    } else {
        // All values on one side is a split if some are missing.
        is_cut = is_cut && thread < bins && is_occupied(thread) && (thread < last || has_missing);
    }
    let tries_left = !is_category && has_missing && thread < last;
    begin_sides();
    var left_rows = 0u;
    var missing_rows = 0u;
    for (var chunk = 0u; chunk < chunks(lane); chunk += 1u) {
        if (chunk > 0u) {
            clear_fields(thread);
            count_rows(lane, feature, rows, begin, end, chunk, is_category, thread);
        }
        if (is_category) {
            put_in_order(count, thread);
        }
        add_up(positions, thread);
        if (is_cut) {
            add_to_sides(lane, chunk, thread, bins, tries_left);
            if (chunk == 0u) {
                left_rows = field(FIELD_ROWS, thread);
                missing_rows = select(0u, field_alone(FIELD_ROWS, bins), tries_left);
            }
        }
    }
    offer(lane, end - begin, is_cut, tries_left, left_rows, missing_rows, thread);
    if (thread == 0u) {
        take(lane, feature, bins, last, up_to, is_category, has_missing);
    }
    return true;
}

// Leaves a thread's cut for thread 0, if it may be the best.
fn offer(lane: u32, rows: u32, is_cut: bool, tries_left: bool, left_rows: u32, missing_rows: u32, thread: u32) {
    let least = lanes[lane].min_leaf;
    var gain = Gain(vec4<u32>(0u), vec2<u32>(0u), 0u);
    var left = 0u;
    var has_gain = false;
    if (is_cut && left_rows >= least && rows - left_rows >= least) {
        gain = gain_of(lane, sides);
        left = sides.left_weight;
        has_gain = true;
    }
    if (is_cut && tries_left && left_rows + missing_rows >= least && rows - left_rows - missing_rows >= least) {
        let other = gain_of(lane, missing_sides);
        if (!has_gain || is_better(other, gain)) {
            gain = other;
            left = missing_sides.left_weight | MISSING_LEFT;
            has_gain = true;
        }
    }
    if (has_gain) {
        atomicMax(&greatest_key, gain.key);
    }
    // The fields are read: contenders take their place.
    workgroupBarrier();
    let bar = max(atomicLoad(&greatest_key), best.gain.key);
    if (has_gain && gain.key >= bar - min(bar, DOUBT)) {
        atomicOr(&contenders[thread / 32u], 1u << (thread % 32u));
        for (var i = 0u; i < 4u; i += 1u) {
            atomicStore(&fields[5u * thread + i], gain.numerator[i]);
        }
        atomicStore(&fields[5u * thread + 4u], left);
    }
    workgroupBarrier();
}

// Thread 0 takes the first of the best.
fn take(lane: u32, feature: u32, bins: u32, last: u32, up_to: u32, is_category: bool, has_missing: bool) {
    var taken = NOTHING;
    for (var word = 0u; word < SET_WORDS; word += 1u) {
        var bits = atomicLoad(&contenders[word]);
        while (bits != 0u) {
            let place = 32u * word + firstTrailingBit(bits);
            bits &= bits - 1u;
            let at = 5u * place;
            let numerator = vec4<u32>(atomicLoad(&fields[at]), atomicLoad(&fields[at + 1u]), atomicLoad(&fields[at + 2u]),
                atomicLoad(&fields[at + 3u]));
            let left = atomicLoad(&fields[at + 4u]);
            // All contenders are near the greatest key: they are compared exactly.
            let gain = Gain(numerator, denominator_of(lane, left & ~MISSING_LEFT), atomicLoad(&greatest_key));
            if (best.feature != NOTHING && !is_better(gain, best.gain)) {
                continue;
            }
            best = Best(gain, left & ~MISSING_LEFT, feature, PLACE_SUBSET, place, place, (left & MISSING_LEFT) != 0u,
                has_missing);
            taken = place;
        }
    }
    if (taken == NOTHING) {
        return;
    }
    if (is_category) {
        for (var i = 0u; i < SET_WORDS; i += 1u) {
            best_set[i] = 0u;
            best_all[i] = atomicLoad(&occupied[i]);
        }
        for (var i = 0u; i <= taken; i += 1u) {
            best_set[by_rank[i] / 32u] |= 1u << (by_rank[i] % 32u);
        }
    } else if (up_to != NOTHING) {
        best.kind = PLACE_UP_TO;
        best.below = up_to;
    } else if (taken == last) {
        best.kind = PLACE_UP_TO;
        best.below = bins - 1u;
    } else {
        best.kind = PLACE_BETWEEN;
        best.above = first_occupied(taken + 1u);
    }
}

// Makes of the best split the bins that go left, and adds it to the hash. What the node has not seen goes where most of its
// rows go. For thread 0.
fn settle(lane: u32) {
    let at = lanes[lane].column_table + COLUMN_WORDS * best.feature;
    let bins = table[at] & COLUMN_BINS;
    let is_left_heavier = best.left_weight > node.weight - best.left_weight;
    var missing_left = select(is_left_heavier, best.missing_left, best.has_missing);
    if (best.kind == PLACE_SUBSET) {
        let has_missing_bin = ((best_set[bins / 32u] >> (bins % 32u)) & 1u) == 1u;
        missing_left = select(is_left_heavier, has_missing_bin, best.has_missing);
        for (var i = 0u; i < SET_WORDS; i += 1u) {
            left_bins[i] = best_set[i] | select(0u, ~best_all[i], is_left_heavier);
        }
        add_to_hash(best.feature | IS_CATEGORY | select(0u, MISSING_LEFT, missing_left), 0u);
        for (var i = 0u; i < SET_WORDS; i += 2u) {
            add_to_hash(left_bins[i], left_bins[i + 1u]);
        }
    } else {
        var cut = best.below;
        if (best.kind == PLACE_BETWEEN) {
            let places = table[at + 1u];
            let low = table[places + 2u * best.below + 1u];
            let high = table[places + 2u * best.above];
            // A value in the very middle goes left, whatever steps were lost in rounding down.
            var middle = low + (high - low) / 2u;
            middle += min(2u, 0xffffffffu - middle);
            cut = bin_at(places, middle, best.below, best.above - 1u);
        }
        for (var i = 0u; i < SET_WORDS; i += 1u) {
            left_bins[i] = bits_below(i, cut + 1u);
        }
        add_to_hash(best.feature | select(0u, MISSING_LEFT, missing_left), cut);
    }
    let bit = 1u << (bins % 32u);
    left_bins[bins / 32u] = select(left_bins[bins / 32u] & ~bit, left_bins[bins / 32u] | bit, missing_left);
}
