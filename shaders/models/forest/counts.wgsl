// Classes of a node's rows by bin: src/models/forest/counts.rs. Fields are CLASSES classes at a time, and rows.

const CLASSES = 8u;
const FIELDS = 9u;
const FIELD_ROWS = 8u;

struct Node {
    weight: u32,
    // The first of those that weigh most.
    largest: u32,
    is_uniform: bool,
}

// What is added up over the classes of both sides of a split: squares of their weights, or products with logarithms.
struct Sides {
    left_weight: u32,
    left: vec2<u32>,
    right: vec2<u32>,
}

var<workgroup> node_weight: atomic<u32>;
var<workgroup> node_present: atomic<u32>;
var<workgroup> largest_weight: atomic<u32>;
var<workgroup> largest_class: atomic<u32>;
// By bin, of categories: the weight of all classes, and of the node's largest.
var<workgroup> bin_weights: array<atomic<u32>, BINS>;
var<workgroup> bin_largest: array<atomic<u32>, BINS>;
var<private> node: Node;
var<private> sides: Sides;
// With missing values on the left.
var<private> missing_sides: Sides;

// Counts a node's classes into the state.
fn set_node(lane: u32, rows: u32, begin: u32, end: u32, thread: u32) {
    let totals = state_of(lane, lanes[lane].totals_at);
    let classes = lanes[lane].outputs;
    // All have read what the node before left there.
    workgroupBarrier();
    if (thread == 0u) {
        atomicStore(&node_weight, 0u);
        atomicStore(&node_present, 0u);
        atomicStore(&largest_weight, 0u);
        atomicStore(&largest_class, 0xffffffffu);
    }
    for (var first = 0u; first < classes; first += FIELDS * BINS) {
        clear_fields(thread);
        for (var place = begin + thread; place < end; place += WORKGROUP) {
            let row = state[rows + place];
            let k = table[lanes[lane].y + row] - first;
            if (k < FIELDS * BINS) {
                atomicAdd(&fields[k], weight_of(lane, row));
            }
        }
        workgroupBarrier();
        for (var k = thread; k < min(classes - first, FIELDS * BINS); k += WORKGROUP) {
            let weight = atomicLoad(&fields[k]);
            state[totals + first + k] = weight;
            if (weight > 0u) {
                atomicAdd(&node_weight, weight);
                atomicAdd(&node_present, 1u);
                atomicMax(&largest_weight, weight);
            }
        }
    }
    sync();
    for (var k = thread; k < classes; k += WORKGROUP) {
        if (state[totals + k] == atomicLoad(&largest_weight)) {
            atomicMin(&largest_class, k);
        }
    }
    workgroupBarrier();
    node = Node(atomicLoad(&node_weight), atomicLoad(&largest_class), atomicLoad(&node_present) < 2u);
}

fn chunks(lane: u32) -> u32 {
    return (lanes[lane].outputs + CLASSES - 1u) / CLASSES;
}

fn clear_tally(thread: u32) {
    atomicStore(&bin_weights[thread], 0u);
    atomicStore(&bin_largest[thread], 0u);
}

fn count_row(lane: u32, row: u32, bin: u32, chunk: u32, is_category: bool) {
    let weight = weight_of(lane, row);
    let own = table[lanes[lane].y + row];
    let k = own - chunk * CLASSES;
    if (k < CLASSES) {
        atomicAdd(&fields[k * BINS + bin], weight);
    }
    if (chunk == 0u) {
        atomicAdd(&fields[FIELD_ROWS * BINS + bin], 1u);
        if (is_category) {
            atomicAdd(&bin_weights[bin], weight);
            if (own == node.largest) {
                atomicAdd(&bin_largest[bin], weight);
            }
        }
    }
}

// By the share of the node's largest class.
fn comes_before(a: u32, b: u32) -> bool {
    let own = multiplied(atomicLoad(&bin_largest[a]), atomicLoad(&bin_weights[b]));
    let other = multiplied(atomicLoad(&bin_largest[b]), atomicLoad(&bin_weights[a]));
    return is_less(own, other) || (all(own == other) && a < b);
}

