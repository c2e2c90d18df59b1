// What BBOB bends its functions with, as src/functions/bbob/ has it. An instance's constants begin with the place of its
// optimum, as the sum of two numbers: the distance from it is as exact as the point. Values are without the instance's
// offset, so that they keep their digits near it.

// The first constant that follows the optimum.
const FURTHER: u32 = 2u * DIMENSIONS;
// Numbers of a matrix, row after row.
const MATRIX: u32 = DIMENSIONS * DIMENSIONS;
// Where the second of a member's two vectors lies; the first lies at 0.
const SECOND: u32 = DIMENSIONS;

// x - optimum
fn shifted(member: u32, axis: u32) -> f32 {
    return (coordinate(member, axis) - constant(axis)) - constant(DIMENSIONS + axis);
}

// How far an axis is on the way from first to last.
fn share(axis: u32) -> f32 {
    return f32(axis) / f32(DIMENSIONS - 1u);
}

// T_osz, as a factor that stays near 1.
fn oscillated(x: f32) -> f32 {
    let logarithm = 10.0 * ln_from_zero(abs(x));
    let first = select(0.55, 1.0, x > 0.0);
    let second = select(0.31, 0.79, x > 0.0);
    return x * exp_of(0.049 * (sin_of(first * logarithm) + sin_of(second * logarithm)));
}

// T_asy^beta
fn skewed(x: f32, axis: u32, beta: f32) -> f32 {
    if (x > 0.0) {
        return x * exp_of(beta * share(axis) * sqrt(x) * ln_from_zero(x));
    }
    return x;
}

// f_pen: the squared distance to the box.
fn penalty(member: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        sum += square_of(max(abs(coordinate(member, i)) - 5.0, 0.0));
    }
    return sum;
}

// To the nearest whole number, halves up.
fn rounded(x: f32) -> f32 {
    return floor(x + 0.5);
}

// Makes a member's vector at `to` the product of the matrix of these constants with its vector at `origin`.
fn rotate(member: u32, matrix: u32, origin: u32, to: u32) {
    for (var row = 0u; row < DIMENSIONS; row += 1u) {
        var sum = 0.0;
        for (var column = 0u; column < DIMENSIONS; column += 1u) {
            sum = fma(constant(matrix + row * DIMENSIONS + column), scratch(member, origin + column), sum);
        }
        set_scratch(member, to + row, sum);
    }
}

// Makes a member's second vector the product of a matrix with x - optimum.
fn rotate_shifted(member: u32, matrix: u32) {
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        set_scratch(member, i, shifted(member, i));
    }
    rotate(member, matrix, 0u, SECOND);
}
