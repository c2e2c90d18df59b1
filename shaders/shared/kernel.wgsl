// Kernel functions of two rows' measure: an inner product or a distance, as src/models/kernels/ has them.

fn power_of(base: f32, exponent: u32) -> f32 {
    var result = 1.0;
    var square = base;
    for (var left = exponent; left > 0u; left >>= 1u) {
        if ((left & 1u) == 1u) {
            result *= square;
        }
        square *= square;
    }
    return result;
}

fn kernel_of(kind: u32, gamma: f32, degree: u32, coef0: f32, measure: f32) -> f32 {
    switch kind {
        case KERNEL_RBF, KERNEL_LAPLACIAN: { return exp_of(-gamma * measure); }
        case KERNEL_POLYNOMIAL: { return power_of(fma(gamma, measure, coef0), degree); }
        case KERNEL_SIGMOID: { return tanh_of(fma(gamma, measure, coef0)); }
        default: { return measure; }
    }
}
