//! The multilayer perceptron against a plain loop.
