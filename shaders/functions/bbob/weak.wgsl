// BBOB 20 to 24.

fn value_of(member: u32) -> f32 {
    switch FUNCTION {
        case 20u: { return schwefel(member); }
        case 21u: { return gallagher(member, 101u); }
        case 22u: { return gallagher(member, 21u); }
        case 23u: { return katsuura(member); }
        default: { return lunacek(member); }
    }
}

// Twice the distance from the optimum, where all optima are mirrored into the same corner.
fn mirrored(member: u32, axis: u32) -> f32 {
    return 2.0 * sign(constant(axis)) * shifted(member, axis);
}

// Constants: factors, and the place of the optimum's coordinates after mirroring.
fn schwefel(member: u32) -> f32 {
    let top = constant(FURTHER + DIMENSIONS);
    var before = 0.0;
    var beyond = 0.0;
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        let off = mirrored(member, i);
        let z = 100.0 * (constant(FURTHER + i) * (off + 0.25 * before) + top);
        beyond += square_of(max(abs(z) - 500.0, 0.0));
        sum += 418.9829 - z * sin_of(sqrt(abs(z)));
        before = off;
    }
    return 0.01 * (beyond + sum / f32(DIMENSIONS));
}

// Constants: the rotation; of each peak its height, its centre from the best one's on, and its scales.
fn gallagher(member: u32, peaks: u32) -> f32 {
    rotate_shifted(member, FURTHER);
    var least = 10.0;
    var begin = FURTHER + MATRIX;
    for (var peak = 0u; peak < peaks; peak += 1u) {
        var distance = 0.0;
        for (var i = 0u; i < DIMENSIONS; i += 1u) {
            let off = scratch(member, SECOND + i) - constant(begin + 1u + i);
            distance += constant(begin + 1u + DIMENSIONS + i) * off * off;
        }
        let height = constant(begin);
        least = min(least, (10.0 - height) - height * exp_less_one(-0.5 / f32(DIMENSIONS) * distance));
        begin += 1u + 2u * DIMENSIONS;
    }
    return square_of(oscillated(least)) + penalty(member);
}

// Constants: the bend, and the factors' exponent.
fn katsuura(member: u32) -> f32 {
    rotate_shifted(member, FURTHER);
    var logarithm = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        logarithm += ln_of(1.0 + f32(i + 1u) * ruggedness(scratch(member, SECOND + i)));
    }
    let n = f32(DIMENSIONS);
    return 10.0 / n / n * exp_less_one(constant(FURTHER + MATRIX) * logarithm) + penalty(member);
}

// The distances of 2^j z from whole numbers, each by 2^j: in f32 none is left above 2^24.
fn ruggedness(z: f32) -> f32 {
    var scaled = z;
    var size = 1.0;
    var sum = 0.0;
    for (var j = 1u; j <= 32u; j += 1u) {
        scaled *= 2.0;
        size *= 0.5;
        sum += abs(scaled - round(scaled)) * size;
    }
    return sum;
}

// Constants: the inner rotation, factors, the outer rotation, the second funnel's width, its distance from the first.
fn lunacek(member: u32) -> f32 {
    let factors = FURTHER + MATRIX;
    let outer = factors + DIMENSIONS;
    let width = constant(outer + MATRIX);
    let apart = constant(outer + MATRIX + 1u);
    var near = 0.0;
    var far = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        let off = mirrored(member, i);
        near += off * off;
        far += square_of(off + apart);
        set_scratch(member, i, off);
    }
    rotate(member, FURTHER, 0u, SECOND);
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        set_scratch(member, SECOND + i, constant(factors + i) * scratch(member, SECOND + i));
    }
    rotate(member, outer, SECOND, 0u);
    var ripples = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        ripples += ripple(scratch(member, i));
    }
    return min(near, f32(DIMENSIONS) + width * far) + 10.0 * ripples + 1e4 * penalty(member);
}
