//! The space's codec is exact.
