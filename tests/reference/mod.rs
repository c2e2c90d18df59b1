//! Plain f64 loops, never tuned: what both backends are tested against.

pub mod linear;
pub mod mlp;
pub mod naive_bayes;
pub mod softmax;
