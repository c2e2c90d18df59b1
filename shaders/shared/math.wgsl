// Functions whose error does not depend on the adapter: WGSL leaves that of its own exp, log, cos and tanh open.
// The same polynomials as src/backend/cpu/math.rs.

fn is_finite(x: f32) -> bool {
    // By the bits: a comparison with infinity may be assumed away where fast mathematics is allowed.
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// 0 below -87, infinite above 88.72.
fn exp_of(x: f32) -> f32 {
    let clamped = clamp(x, -87.0, 88.8);
    let n = round(clamped * 1.4426950408889634);
    var r = fma(n, -0.693359375, clamped);
    r = fma(n, 2.12194440e-4, r);
    var p = 1.9875691e-4;
    p = fma(p, r, 1.3981999e-3);
    p = fma(p, r, 8.333452e-3);
    p = fma(p, r, 4.1665796e-2);
    p = fma(p, r, 1.6666665e-1);
    p = fma(p, r, 0.5);
    let e = fma(p, r * r, r) + 1.0;
    // 2^n as 2^(n-1) * 2, because n = 128 has no exponent of its own.
    let scale = bitcast<f32>(u32(i32(n) + 126) << 23u);
    return select(e * scale * 2.0, 0.0, x < -87.0);
}

// For positive normal numbers.
fn ln_of(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    var e = f32(bits >> 23u) - 126.0;
    var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u);
    if (m < 0.70710678) {
        e -= 1.0;
        m += m;
    }
    m -= 1.0;
    var p = 7.0376836e-2;
    p = fma(p, m, -1.151461e-1);
    p = fma(p, m, 1.1676999e-1);
    p = fma(p, m, -1.2420141e-1);
    p = fma(p, m, 1.4249323e-1);
    p = fma(p, m, -1.6668058e-1);
    p = fma(p, m, 2.0000715e-1);
    p = fma(p, m, -2.4999994e-1);
    p = fma(p, m, 3.333333e-1);
    let square = m * m;
    var y = p * m * square;
    y = fma(e, -2.1219444e-4, y);
    y = fma(square, -0.5, y);
    return fma(e, 0.693359375, m + y);
}

fn tanh_of(value: f32) -> f32 {
    let x = clamp(value, -7.905311, 7.905311);
    let square = x * x;
    var odd = -2.7607685e-16;
    odd = fma(odd, square, 2.000188e-13);
    odd = fma(odd, square, -8.604672e-11);
    odd = fma(odd, square, 5.1222971e-8);
    odd = fma(odd, square, 1.4857224e-5);
    odd = fma(odd, square, 6.3726193e-4);
    odd = fma(odd, square, 4.8935246e-3);
    var even = 1.1982584e-6;
    even = fma(even, square, 1.1853471e-4);
    even = fma(even, square, 2.2684346e-3);
    even = fma(even, square, 4.893525e-3);
    return odd * x / even;
}

// (1 + cos(pi share)) / 2 for shares in [0, 1]: the square of the cosine of half the angle, by its Taylor series, whose
// first term left out is below 1e-9 there.
fn half_cosine(share: f32) -> f32 {
    let angle = 1.5707963267948966 * share;
    let square = angle * angle;
    var c = 2.08767570e-9;
    c = fma(c, square, -2.75573192e-7);
    c = fma(c, square, 2.48015873e-5);
    c = fma(c, square, -1.38888889e-3);
    c = fma(c, square, 4.16666667e-2);
    c = fma(c, square, -0.5);
    c = fma(c, square, 1.0);
    return c * c;
}
