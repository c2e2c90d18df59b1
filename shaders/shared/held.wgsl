// A compiler may fuse a product with a following sum, and may reorder sums where it can tell that nothing is lost. `held`
// hides rounded values from it: it turns no bit, but only who starts the kernel knows that.

// Always 0; set from a number that is not known before the kernel runs.
var<private> nothing: u32;

fn held(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ nothing);
}
