//! The multilayer perceptron: 1 to 3 hidden layers for classes or numbers, trained by minibatches.
//!
//! [`recipe`] says what training is; `cpu` and `gpu` do it.

pub mod recipe;
