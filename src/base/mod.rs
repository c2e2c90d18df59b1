//! Layer 0: what everything else stands on, and what knows of nothing else here.

pub mod distributions;
pub mod hash;
pub mod onnx;
pub mod order;
pub mod pareto;
pub mod permutation;
pub mod random;
pub mod rank_tests;
pub mod registry;
pub mod shell;
