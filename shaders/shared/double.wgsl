// Numbers as the sum of two f32, of about 48 bits: the second holds what rounding took from the first (Dekker 1971; Knuth,
// The Art of Computer Programming 2, 4.2.2). A compiler that may reorder sums would find
// that nothing is left to hold: `held` of held.wgsl.

struct Double {
    high: f32,
    low: f32,
}

// Of numbers of which the first is not the smaller one.
fn renormalised(high: f32, low: f32) -> Double {
    let sum = held(high + low);
    return Double(sum, low - held(sum - high));
}

fn sum_of(a: f32, b: f32) -> Double {
    let sum = held(a + b);
    let taken = held(sum - a);
    return Double(sum, (a - held(sum - taken)) + (b - taken));
}

// By halves of twelve bits, whose products are exact: a fused multiply-add may be none on a device.
fn product_of(a: f32, b: f32) -> Double {
    let product = held(a * b);
    let a_high = bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
    let b_high = bitcast<f32>(bitcast<u32>(b) & 0xfffff000u);
    let a_low = a - a_high;
    let b_low = b - b_high;
    let rest = held(held(a_high * b_high) - product);
    return Double(product, held(held(rest + a_high * b_low) + a_low * b_high) + a_low * b_low);
}

fn add_double(a: Double, b: Double) -> Double {
    let sum = sum_of(a.high, b.high);
    return renormalised(sum.high, sum.low + (a.low + b.low));
}

fn multiply_double(a: Double, b: Double) -> Double {
    let product = product_of(a.high, b.high);
    return renormalised(product.high, product.low + (a.high * b.low + a.low * b.high));
}
