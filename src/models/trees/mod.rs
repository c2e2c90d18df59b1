//! What models made of trees share: binned columns, histograms of gradients, and the storage of trees.

mod accumulate;
pub mod bins;
pub mod device;
pub mod explain;
pub mod histogram;
mod onnx;
pub mod tree;
