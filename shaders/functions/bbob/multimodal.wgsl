// BBOB 15 to 19. Constants: a rotation, and the bend that follows it.

fn value_of(member: u32) -> f32 {
    rotate_shifted(member, FURTHER);
    switch FUNCTION {
        case 15u: { return rastrigin(member); }
        case 16u: { return weierstrass(member); }
        case 17u, 18u: { return schaffer(member); }
        default: { return griewank_rosenbrock(member); }
    }
}

// The bend of the second vector, which becomes the first.
fn bend(member: u32) {
    rotate(member, FURTHER + MATRIX, SECOND, 0u);
}

fn rastrigin(member: u32) -> f32 {
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        set_scratch(member, SECOND + i, skewed(oscillated(scratch(member, SECOND + i)), i, 0.2));
    }
    bend(member);
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        sum += rastrigin_term(scratch(member, i));
    }
    return sum;
}

fn weierstrass(member: u32) -> f32 {
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        set_scratch(member, SECOND + i, oscillated(scratch(member, SECOND + i)));
    }
    bend(member);
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        sum += weierstrass_term(scratch(member, i));
    }
    let mean = sum / f32(DIMENSIONS);
    return 10.0 * mean * mean * mean + 10.0 / f32(DIMENSIONS) * penalty(member);
}

// Waves of 3^k turns, half a turn off where z is 0: each is 1 - cos above its least value. Whole turns are taken off
// before each tripling.
fn weierstrass_term(z: f32) -> f32 {
    var turns = z;
    var height = 1.0;
    var sum = 0.0;
    for (var k = 0u; k < 12u; k += 1u) {
        turns -= round(turns);
        sum += height * ripple(turns);
        turns *= 3.0;
        height *= 0.5;
    }
    return sum;
}

fn schaffer(member: u32) -> f32 {
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        set_scratch(member, SECOND + i, skewed(scratch(member, SECOND + i), i, 0.5));
    }
    bend(member);
    var sum = 0.0;
    for (var i = 1u; i < DIMENSIONS; i += 1u) {
        let square = square_of(scratch(member, i - 1u)) + square_of(scratch(member, i));
        let wave = sin_of(50.0 * exp_of(0.1 * ln_from_zero(square)));
        sum += sqrt(sqrt(square)) * (1.0 + wave * wave);
    }
    return square_of(sum / f32(DIMENSIONS - 1u)) + 10.0 * penalty(member);
}

// The rotation alone, times the factor.
fn griewank_rosenbrock(member: u32) -> f32 {
    var sum = 0.0;
    for (var i = 1u; i < DIMENSIONS; i += 1u) {
        let s = valley_term(scratch(member, SECOND + i - 1u), scratch(member, SECOND + i));
        sum += s / 4000.0 + 2.0 * square_of(sin_of(0.5 * s));
    }
    return 10.0 * sum / f32(DIMENSIONS - 1u);
}
