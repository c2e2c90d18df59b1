// BBOB 10 to 14. Constants: a rotation, and after it what a function says.

fn value_of(member: u32) -> f32 {
    rotate_shifted(member, FURTHER);
    switch FUNCTION {
        case 10u, 11u: { return oscillating(member); }
        case 12u: { return bent_cigar(member); }
        case 13u: { return sharp_ridge(member); }
        default: { return different_powers(member); }
    }
}

// Weights.
fn oscillating(member: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        sum += constant(FURTHER + MATRIX + i) * square_of(oscillated(scratch(member, SECOND + i)));
    }
    return sum;
}

fn bent_cigar(member: u32) -> f32 {
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        set_scratch(member, SECOND + i, skewed(scratch(member, SECOND + i), i, 0.5));
    }
    rotate(member, FURTHER, SECOND, 0u);
    var sum = 0.0;
    for (var i = 1u; i < DIMENSIONS; i += 1u) {
        sum += square_of(scratch(member, i));
    }
    return square_of(scratch(member, 0u)) + 1e6 * sum;
}

fn sharp_ridge(member: u32) -> f32 {
    var sum = 0.0;
    for (var i = 1u; i < DIMENSIONS; i += 1u) {
        sum += square_of(scratch(member, SECOND + i));
    }
    return square_of(scratch(member, SECOND)) + 100.0 * sqrt(sum);
}

// Exponents, from 2 on: the square is taken apart, which keeps the logarithm's part of the error small.
fn different_powers(member: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        let z = abs(scratch(member, SECOND + i));
        sum += z * z * exp_of((constant(FURTHER + MATRIX + i) - 2.0) * ln_from_zero(z));
    }
    return sqrt(sum);
}
