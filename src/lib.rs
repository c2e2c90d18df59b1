//! Thousandfold trains and scores thousands of hyperparameter candidates at once.
//!
//! The crate is layered, and imports point down only (docs/architecture.md):
//!
//! | layer | module | holds |
//! |---|---|---|
//! | 6 | [`cli`] | one file a subcommand; conversion only |
//! | 5 | [`monitor`] | progress, tables: events in, bytes out |
//! | 4 | [`study`] | config, history, journal, stopping, choice of the winner, and the only loop |
//! | 3 | [`models`], [`strategies`], [`schedulers`], [`functions`] | the four registries; none imports another |
//! | 2 | [`backend`] | the trainer contract; `cpu` (threads, SIMD lanes), `gpu` (the only place that names wgpu) |
//! | 1 | [`space`], [`data`] | parameters, conditions, codec; tables, preparation, splits, metrics |
//! | 0 | [`base`] | random numbers, NaN-last ordering, registries, ONNX graphs |
#![warn(missing_docs)]

pub mod backend;
pub mod base;
pub mod cli;
pub mod data;
pub mod functions;
pub mod models;
pub mod monitor;
pub mod schedulers;
pub mod space;
pub mod strategies;
pub mod study;

/// The programs of docs/rust.md, so that they stay right.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust.md")]
mod programs_of_the_docs {}
