//! Preparation is fitted on training rows only.
