// What functions are made of, each part as exact near a function's least value as far from it: sines of turns lose nothing
// to the length of an angle, 1 - cos is taken as 2 sin^2, exp - 1 as one series. A file of functions offers
// `evaluate(member)`; the kernel around it offers
//   fn coordinate(member: u32, axis: u32) -> f32          a member's parameter, in the function's own units
//   fn constant(index: u32) -> f32                        what belongs to the instance
//   fn scratch(member: u32, index: u32) -> f32            a member's own memory
//   fn set_scratch(member: u32, index: u32, value: f32)
//   fn set_value(member: u32, objective: u32, value: f32)
// with DIMENSIONS and the function's number FUNCTION as constants, and shaders/shared/math.wgsl.

// By the bits: a comparison may be assumed never to meet a NaN.
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// The first axis whose coordinate is NaN; DIMENSIONS where none is.
fn first_nan(member: u32) -> u32 {
    for (var axis = 0u; axis < DIMENSIONS; axis += 1u) {
        if (is_nan(coordinate(member, axis))) {
            return axis;
        }
    }
    return DIMENSIONS;
}

// A NaN by a NaN's bits, whatever the device does with numbers.
fn nan_of(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) | 0x7fc00000u);
}

// sin(angle + quarters pi / 2) for angles up to pi / 4: the polynomials of Cephes (Moshier), sinf.c.
fn wave(quarters: i32, angle: f32) -> f32 {
    let square = angle * angle;
    var s = -1.9515296e-4;
    s = fma(s, square, 8.332161e-3);
    s = fma(s, square, -0.16666655);
    let sine = fma(s * square, angle, angle);
    var c = 2.4433157e-5;
    c = fma(c, square, -1.3887316e-3);
    c = fma(c, square, 4.1666646e-2);
    let cosine = fma(c * square, square, fma(-0.5, square, 1.0));
    let size = select(sine, cosine, (quarters & 1) == 1);
    return select(size, -size, (quarters & 2) == 2);
}

// sin(2 pi turns): whole turns and quarters are taken off without rounding.
fn sin_turns(turns: f32) -> f32 {
    let part = turns - round(turns);
    let quarters = round(4.0 * part);
    return wave(i32(quarters), 6.2831855 * fma(-0.25, quarters, part));
}

fn cos_turns(turns: f32) -> f32 {
    let part = turns - round(turns);
    let quarters = round(4.0 * part);
    return wave(i32(quarters) + 1, 6.2831855 * fma(-0.25, quarters, part));
}

// 1 - cos(2 pi turns)
fn ripple(turns: f32) -> f32 {
    let sine = sin_turns(0.5 * turns);
    return 2.0 * sine * sine;
}

// sin(x) in radians: multiples of pi / 2 are taken off in three parts (Cody & Waite 1980). The error grows with x as that
// of x itself does.
fn sin_of(x: f32) -> f32 {
    let quarters = round(0.63661975 * x);
    var angle = fma(quarters, -1.5703125, x);
    angle = fma(quarters, -4.83751297e-4, angle);
    angle = fma(quarters, -7.54978995e-8, angle);
    // Where x is so great that its angle has no digit left.
    return wave(i32(quarters - 4.0 * floor(0.25 * quarters)), clamp(angle, -0.8, 0.8));
}

fn cos_of(x: f32) -> f32 {
    let sine = sin_of(0.5 * x);
    return 1.0 - 2.0 * sine * sine;
}

// exp(x) - 1, exact near 0: the polynomial of `exp_of` without its last term.
fn exp_less_one(x: f32) -> f32 {
    if (abs(x) > 0.34) {
        return exp_of(x) - 1.0;
    }
    var p = 1.9875691e-4;
    p = fma(p, x, 1.3981999e-3);
    p = fma(p, x, 8.333452e-3);
    p = fma(p, x, 4.1665796e-2);
    p = fma(p, x, 1.6666665e-1);
    p = fma(p, x, 0.5);
    return fma(p, x * x, x);
}

// ln(x) for x from 0 on: of numbers below the normal ones as of the least of these.
fn ln_from_zero(x: f32) -> f32 {
    return ln_of(max(x, 1.1754944e-38));
}

fn square_of(x: f32) -> f32 {
    return x * x;
}

// z^2 + 10 (1 - cos(2 pi z))
fn rastrigin_term(z: f32) -> f32 {
    return z * z + 10.0 * ripple(z);
}

// Of neighbours z and z' of Rosenbrock's valley, both less 1: 100 (z^2 - z')^2 + (z - 1)^2.
fn valley_term(z: f32, following: f32) -> f32 {
    return 100.0 * square_of(fma(z, z, 2.0 * z) - following) + z * z;
}
