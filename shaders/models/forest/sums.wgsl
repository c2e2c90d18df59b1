// Numbers of a node's rows by bin, in whole steps: src/models/forest/sums.rs.
//
// A number is at home in 24 bits above -2^23. Fields are the sums of its three bytes, times weights: as all weights together
// are below 2^24, each fits into a word. Then weights, and rows.

const FIELDS = 5u;
const FIELD_WEIGHT = 3u;
const FIELD_ROWS = 4u;

struct Node {
    weight: u32,
    // Of numbers above -2^23.
    sum: vec2<u32>,
    is_uniform: bool,
}

// The left side of a split.
struct Sides {
    left_weight: u32,
    sum: vec2<u32>,
}

var<workgroup> node_parts: array<atomic<u32>, 6>;
var<private> node: Node;
var<private> sides: Sides;
// With missing values on the left.
var<private> missing_sides: Sides;

fn sum_of_bytes(low: u32, middle: u32, high: u32) -> vec2<u32> {
    return added(added(vec2<u32>(low, 0u), multiplied(middle, 256u)), multiplied(high, 65536u));
}

fn set_node(lane: u32, rows: u32, begin: u32, end: u32, thread: u32) {
    workgroupBarrier();
    if (thread < 6u) {
        atomicStore(&node_parts[thread], select(0u, 0xffffffffu, thread == 4u));
    }
    workgroupBarrier();
    for (var place = begin + thread; place < end; place += WORKGROUP) {
        let row = state[rows + place];
        let own = table[lanes[lane].y + row];
        let weight = weight_of(lane, row);
        for (var i = 0u; i < 3u; i += 1u) {
            atomicAdd(&node_parts[i], weight * ((own >> (8u * i)) & 255u));
        }
        atomicAdd(&node_parts[3], weight);
        atomicMin(&node_parts[4], own);
        atomicMax(&node_parts[5], own);
    }
    workgroupBarrier();
    node = Node(atomicLoad(&node_parts[3]),
        sum_of_bytes(atomicLoad(&node_parts[0]), atomicLoad(&node_parts[1]), atomicLoad(&node_parts[2])),
        atomicLoad(&node_parts[4]) >= atomicLoad(&node_parts[5]));
}

fn chunks(lane: u32) -> u32 {
    return 1u;
}

fn clear_tally(thread: u32) {}

fn count_row(lane: u32, row: u32, bin: u32, chunk: u32, is_category: bool) {
    let weight = weight_of(lane, row);
    let own = table[lanes[lane].y + row];
    for (var i = 0u; i < 3u; i += 1u) {
        atomicAdd(&fields[i * BINS + bin], weight * ((own >> (8u * i)) & 255u));
    }
    atomicAdd(&fields[FIELD_WEIGHT * BINS + bin], weight);
    atomicAdd(&fields[FIELD_ROWS * BINS + bin], 1u);
}

fn sum_at(place: u32) -> vec2<u32> {
    return sum_of_bytes(field(0u, place), field(1u, place), field(2u, place));
}

// By the mean.
fn comes_before(a: u32, b: u32) -> bool {
    let own = long_times(sum_at(a), field(FIELD_WEIGHT, b));
    let other = long_times(sum_at(b), field(FIELD_WEIGHT, a));
    if (own.z != other.z) {
        return own.z < other.z;
    }
    return is_less(own.xy, other.xy) || (all(own == other) && a < b);
}

fn begin_sides() {}

fn add_to_sides(lane: u32, chunk: u32, place: u32, missing: u32, tries_left: bool) {
    sides = Sides(field(FIELD_WEIGHT, place), sum_at(place));
    if (tries_left) {
        let more = sum_of_bytes(field_alone(0u, missing), field_alone(1u, missing), field_alone(2u, missing));
        missing_sides = Sides(sides.left_weight + field_alone(FIELD_WEIGHT, missing), added(sides.sum, more));
    }
}

fn denominator_of(lane: u32, left_weight: u32) -> vec2<u32> {
    return multiplied(left_weight, node.weight - left_weight);
}

fn gain_of(lane: u32, own: Sides) -> Gain {
    // What the left side has beyond its share of the sum, times the weight: its size is below 2^62, so that whole
    // multiples of 2^64 that both products lack cancel.
    var deviation = subtracted(times(own.sum, node.weight), times(node.sum, own.left_weight));
    if ((deviation.y >> 31u) == 1u) {
        deviation = subtracted(vec2<u32>(0u), deviation);
    }
    let size = number_of(deviation);
    let about = size / f32(own.left_weight) * (size / f32(node.weight - own.left_weight));
    return Gain(squared(deviation), denominator_of(lane, own.left_weight), bitcast<u32>(about));
}

// Thread 0 adds a leaf to the hash of its tree.
fn hash_leaf(lane: u32) {
    // Of numbers as they are.
    let sum = subtracted(node.sum, multiplied(node.weight, 0x800000u));
    add_to_hash(HASH_LEAF, node.weight);
    add_to_hash(sum.x, sum.y);
}

// What a leaf says: the mean in the target's own units; NaN without any row.
fn leaf_value(lane: u32, output: u32) -> f32 {
    if (node.weight == 0u) {
        return bitcast<f32>(0x7fc00000u ^ nothing);
    }
    // In 2^-24 of a step, by long division of bytes: what is left of 24 bits and a byte more fit into a word.
    var rest = 0u;
    var whole = 0u;
    var part = 0u;
    for (var i = 0u; i < 9u; i += 1u) {
        var byte = 0u;
        if (i < 2u) {
            byte = (node.sum.y >> (8u * (1u - i))) & 255u;
        } else if (i < 6u) {
            byte = (node.sum.x >> (8u * (5u - i))) & 255u;
        }
        rest = (rest << 8u) | byte;
        if (i < 6u) {
            whole = (whole << 8u) | (rest / node.weight);
        } else {
            part = (part << 8u) | (rest / node.weight);
        }
        rest %= node.weight;
    }
    let steps = sum_of(f32(bitcast<i32>(whole) - 0x800000), f32(part) * (1.0 / 16777216.0));
    let size = Double(lanes[lane].step_size[0], lanes[lane].step_size[1]);
    let middle = Double(lanes[lane].middle[0], lanes[lane].middle[1]);
    let value = add_double(middle, multiply_double(size, steps));
    return held(value.high + value.low);
}
