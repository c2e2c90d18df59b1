//! The logistic model against scikit-learn and a plain loop.
