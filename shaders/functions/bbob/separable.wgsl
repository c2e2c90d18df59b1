// BBOB 1 to 5. Constants beside the optimum: a weight, factor or slope of each axis.

fn value_of(member: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i += 1u) {
        sum += term(member, i);
    }
    if (FUNCTION == 4u) {
        sum += 100.0 * penalty(member);
    }
    return sum;
}

fn term(member: u32, axis: u32) -> f32 {
    let z = shifted(member, axis);
    if (FUNCTION == 1u) {
        return z * z;
    }
    let factor = constant(FURTHER + axis);
    switch FUNCTION {
        case 2u: { return factor * square_of(oscillated(z)); }
        case 3u: { return rastrigin_term(factor * skewed(oscillated(z), axis, 0.2)); }
        case 4u: {
            let steep = select(1.0, 10.0, z > 0.0 && axis % 2u == 0u);
            return rastrigin_term(steep * factor * oscillated(z));
        }
        default: { return slope(z, axis, factor); }
    }
}

// From the corner on it is flat: where x and the corner have the same sign and x is beyond it.
fn slope(beyond: f32, axis: u32, factor: f32) -> f32 {
    return factor * max(-sign(constant(axis)) * beyond, 0.0);
}
