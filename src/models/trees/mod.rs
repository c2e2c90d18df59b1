//! What models made of trees share: binned columns, and the storage of trees.

pub mod bins;
pub mod tree;
