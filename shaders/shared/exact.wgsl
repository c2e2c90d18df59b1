// Arithmetic with the same bits on every device, as the CPU's SIMD has it: products are rounded before they are added to
// (`held`), quotients are rounded to the nearest where WGSL's own may be 2.5 ulp off. Numbers below the normal ones are 0.

fn product(a: f32, b: f32) -> f32 {
    return held(a * b);
}

// By the remainder of the mantissas' division, in whole numbers.
fn quotient(a: f32, b: f32) -> f32 {
    let a_bits = bitcast<u32>(a);
    let b_bits = bitcast<u32>(b);
    let sign = (a_bits ^ b_bits) & 0x80000000u;
    let a_exponent = (a_bits >> 23u) & 255u;
    let b_exponent = (b_bits >> 23u) & 255u;
    if (b_exponent == 0u || a_exponent == 255u || b_exponent == 255u) {
        return a / b;
    }
    if (a_exponent == 0u) {
        return bitcast<f32>(sign);
    }
    var exponent = i32(a_exponent) - i32(b_exponent) + 127;
    var dividend = (a_bits & 0x7fffffu) | 0x800000u;
    let divisor = (b_bits & 0x7fffffu) | 0x800000u;
    if (dividend < divisor) {
        dividend <<= 1u;
        exponent -= 1;
    }
    // Within a few of the quotient's 24 bits: what is left of the dividend fits into a word, whatever overflowed.
    var whole = u32(f32(dividend) / f32(divisor) * 8388608.0);
    var rest = i32((dividend << 23u) - whole * divisor);
    for (var i = 0u; i < 8u; i += 1u) {
        if (rest < 0) {
            whole -= 1u;
            rest += i32(divisor);
        } else if (rest >= i32(divisor)) {
            whole += 1u;
            rest -= i32(divisor);
        }
    }
    let twice = 2u * u32(rest);
    if (twice > divisor || (twice == divisor && (whole & 1u) == 1u)) {
        whole += 1u;
    }
    if (whole == 0x1000000u) {
        whole = 0x800000u;
        exponent += 1;
    }
    if (exponent <= 0) {
        return bitcast<f32>(sign);
    }
    if (exponent >= 255) {
        return bitcast<f32>(sign | 0x7f800000u);
    }
    return bitcast<f32>(sign | (u32(exponent) << 23u) | (whole & 0x7fffffu));
}

// 2^exponent.
fn exact_power(exponent: i32) -> f32 {
    return bitcast<f32>(u32(clamp(exponent, -126, 127) + 127) << 23u);
}

// `exp` of src/models/gbdt/exact.rs; what is not finite stays so.
fn exact_exp(x: f32) -> f32 {
    if ((bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u) {
        return x;
    }
    let clamped = min(88.0, max(-87.0, x));
    let shifted = held(product(clamped, 1.4426950408889634) + 12582912.0);
    let n = held(shifted - 12582912.0);
    var r = held(clamped - product(n, 0.6933594));
    r = held(r - product(n, -2.1219444e-4));
    var p = 1.9875691e-4;
    p = product(p, r) + 1.3981999e-3;
    p = product(p, r) + 8.333452e-3;
    p = product(p, r) + 4.1665796e-2;
    p = product(p, r) + 1.6666665e-1;
    p = product(p, r) + 0.5;
    let e = held(held(product(p, product(r, r)) + r) + 1.0);
    let scale = bitcast<f32>((bitcast<u32>(shifted) + 127u) << 23u);
    return select(product(e, scale), 0.0, x < -87.0);
}

// `ln` of the same file, for positive normal numbers.
fn exact_ln(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    var e = f32(bits >> 23u) - 126.0;
    var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u);
    if (m < 0.70710678) {
        e -= 1.0;
        m += m;
    }
    m = held(m - 1.0);
    var p = 7.0376836e-2;
    p = product(p, m) + -1.151461e-1;
    p = product(p, m) + 1.1676999e-1;
    p = product(p, m) + -1.2420141e-1;
    p = product(p, m) + 1.4249323e-1;
    p = product(p, m) + -1.6668058e-1;
    p = product(p, m) + 2.0000715e-1;
    p = product(p, m) + -2.4999994e-1;
    p = product(p, m) + 3.333333e-1;
    let square = product(m, m);
    var y = held(product(product(p, m), square) + product(e, -2.1219444e-4));
    y = held(y - product(square, 0.5));
    return held(m + y) + product(e, 0.6933594);
}
