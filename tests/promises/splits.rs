//! Splits are fair and repeatable.
