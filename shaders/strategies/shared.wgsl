// What whole generations have in common: src/strategies/generation/draws.rs and state.rs on a device. Products that are
// added to go through `product`, so that no compiler rounds them otherwise than the processor does.
//   head: counters and single numbers; vectors, columns [column][member] and rows [row][member][STRIDE] as State has them,
//   each with scratch behind; order: members by rank, and behind 2 MEMBERS of them sorted tiles: keys, then whose they are; axes: AXIS_WORDS an axis, then the method's table.

const LANES: u32 = 16u;
const CHILD: u32 = 0x6b657973u;
const FOR_AXES: u32 = 0u;
const FOR_AXES_MORE: u32 = 1u;
const FOR_MEMBER: u32 = 2u;

// The number of an invocation among all of its pass.
fn invocation(group: vec3<u32>, groups: vec3<u32>, thread: u32) -> u32 {
    nothing = head[HEAD - 1u];
    return (group.y * groups.x + group.x) * WORKGROUP + thread;
}

fn number(place: u32) -> f32 {
    return bitcast<f32>(head[place]);
}

fn generation_key() -> vec2<u32> {
    return threefry(vec2<u32>(head[2], head[3]), vec2<u32>(head[0], CHILD));
}

fn words_of(use_of: u32, counter: u32) -> vec2<u32> {
    return threefry(generation_key(), vec2<u32>(counter, use_of));
}

// A member's words of one kind.
fn member_words(kind: u32, member: u32) -> vec2<u32> {
    return words_of(FOR_MEMBER, kind * PADDED_MEMBERS + member);
}

// One word for each axis of a member: a counter's two go to two neighbouring chunks.
fn axis_word(member: u32, axis: u32) -> u32 {
    let chunk = axis / LANES;
    let words = words_of(FOR_AXES, member * STRIDE + LANES * (chunk / 2u) + axis % LANES);
    return select(words.x, words.y, chunk % 2u == 1u);
}

// The high half of a product of 64 bits.
fn below(word: u32, bound: u32) -> u32 {
    let low = word & 0xffffu;
    let high = word >> 16u;
    let bound_low = bound & 0xffffu;
    let bound_high = bound >> 16u;
    let middle = high * bound_low + ((low * bound_low) >> 16u);
    let other = low * bound_high + (middle & 0xffffu);
    return high * bound_high + (middle >> 16u) + (other >> 16u);
}

// 1 / sqrt(x) from a guess by the bits, as src/backend/cpu/math.rs has it.
fn reciprocal_sqrt_of(x: f32) -> f32 {
    let guess = bitcast<f32>(0x5f375a86u - (bitcast<u32>(x) >> 1u));
    let e = fma(-product(guess, guess), x, 1.0);
    var series = 0.2734375;
    series = fma(series, e, 0.3125);
    series = fma(series, e, 0.375);
    series = fma(series, e, 0.5);
    return fma(product(guess, e), series, guess);
}

// The quantile at the middle of one of 2^23 cells: Giles, "Approximating the erfinv function".
fn normal_of(word: u32) -> f32 {
    let x = (f32((word & 0xfffffe00u) >> 8u) + 1.0) * (1.0 / 8388608.0) - 1.0;
    var w = -ln_of(product(1.0 - x, 1.0 + x));
    var p = 0.0;
    if (w < 5.0) {
        w -= 2.5;
        p = 2.8102264e-8;
        p = fma(p, w, 3.4327394e-7);
        p = fma(p, w, -3.5233877e-6);
        p = fma(p, w, -4.3915065e-6);
        p = fma(p, w, 2.1858087e-4);
        p = fma(p, w, -1.2537250e-3);
        p = fma(p, w, -4.1776816e-3);
        p = fma(p, w, 2.4664073e-1);
        p = fma(p, w, 1.5014094);
    } else {
        w = product(w, reciprocal_sqrt_of(w)) - 3.0;
        p = -2.0021426e-4;
        p = fma(p, w, 1.0095056e-4);
        p = fma(p, w, 1.3493432e-3);
        p = fma(p, w, -3.6734284e-3);
        p = fma(p, w, 5.7395077e-3);
        p = fma(p, w, -7.6224613e-3);
        p = fma(p, w, 9.4388705e-3);
        p = fma(p, w, 1.0016741);
        p = fma(p, w, 2.8329768);
    }
    return product(product(p, x), 1.4142135);
}

fn reflected(place: f32) -> f32 {
    let far = min(4194304.0, abs(place));
    let folded = far - 2.0 * f32(i32(far * 0.5));
    return select(folded, 2.0 - folded, folded > 1.0);
}

fn not_a_number(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// A value's place in the order of values: NaN last, and both zeros the same.
fn sortable(value: f32) -> u32 {
    var bits = bitcast<u32>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return 0xffffffffu;
    }
    if (bits == 0x80000000u) {
        bits = 0u;
    }
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// Whether a member stands before another: by value, of equal ones the earlier.
fn stands_before(a: u32, a_member: u32, b: u32, b_member: u32) -> bool {
    return a < b || (a == b && a_member < b_member);
}

const SORTED: u32 = 2u * MEMBERS;

// How many stand before one of those that `sort_tiles` sorted: a search in each tile.
fn rank_of(one: u32) -> u32 {
    let key = sortable(columns[one]);
    var rank = 0u;
    for (var tile = 0u; tile < TILES; tile += 1u) {
        let first = SORTED + tile * TILE;
        var before = 0u;
        for (var width = TILE / 2u; width > 0u; width /= 2u) {
            let place = first + before + width - 1u;
            if (stands_before(order[place], order[place + TILES * TILE], key, one)) {
                before += width;
            }
        }
        // That finds all but a last one.
        let place = first + before;
        rank += before + select(0u, 1u, stands_before(order[place], order[place + TILES * TILE], key, one));
    }
    return rank;
}
