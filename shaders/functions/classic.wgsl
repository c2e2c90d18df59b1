// The functions of src/functions/classic.rs, by their numbers there.

fn value_of(member: u32) -> f32 {
    switch FUNCTION {
        case 0u: { return squares(member); }
        case 1u: { return ellipsoid(member); }
        case 2u: { return rosenbrock(member); }
        case 3u: { return rastrigin(member); }
        case 4u: { return ackley(member); }
        case 5u: { return griewank(member); }
        case 6u: { return schwefel(member); }
        case 7u: { return levy(member); }
        case 8u: { return branin(coordinate(member, 0u), coordinate(member, 1u)); }
        default: { return hartmann(member); }
    }
}

fn squares(member: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        sum += square_of(coordinate(member, i));
    }
    return sum;
}

// Constants: each axis's weight.
fn ellipsoid(member: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        sum += constant(i) * square_of(coordinate(member, i));
    }
    return sum;
}

fn rosenbrock(member: u32) -> f32 {
    var sum = 0.0;
    var z = coordinate(member, 0u) - 1.0;
    for (var i = 1u; i < DIMENSIONS; i += 1u) {
        let following = coordinate(member, i) - 1.0;
        sum += valley_term(z, following);
        z = following;
    }
    return sum;
}

fn rastrigin(member: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        sum += rastrigin_term(coordinate(member, i));
    }
    return sum;
}

// 20 (1 - exp(-0.2 root)) + e (1 - exp(-mean of 1 - cos))
fn ackley(member: u32) -> f32 {
    var ripples = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        ripples += ripple(coordinate(member, i));
    }
    let n = f32(DIMENSIONS);
    let root = sqrt(squares(member) / n);
    return -20.0 * exp_less_one(-0.2 * root) - 2.7182817 * exp_less_one(-ripples / n);
}

// 1 less the product of cosines, by what each takes from it.
fn griewank(member: u32) -> f32 {
    var below = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        let taken = 2.0 * square_of(sin_of(0.5 * coordinate(member, i) / sqrt(f32(i + 1u))));
        below += (1.0 - below) * taken;
    }
    return squares(member) / 4000.0 + below;
}

fn schwefel(member: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        let x = coordinate(member, i);
        sum += 418.9829 - x * sin_of(sqrt(abs(x)));
    }
    return sum;
}

// With u = w - 1: sin^2 is the same half a turn further.
fn levy(member: u32) -> f32 {
    var sum = square_of(sin_turns(0.125 * (coordinate(member, 0u) - 1.0)));
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        let u = 0.25 * (coordinate(member, i) - 1.0);
        if (i + 1u < DIMENSIONS) {
            // 1 radian is 0.159... turns.
            sum += u * u * (1.0 + 10.0 * square_of(sin_turns(0.5 * u + 0.15915494)));
        } else {
            sum += u * u * (1.0 + square_of(sin_turns(u)));
        }
    }
    return sum;
}

fn branin(x: f32, y: f32) -> f32 {
    let square = square_of(y - 0.12918451 * x * x + 1.5915494 * x - 6.0);
    return square + 9.6021126 * cos_of(x) + 10.0;
}

// Constants of each of four peaks: height, six widths, six centres.
fn hartmann(member: u32) -> f32 {
    var sum = 0.0;
    for (var peak = 0u; peak < 4u; peak += 1u) {
        let begin = 13u * peak;
        var distance = 0.0;
        for (var i = 0u; i < DIMENSIONS; i += 1u) {
            distance += constant(begin + 1u + i) * square_of(coordinate(member, i) - constant(begin + 7u + i));
        }
        sum += constant(begin) * exp_of(-distance);
    }
    return -sum;
}
