//! The GPU backend's own rules.