// `c log2 c` in steps of 2^-26, as gain.rs has it.
fn logarithm_product(weight: u32) -> vec2<u32> {
    if (weight == 0u) {
        return vec2<u32>(0u);
    }
    // Weights are below 2^24.
    let exponent = firstLeadingBit(weight);
    let low = weight << (16u - min(exponent, 16u));
    let mantissa = select(low, weight >> (max(exponent, 16u) - 16u), exponent > 16u) & 0xffffu;
    return multiplied(weight, (exponent << 26u) + table[mantissa]);
}

fn with_class(lane: u32, before: Sides, left: u32, all: u32) -> Sides {
    var after = before;
    after.left_weight += left;
    if (lanes[lane].is_entropy == 1u) {
        after.left = added(after.left, added(logarithm_product(left), logarithm_product(all - left)));
    } else {
        after.left = added(after.left, multiplied(left, left));
        after.right = added(after.right, multiplied(all - left, all - left));
    }
    return after;
}

fn begin_sides() {
    sides = Sides(0u, vec2<u32>(0u), vec2<u32>(0u));
    missing_sides = sides;
}

// Adds a chunk's classes of the bins up to `place`.
fn add_to_sides(lane: u32, chunk: u32, place: u32, missing: u32, tries_left: bool) {
    let totals = state_of(lane, lanes[lane].totals_at) + chunk * CLASSES;
    for (var k = 0u; k < min(CLASSES, lanes[lane].outputs - chunk * CLASSES); k += 1u) {
        let all = state[totals + k];
        let left = field(k, place);
        sides = with_class(lane, sides, left, all);
        if (tries_left) {
            missing_sides = with_class(lane, missing_sides, left + field_alone(k, missing), all);
        }
    }
}

fn denominator_of(lane: u32, left_weight: u32) -> vec2<u32> {
    if (lanes[lane].is_entropy == 1u) {
        return vec2<u32>(1u, 0u);
    }
    return multiplied(left_weight, node.weight - left_weight);
}

fn gain_of(lane: u32, own: Sides) -> Gain {
    let right_weight = node.weight - own.left_weight;
    let denominator = denominator_of(lane, own.left_weight);
    if (lanes[lane].is_entropy == 1u) {
        let both = added(logarithm_product(own.left_weight), logarithm_product(right_weight));
        // Bits that are left on both sides: none where rounding would have fewer than none.
        var cost = subtracted(both, own.left);
        if (is_less(both, own.left)) {
            cost = vec2<u32>(0u);
        }
        let rest = subtracted(vec2<u32>(0u, 0x40000000u), cost);
        return Gain(vec4<u32>(rest, 0u, 0u), denominator, ~bitcast<u32>(number_of(cost)));
    }
    let numerator = long_added(long_times(own.left, right_weight), long_times(own.right, own.left_weight));
    let about = number_of(own.left) / f32(own.left_weight) + number_of(own.right) / f32(right_weight);
    return Gain(numerator, denominator, bitcast<u32>(about));
}

// Thread 0 adds a leaf to the hash of its tree.
fn hash_leaf(lane: u32) {
    let totals = state_of(lane, lanes[lane].totals_at);
    add_to_hash(HASH_LEAF, lanes[lane].outputs);
    for (var k = 0u; k < lanes[lane].outputs; k += 2u) {
        var second = 0u;
        if (k + 1u < lanes[lane].outputs) {
            second = state[totals + k + 1u];
        }
        add_to_hash(state[totals + k], second);
    }
}

// What a leaf says: shares of the classes; NaN without any row.
fn leaf_value(lane: u32, output: u32) -> f32 {
    if (node.weight == 0u) {
        return bitcast<f32>(0x7fc00000u ^ nothing);
    }
    return quotient(f32(state[state_of(lane, lanes[lane].totals_at) + output]), f32(node.weight));
}
