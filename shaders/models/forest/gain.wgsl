// Whole numbers of more than 32 bits, lowest word first, and gains as fractions of them, which are compared without
// rounding: src/models/forest/gain.rs.

// How good a split is: numerator by denominator.
struct Gain {
    numerator: vec4<u32>,
    denominator: vec2<u32>,
    // The bits of about the same as f32: of two gains the one with the greater key is better, where they are further apart
    // than DOUBT.
    key: u32,
}

// More than a key can err: some roundings of f32, in units of its last place.
const DOUBT = 64u;

fn multiplied(a: u32, b: u32) -> vec2<u32> {
    let a_low = a & 0xffffu;
    let b_low = b & 0xffffu;
    let low = a_low * b_low;
    let first = (a >> 16u) * b_low + (low >> 16u);
    let second = a_low * (b >> 16u) + (first & 0xffffu);
    return vec2<u32>((second << 16u) | (low & 0xffffu), (a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u));
}

// The place of a word in `0..n`.
fn scaled(word: u32, n: u32) -> u32 {
    return multiplied(word, n).y;
}

fn added(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn subtracted(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn is_less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

// The lowest 64 bits.
fn times(a: vec2<u32>, b: u32) -> vec2<u32> {
    let low = multiplied(a.x, b);
    return vec2<u32>(low.x, low.y + a.y * b);
}

fn long_times(a: vec2<u32>, b: u32) -> vec4<u32> {
    let low = multiplied(a.x, b);
    let high = multiplied(a.y, b);
    let middle = low.y + high.x;
    return vec4<u32>(low.x, middle, high.y + select(0u, 1u, middle < low.y), 0u);
}

fn long_added(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let low = added(a.xy, b.xy);
    let high = added(a.zw, b.zw);
    return vec4<u32>(low, added(high, vec2<u32>(select(0u, 1u, is_less(low, a.xy)), 0u)));
}

// Of a number below 2^62.
fn squared(a: vec2<u32>) -> vec4<u32> {
    let low = multiplied(a.x, a.x);
    let high = multiplied(a.y, a.y);
    let twice = times(multiplied(a.x, a.y), 2u);
    return long_added(vec4<u32>(low, high), vec4<u32>(0u, twice, 0u));
}

fn number_of(a: vec2<u32>) -> f32 {
    return f32(a.y) * 4294967296.0 + f32(a.x);
}

// The words of a product, the lowest first.
fn cross_product(numerator: vec4<u32>, denominator: vec2<u32>) -> array<u32, 6> {
    var a = numerator;
    var words = array<u32, 6>();
    var carry = 0u;
    for (var i = 0u; i < 4u; i += 1u) {
        let part = added(multiplied(a[i], denominator.x), vec2<u32>(carry, 0u));
        words[i] = part.x;
        carry = part.y;
    }
    words[4] = carry;
    carry = 0u;
    for (var i = 0u; i < 4u; i += 1u) {
        let part = added(added(multiplied(a[i], denominator.y), vec2<u32>(carry, 0u)), vec2<u32>(words[i + 1u], 0u));
        words[i + 1u] = part.x;
        carry = part.y;
    }
    words[5] = carry;
    return words;
}

fn is_exactly_better(a: Gain, b: Gain) -> bool {
    var own = cross_product(a.numerator, b.denominator);
    var other = cross_product(b.numerator, a.denominator);
    for (var i = 6u; i > 0u; i -= 1u) {
        if (own[i - 1u] != other[i - 1u]) {
            return own[i - 1u] > other[i - 1u];
        }
    }
    return false;
}

fn is_better(a: Gain, b: Gain) -> bool {
    if (max(a.key, b.key) - min(a.key, b.key) > DOUBT) {
        return a.key > b.key;
    }
    return is_exactly_better(a, b);
}
