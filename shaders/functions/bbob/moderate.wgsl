// BBOB 6 to 9.

fn value_of(member: u32) -> f32 {
    switch FUNCTION {
        case 6u: { return attractive_sector(member); }
        case 7u: { return step_ellipsoid(member); }
        case 8u: { return rosenbrock(member); }
        default: { return rotated_rosenbrock(member); }
    }
}

// Constants: the bend.
fn attractive_sector(member: u32) -> f32 {
    rotate_shifted(member, FURTHER);
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        let z = scratch(member, SECOND + i);
        sum += select(1.0, 1e4, z * constant(i) > 0.0) * z * z;
    }
    let bent = oscillated(sum);
    return bent * exp_of(-0.1 * ln_from_zero(bent));
}

// Constants: the inner rotation, factors, weights, the outer rotation.
fn step_ellipsoid(member: u32) -> f32 {
    rotate_shifted(member, FURTHER);
    let factors = FURTHER + MATRIX;
    let tilt = abs(constant(factors) * scratch(member, SECOND)) / 1e4;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        let z = constant(factors + i) * scratch(member, SECOND + i);
        set_scratch(member, SECOND + i, select(0.1 * rounded(10.0 * z), rounded(z), abs(z) > 0.5));
    }
    let weights = factors + DIMENSIONS;
    rotate(member, weights + DIMENSIONS, SECOND, 0u);
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        sum += constant(weights + i) * square_of(scratch(member, i));
    }
    return max(0.1 * sum, tilt) + penalty(member);
}

// Constants: the factor.
fn rosenbrock(member: u32) -> f32 {
    var sum = 0.0;
    var z = constant(FURTHER) * shifted(member, 0u);
    for (var i = 1u; i < DIMENSIONS; i += 1u) {
        let following = constant(FURTHER) * shifted(member, i);
        sum += valley_term(z, following);
        z = following;
    }
    return sum;
}

// Constants: the rotation, times the factor.
fn rotated_rosenbrock(member: u32) -> f32 {
    rotate_shifted(member, FURTHER);
    var sum = 0.0;
    for (var i = 1u; i < DIMENSIONS; i += 1u) {
        sum += valley_term(scratch(member, SECOND + i - 1u), scratch(member, SECOND + i));
    }
    return sum;
}
