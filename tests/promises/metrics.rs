//! Metrics equal scikit-learn's.
