//! Plain f64 loops, never tuned: what both backends are tested against.

pub mod forest;
pub mod gbdt;
pub mod kernel_ridge;
pub mod knn;
pub mod linear;
pub mod mlp;
pub mod naive_bayes;
pub mod softmax;
pub mod svm;
