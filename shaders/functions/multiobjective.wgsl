// The functions of src/functions/multiobjective.rs, by their numbers there: of two objectives below DTLZ, of three from it
// on.

const DTLZ: u32 = 5u;
// Parameters along the front of DTLZ.
const ALONG: u32 = 2u;

fn evaluate(member: u32) {
    let failed = first_nan(member);
    if (failed < DIMENSIONS) {
        for (var objective = 0u; objective < select(2u, 3u, FUNCTION >= DTLZ); objective += 1u) {
            set_value(member, objective, nan_of(coordinate(member, failed)));
        }
        return;
    }
    switch FUNCTION {
        case 0u: { zdt1(member); }
        case 1u: { zdt2(member); }
        case 2u: { zdt3(member); }
        case 3u: { zdt4(member); }
        case 4u: { zdt6(member); }
        case DTLZ: { dtlz1(member); }
        case 6u: { dtlz2(member); }
        default: { dtlz7(member); }
    }
}

fn set_pair(member: u32, first: f32, second: f32) {
    set_value(member, 0u, first);
    set_value(member, 1u, second);
}

// The mean of the parameters from `begin` on.
fn mean_from(member: u32, begin: u32) -> f32 {
    var sum = 0.0;
    for (var i = begin; i < DIMENSIONS; i += 1u) {
        sum += coordinate(member, i);
    }
    return sum / f32(DIMENSIONS - begin);
}

fn zdt1(member: u32) {
    let x = coordinate(member, 0u);
    let g = 1.0 + 9.0 * mean_from(member, 1u);
    set_pair(member, x, g * (1.0 - sqrt(x / g)));
}

fn zdt2(member: u32) {
    let x = coordinate(member, 0u);
    let g = 1.0 + 9.0 * mean_from(member, 1u);
    set_pair(member, x, g * (1.0 - square_of(x / g)));
}

fn zdt3(member: u32) {
    let x = coordinate(member, 0u);
    let g = 1.0 + 9.0 * mean_from(member, 1u);
    set_pair(member, x, g * (1.0 - sqrt(x / g) - x / g * sin_turns(5.0 * x)));
}

fn zdt4(member: u32) {
    let x = coordinate(member, 0u);
    var g = 1.0;
    for (var i = 1u; i < DIMENSIONS; i += 1u) {
        let across = coordinate(member, i);
        g += across * across + 10.0 * ripple(2.0 * across);
    }
    set_pair(member, x, g * (1.0 - sqrt(x / g)));
}

fn zdt6(member: u32) {
    let x = coordinate(member, 0u);
    let wave = square_of(sin_turns(3.0 * x));
    let first = 1.0 - exp_of(-4.0 * x) * wave * wave * wave;
    let g = 1.0 + 9.0 * sqrt(sqrt(mean_from(member, 1u)));
    set_pair(member, first, g * (1.0 - square_of(first / g)));
}

fn dtlz1(member: u32) {
    var g = 0.0;
    for (var i = ALONG; i < DIMENSIONS; i += 1u) {
        let off = coordinate(member, i) - 0.5;
        g += off * off + ripple(10.0 * off);
    }
    // From the last objective to the first: each has one factor more.
    var product = 0.5 * (1.0 + 100.0 * g);
    for (var i = 0u; i < ALONG; i += 1u) {
        let x = coordinate(member, i);
        set_value(member, ALONG - i, product * (1.0 - x));
        product *= x;
    }
    set_value(member, 0u, product);
}

fn dtlz2(member: u32) {
    var product = 1.0;
    for (var i = ALONG; i < DIMENSIONS; i += 1u) {
        product += square_of(coordinate(member, i) - 0.5);
    }
    for (var i = 0u; i < ALONG; i += 1u) {
        let turns = 0.25 * coordinate(member, i);
        set_value(member, ALONG - i, product * sin_turns(turns));
        product *= cos_turns(turns);
    }
    set_value(member, 0u, product);
}

fn dtlz7(member: u32) {
    let g = 1.0 + 9.0 * mean_from(member, ALONG);
    var h = f32(ALONG + 1u);
    for (var i = 0u; i < ALONG; i += 1u) {
        let x = coordinate(member, i);
        h -= x / (1.0 + g) * (1.0 + sin_turns(1.5 * x));
        set_value(member, i, x);
    }
    set_value(member, ALONG, (1.0 + g) * h);
}
