// What a metric needs to know of predictions, reduced where they are: confusion counts in integers, a sum of row terms in
// a fixed order with its rounding carried along, or the predictions themselves.

struct Sum {
    value: f32,
    rest: f32,
}

// Neumaier's compensated sum: as good as f64 for the sums that metrics are.
fn add_to(sum: Sum, term: f32) -> Sum {
    let total = sum.value + term;
    let lost = select((term - total) + sum.value, (sum.value - total) + term, abs(sum.value) >= abs(term));
    return Sum(total, sum.rest + lost);
}

fn value_term(kind: u32, quantile: f32, truth: f32, prediction: f32) -> f32 {
    let error = truth - prediction;
    switch kind {
        case TERM_SQUARED: { return error * error; }
        case TERM_ABSOLUTE: { return abs(error); }
        case TERM_ABSOLUTE_PERCENTAGE: { return abs(error) / max(abs(truth), 2.220446049250313e-16); }
        default: { return max(quantile * error, (quantile - 1.0) * error); }
    }
}
